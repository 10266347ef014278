"""Tables of numbers: one model, what fills it, one renderer a format."""
