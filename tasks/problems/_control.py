"""A policy that swings up a pendulum, its gradient estimated by evolution strategies.

Salimans et al. 2017, "Evolution strategies as a scalable alternative to reinforcement learning";
the pendulum and its cost are those of Gym (Brockman et al. 2016), Pendulum-v1.
"""

import dataclasses
import math
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from learned_opt._fields import Positive, Range, Size, Sizes

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem, with_gradient
from ._layers import Dense, on

WORST = math.pi**2 + 0.1 * 8.0**2 + 0.001 * 2.0**2
"""The cost of the worst state and torque: losses are shares of it."""


@dataclasses.dataclass(frozen=True)
class Control(Problem):
    """Mean cost of a policy over `steps` steps from the batch's starting angles and speeds.

    The gradient is mean_i e_i (L(p + e_i) - L(p - e_i)) / (2 sigma^2), e_i ~ N(0, sigma^2), over
    `pairs` pairs, over the units that are on: a black box, noisy and a little biased, as in
    reinforcement learning.

    Numbers: `length` of the pendulum (m), `mass` (kg), `width` and `gain` of the tanh policy.
    """

    name: ClassVar[str] = "control"
    source: ClassVar[str] = "Salimans et al. 2017; Brockman et al. 2016"
    kinds: ClassVar[tuple[str, ...]] = ("points",)
    dimension: ClassVar[int] = 2
    drawn: ClassVar[Drawn] = {
        "length": "lengths",
        "mass": "masses",
        "width": "widths",
        "gain": "gains",
    }
    max_width: Size = 8
    steps: Size = 40
    pairs: Size = 8
    sigma: Positive = 0.1
    widths: Sizes = (4, 8)
    lengths: Range = (0.7, 1.4)
    masses: Range = (0.7, 1.4)
    gains: Range = (0.5, 2.0)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self._policy(n).init(key, jnp.zeros((1, 3)))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The cost at the parameters; its gradient is the estimate under `key`."""
        flat, unravel = ravel_pytree(jax.lax.stop_gradient(params))
        noise = jax.random.normal(key, (self.pairs, *flat.shape)).astype(flat.dtype)
        alive, _ = ravel_pytree(self._alive(n, params))
        noise = self.sigma * noise * alive.astype(flat.dtype)[None]

        def cost(vector: jax.Array) -> jax.Array:
            return self.cost(n, unravel(vector), batch)

        ups, downs = jax.vmap(cost)(flat[None] + noise), jax.vmap(cost)(flat[None] - noise)
        weights = (ups - downs) / (2 * self.pairs * self.sigma**2)
        return with_gradient(cost(flat), unravel(weights @ noise), params), {}

    def cost(self, n: Numbers, params: Params, batch: Batch) -> jax.Array:
        """Mean of (angle^2 + speed^2 / 10 + torque^2 / 1000) / WORST; angle 0 is upright."""
        angle = 2 * math.pi * batch.x[:, 0] - math.pi
        speed = 2 * batch.x[:, 1] - 1

        def step(state: tuple[jax.Array, jax.Array], _: None):
            angle, speed = state
            seen = jnp.stack([jnp.cos(angle), jnp.sin(angle), speed], axis=1)
            torque = 2.0 * jnp.tanh(self._policy(n).apply(params, None, seen)[:, 0])
            wrapped = jnp.arctan2(jnp.sin(angle), jnp.cos(angle))
            cost = wrapped**2 + 0.1 * speed**2 + 0.001 * torque**2
            push = (
                15.0 / n["length"] * jnp.sin(angle) + 3.0 / (n["mass"] * n["length"] ** 2) * torque
            )
            speed = jnp.clip(speed + 0.05 * push, -8.0, 8.0)
            return (angle + 0.05 * speed, speed), cost.mean()

        _, costs = jax.lax.scan(step, (angle, speed), None, length=self.steps)
        return costs.mean() / WORST

    def _alive(self, n: Numbers, params: Params) -> Params:
        """1 for the parameters of units that are on, 0 for the others."""
        units = on(n["width"], self.max_width, jnp.float32)
        masks = {
            "dense": {"w": units[None], "b": units},
            "dense_1": {"w": units[:, None], "b": jnp.ones(1)},
        }
        return jax.tree.map(lambda m, p: jnp.broadcast_to(m, p.shape), masks, params)

    def _policy(self, n: Numbers) -> hk.Transformed:
        def forward(x: jax.Array) -> jax.Array:
            hidden = jnp.tanh(Dense(self.max_width, columns=n["width"], gain=n["gain"])(x))
            return Dense(1, rows=n["width"], gain=n["gain"])(hidden)

        return hk.transform(forward)
