"""What is evaluated: definitions as frozen data, with fingerprints."""
