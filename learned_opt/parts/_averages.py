"""Exponential moving averages (EMAs), and Adam's two of one tensor: Kingma & Ba 2015, "Adam"."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._base import zeros_for


def ema(decay: Any, old: jax.Array, new: jax.Array) -> jax.Array:
    """b m + (1 - b) g, per element."""
    return decay * old + (1 - decay) * new


class Moments(NamedTuple):
    """EMAs of g and of g^2 from zero, of the tensor's shape, float32."""

    first: jax.Array
    second: jax.Array


def init_moments(p: Any) -> Moments:
    """Zeros, sharded like p."""
    return Moments(zeros_for(p), zeros_for(p))


def update_moments(old: Moments, g: jax.Array, b1: float, b2: float) -> Moments:
    """After the float32 gradient g."""
    return Moments(ema(b1, old.first, g), b2 * old.second + (1 - b2) * g * g)


def corrected(moments: Moments, b1: float, b2: float, t: jax.Array) -> Moments:
    """m / (1 - b1^t) and v / (1 - b2^t) after t >= 1 gradients, a float32 scalar."""
    return Moments(moments.first / gathered(b1, t), moments.second / gathered(b2, t))


def gathered(decay: float, t: jax.Array) -> jax.Array:
    """1 - decay^t, the weight that an EMA from zero has gathered."""
    # In float32 1 - b^t is off by 1e-5 at t = 1.
    return -jnp.expm1(t * math.log(decay))
