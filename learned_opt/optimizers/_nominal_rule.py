"""The bracket of `Nominal`, tensor by tensor: what XLA compiles, and what the kernels share.

Functions "per element" take arrays and scalars that broadcast against each other, so that they
serve whole tensors here and blocks of one in `_nominal_kernel`: the rule is written once.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from .._base import Theta
from .._guard import sum_squares
from ..parts._accumulators import (
    Accumulators,
    corrections,
    directions,
    estimates,
    update_accumulators,
)
from ..parts._orthogonal import equalised
from ..parts._pack import Pack
from ..parts._shapes import is_matrix
from ._nominal_scales import Clock, Memory, Scales, tensor_scales

NUM_FEATURES, NUM_DIRECTIONS = 8, 6
BOUNDS = (2.0, 2.0, 1.0, 0.5, 0.5, 1.0, 2.0, 2.0)
"""Features are clipped there."""


def update_pack(
    pack: Pack,
    theta: Theta,
    clock: Clock,
    grads: Sequence[jax.Array],
    params: Sequence[jax.Array],
    acc: Accumulators,
    memory: Memory,
    accepted: jax.Array,
    orthogonal: bool = False,
) -> tuple[list[jax.Array], Accumulators, Memory]:
    """Steps for the tensors of one pack, in the dtypes of `grads`, accumulators, and memory.

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
    scales, newer = tensor_scales(theta, pack, clock, found.means, means, memory)
    memory = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), newer, memory)
    scales = Scales(*(pack.spread(list(x)) for x in scales))
    mixed = mixture(gate_net(theta, clock), scales, hats, g, p, momenta, *found[:3])
    if orthogonal:
        # Nesterov's momentum as it is: over sqrt(v) no better (docs/meta-training-log.md, 14).
        ahead = equalised(pack.split(0.1 * g + 0.9 * hats[1] * momenta[1]))
        parts = zip(ahead, pack.split(mixed), strict=True)
        mixed = pack.join([a if is_matrix(a.shape) else m for a, m in parts])
    step = clock.step_size * bracket(scales, mixed, p)
    parts = zip(pack.split(step), grads, strict=True)
    return [part.astype(g.dtype) for part, g in parts], acc, memory


def _means(p: jax.Array, g: jax.Array, m1: jax.Array, m2: jax.Array, m3: jax.Array) -> jax.Array:
    """Means of p^2, g^2, the m_k^2, m_2 p and m_2 g over one tensor, (7,)."""
    # One loop each: XLA's reduction of several arrays at once is slower on CPU.
    p_p, *others = (jnp.mean(x) for x in products(p, g, m1, m2, m3))
    return jnp.stack([p_p, sum_squares(g) / max(1, g.size), *others])


def products(
    p: jax.Array, g: jax.Array, m1: jax.Array, m2: jax.Array, m3: jax.Array
) -> Iterator[jax.Array]:
    """p^2, the m_k^2, m_2 p and m_2 g, per element."""
    yield p * p
    for m in (m1, m2, m3):
        yield m * m
    yield m2 * p
    yield m2 * g


def gate_net(theta: Theta, clock: Clock) -> Theta:
    """The weights of the gates for unscaled features; the time is a part of the first bias.

    Empty where there is no network: Adam's direction alone.
    """
    if "gate" not in theta:
        return {}
    net = dict(theta["gate"])
    net["b1"] = net["b1"] + clock.times @ net["w1"][NUM_FEATURES:]
    net["w1"] = net["w1"][:NUM_FEATURES] / jnp.asarray(BOUNDS)[:, None]
    return net


def bracket(scales: Scales, mixed: jax.Array, p: jax.Array) -> jax.Array:
    """The bracket of the equation in `Nominal`, per element, from `mixture`."""
    return scales.step * mixed + scales.decay * p


def mixture(
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
    """sum_k gate_k d_k of the equation in `Nominal`, per element.

    `net` as from `gate_net`: arrays, or anything that gives scalars under the same indices;
    `hats`: the corrections of the momenta; the last three as in `Estimates`.
    """
    newest, fast, slow, slowest, by_factors = directions(g, momenta, inverse, factored, hats)
    if not net:
        return slow
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
    mixed = [gate * d for gate, d in zip(_gates(net, features), dirs, strict=True)]
    return functools.reduce(jnp.add, mixed)


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
