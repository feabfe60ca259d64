"""Small tensors of a parameter tree side by side in one vector.

Averages and directions of a tree of short vectors are then a few long loops instead of a few per
tensor, so that it compiles and runs faster; XLA on CPU still cuts the last loop, which writes the
steps, at the borders of the tensors. Large tensors gain nothing and stay as they are, with their
sharding.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from .._axes import replicated

PACK_BELOW = 16_384
"""Tensors with fewer elements are packed."""

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Pack:
    """Which leaves of a tree share one array. A pack of one leaf keeps the leaf's own shape.

    `indices`: positions among the leaves of the tree; `shapes`: their shapes.
    """

    indices: tuple[int, ...]
    shapes: tuple[Shape, ...]

    @property
    def shape(self) -> Shape:
        """Shape of the packed array: the leaf's own, or (total size,)."""
        if len(self.shapes) == 1:
            return self.shapes[0]
        return (sum(math.prod(shape) for shape in self.shapes),)

    def join(self, leaves: Sequence[jax.Array]) -> jax.Array:
        """Leaves of this pack, in order, as one float32 array."""
        leaves = [x.astype(jnp.float32) for x in leaves]
        if len(leaves) == 1:
            return leaves[0]
        return jnp.concatenate([replicated(x).reshape(-1) for x in leaves])

    def split(self, packed: jax.Array) -> list[jax.Array]:
        """The inverse of `join`."""
        if len(self.shapes) == 1:
            return [packed]
        parts, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            parts.append(packed[start : start + size].reshape(shape))
            start += size
        return parts

    def spread(self, scalars: Sequence[jax.Array]) -> jax.Array:
        """One scalar a leaf, broadcastable against the packed array."""
        if len(self.shapes) == 1:
            return scalars[0]
        return jnp.concatenate(
            [
                jnp.broadcast_to(s, math.prod(shape))
                for s, shape in zip(scalars, self.shapes, strict=True)
            ]
        )


def pack_leaves(shapes: Sequence[Shape]) -> tuple[Pack, ...]:
    """All small leaves in one pack, then each large leaf in its own."""
    small = [i for i, shape in enumerate(shapes) if math.prod(shape) < PACK_BELOW]
    large = [i for i, shape in enumerate(shapes) if math.prod(shape) >= PACK_BELOW]
    groups = [small, *([i] for i in large)] if small else [[i] for i in large]
    return tuple(Pack(tuple(g), tuple(tuple(shapes[i]) for i in g)) for g in groups)
