"""A meta-training run in a folder: plan, loop, log, save, resume, export."""
