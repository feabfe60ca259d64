"""A controller for every tensor: from what its averages say to the length of its steps.

Control of the step tensor by tensor: Metz et al. 2022, "VeLO". Arrays of shape (tensors,) have an
entry for every tensor of a tree.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from .._base import Theta
from ..transformation._guard import sum_squares
from ..transformation._rule import Tensors
from ..transformation._stacks import facts, gather
from ._accumulators import TINY, Accumulators, Estimates, corrections, estimates

NUM_TIMES, NUM_STATISTICS = 3, 12


class Seen(NamedTuple):
    """Of a stack: its momenta in float32, and estimates of sqrt(v_hat)."""

    momenta: list[jax.Array]
    estimate: Estimates


class Summary(NamedTuple):
    """Of every tensor, (tensors,) each.

    `fan_in`, `fan_out`: see `Layout`; `matrix`: 1 of a matrix, else 0; `v`, `p`, `g`, `m1`, `m2`,
    `m3`: means of v_hat, p^2, g^2 and the m_hat_k^2; `m2_p`: of m_hat_.9 p; `cosine`: between g
    and m_.9 before it.
    """

    fan_in: np.ndarray
    fan_out: np.ndarray
    matrix: np.ndarray
    v: jax.Array
    p: jax.Array
    g: jax.Array
    m1: jax.Array
    m2: jax.Array
    m3: jax.Array
    m2_p: jax.Array
    cosine: jax.Array


def summarise(stacks: Sequence[Tensors], t: jax.Array) -> tuple[list[Seen], Summary]:
    """What there is to know of every stack, after t + 1 gradients, and of every tensor."""
    correction, hats = corrections(t + 1)
    found = [
        x.stack.map(functools.partial(_look, x.stack.shape, correction), x.g, x.p, x.kept)
        for x in stacks
    ]
    groups = [x.stack for x in stacks]
    v, means = gather(groups, [(seen.estimate.mean, means) for seen, means in found])
    sides = facts(groups, lambda x: (x.layout.fan_in, x.layout.fan_out, x.layout.is_matrix))
    hat = means[:, :6] * jnp.stack([1.0, 1.0, *(s * s for s in hats), hats[1]])[None]
    every = [*sides.T, v, *hat.T, _cosine_before(means)]
    return [seen for seen, _ in found], Summary(*every)


def _look(
    shape: tuple[int, ...], correction: jax.Array, g: jax.Array, p: jax.Array, acc: Accumulators
) -> tuple[Seen, jax.Array]:
    """Of one tensor, and means of p^2, g^2, the m_k^2, m_2 p and m_2 g over it, (7,)."""
    # Of arrays that are in memory anyway: statistics of directions would make XLA store those too.
    m1, m2, m3 = momenta = [m.astype(jnp.float32) for m in acc.momenta]
    # One loop each: XLA's reduction of several arrays at once is slower on CPU.
    pairs = ((p, p), (m1, m1), (m2, m2), (m3, m3), (m2, p), (m2, g))
    p_p, *others = (jnp.mean(x * y) for x, y in pairs)
    means = jnp.stack([p_p, sum_squares(g) / max(1, g.size), *others])
    return Seen(momenta, estimates(acc.second, shape, correction)), means


def _cosine_before(means: jax.Array) -> jax.Array:
    """Between g and the momentum m_.9 before it: m = .9 m' + .1 g."""
    g_g, m_m, g_m = means[:, 1], means[:, 3], means[:, 6]
    g_before = (g_m - 0.1 * g_g) / 0.9
    before = (m_m - 0.2 * g_m + 0.01 * g_g) / 0.81
    # At least what rounding leaves: of the first step nothing else is left.
    before = jnp.maximum(before, 1e-4 * g_g)
    return g_before * rsqrt(g_g + TINY) * rsqrt(before + TINY)


def statistics(x: Summary, times: jax.Array) -> jax.Array:
    """What a controller sees of each tensor, (tensors, NUM_STATISTICS), about unit scale.

    Logarithms of its fans, of rms(p), and of rms(g) and rms(m_hat) over rms(sqrt(v_hat)); the
    cosine between m_hat_.9 and p; the time.
    """
    # Under roots as under `directions`, so that derivatives exist where nothing has a gradient.
    v, p, g, m1, m2, m3, m2_p = (y + TINY for y in x[3:10])
    sizes = [safe_log(jnp.sqrt(y) * rsqrt(v)) for y in (g, m1, m2, m3)]
    columns = [
        jnp.asarray(np.log(x.fan_in) / 2 - 2),
        jnp.asarray(np.log(x.fan_out) / 2 - 2),
        jnp.asarray(x.matrix),
        safe_log(jnp.sqrt(p)) / 2 + 1,
        sizes[0],
        sizes[1],
        sizes[2] + 1,
        sizes[3] + 2,
        4 * (m2_p * rsqrt(m2) * rsqrt(p)),
    ]
    times = jnp.broadcast_to(times, (len(v), NUM_TIMES))
    return jnp.concatenate([jnp.stack(columns, 1), times], 1)


def control(net: Theta, x: jax.Array) -> jax.Array:
    """(tensors, statistics) -> (tensors, outputs) log multipliers, at most 5 in size.

    x skip + tanh(x w1 + b1) w2, the second only where the net has it. The linear skip extrapolates
    as a power law in the statistics.
    """
    found = x @ net["skip"]
    if "w1" in net:
        found += jnp.tanh(x @ net["w1"] + net["b1"][None]) @ net["w2"]
    return jnp.clip(found, -5.0, 5.0)


def most_decay(decay: jax.Array, step_size: jax.Array) -> jax.Array:
    """One step takes at most half of a tensor: more than all would turn it over."""
    return jnp.minimum(decay, 0.5 / jnp.maximum(step_size, TINY))


def safe_log(x: jax.Array) -> jax.Array:
    """log(x + 1e-4)."""
    return jnp.log(x + 1e-4)
