"""What every room shares: errors, canonical JSON and digests, files, random bits, progress."""
