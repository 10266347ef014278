"""Which images of a source make a set, and in which order."""
