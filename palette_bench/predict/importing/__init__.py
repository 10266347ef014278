"""Outputs of other people's models: located, read, checked, and written as a folder of predictions."""
