"""What makes an update of a learned step: a learning rate, and decay."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..layouts._layout import Layout
from ._stacks import Stack


class Finish(NamedTuple):
    """What makes updates of steps: rate (u + decay p), float32.

    `rate`: scalar; `decay`: for each leaf a scalar, or None.
    """

    rate: jax.Array
    decay: list[jax.Array | None]

    def update(self, leaf: int, u: jax.Array, p: jax.Array) -> jax.Array:
        """Of one leaf."""
        return self._update(self.decay[leaf], u, p)

    def update_stack(
        self, group: Stack, read: Sequence[Layout], u: jax.Array, p: jax.Array
    ) -> jax.Array:
        """Of all that is in a stack."""
        decay = [self.decay[i] for i in group.leaves]
        if group.alone or all(d is None for d in decay):
            return self._update(decay[0], u, p)
        each = jnp.stack([jnp.zeros((), jnp.float32) if d is None else d for d in decay])
        rows = np.repeat(np.arange(len(decay)), [read[i].count for i in group.leaves])
        return self._update(each[rows].reshape(-1, *[1] * (u.ndim - 1)), u, p)

    def _update(self, decay: jax.Array | None, u: jax.Array, p: jax.Array) -> jax.Array:
        return self.rate * (u if decay is None else u + decay * p)
