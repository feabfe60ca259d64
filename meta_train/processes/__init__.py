"""Several processes as one run: they meet, agree, watch one another, and end together."""
