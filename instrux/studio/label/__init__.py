"""Label pages: people rate and rank the outputs of systems."""
