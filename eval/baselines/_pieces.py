"""Transformations that some rows need and optax has not, or has otherwise than their papers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class AdanState(NamedTuple):
    """Averages of gradients, of their differences and of squares; the gradients before."""

    m: optax.Updates
    v: optax.Updates
    n: optax.Updates
    before: optax.Updates
    t: jax.Array


def scale_by_adan(
    b1: float = 0.98, b2: float = 0.92, b3: float = 0.99, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Adan (Xie et al. 2022), algorithm 1, with the averages' decays b where the paper has 1 - b.

    With d = g - g_before (0 at first) the averages are m of g, v of d and n of (g + b2 d)^2; all
    are corrected for their start at 0, as in the authors' code. The update is
    (m + b2 v) / (sqrt(n) + eps).

    `optax.adan` looks ahead by (1 - b2) d instead of b2 d, so by 0.08 of d for 0.92.
    """

    def init(params: optax.Params) -> AdanState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdanState(zeros, zeros, zeros, zeros, jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, AdanState]:
        del params
        first, t = state.t == 0, state.t + 1
        d = jax.tree.map(lambda g, old: jnp.where(first, 0.0, g - old), updates, state.before)
        ahead = jax.tree.map(lambda g, d: g + b2 * d, updates, d)
        m = optax.tree.update_moment(updates, state.m, b1, 1)
        v = optax.tree.update_moment(d, state.v, b2, 1)
        n = optax.tree.update_moment(ahead, state.n, b3, 2)
        moments = ((m, b1), (v, b2), (n, b3))
        hats = [optax.tree.bias_correction(average, b, t) for average, b in moments]
        scaled = jax.tree.map(lambda m, v, n: (m + b2 * v) / (jnp.sqrt(n) + eps), *hats)
        return scaled, AdanState(m, v, n, updates, t)

    return optax.GradientTransformation(init, update)


def skip_zeros(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`tx`, but for gradients that are all zero: then nothing moves, the state included.

    For rules that divide by a sum over all gradients so far: at first it would be 0 / 0.
    """
    tx = optax.with_extra_args_support(tx)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        zero = jnp.stack([jnp.all(g == 0) for g in jax.tree.leaves(updates)]).all()
        made, after = tx.update(updates, state, params, **extra)
        made = jax.tree.map(lambda u: jnp.where(zero, 0.0, u), made)
        return made, jax.tree.map(lambda a, b: jnp.where(zero, a, b), state, after)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def uncorrected(schedule: optax.Schedule, b1: float = 0.9, b2: float = 0.999) -> optax.Schedule:
    """The schedule over sqrt(1 - b2^t) / (1 - b1^t), t from 1: takes a bias correction back."""

    def rate(count: Any) -> Any:
        t = jnp.asarray(count, jnp.int32) + 1
        return schedule(count) * (1 - b1**t) / jnp.sqrt(1 - b2**t)

    return rate


def slow_average(
    num_steps: Any, start: float = 0.9, end: float = 0.9999, alpha: float = 8.0
) -> tuple[optax.Schedule, optax.Schedule]:
    """AdEMAMix's schedules over a run (Pagliardini et al. 2024, section 3): of beta3, of alpha.

    With a = min(1, t / T), alpha grows as a, and 1 / log(beta3) goes from that of `start` to that
    of `end`: the half-life of the slow average grows steadily.
    """

    def share(count: Any) -> jax.Array:
        t, total = jnp.asarray(count, jnp.float32), jnp.asarray(num_steps, jnp.float32)
        return jnp.minimum(1.0, t / total)

    def beta3(count: Any) -> jax.Array:
        a, first, last = share(count), jnp.log(start), jnp.log(end)
        return jnp.exp(first * last / ((1 - a) * last + a * first))

    return beta3, lambda count: alpha * share(count)
