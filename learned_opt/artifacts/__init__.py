"""Meta-trained optimizers as files."""
