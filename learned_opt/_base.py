"""What all of this package is made of: types, checks and arrays that everything needs."""

import math
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from ._checks import shown

Theta = Any
"""Meta-parameters: a nested dict of float32 arrays."""

Shape = Callable[[Any], Any] | None
"""Of a schedule: count -> factor of the peak step size; None for the rule's own."""


def check_num_steps(num_steps: Any) -> jax.Array:
    """`num_steps` as a float32 scalar; a ValueError unless it is a positive integer or traced."""
    if isinstance(num_steps, np.ndarray):
        num_steps = jnp.asarray(num_steps)
    if isinstance(num_steps, jax.Array):
        if num_steps.ndim != 0 or not jnp.issubdtype(num_steps.dtype, jnp.integer):
            raise ValueError(
                "num_steps must be a positive integer, got an array of shape "
                f"{num_steps.shape} and dtype {num_steps.dtype}; pass a scalar integer"
            )
        if isinstance(num_steps, Tracer):
            # Lest a run of no steps divides by them.
            return jnp.maximum(num_steps.astype(jnp.float32), 1.0)
        num_steps = int(num_steps)
    integral = isinstance(num_steps, numbers.Integral) and not isinstance(num_steps, bool)
    if not integral or num_steps <= 0:
        raise ValueError(
            f"num_steps must be a positive integer, got {num_steps!r}; "
            "pass the number of updates the whole training run will make"
        )
    return jnp.asarray(num_steps, jnp.float32)


def check_epochs(epochs: Any) -> jax.Array:
    """`epochs` as a float32 scalar; a ValueError unless it is above zero and finite, or traced."""
    if isinstance(epochs, Tracer) and epochs.ndim == 0:
        return epochs.astype(jnp.float32)
    is_number = isinstance(epochs, numbers.Real | np.ndarray | jax.Array)
    scalar = is_number and getattr(epochs, "ndim", 0) == 0 and not isinstance(epochs, bool)
    if not scalar or not 0 < float(epochs) < math.inf:
        raise ValueError(
            f"epochs must be a number above zero, got {shown(epochs)}; pass how often the whole "
            "training run will see each example: num_steps times the batch size over the examples"
        )
    return jnp.asarray(float(epochs), jnp.float32)


def select(ok: Any, new: Any, old: Any) -> Any:
    """Trees: `new` where `ok`, else `old`."""
    return jax.tree.map(lambda x, y: jnp.where(ok, x, y), new, old)


def zeros_for(p: Any, *leading: int) -> jax.Array:
    """Float32 zeros of shape (*leading, *shape of p) in a new buffer, sharded like p."""
    zeros = jnp.zeros_like(p, dtype=jnp.float32)
    if not leading:
        return zeros
    return jnp.broadcast_to(
        zeros.reshape(*[1] * len(leading), *zeros.shape), (*leading, *zeros.shape)
    )


def shaped(peak: Any, shape: Shape = None) -> optax.Schedule:
    """peak times shape(count); the peak at any time without a shape."""

    def step_size(count: Any) -> jax.Array:
        factor = 1.0 if shape is None else shape(count)
        return jnp.asarray(peak, jnp.float32) * jnp.asarray(factor, jnp.float32)

    return step_size
