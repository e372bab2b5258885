"""Pages about packed datasets."""
