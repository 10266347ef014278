"""Where images come from: folders, tar files, the embedded world."""
