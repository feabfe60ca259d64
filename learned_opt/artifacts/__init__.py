"""Meta-trained optimizers as files."""

from ._older import current as current
