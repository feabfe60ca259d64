"""Averages of a tensor's gradients, and the statistics of it that RNN-MLP's LSTM sees.

Metz, Maheswaranathan, Freeman, Poole, Sohl-Dickstein 2020, "Tasks, stability, architecture, and
compute: Training more effective learned optimizers, and using them to train themselves".
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._base import zeros_for
from ._elements import update_average

DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)


class TensorAverages(NamedTuple):
    """Five EMAs of the clipped gradient and of its square, each of the tensor's shape."""

    momenta: tuple[jax.Array, ...]
    second: tuple[jax.Array, ...]


def init_tensor(p: Any) -> TensorAverages:
    """Zeros, sharded like p."""
    return TensorAverages(*(tuple(zeros_for(p) for _ in DECAYS) for _ in range(2)))


def see_gradient(old: TensorAverages, g: jax.Array) -> TensorAverages:
    """The averages after a gradient, float32."""
    pairs = ((old.momenta, g), (old.second, g * g))
    return TensorAverages(
        *(
            tuple(update_average(b, x, new) for b, x in zip(DECAYS, olds, strict=True))
            for olds, new in pairs
        )
    )


def tensor_statistics(g: jax.Array, p: jax.Array, averages: TensorAverages) -> jax.Array:
    """Means of m, v, p, their variances, norms of p and g, (8,)."""
    arrays = [*(jnp.stack(x) for x in averages), p]
    means = [jnp.mean(x) for x in arrays]
    spreads = [jnp.var(x) for x in arrays]
    # Above zero, where the square root has a derivative: meta-gradients may come by backprop.
    norms = [jnp.sqrt(jnp.sum(x * x) + 1e-30) for x in (p, g)]
    return jnp.stack([*means, *spreads, *norms])


def shape_statistics(shape: tuple[int, ...]) -> list[float]:
    """1 for a scalar, else -1; log(n) - 1 of four dimensions, the fourth and later taken as one."""
    dims = [*shape[:3], math.prod(shape[3:])]
    dims += [1] * (4 - len(dims))
    return [-1.0 if shape else 1.0, *(math.log(n) - 1 for n in dims)]
