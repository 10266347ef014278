"""Reference -> condition, as pure functions."""
