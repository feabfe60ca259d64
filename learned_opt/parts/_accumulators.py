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
from ._pack import Pack

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
    """Running averages over one pack of tensors.

    `momenta`: three EMAs of g, of the pack's shape, float32 or bfloat16; `second`: EMA of g^2,
    float32 of that shape, or `Factors` for each tensor.
    """

    momenta: tuple[jax.Array, ...]
    second: jax.Array | tuple[Factors, ...]


class Directions(NamedTuple):
    """`steps`: candidate directions, about unit scale; `root`: sqrt(v_hat); `means`: of v_hat.

    The first two are of the pack's shape; `means` has a scalar for each of its tensors.
    """

    steps: list[jax.Array]
    root: jax.Array
    means: jax.Array


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The largest and the second largest axis of `shape`; None below rank 2."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return order[-1], order[-2]


def init_accumulators(
    pack: Pack, params: Sequence[jax.Array], dtype: Any = jnp.float32, factored: bool = False
) -> Accumulators:
    """All zeros, for the tensors of that pack; one alone gives them its sharding.

    Args:
      pack: see `pack_leaves`.
      params: its tensors.
      dtype: of the momenta.
      factored: whether `Factors` stand for the second moment.
    """
    whole = pack.join(params)
    # Every array a buffer of its own, so that a training step may donate the state.
    momenta = tuple(zeros_for(whole).astype(dtype) for _ in MOMENTUM_DECAYS)
    if not factored:
        return Accumulators(momenta, zeros_for(whole))
    return Accumulators(momenta, tuple(_mean_squares(zeros_for(p)) for p in params))


def update_accumulators(pack: Pack, acc: Accumulators, g: jax.Array) -> Accumulators:
    """m_k <- b_k m_k + (1 - b_k) g;  v <- b v + (1 - b) g^2;  its factors likewise."""
    momenta = tuple(
        (b * m.astype(jnp.float32) + (1 - b) * g).astype(m.dtype)
        for b, m in zip(MOMENTUM_DECAYS, acc.momenta, strict=True)
    )
    if isinstance(acc.second, jax.Array):
        # Not (1 - b) (g g): a square that sums of g^2 share would be stored.
        part = math.sqrt(1 - SECOND_DECAY) * g
        return Accumulators(momenta, SECOND_DECAY * acc.second + part * part)
    seen = tuple(_mean_squares(part) for part in pack.split(g))
    ema = lambda old, new: SECOND_DECAY * old + (1 - SECOND_DECAY) * new  # noqa: E731
    return Accumulators(momenta, jax.tree.map(ema, acc.second, seen))


def directions(pack: Pack, acc: Accumulators, g: jax.Array, t: jax.Array) -> Directions:
    """What a step can be made of, after `t` >= 1 updates of the accumulators, the last with g.

    d_0 = g / r, d_k = m_hat_k / r for the three momenta, with r = sqrt(v_hat + 1e-16); then
    m_hat_{0.9} over the factored estimate sqrt(row col / mean row), with 1e-16 and a trillionth
    of the mean under the roots (equal to d_2 below rank 2). With `Factors` that estimate is r.
    """
    correction = 1 - SECOND_DECAY**t
    scales = [1 / (1 - b**t) for b in MOMENTUM_DECAYS]
    momenta = [m.astype(jnp.float32) for m in acc.momenta]
    # Reciprocal roots and products: XLA keeps the result of a division in memory.
    if isinstance(acc.second, jax.Array):
        second = acc.second / correction + EPS**2
        inverse = rsqrt(second)
        root, factored, means = second * inverse, [], []
        for part, v in zip(pack.split(inverse), pack.split(acc.second), strict=True):
            axes = factored_axes(v.shape)
            if axes is None:
                factored.append(part)
                means.append(jnp.mean(v) / correction)
            else:
                # As EMAs of their own, of means of g^2, the factors would be equal.
                factors = Factors(*(jnp.mean(v, axis) for axis in axes))
                estimate, _, mean = _from_factors(factors, v.shape, correction)
                factored.append(estimate)
                means.append(mean)
        factored = pack.join(factored)
    else:
        parts = zip(acc.second, pack.shapes, strict=True)
        found = [_from_factors(factors, shape, correction) for factors, shape in parts]
        inverses, roots, means = zip(*found, strict=True)
        inverse = factored = pack.join(inverses)
        root = pack.join(roots)
    scaled = [m * (inverse * s) for s, m in zip(scales, momenta, strict=True)]
    scaled.append(momenta[1] * (factored * scales[1]))
    return Directions([g * inverse, *scaled], root, jnp.stack(means))


def _from_factors(
    factors: Factors, shape: tuple[int, ...], correction: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """1 / r and r, r^2 = row col / mean row of v_hat, for one tensor; and the mean of v_hat."""
    row, col = (x / correction for x in factors)
    axes = factored_axes(shape)
    if axes is None:
        inverse = rsqrt(row + EPS**2)
        return inverse, (row + EPS**2) * inverse, jnp.mean(row)
    largest, second = axes
    row, col = jnp.expand_dims(row, largest), jnp.expand_dims(col, second) + EPS**2
    # The mean of row over the second axis is the mean of g^2 over both: the common normaliser.
    mean = jnp.mean(row, axis=second, keepdims=True)
    row = row / (mean + TINY) + 1e-12
    by_row, by_col = rsqrt(row), rsqrt(col)
    return by_row * by_col, (row * by_row) * (col * by_col), jnp.mean(mean)


def _mean_squares(g: jax.Array) -> Factors:
    axes = factored_axes(g.shape)
    if axes is None:
        return Factors(g * g, jnp.zeros(()))
    # In words of its own: XLA would store a square that two reductions share.
    half = g / 2
    return Factors(jnp.mean(g * g, axes[0]), 4 * jnp.mean(half * half, axes[1]))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a tensor in the (..., in, out) layout of Haiku and Flax."""
    if len(shape) < 2:
        return 1, max(1, math.prod(shape))
    return math.prod(shape[:-1]), shape[-1]
