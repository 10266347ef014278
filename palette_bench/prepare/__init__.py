"""Protocol + source images -> frozen evaluation set."""
