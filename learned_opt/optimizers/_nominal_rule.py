"""The bracket of `Nominal`: what all its tensors go through at a step.

Functions "per element" take arrays and scalars that broadcast against each other.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from .._base import Theta
from ..parts._accumulators import (
    Accumulators,
    Estimates,
    corrections,
    directions,
    estimates,
)
from ..parts._orthogonal import equalised
from ..shell._guard import sum_squares
from ..shell._rule import Tensors
from ..shell._stacks import facts, gather
from ._nominal_scales import Clock, Memory, Scales, Sides, tensor_scales

NUM_FEATURES, NUM_DIRECTIONS = 8, 6
BOUNDS = (2.0, 2.0, 1.0, 0.5, 0.5, 1.0, 2.0, 2.0)
"""Features are clipped there."""


def steps_of(
    theta: Theta, clock: Clock, stacks: Sequence[Tensors], memory: Memory, orthogonal: bool
) -> tuple[list[jax.Array], Memory]:
    """The steps of every stack, and what is remembered after them."""
    correction, hats = corrections(clock.t + 1)
    groups = [x.stack for x in stacks]
    found = []
    for x in stacks:
        estimate = functools.partial(_estimate, x.stack.shape, correction)
        found.append(x.stack.map(estimate, x.g, x.p, x.kept))
    means_v, means = gather(groups, [(estimate.mean, means) for _, estimate, means in found])
    sides = facts(groups, lambda x: (x.layout.fan_in, x.layout.fan_out, x.layout.is_matrix))
    scales, memory = tensor_scales(theta, Sides(*sides.T), clock, means_v, means, memory)
    net = gate_net(theta, clock)
    steps = []
    for x, (momenta, estimate, _) in zip(stacks, found, strict=True):
        own = x.stack.each(scales)
        mix = functools.partial(mixture, net, hats)
        mixed = x.stack.map(mix, own, x.g, x.p, momenta, estimate)
        if orthogonal and x.stack.layout.is_matrix:
            # Nesterov's momentum as it is: over sqrt(v) no better.
            mixed = equalised(0.1 * x.g + 0.9 * hats[1] * momenta[1], x.stack.shape)
        steps.append(clock.step_size * x.stack.map(bracket, own, mixed, x.p))
    return steps, memory


def _estimate(
    shape: tuple[int, ...], correction: jax.Array, g: jax.Array, p: jax.Array, acc: Accumulators
) -> tuple[list[jax.Array], Estimates, jax.Array]:
    """Momenta in float32, estimates of sqrt(v_hat), and `_means`, of one tensor."""
    # Of arrays that are in memory anyway: statistics of directions would make XLA store those too.
    momenta = [m.astype(jnp.float32) for m in acc.momenta]
    return momenta, estimates(acc.second, shape, correction), _means(p, g, *momenta)


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
    hats: Sequence[jax.Array],
    scales: Scales,
    g: jax.Array,
    p: jax.Array,
    momenta: Sequence[jax.Array],
    estimate: Estimates,
) -> jax.Array:
    """sum_k gate_k d_k of the equation in `Nominal`, of one tensor.

    `net`: as from `gate_net`; `hats`: the corrections of the momenta; `scales`: the tensor's own.
    """
    root, inverse, factored, _ = estimate
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
