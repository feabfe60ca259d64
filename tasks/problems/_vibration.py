"""A vibrating string by a physics-informed network: the wave equation, second order in time.

Raissi, Perdikaris & Karniadakis 2019, "Physics-informed neural networks"; the equation and its
solution: d'Alembert 1747.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Range, Size, Sizes

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem
from ._pinn import tanh_network


@dataclasses.dataclass(frozen=True)
class Vibration(Problem):
    """A tanh network u(t, x) that should satisfy u_tt = speed^2 u_xx on [0,1] x [0,1].

    u(0, x) = sin(pi modes x), u_t(0, x) = 0, u(t, 0) = u(t, 1) = 0, so that u is
    cos(pi modes speed t) times its start. Loss: the mean squared residual at the batch's points,
    plus the mean squared errors of the four conditions at the same t and x.

    Numbers: `speed`; `modes`, half waves of the start; `width`; `gain`, the initial scale relative
    to LeCun's.
    """

    name: ClassVar[str] = "vibration"
    source: ClassVar[str] = "Raissi et al. 2019"
    kinds: ClassVar[tuple[str, ...]] = ("points",)
    dimension: ClassVar[int] = 2
    drawn: ClassVar[Drawn] = {
        "speed": "speeds",
        "modes": "modes",
        "width": "widths",
        "gain": "gains",
    }
    max_width: Size = 24
    layers: Layers = 2
    speeds: Range = (0.3, 1.0)
    modes: Counts = (1, 2)
    widths: Sizes = (12, 24)
    gains: Range = (0.7, 2.0)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return tanh_network(n, self.max_width, self.layers).init(key, jnp.zeros((1, 2)))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """Residual plus errors of start and sides; the residual alone among the metrics."""
        network = tanh_network(n, self.max_width, self.layers)
        time, place = batch.x[:, :1], batch.x[:, 1:]
        zero = jnp.zeros_like(time)

        def u(t: jax.Array, x: jax.Array) -> jax.Array:
            return network.apply(params, None, jnp.concatenate([t, x], axis=1))

        bend = _derivative(_derivative(lambda x: u(time, x)))(place)
        push = _derivative(_derivative(lambda t: u(t, place)))(time)
        residual = jnp.mean((push - n["speed"] ** 2 * bend) ** 2)
        value, rate = jax.jvp(lambda t: u(t, place), (zero,), (jnp.ones_like(time),))
        start = value - jnp.sin(math.pi * n["modes"].astype(place.dtype) * place)
        sides = u(time, zero) ** 2 + u(time, jnp.ones_like(place)) ** 2
        total = residual + jnp.mean(start**2) + jnp.mean(rate**2) + jnp.mean(sides)
        return total.astype(jnp.float32), {"residual": residual.astype(jnp.float32)}


def _derivative(f: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Of a function of a column, element by element, in forward mode."""
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]
