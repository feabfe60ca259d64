"""The generalisation grid: one task, each time with one thing changed."""
