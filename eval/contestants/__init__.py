"""Who takes part in an evaluation, and the runs that each of them makes."""
