"""A policy that balances a pole on a cart, its gradient estimated from simulated episodes.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning" (REINFORCE); the leave-one-out baseline: Kool, van Hoof & Welling 2019, "Buy 4 REINFORCE
samples, get a baseline for free!"; cart and pole: Barto, Sutton & Anderson 1983; a cost that
saturates: Deisenroth & Rasmussen 2011, "PILCO".
"""

import dataclasses
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Range, Size, Sizes

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem, with_gradient
from ._layers import Dense

GRAVITY, CART, FORCE, TICK = 9.8, 1.0, 10.0, 0.04
"""m/s^2, kg, N, s."""
STARTS = (1.0, 1.0, 0.3, 1.0)
"""Largest place (m), speed, angle (rad; 0 is upright) and its rate at the start."""
LIMIT = 10.0
"""Of speed and rate, so that a pole that fell cannot overflow."""


@dataclasses.dataclass(frozen=True)
class PolicyGradient(Problem):
    """Mean cost, in [0, 1], of `steps` steps of 0.04 s, an episode from each start of the batch.

    At every step the cart is pushed with 10 N to the right with probability sigmoid(policy(state)),
    else to the left. A state costs 1 - exp(-(angle / 0.3)^2 / 2 - place^2 / 8). The gradient is
    that of mean_i sum_t (c_it - mean_{j != i} c_jt) log pi(a_it | s_it), c_it the mean cost of
    episode i counted from step t on: unbiased, and noisy.

    Numbers: `length` of half the pole (m), its `mass` (kg), `width` and `gain` of the tanh policy.
    """

    name: ClassVar[str] = "policy_gradient"
    source: ClassVar[str] = "Williams 1992; Kool et al. 2019; Barto et al. 1983"
    kinds: ClassVar[tuple[str, ...]] = ("points",)
    dimension: ClassVar[int] = 4
    drawn: ClassVar[Drawn] = {
        "length": "lengths",
        "mass": "masses",
        "width": "widths",
        "gain": "gains",
    }
    max_width: Size = 16
    steps: Size = 40
    widths: Sizes = (8, 16)
    lengths: Range = (0.4, 0.8)
    masses: Range = (0.05, 0.2)
    gains: Range = (0.5, 2.0)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self._policy(n).init(key, jnp.zeros((1, 4)))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The mean cost of episodes drawn under `key`; its gradient is the estimate."""
        params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
        states, rights, costs = self._episodes(n, jax.lax.stop_gradient(params), batch, key)
        ahead = jnp.cumsum(costs[::-1], axis=0)[::-1] / self.steps
        others = max(costs.shape[1] - 1, 1)  # an episode that is alone has no baseline
        advantage = ahead - (ahead.sum(1, keepdims=True) - ahead) / others

        def surrogate(params: Params) -> jax.Array:
            logits = self._logits(n, params, states.reshape(-1, 4)).reshape(rights.shape)
            chosen = jax.nn.log_sigmoid(jnp.where(rights, logits, -logits))
            return jnp.mean(jnp.sum(advantage * chosen, axis=0))

        grads = jax.grad(surrogate)(jax.lax.stop_gradient(params))
        return with_gradient(costs.mean(), grads, params), {}

    def _episodes(
        self, n: Numbers, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """States (steps, batch, 4) before each push, whether it was to the right, costs after."""
        start = (2.0 * batch.x.astype(jnp.float32) - 1.0) * jnp.asarray(STARTS)[None]
        draws = jax.random.uniform(key, (self.steps, len(start)))

        def step(state: jax.Array, draw: jax.Array):
            right = draw < jax.nn.sigmoid(self._logits(n, params, state))
            after = move(n, state, jnp.where(right, FORCE, -FORCE))
            place, angle = after[:, 0], after[:, 2]
            cost = 1.0 - jnp.exp(-((angle / 0.3) ** 2) / 2 - place**2 / 8)
            return after, (state, right, cost)

        return jax.lax.scan(step, start, draws)[1]

    def _logits(self, n: Numbers, params: Params, states: jax.Array) -> jax.Array:
        return self._policy(n).apply(params, None, states)[:, 0]

    def _policy(self, n: Numbers) -> hk.Transformed:
        def forward(x: jax.Array) -> jax.Array:
            hidden = jnp.tanh(Dense(self.max_width, columns=n["width"], gain=n["gain"])(x))
            return Dense(1, rows=n["width"], gain=n["gain"])(hidden)

        return hk.transform(forward)


def move(n: Numbers, states: jax.Array, force: jax.Array) -> jax.Array:
    """States (batch, 4) one tick later under `force` (batch,), speeds first (symplectic Euler)."""
    place, speed, angle, rate = states.T
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    mass, length = n["mass"].astype(jnp.float32), n["length"].astype(jnp.float32)
    push = (force + mass * length * rate**2 * sin) / (CART + mass)
    turn = (GRAVITY * sin - cos * push) / (length * (4 / 3 - mass * cos**2 / (CART + mass)))
    speed = speed + TICK * (push - mass * length * turn * cos / (CART + mass))
    speed, rate = jnp.clip(speed, -LIMIT, LIMIT), jnp.clip(rate + TICK * turn, -LIMIT, LIMIT)
    return jnp.stack([place + TICK * speed, speed, angle + TICK * rate, rate], axis=1)
