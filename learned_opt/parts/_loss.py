"""Features of the training loss and of time, as VeLO and Celo see them.

Metz et al. 2022, "VeLO: Training Versatile Learned Optimizers by Scaling Up"; Moudgil et al. 2025,
"Celo: Training Versatile Learned Optimizers on a Compute Diet".
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._base import select
from ._accumulators import TINY

NUM_MEANS = 10
NUM_LOSS_FEATURES = NUM_MEANS - 1
NUM_PROGRESS = 5
TIMES = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)


class LossState(NamedTuple):
    """Of the losses so far.

    `means`: ten EMAs from zero; `minima`: the least that each was once corrected; `seen`: how many
    losses (int32 scalar).
    """

    means: jax.Array
    minima: jax.Array
    seen: jax.Array


def init_loss() -> LossState:
    """No loss seen yet."""
    return LossState(jnp.zeros(NUM_MEANS), jnp.zeros(NUM_MEANS), jnp.zeros((), jnp.int32))


def loss_features(
    state: LossState, value: Any, num_steps: jax.Array, as_published: bool = False
) -> tuple[jax.Array, LossState]:
    """Where the loss stands between its averages over longer and longer times, (9,), in [-1, 1].

    c_i: the mean over about tau_i = 10, ..., `num_steps` steps (evenly spaced logarithms), min_i
    the least it ever was::

        f_i = clip((c_i - min_i) / max(1e-8, c_{i+1} - min_i) - 1, -1, 1),   i = 1, ..., 9

    zero for the first two losses. Before it enters the means a loss is capped at twice the
    largest of the c_i before it.

    Args:
      state: from the losses before this one.
      value: training loss, a scalar. Where it is None or not finite the features are zero and the
        state stays as it was.
      num_steps: length of the run, float32 scalar.
      as_published: correct the means of the cap for one step more than they hold, an error of the
        published code, under which the published weights were found: the cap is then lower, at
        first by half.

    Returns the features and the new state; ValueError if `value` is not a scalar.
    """
    if value is None:
        return jnp.zeros(NUM_LOSS_FEATURES), state
    c, finite, new = _see(state, value, num_steps, as_published)
    below = new.minima[:-1]
    features = jnp.clip((c[:-1] - below) / jnp.maximum(1e-8, c[1:] - below) - 1, -1, 1)
    features = jnp.where(finite & (new.seen > 2), features, 0.0)
    return features, select(finite, new, state)


def loss_progress(
    state: LossState, value: Any, num_steps: jax.Array
) -> tuple[jax.Array, LossState]:
    """How fast the loss falls on three scales of time, whatever its own scale is, (5,).

    With c_1, ..., c_4 the means over about tau = 10, ..., `num_steps` steps (evenly spaced
    logarithms), min_1 the least that c_1 ever was and s(x, y) = r / (|r| + 0.05), where
    r = (x - y) / (|x| + |y|)::

        1;   s(c_{k+1}, c_k), k = 1, 2, 3;   s(c_1, min_1)

    They do not change under loss -> a loss. Arguments, what is returned, errors and what happens
    where there is no loss: as in `loss_features`; the one is the sign that there is a loss.
    """
    if value is None:
        return jnp.zeros(NUM_PROGRESS), state
    c, finite, new = _see(state, value, num_steps, False)
    c = c[:: (NUM_MEANS - 1) // 3]
    high, low = (jnp.concatenate(x) for x in ((c[1:], c[:1]), (c[:-1], new.minima[:1])))
    ratio = (high - low) / (jnp.abs(high) + jnp.abs(low) + TINY)
    features = jnp.concatenate([jnp.ones(1), ratio / (jnp.abs(ratio) + 0.05)])
    return jnp.where(finite, features, 0.0), select(finite, new, state)


def _see(
    state: LossState, value: Any, num_steps: jax.Array, as_published: bool
) -> tuple[jax.Array, jax.Array, LossState]:
    """The means corrected for their start, whether the loss is finite, and the state if so."""
    given = jnp.asarray(value).astype(jnp.float32)
    if given.ndim != 0:
        raise ValueError(
            f"value must be the training loss, a scalar, got an array of shape {given.shape}; "
            "pass its mean"
        )
    finite = jnp.isfinite(given)
    loss = jnp.where(finite, given, 0.0)
    part = np.arange(NUM_MEANS, dtype=np.float32) / (NUM_MEANS - 1)
    rates = jnp.exp(-(1 - part) * math.log(10) - part * jnp.log(num_steps))
    # Not 1 - decay^t: in float32 that loses all digits where tau is long.
    seen = state.seen.astype(jnp.float32)
    correction = -jnp.expm1(-(seen + 1) * rates)
    first = state.seen == 0
    held = correction if as_published else -jnp.expm1(-jnp.maximum(seen, 1.0) * rates)
    cap = 2 * jnp.abs(jnp.max(state.means / held))
    loss = jnp.where(first, loss, jnp.minimum(loss, cap))
    means = state.means - jnp.expm1(-rates) * (loss - state.means)
    c = means / correction
    minima = jnp.where(first, c, jnp.minimum(state.minima, c))
    return c, finite, LossState(means, minima, state.seen + 1)


def time_features(steps: jax.Array, num_steps: jax.Array) -> jax.Array:
    """tanh(10 (t/T - s)) for nine s from 0.03 to 1.1, after t = `steps` of T steps, (9,)."""
    return jnp.tanh(10 * (steps.astype(jnp.float32) / num_steps - np.asarray(TIMES, np.float32)))
