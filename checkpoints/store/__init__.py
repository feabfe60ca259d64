"""Training states on disk: saved whole, checked when they are read."""
