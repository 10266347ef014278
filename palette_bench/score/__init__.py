"""Evaluation set + predictions -> result record."""
