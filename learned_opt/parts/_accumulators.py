"""Gradient accumulators shared by per-parameter optimizers, and the directions made of them.

Adam's moments: Kingma & Ba 2015. Factored second moment: Shazeer & Stern 2018 (Adafactor).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._base import zeros_for
from ._pack import Pack

MOMENTUM_DECAYS = (0.5, 0.9, 0.99)
SECOND_DECAY = 0.999
EPS = 1e-8
TINY = 1e-18
"""Under roots: its square is a normal float32, so that their derivatives are finite at zero."""


class Accumulators(NamedTuple):
    """Running averages over one pack of tensors, all float32.

    `momenta`: three EMAs of g and `second`: EMA of g^2, each of the pack's shape; `rows`, `cols`:
    for each tensor the EMA of g^2 averaged over its largest and its second largest axis (shape ()
    below rank 2).
    """

    momenta: tuple[jax.Array, ...]
    second: jax.Array
    rows: tuple[jax.Array, ...]
    cols: tuple[jax.Array, ...]


class Directions(NamedTuple):
    """`steps`: candidate directions, about unit scale; `root`: sqrt(v_hat)."""

    steps: list[jax.Array]
    root: jax.Array


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The largest and the second largest axis of `shape`; None below rank 2."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return order[-1], order[-2]


def init_accumulators(pack: Pack, params: Sequence[jax.Array]) -> Accumulators:
    """All zeros, for the tensors of that pack; one alone gives them its sharding."""
    whole = pack.join(params)
    # Every array a buffer of its own, so that a training step may donate the state.
    zeros = [zeros_for(whole) for _ in range(len(MOMENTUM_DECAYS) + 1)]
    factors = [_mean_squares(zeros_for(p)) for p in params]
    rows, cols = zip(*factors, strict=True)
    return Accumulators(tuple(zeros[1:]), zeros[0], rows, cols)


def update_accumulators(pack: Pack, acc: Accumulators, g: jax.Array) -> Accumulators:
    """m_k <- b_k m_k + (1 - b_k) g;  v <- b v + (1 - b) g^2;  rows and cols likewise."""
    momenta = tuple(b * m + (1 - b) * g for b, m in zip(MOMENTUM_DECAYS, acc.momenta, strict=True))
    rows, cols = zip(*(_mean_squares(part) for part in pack.split(g)), strict=True)
    return Accumulators(
        momenta,
        _ema(acc.second, g * g),
        tuple(_ema(old, new) for old, new in zip(acc.rows, rows, strict=True)),
        tuple(_ema(old, new) for old, new in zip(acc.cols, cols, strict=True)),
    )


def directions(pack: Pack, acc: Accumulators, g: jax.Array, t: jax.Array) -> Directions:
    """What a step can be made of, after `t` >= 1 updates of the accumulators, the last with g.

    d_0 = g / r, d_k = m_hat_k / r for the three momenta, with r = sqrt(v_hat) + 1e-8; then
    m_hat_{0.9} over the factored estimate sqrt(row col / mean row) (equal to d_2 below rank 2).
    Shapes: the pack's.
    """
    correction = 1 - SECOND_DECAY**t
    # Above zero, where the square root has a derivative: meta-gradients may come by backprop.
    root = jnp.sqrt(acc.second / correction + TINY)
    factored = pack.join(
        [
            _factored_root(part, row / correction, col / correction)
            for part, row, col in zip(pack.split(root), acc.rows, acc.cols, strict=True)
        ]
    )
    # One reciprocal and products: XLA keeps the result of a division in memory, not of a product.
    inverse = 1 / (root + EPS)
    scaled = [m * (inverse / (1 - b**t)) for b, m in zip(MOMENTUM_DECAYS, acc.momenta, strict=True)]
    slow = acc.momenta[1] / (1 - MOMENTUM_DECAYS[1] ** t)
    return Directions([g * inverse, *scaled, slow * (1 / (factored + EPS))], root)


def _factored_root(root: jax.Array, row: jax.Array, col: jax.Array) -> jax.Array:
    """sqrt(row col / mean row) for one tensor; `root` itself below rank 2."""
    axes = factored_axes(root.shape)
    if axes is None:
        return root
    largest, second = axes
    row, col = jnp.expand_dims(row, largest), jnp.expand_dims(col, second)
    # The mean of row over the second axis is the mean of g^2 over both: the common normaliser.
    mean = jnp.mean(row, axis=second, keepdims=True)
    return jnp.sqrt(row + TINY) * jnp.sqrt((col + TINY) / (mean + TINY))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a tensor in the (..., in, out) layout of Haiku and Flax."""
    if len(shape) < 2:
        return 1, max(1, math.prod(shape))
    return math.prod(shape[:-1]), shape[-1]


def rms(x: jax.Array) -> jax.Array:
    """sqrt(mean x^2), a scalar."""
    return jnp.sqrt(jnp.mean(x * x) + TINY)


def _ema(old: jax.Array, new: jax.Array) -> jax.Array:
    return SECOND_DECAY * old + (1 - SECOND_DECAY) * new


def _mean_squares(g: jax.Array) -> tuple[jax.Array, jax.Array]:
    axes = factored_axes(g.shape)
    if axes is None:
        return jnp.zeros(()), jnp.zeros(())
    square = g * g
    return jnp.mean(square, axis=axes[0]), jnp.mean(square, axis=axes[1])
