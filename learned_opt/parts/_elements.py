"""What networks per element share: averages and layers, with an entry for every element of a tensor
on the axes after the first, and the time."""

import jax
import jax.numpy as jnp
import numpy as np

TIME_SCALES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
"""Steps on which networks without a horizon see the time."""


def times_since_start(steps: jax.Array) -> jax.Array:
    """tanh(t/tau - 1) for tau in TIME_SCALES, (11,), of the number of steps t."""
    return jnp.tanh(steps.astype(jnp.float32) / np.asarray(TIME_SCALES, np.float32) - 1)


def update_average(decay: float, old: jax.Array, x: jax.Array) -> jax.Array:
    """b old + (1 - b) x."""
    return decay * old + (1 - decay) * x


def dense(w: jax.Array, b: jax.Array, inputs: jax.Array) -> jax.Array:
    """x w + b of every element: (inputs, *shape) -> (outputs, *shape)."""
    return jnp.tensordot(w.T, inputs, 1) + b.reshape(-1, *[1] * (inputs.ndim - 1))
