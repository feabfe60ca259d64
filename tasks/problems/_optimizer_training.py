"""A learned optimizer as the thing to be trained: the loss is how well it trains quadratics.

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent"; as an inner
task of meta-training: Metz et al. 2022 (VeLO), "Training learned optimizers with themselves".
"""

import dataclasses
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Range, Size, Sizes

from .._base import Batch, Numbers, Params, Spec
from .._problem import Problem, log_uniform, log_uniform_int
from ._layers import Dense


@dataclasses.dataclass(frozen=True)
class OptimizerTraining(Problem):
    """Parameters: a per-element MLP from gradient and momentum to a step; gradient by backprop.

    Each example is a quadratic, f(q) = mean_i curvature_i q_i^2 / 2: its point is the start.
    Features of g_i = curvature_i q_i: g and m (momentum .9) over rms(g), and log(rms(g)) / 10; the
    step is `rate` times the output. Loss: the mean over
    the steps of 10 tanh(f(q_t) / (10 f(q_0))).

    Numbers: `condition` of the quadratics, `rate`, `width` and `gain` of the MLP.
    """

    name: ClassVar[str] = "learned_optimizer"
    source: ClassVar[str] = "Andrychowicz et al. 2016"
    kinds: ClassVar[tuple[str, ...]] = ("points",)
    steps: Size = 12
    max_width: Size = 8
    widths: Sizes = (4, 8)
    conditions: Range = (1.0, 30.0)
    rates: Range = (0.1, 0.5)
    gains: Range = (0.3, 1.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the quadratics' condition and the MLP's scales."""
        keys = jax.random.split(key, 4)
        return {
            "condition": log_uniform(keys[0], self.conditions),
            "rate": log_uniform(keys[1], self.rates),
            "width": log_uniform_int(keys[2], self.widths),
            "gain": log_uniform(keys[3], self.gains),
        }

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self._network(n).init(key, jnp.zeros((1, 3)))

    def loss(
        self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean over the batch's quadratics."""
        start = 2.0 * batch.x - 1.0
        powers = jnp.linspace(0.0, 1.0, spec.shape[0], dtype=start.dtype)
        curvature = (n["condition"] ** -powers)[None]

        def f(q: jax.Array) -> jax.Array:
            return 0.5 * jnp.mean(curvature * q**2, axis=1)

        first = f(start) + 1e-6

        def step(carry: tuple[jax.Array, jax.Array], _: None):
            q, m = carry
            g = curvature * q
            m = 0.9 * m + 0.1 * g
            rms = jnp.sqrt(jnp.mean(g**2, axis=1, keepdims=True) + 1e-8)
            level = jnp.broadcast_to(0.1 * jnp.log(rms), g.shape)
            features = jnp.stack([g / rms, m / rms, level], axis=-1)
            q = q - n["rate"] * self._network(n).apply(params, None, features)[..., 0]
            ratio = f(q) / first
            # A bounded loss with a gradient everywhere: r for small r, 10 at most.
            return (q, m), jnp.mean(10.0 * jnp.tanh(ratio / 10.0))

        _, losses = jax.lax.scan(step, (start, jnp.zeros_like(start)), None, length=self.steps)
        return losses.mean().astype(jnp.float32), {}

    def _network(self, n: Numbers) -> hk.Transformed:
        def forward(x: jax.Array) -> jax.Array:
            hidden = jax.nn.silu(Dense(self.max_width, columns=n["width"], gain=n["gain"])(x))
            return Dense(1, rows=n["width"], gain=n["gain"])(hidden)

        return hk.transform(forward)
