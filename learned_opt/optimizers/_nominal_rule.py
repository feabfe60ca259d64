"""The bracket of `Nominal`, tensor by tensor: what XLA compiles, and what the kernels share.

Functions "per element" take arrays and scalars that broadcast against each other, so that they
serve whole tensors here and blocks of one in `_nominal_kernel`: the rule is written once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from .._base import Theta
from .._guard import sum_squares
from ..parts._accumulators import (
    TINY,
    Accumulators,
    corrections,
    directions,
    estimates,
    fans,
    update_accumulators,
)
from ..parts._pack import Pack

NUM_FEATURES, NUM_TIMES, NUM_STATISTICS, NUM_DIRECTIONS = 8, 3, 12, 6
BOUNDS = (2.0, 2.0, 1.0, 0.5, 0.5, 1.0, 2.0, 2.0)
"""Features are clipped there."""


class Clock(NamedTuple):
    """What all tensors share at a step: scalars, and `times` of shape (NUM_TIMES,).

    `t`: steps taken before; `times`: what the networks see of it; `step_size`: a; `decay`: w.
    """

    t: jax.Array
    times: jax.Array
    step_size: jax.Array
    decay: jax.Array


class Scales(NamedTuple):
    """Of one tensor, scalars, or of several side by side, as `Pack.spread` gives them.

    `p`, `root`: 1 / rms of the parameters and of sqrt(v_hat); `step`: exp(c_1); `decay`:
    w exp(c_2).
    """

    p: jax.Array
    root: jax.Array
    step: jax.Array
    decay: jax.Array


def update_pack(
    pack: Pack,
    theta: Theta,
    clock: Clock,
    grads: Sequence[jax.Array],
    params: Sequence[jax.Array],
    acc: Accumulators,
    accepted: jax.Array,
) -> tuple[list[jax.Array], Accumulators]:
    """Steps for the tensors of one pack, in the dtypes of `grads`, and the new accumulators.

    Where `accepted` is False these are the old ones, and the steps mean nothing.
    """
    g, p = pack.join(grads), pack.join(params)
    new = update_accumulators(pack, acc, g)
    acc = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), new, acc)
    correction, hats = corrections(clock.t + 1)
    found = estimates(pack, acc.second, correction)
    # Of arrays that are in memory anyway: statistics of directions would make XLA store those too.
    momenta = [m.astype(jnp.float32) for m in acc.momenta]
    arrays = [pack.split(x) for x in (p, g, *momenta)]
    means = jnp.stack([_means(*(parts[j] for parts in arrays)) for j in range(len(pack.shapes))])
    scales = tensor_scales(theta, pack, clock, found.means, means)
    scales = Scales(*(pack.spread(list(x)) for x in scales))
    net = gate_net(theta, clock)
    step = clock.step_size * bracket(
        net, scales, hats, g, p, momenta, found.root, found.inverse, found.factored
    )
    parts = zip(pack.split(step), grads, strict=True)
    return [part.astype(g.dtype) for part, g in parts], acc


def _means(p: jax.Array, g: jax.Array, m1: jax.Array, m2: jax.Array, m3: jax.Array) -> jax.Array:
    """Means of p^2, g^2, the m_k^2 and m_2 p over one tensor, (6,)."""
    # One loop each: XLA's reduction of several arrays at once is slower on CPU.
    p_p, *others = (jnp.mean(x) for x in products(p, m1, m2, m3))
    return jnp.stack([p_p, sum_squares(g) / max(1, g.size), *others])


def products(p: jax.Array, m1: jax.Array, m2: jax.Array, m3: jax.Array) -> Iterator[jax.Array]:
    """p^2, the m_k^2 and m_2 p, per element."""
    yield p * p
    for m in (m1, m2, m3):
        yield m * m
    yield m2 * p


def tensor_scales(
    theta: Theta, pack: Pack, clock: Clock, means_v: jax.Array, means: jax.Array
) -> Scales:
    """`Scales` of shape (tensors,) each, from means of v_hat, (tensors,), and `_means`."""
    _, hats = corrections(clock.t + 1)
    means *= jnp.stack([1.0, 1.0, *(s * s for s in hats), hats[1]])[None]
    means = jnp.concatenate([means_v[:, None], means], 1)
    statistics = _statistics(pack, means, clock.times)
    control = jnp.exp(_controller(theta["controller"], statistics))
    return Scales(
        p=rsqrt(means[:, 1] + TINY),
        root=rsqrt(means[:, 0] + TINY),
        step=control[:, 0],
        decay=clock.decay * control[:, 1],
    )


def _statistics(pack: Pack, means: jax.Array, times: jax.Array) -> jax.Array:
    """What the controller sees of each tensor, (tensors, NUM_STATISTICS), about unit scale.

    Logarithms of its fans, of rms(p), and of rms(g) and rms(m_hat) over rms(sqrt(v_hat)); the
    cosine between m_hat_{0.9} and p; the time.
    """
    # Under roots as under `directions`, so that derivatives exist where nothing has a gradient.
    second, p, *others, product = list((means + TINY).T)
    shapes = [(*fans(shape), len(shape) >= 2) for shape in pack.shapes]
    fan_in, fan_out, is_matrix = np.asarray(shapes, np.float32).T
    g, m1, m2, m3 = [_log(jnp.sqrt(x) * rsqrt(second)) for x in others]
    cosine = product * rsqrt(others[2]) * rsqrt(p)
    statistics = [
        jnp.asarray(np.log(fan_in) / 2 - 2),
        jnp.asarray(np.log(fan_out) / 2 - 2),
        jnp.asarray(is_matrix),
        _log(jnp.sqrt(p)) / 2 + 1,
        g,
        m1,
        m2 + 1,
        m3 + 2,
        4 * cosine,
    ]
    times = jnp.broadcast_to(times, (len(shapes), NUM_TIMES))
    return jnp.concatenate([jnp.stack(statistics, 1), times], 1)


def _controller(net: Theta, x: jax.Array) -> jax.Array:
    """(tensors, NUM_STATISTICS) -> (tensors, 2) log multipliers, at most 5 in size.

    The linear skip extrapolates as a power law in the statistics.
    """
    hidden = jnp.tanh(x @ net["w1"] + net["b1"][None])
    return jnp.clip(hidden @ net["w2"] + x @ net["skip"], -5.0, 5.0)


def gate_net(theta: Theta, clock: Clock) -> Theta:
    """The weights of the gates for unscaled features; the time is a part of the first bias."""
    net = dict(theta["gate"])
    net["b1"] = net["b1"] + clock.times @ net["w1"][NUM_FEATURES:]
    net["w1"] = net["w1"][:NUM_FEATURES] / jnp.asarray(BOUNDS)[:, None]
    return net


def bracket(
    net: Theta,
    scales: Scales,
    hats: Sequence[jax.Array],
    g: jax.Array,
    p: jax.Array,
    momenta: Sequence[jax.Array],
    root: jax.Array,
    inverse: jax.Array,
    factored: jax.Array,
) -> jax.Array:
    """The bracket of the equation in `Nominal`, per element.

    `net` as from `gate_net`: arrays, or anything that gives scalars under the same indices;
    `hats`: the corrections of the momenta; the last three as in `Estimates`.
    """
    newest, fast, slow, slowest, by_factors = directions(g, momenta, inverse, factored, hats)
    relative_p, relative_root = p * scales.p, root * scales.root
    features = [
        jnp.abs(newest),
        jnp.abs(fast),
        jnp.abs(slow),
        jnp.abs(slowest),
        fast * slowest,
        slow * relative_p,
        jnp.abs(relative_p),
        relative_root,
    ]
    dirs = [newest, fast, slow, slowest, by_factors, relative_p]
    mixed = sum(gate * d for gate, d in zip(_gates(net, features), dirs, strict=True))
    return scales.step * mixed + scales.decay * p


def _gates(net: Theta, features: list[jax.Array]) -> list[jax.Array]:
    """Per-element MLP written as scalar-times-array sums: XLA fuses it into one loop a tensor.

    It sees feature_i / BOUNDS_i clipped to [-1, 1].
    """
    # The division is the weights'.
    clipped = [_clip(x, bound) for x, bound in zip(features, BOUNDS, strict=True)]
    hidden = _layer(clipped, net["w1"], net["b1"])
    hidden = _layer(hidden, net["w2"], net["b2"])
    return [
        net["b3"][k] + sum(net["w3"][j, k] * x for j, x in enumerate(hidden))
        for k in range(NUM_DIRECTIONS)
    ]


def _layer(inputs: list[jax.Array], w: jax.Array, b: jax.Array) -> list[jax.Array]:
    return [_relu(b[k] + sum(w[j, k] * x for j, x in enumerate(inputs))) for k in range(w.shape[1])]


def _relu(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, 0.0)


def _clip(x: jax.Array, bound: float) -> jax.Array:
    """Cheaper than jnp.clip, which must pass on a NaN: no gradient with one comes this far."""
    x = jnp.where(x > bound, bound, x)
    return jnp.where(x < -bound, -bound, x)


def _log(x: jax.Array) -> jax.Array:
    return jnp.log(x + 1e-4)
