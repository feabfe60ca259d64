"""Gated Adam: AdamW, a network that mixes directions element by element, a controller per tensor.

Nominal terms for stability: Harrison, Metz, Sohl-Dickstein 2022, "A Closer Look at Learned
Optimization". Per-tensor control of the step: Metz et al. 2022, "VeLO".
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from .._base import Theta
from .._fields import Width
from ..parts._accumulators import TINY, corrections, directions
from ..parts._control import (
    NUM_STATISTICS,
    NUM_TIMES,
    Seen,
    control,
    most_decay,
    statistics,
    summarise,
)
from ..parts._controlled import Controlled, seen_times
from ..transformation._rule import Change, Now, Tensors

NUM_FEATURES, NUM_DIRECTIONS = 8, 6
ADAM = 2  # index of m_hat_.9 / sqrt(v_hat) among the directions
BOUNDS = (2.0, 2.0, 1.0, 0.5, 0.5, 1.0, 2.0, 2.0)
"""Features are clipped there."""


@dataclasses.dataclass(frozen=True)
class GatedAdam(Controlled):
    """AdamW with a gate per element and a controller per tensor: what `quickstart` is.

    For a tensor p at step t of T::

        p <- p - a(t) [ exp(c) sum_k gate_k d_k + min(w exp(c'), 1 / (2 a)) p ]

    d_1..d_6: (g, m_.5, m_.9, m_.99, m_.9 factored) / sqrt(v) and p / rms(p), with m_b an EMA of g
    and v one of g^2; gate_k: an MLP of 8 features of each element; (c, c'): a controller that sees
    12 statistics of the tensor; a: warm-up then power decay from `learning_rate`; w:
    `weight_decay`. At initialisation the gates are one for m_.9 and zero elsewhere, and c = 0:
    exactly AdamW.

    The features are even in (p, g), so the rule commutes with a flip of sign of any coordinate, and
    unchanged under g -> c g, so the scale of the loss does not matter.

    Args:
      learning_rate: step size a at its peak, at initialisation.
      weight_decay: decoupled decay w in units of the step size, at initialisation.
      warmup: fraction of the run with linearly growing step size.
      momenta: dtype in which the three momenta are stored, "float32" or "bfloat16".
      factored: keep the second moment of matrices as means over rows and over columns. With
        bfloat16 momenta 1.5 floats of state a parameter instead of 4.
      horizon_free: `num_steps` may be left out and changes nothing. The step size warms up over 50
        steps, then falls as the root of the time, at initialisation; `warmup` has no effect.
      hidden: width of the gates' MLP.
      controller_hidden: width of the controller.

    Raises:
      ValueError: an argument out of its range.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.GatedAdam()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> tx = optimizer.transform(theta, num_steps=100)
    """

    name: ClassVar[str] = "gated_adam"
    use: ClassVar[str] = "Starts as AdamW; learns a direction for every element in little time."
    hidden: Width = 4
    controller_hidden: Width = 16

    def init(self, key: jax.Array) -> Theta:
        """Random first layers, zero last layers: what the networks add is nothing."""
        key_gate, key_mix, key_control = jax.random.split(key, 3)
        h, c = self.hidden, self.controller_hidden
        adam = np.zeros(NUM_DIRECTIONS, np.float32)
        adam[ADAM] = 1.0
        gate = {
            "w1": _normal(key_gate, NUM_FEATURES + NUM_TIMES, h),
            "b1": jnp.zeros(h, jnp.float32),
            "w2": _normal(key_mix, h, h),
            "b2": jnp.zeros(h, jnp.float32),
            "w3": jnp.zeros((h, NUM_DIRECTIONS), jnp.float32),
            "b3": jnp.asarray(adam),
        }
        controller = {
            "skip": jnp.zeros((NUM_STATISTICS, 2), jnp.float32),
            "w1": _normal(key_control, NUM_STATISTICS, c),
            "b1": jnp.zeros(c, jnp.float32),
            "w2": jnp.zeros((c, 2), jnp.float32),
        }
        return {**self._init_scalars(), "controller": controller, "gate": gate}

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        theta, times = now.theta, seen_times(now)
        every, x = summarise(stacks, now.t)
        log_step, log_decay = control(theta["controller"], statistics(x, times)).T
        decay = most_decay(self._decay(theta) * jnp.exp(log_decay), now.size)
        scales = Scales(rsqrt(x.p + TINY), rsqrt(x.v + TINY), jnp.exp(log_step), decay)
        _, hats = corrections(now.t + 1)
        step = functools.partial(_bracket, _gate_net(theta["gate"], times), hats)
        steps = [
            now.size * x.stack.map(step, x.stack.each(scales), x.g, x.p, seen)
            for x, seen in zip(stacks, every, strict=True)
        ]
        return Change(steps, None, now.memory)


class Scales(NamedTuple):
    """Of every tensor, (tensors,) each.

    `p`, `root`: 1 / rms of the parameters and of sqrt(v_hat); `step`: exp(c); `decay`: the factor
    of p in the bracket.
    """

    p: jax.Array
    root: jax.Array
    step: jax.Array
    decay: jax.Array


def _gate_net(gate: Theta, times: jax.Array) -> Theta:
    """The weights of the gates for unscaled features; the time is a part of the first bias."""
    return gate | {
        "b1": gate["b1"] + times @ gate["w1"][NUM_FEATURES:],
        "w1": gate["w1"][:NUM_FEATURES] / jnp.asarray(BOUNDS)[:, None],
    }


def _bracket(
    net: Theta, hats: Sequence[jax.Array], scales: Scales, g: jax.Array, p: jax.Array, seen: Seen
) -> jax.Array:
    """The bracket of the equation, of one tensor; `hats`: the corrections of the momenta."""
    root, inverse, factored, _ = seen.estimate
    newest, fast, slow, slowest, by_factors = directions(g, seen.momenta, inverse, factored, hats)
    relative_p = p * scales.p
    features = [
        jnp.abs(newest),
        jnp.abs(fast),
        jnp.abs(slow),
        jnp.abs(slowest),
        fast * slowest,
        slow * relative_p,
        jnp.abs(relative_p),
        root * scales.root,
    ]
    dirs = [newest, fast, slow, slowest, by_factors, relative_p]
    mixed = [gate * d for gate, d in zip(_gates(net, features), dirs, strict=True)]
    return scales.step * functools.reduce(jnp.add, mixed) + scales.decay * p


def _gates(net: Theta, features: list[jax.Array]) -> list[jax.Array]:
    """An MLP per element written as scalar-times-array sums: XLA fuses it into one loop a tensor.

    It sees feature_i / BOUNDS_i clipped to [-1, 1]; the division is the weights'.
    """
    units = [_clip(x, bound) for x, bound in zip(features, BOUNDS, strict=True)]
    for i in (1, 2):
        units = [jnp.where(x > 0, x, 0.0) for x in _layer(units, net[f"w{i}"], net[f"b{i}"])]
    return _layer(units, net["w3"], net["b3"])


def _layer(inputs: list[jax.Array], w: jax.Array, b: jax.Array) -> list[jax.Array]:
    return [b[k] + sum(w[j, k] * x for j, x in enumerate(inputs)) for k in range(w.shape[1])]


def _clip(x: jax.Array, bound: float) -> jax.Array:
    """Cheaper than jnp.clip, which must pass on a NaN: no gradient with one comes this far."""
    x = jnp.where(x > bound, bound, x)
    return jnp.where(x < -bound, -bound, x)


def _normal(key: jax.Array, fan_in: int, fan_out: int) -> jax.Array:
    normal = jax.random.normal(key, (fan_in, fan_out), jnp.float32)
    return normal / np.sqrt(fan_in).astype(np.float32)
