"""Averages and layers with an entry for every element of a tensor, on the axes after the first."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def update_averages(decays: Sequence[float], old: jax.Array, x: jax.Array) -> jax.Array:
    """b_k old_k + (1 - b_k) x, (decays, *shape)."""
    column = np.asarray(decays).reshape(-1, *[1] * x.ndim)
    keep, room = jnp.asarray(column, jnp.float32), jnp.asarray(1 - column, jnp.float32)
    return keep * old + room * x[None]


def dense(w: jax.Array, b: jax.Array, inputs: jax.Array) -> jax.Array:
    """x w + b of every element: (inputs, *shape) -> (outputs, *shape)."""
    return jnp.tensordot(w.T, inputs, 1) + b.reshape(-1, *[1] * (inputs.ndim - 1))
