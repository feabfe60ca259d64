"""Physics-informed networks (Raissi, Perdikaris & Karniadakis 2019): three equations in t and x.

Burgers' equation as in the paper; Allen & Cahn 1979 with the paper's start; heat, whose solution
is known, by the same method. The two others are there because an optimizer that failed at
Burgers' equation was to be trained, and judged, on its kin.
"""

import abc
import dataclasses
import math
from typing import Any, ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Range, Size, Sizes

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem
from ._layers import Dense


class Equation(Problem):
    """Base: u_t = F(u, u_x, u_xx) for t in [0, 1] and x in [`left`, 1], by a network u(t, x).

    Loss: the mean squared residual at the batch's points, plus the mean squared errors of
    u(0, x) = start(x) and of u(t, left) = u(t, 1) = `side` at the same t and x. Derivatives are
    exact (forward mode).
    """

    kinds: ClassVar[tuple[str, ...]] = ("points",)
    dimension: ClassVar[int] = 2
    left: ClassVar[float] = -1.0
    side: ClassVar[float] = 0.0
    max_width: int
    layers: Any

    @abc.abstractmethod
    def start(self, n: Numbers, x: jax.Array) -> jax.Array:
        """u(0, x), which at both ends is `side`."""
        ...

    @abc.abstractmethod
    def residual(
        self, n: Numbers, u: jax.Array, u_t: jax.Array, u_x: jax.Array, u_xx: jax.Array
    ) -> jax.Array:
        """What is 0 wherever the equation holds."""
        ...

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self.network(n).init(key, jnp.zeros((1, 2)))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """Residual plus initial and boundary errors; the residual alone among the metrics."""
        time, place = batch.x[:, :1], (1.0 - self.left) * batch.x[:, 1:] + self.left

        def u(t: jax.Array, x: jax.Array) -> jax.Array:
            return self.network(n).apply(params, None, jnp.concatenate([t, x], axis=1))

        one = jnp.ones_like(place)

        def value_and_slope(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.jvp(lambda x: u(time, x), (x,), (one,))

        (value, slope), (_, curvature) = jax.jvp(value_and_slope, (place,), (one,))
        _, change = jax.jvp(lambda t: u(t, place), (time,), (one,))
        residual = jnp.mean(self.residual(n, value, change, slope, curvature) ** 2)
        start = u(jnp.zeros_like(time), place) - self.start(n, place)
        sides = (u(time, one) - self.side) ** 2 + (u(time, self.left * one) - self.side) ** 2
        total = residual + jnp.mean(start**2) + jnp.mean(sides)
        return total.astype(jnp.float32), {"residual": residual.astype(jnp.float32)}

    def network(self, n: Numbers) -> hk.Transformed:
        """(batch, 2) to (batch, 1)."""
        return tanh_network(n, self.max_width, self.layers)


def tanh_network(n: Numbers, max_width: int, layers: int) -> hk.Transformed:
    """(batch, inputs) to (batch, 1) by tanh layers, of which `depth` act if it is drawn."""

    def forward(x: jax.Array) -> jax.Array:
        rows = None
        for i in range(layers):
            layer = Dense(max_width, rows=rows, columns=n["width"], gain=n["gain"])
            h, rows = jnp.tanh(layer(x)), n["width"]
            x = jnp.where(i < n["depth"], h, x) if i and "depth" in n else h
        return Dense(1, rows=rows, gain=n["gain"])(x)

    return hk.transform(forward)


@dataclasses.dataclass(frozen=True)
class PINN(Equation):
    """A tanh network u(t, x) that should satisfy u_t + u u_x = viscosity u_xx on [0,1] x [-1,1].

    u(0, x) = -sin(pi x), u(t, -1) = u(t, 1) = 0; the loss is that of `Equation`.

    Numbers: `viscosity` (0.01 / pi in the paper), `width`, `gain`, the initial scale relative to
    LeCun's.
    """

    name: ClassVar[str] = "pinn"
    source: ClassVar[str] = "Raissi et al. 2019"
    drawn: ClassVar[Drawn] = {"viscosity": "viscosities", "width": "widths", "gain": "gains"}
    max_width: Size = 24
    layers: Layers = 2
    widths: Sizes = (12, 24)
    viscosities: Range = (0.003, 0.3)
    gains: Range = (0.7, 2.0)

    def start(self, n: Numbers, x: jax.Array) -> jax.Array:
        """One wave, which steepens to a front at x = 0."""
        return -jnp.sin(math.pi * x)

    def residual(
        self, n: Numbers, u: jax.Array, u_t: jax.Array, u_x: jax.Array, u_xx: jax.Array
    ) -> jax.Array:
        """Burgers' equation."""
        return u_t + u * u_x - n["viscosity"] * u_xx


@dataclasses.dataclass(frozen=True)
class Heat(Equation):
    """A tanh network u(t, x) that should satisfy u_t = diffusivity u_xx on [0,1] x [0,1].

    u(0, x) = sin(pi modes x), u(t, 0) = u(t, 1) = 0, so that u is exp(-diffusivity (pi modes)^2 t)
    times its start; the loss is that of `Equation`.

    Numbers: `diffusivity`; `modes`, half waves of the start; `width`; `depth`, hidden layers that
    act; `gain`, the initial scale relative to LeCun's.
    """

    name: ClassVar[str] = "heat"
    source: ClassVar[str] = "Raissi et al. 2019"
    left: ClassVar[float] = 0.0
    drawn: ClassVar[Drawn] = {
        "diffusivity": "diffusivities",
        "modes": "modes",
        "width": "widths",
        "depth": "depths",
        "gain": "gains",
    }
    max_width: Size = 24
    max_depth: Layers = 3
    diffusivities: Range = (0.01, 0.3)
    modes: Counts = (1, 3)
    widths: Sizes = (12, 24)
    depths: Counts = (1, 3)
    gains: Range = (0.7, 2.0)

    @property
    def layers(self) -> int:
        """Those beyond the number `depth` pass their input on."""
        return self.max_depth

    def start(self, n: Numbers, x: jax.Array) -> jax.Array:
        """An eigenfunction of the second derivative."""
        return jnp.sin(math.pi * n["modes"].astype(x.dtype) * x)

    def residual(
        self, n: Numbers, u: jax.Array, u_t: jax.Array, u_x: jax.Array, u_xx: jax.Array
    ) -> jax.Array:
        """Fourier's equation."""
        return u_t - n["diffusivity"] * u_xx


@dataclasses.dataclass(frozen=True)
class AllenCahn(Equation):
    """A tanh network u(t, x) with u_t = diffusivity u_xx + 5 (u - u^3) on [0,1] x [-1,1].

    u(0, x) = x^2 cos(pi x). The paper's u is periodic in x; here u(t, -1) = u(t, 1) = -1, which
    the start fulfils and the reaction leaves alone. The loss is that of `Equation`.

    Numbers: `diffusivity` (0.0001 in the paper), `width`, `gain`, the initial scale relative to
    LeCun's.
    """

    name: ClassVar[str] = "allen_cahn"
    source: ClassVar[str] = "Raissi et al. 2019"
    side: ClassVar[float] = -1.0
    drawn: ClassVar[Drawn] = {"diffusivity": "diffusivities", "width": "widths", "gain": "gains"}
    max_width: Size = 24
    layers: Layers = 2
    diffusivities: Range = (0.001, 0.03)
    widths: Sizes = (12, 24)
    gains: Range = (0.5, 1.5)

    def start(self, n: Numbers, x: jax.Array) -> jax.Array:
        """Between the two states -1 and 1 that the reaction tears it to."""
        return x**2 * jnp.cos(math.pi * x)

    def residual(
        self, n: Numbers, u: jax.Array, u_t: jax.Array, u_x: jax.Array, u_xx: jax.Array
    ) -> jax.Array:
        """Diffusion and a reaction that is still at -1, 0 and 1."""
        return u_t - n["diffusivity"] * u_xx - 5.0 * (u - u**3)
