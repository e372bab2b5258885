"""Pages about what runs left behind: curves, evaluations, predictions."""
