"""What the shape of a tensor says of its part in a network."""

import math


def is_matrix(shape: tuple[int, ...]) -> bool:
    """Whether a tensor maps one space to another: rank 2, or above it with two sides above 1.

    (8, 1, 1, 1) is a vector, of scales of a norm or of biases, in the rank of what it multiplies.
    """
    return len(shape) >= 2 and (len(shape) == 2 or sum(side > 1 for side in shape) >= 2)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a tensor in the (..., in, out) layout of Haiku and Flax."""
    if not is_matrix(shape):
        return 1, max(1, math.prod(shape))
    return math.prod(shape[:-1]), shape[-1]
