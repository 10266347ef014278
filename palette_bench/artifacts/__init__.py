"""What lies on disk: evaluation sets, folders of predictions, records."""
