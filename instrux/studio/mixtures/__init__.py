"""Pages about declared tasks and mixtures."""
