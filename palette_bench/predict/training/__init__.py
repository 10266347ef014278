"""Training Palette and its regression twin."""
