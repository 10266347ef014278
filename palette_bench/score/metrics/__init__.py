"""Numbers from features: pure functions in float64."""
