"""What was tried on the way to the artifacts that ship: a log, its settings and its scripts."""
