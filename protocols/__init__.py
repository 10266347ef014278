"""Evaluation sets as data: one TOML a set. This file only makes the folder importable as package data."""
