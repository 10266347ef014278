"""Human evaluation: an evaluation set and predictions shown to people, and the fool rates that come of it."""
