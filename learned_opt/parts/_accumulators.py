"""Gradient accumulators shared by per-parameter optimizers, and the directions made of them.

Adam's moments: Kingma & Ba 2015. Factored second moment: Shazeer & Stern 2018 (Adafactor).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

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


class Accumulators(NamedTuple):
    """Running averages over one pack of tensors, float32, each of the pack's shape.

    `momenta`: three EMAs of g; `second`: EMA of g^2.
    """

    momenta: tuple[jax.Array, ...]
    second: jax.Array


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


def init_accumulators(pack: Pack, params: Sequence[jax.Array]) -> Accumulators:
    """All zeros, for the tensors of that pack; one alone gives them its sharding."""
    whole = pack.join(params)
    # Every array a buffer of its own, so that a training step may donate the state.
    second, *momenta = [zeros_for(whole) for _ in range(len(MOMENTUM_DECAYS) + 1)]
    return Accumulators(tuple(momenta), second)


def update_accumulators(acc: Accumulators, g: jax.Array) -> Accumulators:
    """m_k <- b_k m_k + (1 - b_k) g;  v <- b v + (1 - b) g^2."""
    momenta = [_ema(b, m, g) for b, m in zip(MOMENTUM_DECAYS, acc.momenta, strict=True)]
    # Not (1 - b) (g g): a square that sums of g^2 share would be stored.
    part = math.sqrt(1 - SECOND_DECAY) * g
    return Accumulators(tuple(momenta), SECOND_DECAY * acc.second + part * part)


def directions(pack: Pack, acc: Accumulators, g: jax.Array, t: jax.Array) -> Directions:
    """What a step can be made of, after `t` >= 1 updates of the accumulators, the last with g.

    d_0 = g / r, d_k = m_hat_k / r for the three momenta, with r = sqrt(v_hat + 1e-16); then
    m_hat_{0.9} over the factored estimate sqrt(row col / mean row), with 1e-16 and a trillionth
    of the mean under the roots (equal to d_2 below rank 2). Shapes: the pack's.
    """
    correction = 1 - SECOND_DECAY**t
    second = acc.second / correction + EPS**2
    # Reciprocal roots and products: XLA keeps the result of a division in memory.
    inverse = rsqrt(second)
    parts = zip(pack.split(inverse), pack.split(acc.second), strict=True)
    factored, means = zip(*(_factored(x, v, correction) for x, v in parts), strict=True)
    scales = [1 / (1 - b**t) for b in MOMENTUM_DECAYS]
    scaled = [m * (inverse * s) for s, m in zip(scales, acc.momenta, strict=True)]
    scaled.append(acc.momenta[1] * (pack.join(factored) * scales[1]))
    return Directions([g * inverse, *scaled], second * inverse, jnp.stack(means))


def _factored(
    inverse: jax.Array, second: jax.Array, correction: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """1 / sqrt(row col / mean row) of v_hat for one tensor, `inverse` itself below rank 2; mean.

    Rows and columns are means of v_hat: as EMAs of their own, of means of g^2, they would be equal.
    """
    axes = factored_axes(inverse.shape)
    if axes is None:
        return inverse, jnp.mean(second) / correction
    row, col = (jnp.mean(second, axis, keepdims=True) / correction for axis in axes)
    mean = jnp.mean(row, axes[1], keepdims=True)
    factored = rsqrt(row / (mean + TINY) + 1e-12) * rsqrt(col + EPS**2)
    return factored, jnp.mean(mean)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a tensor in the (..., in, out) layout of Haiku and Flax."""
    if len(shape) < 2:
        return 1, max(1, math.prod(shape))
    return math.prod(shape[:-1]), shape[-1]


def _ema(decay: float, old: jax.Array, new: jax.Array) -> jax.Array:
    return decay * old + (1 - decay) * new
