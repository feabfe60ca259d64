"""A physics-informed network: Burgers' equation (Raissi, Perdikaris & Karniadakis 2019)."""

import dataclasses
import math
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from .._base import Batch, Numbers, Params, Spec
from .._problem import Problem, Range, log_uniform, log_uniform_int
from ._layers import Dense


@dataclasses.dataclass(frozen=True)
class PINN(Problem):
    """A tanh network u(t, x) that should satisfy u_t + u u_x = viscosity u_xx on [0,1] x [-1,1].

    Loss: the mean squared residual at the batch's points, plus the mean squared errors of
    u(0, x) = -sin(pi x) and of u(t, -1) = u(t, 1) = 0 at the same t and x. Derivatives are exact
    (forward mode).

    Numbers: `viscosity` (0.01 / pi in the paper), `width`, `gain`, the initial scale relative to
    LeCun's.
    """

    name: ClassVar[str] = "pinn"
    source: ClassVar[str] = "Raissi et al. 2019"
    kinds: ClassVar[tuple[str, ...]] = ("points",)
    dimension: ClassVar[int] = 2
    max_width: int = 24
    layers: int = 2
    widths: Range = (12, 24)
    viscosities: Range = (0.003, 0.3)
    gains: Range = (0.7, 2.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw viscosity, width and initial scale."""
        keys = jax.random.split(key, 3)
        return {
            "viscosity": log_uniform(keys[0], self.viscosities),
            "width": log_uniform_int(keys[1], self.widths),
            "gain": log_uniform(keys[2], self.gains),
        }

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self._network(n).init(key, jnp.zeros((1, 2)))

    def loss(
        self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Residual plus initial and boundary errors; the residual alone among the metrics."""
        time, place = batch.x[:, :1], 2.0 * batch.x[:, 1:] - 1.0

        def u(t: jax.Array, x: jax.Array) -> jax.Array:
            return self._network(n).apply(params, None, jnp.concatenate([t, x], axis=1))

        one = jnp.ones_like(place)

        def value_and_slope(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.jvp(lambda x: u(time, x), (x,), (one,))

        (value, slope), (_, curvature) = jax.jvp(value_and_slope, (place,), (one,))
        _, change = jax.jvp(lambda t: u(t, place), (time,), (one,))
        residual = jnp.mean((change + value * slope - n["viscosity"] * curvature) ** 2)
        start = u(jnp.zeros_like(time), place) + jnp.sin(jnp.asarray(math.pi, place.dtype) * place)
        edges = u(time, one) ** 2 + u(time, -one) ** 2
        total = residual + jnp.mean(start**2) + jnp.mean(edges)
        return total.astype(jnp.float32), {"residual": residual.astype(jnp.float32)}

    def _network(self, n: Numbers) -> hk.Transformed:
        def forward(x: jax.Array) -> jax.Array:
            rows = None
            for _ in range(self.layers):
                layer = Dense(self.max_width, rows=rows, columns=n["width"], gain=n["gain"])
                x, rows = jnp.tanh(layer(x)), n["width"]
            return Dense(1, rows=rows, gain=n["gain"])(x)

        return hk.transform(forward)
