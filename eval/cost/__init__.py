"""What a step costs, and what an optimizer does along a run."""
