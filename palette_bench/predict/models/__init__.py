"""The models that ship with the project."""
