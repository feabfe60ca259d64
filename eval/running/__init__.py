"""Training runs: many at once, each with a key, kept in an archive."""
