"""Problems whose loss, gradient and minimum are known: oracles for tests, stress for training.

Noisy quadratic: Schaul et al. 2013, "No more pesky learning rates"; Zhang et al. 2019, "Which
algorithmic choices matter at which batch sizes?". Rosenbrock 1960. Influence balancing: Tallec &
Ollivier 2018, "Unbiased online recurrent optimization"; Vicol et al. 2021 (PES).
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Range, Size

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem, log_uniform, with_gradient


class _OneVector(Problem):
    """Base of losses of one vector {"p": (dimension,)}; each example is a uniform point."""

    kinds: ClassVar[tuple[str, ...]] = ("points",)
    start: ClassVar[float] = 1.0

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """p ~ N(0, start^2)."""
        return {"p": self.start * jax.random.normal(key, spec.shape)}


@dataclasses.dataclass(frozen=True)
class Quadratic(_OneVector):
    """mean over examples of (p - c)^T H (p - c) / 2, c = optimum + noise sqrt(12) (x - 1/2).

    H = R diag(eigenvalues) R, R = I - 2 v v^T a reflection; eigenvalues log-spaced from 1 down to
    1 / condition. So the loss is (p - optimum)^T H (p - optimum) / 2 + noise^2 sum(eigenvalues) / 2
    in expectation.

    Numbers: `eigenvalues`, `direction` (v, of norm 1), `optimum`, `noise`.
    """

    name: ClassVar[str] = "quadratic"
    source: ClassVar[str] = "Schaul et al. 2013; Zhang et al. 2019"
    dimension: Size = 20
    conditions: Range = (1.0, 1e4)
    noises: Range = (1e-3, 1.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw condition number, rotation, optimum and noise."""
        keys = jax.random.split(key, 4)
        powers = jnp.linspace(0.0, 1.0, self.dimension)
        v = jax.random.normal(keys[1], (self.dimension,))
        return {
            "eigenvalues": log_uniform(keys[0], self.conditions) ** -powers,
            "direction": v / jnp.linalg.norm(v),
            "optimum": jax.random.normal(keys[2], (self.dimension,)),
            "noise": log_uniform(keys[3], self.noises),
        }

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The mean over the batch."""
        noise = n["noise"] * jnp.sqrt(jnp.asarray(12.0, batch.x.dtype)) * (batch.x - 0.5)
        away = (params["p"] - n["optimum"])[None] - noise
        along = (away @ n["direction"])[:, None] * n["direction"][None]
        rotated = away - 2.0 * along
        return 0.5 * jnp.mean(rotated**2 @ n["eigenvalues"]).astype(jnp.float32), {}


@dataclasses.dataclass(frozen=True)
class Rosenbrock(_OneVector):
    """sum_i steepness (p_{i+1} - p_i^2)^2 + (1 - p_i)^2: a bent valley, minimum 0 at ones.

    Numbers: `steepness` (100 in Rosenbrock 1960).
    """

    name: ClassVar[str] = "rosenbrock"
    source: ClassVar[str] = "Rosenbrock 1960"
    start: ClassVar[float] = 0.5
    drawn: ClassVar[Drawn] = {"steepness": "steepness"}
    steepness: Range = (1.0, 100.0)

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The same for every batch."""
        p = params["p"]
        valley = n["steepness"] * (p[1:] - p[:-1] ** 2) ** 2 + (1.0 - p[:-1]) ** 2
        return valley.sum().astype(jnp.float32), {}


@dataclasses.dataclass(frozen=True)
class Saddle(_OneVector):
    """mean_i curvature_i f_i(p_i), started near the saddle at 0.

    f_i(p) = (p^2 - 1)^2 / 4 for even i, down from 0 to the minima 0 at +-1, and p^2 / 2 for odd i,
    up from 0.

    Numbers: `curvature` (dimension,), log-uniform: directions leave the saddle at different rates
    (Dauphin et al. 2014, "Identifying and attacking the saddle point problem").
    """

    name: ClassVar[str] = "saddle"
    source: ClassVar[str] = "Dauphin et al. 2014"
    start: ClassVar[float] = 1e-2
    dimension: Size = 10
    curvatures: Range = (1e-2, 1.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the curvatures."""
        draw = jax.vmap(lambda k: log_uniform(k, self.curvatures))
        return {"curvature": draw(jax.random.split(key, self.dimension))}

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The same for every batch."""
        p = params["p"]
        even = jnp.arange(len(p)) % 2 == 0
        terms = jnp.where(even, 0.25 * (p**2 - 1.0) ** 2, 0.5 * p**2)
        return jnp.mean(n["curvature"] * terms).astype(jnp.float32), {}


@dataclasses.dataclass(frozen=True)
class InfluenceBalancing(_OneVector):
    """Loss (p_1 - 1)^2 / 2 under the dynamics p <- A p + (what the optimizer adds).

    A_ii = A_i,i+1 = 1/2. Its "gradient" is p - A p, so that an optimizer p <- p - g + u s with
    s = +1 for the first 10 of 23 units and -1 for the rest, one meta-parameter u, is the system of
    Tallec & Ollivier. Settled at u > -1/6, the effect of u on the loss is negative over fewer than
    about 40 steps and positive in the long run (-5 and +6 at u = 0), so estimators that truncate
    walk the wrong way. It has no numbers.
    """

    name: ClassVar[str] = "influence_balancing"
    source: ClassVar[str] = "Tallec & Ollivier 2018"

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Zeros, where the system is settled at u = 0."""
        return {"p": jnp.zeros(spec.shape)}

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The same for every batch."""
        p = params["p"]
        moved = 0.5 * p + 0.5 * jnp.concatenate([p[1:], jnp.zeros(1, p.dtype)])
        value = 0.5 * (p[0] - 1.0) ** 2
        return with_gradient(value, {"p": p - moved}, params), {}
