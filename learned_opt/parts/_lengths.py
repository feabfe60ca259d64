"""Length and decay of steps of equal singular values, a number of each for every tensor.

Feedback from successive gradients: Baydin et al. 2018, "Online learning rate adaptation with
hypergradient descent". What optimizers with such steps share, whatever controls them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import Theta
from ._accumulators import TINY
from ._control import Summary, most_decay, safe_log
from ._controlled import LOG_GAIN

NUM_FEEDBACK = 5
"""Inputs of a controller beside the statistics."""

FAST, SLOW = 0.8, 0.98
START, BOUND, SELECTIVITY = 2.5, 2.0, 5.0
"""k, y and s at initialisation."""


class Memory(NamedTuple):
    """What is remembered of the tensors, (tensors,) each.

    `fast`, `slow`: EMAs of the cosine between a gradient and the momentum m_.9 before it, positive
    where the last steps went down and the next could be longer, negative where they overshot;
    `shift`: what the controller made of it so far; `level`: a mean of g^2 that forgets as a power
    of the time.
    """

    fast: jax.Array
    slow: jax.Array
    shift: jax.Array
    level: jax.Array


def init_memory(tensors: int) -> Memory:
    """Zeros."""
    return Memory(*(jnp.zeros(tensors) for _ in Memory._fields))


def init_lengths() -> dict[str, Any]:
    """The meta-parameters of this module, zero."""
    zero = lambda: jnp.zeros((), jnp.float32)  # noqa: E731
    return {
        "damping": {name: zero() for name in ("log_start", "log_power", "log_kept")},
        "log_fade": zero(),
        "log_bound": zero(),
        "log_selectivity": zero(),
    }


def feel(x: Summary, old: Memory) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The two EMAs after this gradient, and what a controller sees, (tensors, NUM_FEEDBACK)."""
    fast, slow = (b * y + (1 - b) * x.cosine for b, y in ((FAST, old.fast), (SLOW, old.slow)))
    common = (jnp.broadcast_to(jnp.mean(y), fast.shape) for y in (old.fast, old.slow))
    return fast, slow, jnp.stack([*(3 * y for y in (fast, slow, *common)), old.shift], 1)


def logarithms(
    theta: Theta, t: jax.Array, x: Summary, old: Memory, felt: Any, outputs: Any
) -> tuple[jax.Array, jax.Array, Memory]:
    """c and c' of `Spectral`, (tensors,), and the new memory.

    Args:
      theta: from `init_lengths`, and more.
      t: steps taken before.
      x, old: of the tensors.
      felt: the two EMAs from `feel`.
      outputs: of the controller: log step, log decay and the change of the shift.
    """
    (fast, slow), (log_step, log_decay, change) = felt, outputs
    level = old.level + 2 / (t + 2) * (x.g - old.level)
    damped = _damping(theta["damping"], x.g, level)
    # By equal amounts in equal times as a run grows tenfold.
    shift = jnp.clip(old.shift + change / (t + 10), -5.0, 5.0)
    log_step += damped
    log_step += shift
    log_decay -= SELECTIVITY * _learned(theta["log_selectivity"]) * jnp.abs(slow)
    bound = BOUND * _learned(theta["log_bound"]) / 2 * jnp.log(x.p * x.fan_in + TINY)
    held = bound - _learned(theta["damping"]["log_kept"]) * damped
    return log_step, log_decay + jnp.clip(held, -5.0, 5.0), Memory(fast, slow, shift, level)


def lengths(
    theta: Theta, size: jax.Array, peak: jax.Array, decay: jax.Array, log_step: Any, log_decay: Any
) -> tuple[jax.Array, jax.Array]:
    """exp(c) and min(w exp(c'), 1 / (2 a)), (tensors,), with a = `size` and w from `decay`."""
    # Above zero, where the power has a derivative.
    left = jnp.maximum(size / peak, 1e-9)
    decay = decay * left ** _learned(theta["log_fade"])
    return jnp.exp(log_step), most_decay(decay * jnp.exp(log_decay), size)


def bracket(scales: tuple[jax.Array, jax.Array], direction: jax.Array, p: jax.Array) -> jax.Array:
    """Of one tensor: direction and decay, each times its scale."""
    return scales[0] * direction + scales[1] * p


def _damping(net: Theta, squares: jax.Array, level: jax.Array) -> jax.Array:
    """log D = z min(0, k + log(r + 1e-4)), with r^2 = `squares` / `level`, means of g^2."""
    log_r = safe_log(jnp.sqrt(squares + TINY) * rsqrt(level + TINY))
    return _learned(net["log_power"]) * jnp.minimum(0.0, START * _learned(net["log_start"]) + log_r)


def _learned(logarithm: jax.Array) -> jax.Array:
    return jnp.exp(LOG_GAIN * logarithm)
