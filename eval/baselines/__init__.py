"""Hand-designed optimizers that a learned one is compared with."""
