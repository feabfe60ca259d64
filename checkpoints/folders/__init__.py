"""Output folders: one command's own, locked, watched."""
