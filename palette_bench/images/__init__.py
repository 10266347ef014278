"""Pixels: decoding, geometry, conditions, holes, free-form masks, and the decoder canary."""
