"""Antithetic evolution strategies over whole training runs.

Salimans et al. 2017, "Evolution strategies as a scalable alternative to reinforcement learning";
Metz et al. 2022 (VeLO) for its use on learned optimizers.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from learned_opt import LearnedOptimizer, Theta
from tasks import TaskFamily, map_lanes

from ._base import MetaGrad
from ._unroll import Objective, unroll

SHORTEST = 0.6
"""The least share of an estimate's longest horizon that one of its pairs may draw."""


@dataclasses.dataclass(frozen=True)
class FullES:
    """g = mean_i e_i (L(theta + e_i) - L(theta - e_i)) / (2 sigma^2), e_i ~ N(0, sigma^2 I).

    Unbiased for the gradient of E[L(theta + e)]. The two runs of a pair share task, initial
    weights, data and horizon. Pairs are spread over the devices of `mesh`; a pair's key depends on
    its global index alone, so the result depends on the number of devices by rounding only. A pair
    whose difference is not finite is dropped, and counted.

    Args:
      optimizer: what is meta-trained.
      mesh: a one-axis device mesh; `pairs` must be a multiple of its size.
      objective: the meta-loss of one run.
      pairs: antithetic pairs an estimate.
      sigma: standard deviation of the perturbation of each meta-parameter.
      horizon: bounds of the longest horizon of an estimate, in steps, log-uniform. Each pair
        draws its own as a share of it, uniform from SHORTEST to 1, so little work is idle.
    """

    optimizer: LearnedOptimizer
    mesh: Mesh
    objective: Objective = Objective()
    pairs: int = 16
    sigma: float = 0.03
    horizon: tuple[int, int] = (100, 300)

    def __post_init__(self) -> None:
        if self.pairs % self.mesh.size:
            raise ValueError(
                f"pairs must be a multiple of the number of devices ({self.mesh.size}), "
                f"got {self.pairs}; take the mesh from tasks.device_mesh(pairs)"
            )

    def init(self, family: TaskFamily, theta: Theta, key: jax.Array) -> tuple[()]:
        """Nothing is carried: every estimate starts new runs."""
        del family, theta, key
        return ()

    def estimate(
        self, family: TaskFamily, theta: Theta, state: tuple[()], key: jax.Array
    ) -> tuple[MetaGrad, tuple[()]]:
        """One estimate: 2 `pairs` training runs."""
        horizon_key, pair_key = jax.random.split(key)
        low, high = jnp.log(jnp.asarray(self.horizon, jnp.float32))
        longest = jnp.exp(jax.random.uniform(horizon_key, minval=low, maxval=high))
        longest = jnp.round(longest).astype(jnp.int32)

        def pair(index, family, theta, key, longest):
            return self._pair(family, theta, jax.random.fold_in(key, index), longest)

        pairs = jnp.arange(self.pairs)
        total = map_lanes(self.mesh, pair, pairs, family, theta, pair_key, longest, total=True)
        used = jnp.maximum(1.0, self.pairs - total.dropped)
        mean = MetaGrad(
            grad=jax.tree.map(lambda g: g / used, total.grad),
            loss=total.loss / self.pairs,
            inner_steps=total.inner_steps,
            dropped=total.dropped,
        )
        return mean, state

    def _pair(
        self, family: TaskFamily, theta: Theta, key: jax.Array, longest: jax.Array
    ) -> MetaGrad:
        task_key, noise_key, horizon_key, run_key = jax.random.split(key, 4)
        task = family.sample(task_key)
        share = jax.random.uniform(horizon_key, minval=SHORTEST, maxval=1.0)
        horizon = jnp.maximum(1, jnp.round(share * longest.astype(share.dtype)).astype(jnp.int32))
        noise = perturbation(noise_key, theta, self.sigma)

        def run(sign: jax.Array) -> jax.Array:
            perturbed = jax.tree.map(lambda x, e: x + sign * e, theta, noise)
            return unroll(
                self.optimizer, self.objective, family, task, perturbed, run_key,
                horizon=horizon, max_steps=longest,
            )  # fmt: skip

        losses = jax.vmap(run)(jnp.array([1.0, -1.0]))
        weight = (losses[0] - losses[1]) / (2 * self.sigma**2)
        ok = jnp.isfinite(weight)
        weight = jnp.where(ok, weight, 0.0)
        return MetaGrad(
            grad=jax.tree.map(lambda e: weight * e, noise),
            loss=losses.mean(),
            inner_steps=2 * horizon.astype(jnp.float32),
            dropped=jnp.where(ok, 0.0, 1.0),
        )


def perturbation(key: jax.Array, theta: Theta, sigma: float) -> Theta:
    """A tree like theta of independent N(0, sigma^2) draws."""
    flat, unravel = ravel_pytree(theta)
    return unravel(sigma * jax.random.normal(key, flat.shape))
