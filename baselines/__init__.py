"""Baselines as data: one folder each. This file only makes the folder importable as package data."""
