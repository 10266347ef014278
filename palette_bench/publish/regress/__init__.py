"""Published numbers guarded: the manifest, how they are made again, and what is reported."""
