"""Evaluation set + model -> predictions."""
