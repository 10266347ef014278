"""Published numbers and records as data. This file only makes the folder importable as package data."""
