"""Recipes: each one exactly defined metric; ``base`` says what one is, ``catalogue`` has all, a file for each kind."""
