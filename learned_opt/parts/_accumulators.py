"""Gradient accumulators shared by per-parameter optimizers, and the directions made of them.

Adam's moments: Kingma & Ba 2015. Factored second moment: Shazeer & Stern 2018 (Adafactor).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import zeros_for
from ._averages import ema

MOMENTUM_DECAYS = (0.5, 0.9, 0.99)
SECOND_DECAY = 0.999
EPS = 1e-8
TINY = 1e-18
"""Under roots: its square is a normal float32, so that their derivatives are finite at zero."""


class Factors(NamedTuple):
    """EMAs of g^2 for one tensor in little memory, float32.

    `row`, `col`: of its mean over the largest and over the second largest axis; below rank 2 the
    EMA of g^2 itself and a zero of shape ().
    """

    row: jax.Array
    col: jax.Array


class Accumulators(NamedTuple):
    """Running averages of one tensor.

    `momenta`: three EMAs of g, of the tensor's shape, float32 or bfloat16; `second`: EMA of g^2,
    float32 of that shape, or its `Factors`.
    """

    momenta: tuple[jax.Array, ...]
    second: jax.Array | Factors


class Estimates(NamedTuple):
    """Of sqrt(v_hat) of a tensor after some updates, of its shape, and of v_hat.

    `root`: r = sqrt(v_hat + 1e-16); `inverse`: 1 / r; `factored`: 1 over the factored estimate,
    sqrt(row col / mean row) with 1e-16 and a trillionth of the mean under the roots (equal to
    `inverse` below rank 2); `mean`: of v_hat, a scalar.
    """

    root: jax.Array
    inverse: jax.Array
    factored: jax.Array
    mean: jax.Array


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The largest and the second largest axis of `shape`; None below rank 2."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return order[-1], order[-2]


def init_accumulators(p: Any, dtype: Any = jnp.float32, factored: bool = False) -> Accumulators:
    """All zeros, for a tensor of the shape and the sharding of p.

    Args:
      p: the tensor.
      dtype: of the momenta.
      factored: whether `Factors` stand for the second moment.
    """
    # Every array a buffer of its own, so that a training step may donate the state.
    momenta = tuple(zeros_for(p).astype(dtype) for _ in MOMENTUM_DECAYS)
    return Accumulators(momenta, _mean_squares(zeros_for(p)) if factored else zeros_for(p))


def update_accumulators(acc: Accumulators, g: jax.Array) -> Accumulators:
    """m_k <- b_k m_k + (1 - b_k) g;  v <- b v + (1 - b) g^2;  its factors likewise."""
    momenta = tuple(
        ema(b, m.astype(jnp.float32), g).astype(m.dtype)
        for b, m in zip(MOMENTUM_DECAYS, acc.momenta, strict=True)
    )
    if isinstance(acc.second, Factors):
        means = zip(acc.second, _mean_squares(g), strict=True)
        return Accumulators(momenta, Factors(*(ema(SECOND_DECAY, *x) for x in means)))
    # Not (1 - b) (g g): a square that sums of g^2 share would be stored.
    part = math.sqrt(1 - SECOND_DECAY) * g
    return Accumulators(momenta, SECOND_DECAY * acc.second + part * part)


def corrections(t: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """1 - b^t for the second moment, and 1 / (1 - b_k^t) for the momenta, after `t` updates."""
    return 1 - SECOND_DECAY**t, [1 / (1 - b**t) for b in MOMENTUM_DECAYS]


def estimates(
    second: jax.Array | Factors, shape: tuple[int, ...], correction: jax.Array
) -> Estimates:
    """From an EMA of g^2 and its `correction`; with `Factors` r is the factored estimate."""
    axes = factored_axes(shape)
    if isinstance(second, Factors):
        row, col, mean = factor_estimate(second, axes, correction)
        by_row, by_col = rsqrt(row), rsqrt(col)
        inverse = by_row * by_col
        return Estimates((row * by_row) * (col * by_col), inverse, inverse, mean)
    # Reciprocal roots and products: XLA keeps the result of a division in memory.
    v = second / correction + EPS**2
    inverse = rsqrt(v)
    root = v * inverse
    if axes is None:
        return Estimates(root, inverse, inverse, jnp.mean(second) / correction)
    # As EMAs of their own, of means of g^2, the factors would be equal.
    factors = Factors(*(jnp.mean(second, axis) for axis in axes))
    row, col, mean = factor_estimate(factors, axes, correction)
    return Estimates(root, inverse, rsqrt(row) * rsqrt(col), mean)


def directions(
    g: jax.Array,
    momenta: Sequence[jax.Array],
    inverse: jax.Array,
    factored: jax.Array,
    scales: Sequence[jax.Array],
) -> list[jax.Array]:
    """What a step can be made of, about unit scale, per element; `scales` as in `corrections`.

    d_0 = g / r, d_k = m_hat_k / r for the three momenta, and m_hat_{0.9} over the factored
    estimate, with the reciprocals of `Estimates`.
    """
    scaled = [m * (inverse * s) for s, m in zip(scales, momenta, strict=True)]
    return [g * inverse, *scaled, momenta[1] * (factored * scales[1])]


def factor_estimate(
    factors: Factors, axes: tuple[int, int] | None, correction: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Row and column whose product estimates v_hat of one tensor, and the mean of v_hat.

    They broadcast to the tensor's shape; below rank 2 (`axes` None) the column is a one.
    """
    row, col = (x / correction for x in factors)
    if axes is None:
        return row + EPS**2, jnp.ones(()), jnp.mean(row)
    largest, second = axes
    row, col = jnp.expand_dims(row, largest), jnp.expand_dims(col, second) + EPS**2
    # The mean of row over the second axis is the mean of g^2 over both: the common normaliser.
    mean = jnp.mean(row, axis=second, keepdims=True)
    return row / (mean + TINY) + 1e-12, col, jnp.mean(mean)


def _mean_squares(g: jax.Array) -> Factors:
    axes = factored_axes(g.shape)
    if axes is None:
        return Factors(g * g, jnp.zeros(()))
    # In words of its own: XLA would store a square that two reductions share.
    half = g / 2
    return Factors(jnp.mean(g * g, axes[0]), 4 * jnp.mean(half * half, axes[1]))
