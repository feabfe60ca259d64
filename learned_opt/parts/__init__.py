"""What several optimizers are made of: features, accumulators, networks, schedules."""
