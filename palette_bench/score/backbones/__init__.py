"""Pretrained networks as feature extractors, and the registry of their weights."""
