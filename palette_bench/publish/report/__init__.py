"""A report of one score: a folder that opens by double-click and shows every item beside its numbers."""
