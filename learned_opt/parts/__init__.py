"""What several optimizers are made of: features, accumulators, networks, schedules."""

from ._path import update_path as update_path
