"""Entries of leaderboards: made from records, checked line by line, shown on pages that need no server."""
