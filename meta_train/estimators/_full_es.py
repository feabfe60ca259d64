"""Antithetic evolution strategies over whole training runs.

Salimans et al. 2017, "Evolution strategies as a scalable alternative to reinforcement learning";
Metz et al. 2022 (VeLO) for its use on learned optimizers.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from learned_opt import Theta
from learned_opt._fields import Within

from .._unroll import MetaProblem, unroll
from ._base import SIGNS, Antithetic, MetaGrad, Sides
from ._grouped import group_size, map_by_horizon


@dataclasses.dataclass(frozen=True)
class FullES(Antithetic):
    """g = mean_i e_i (L(theta + e_i) - L(theta - e_i)) / (2 sigma^2), e_i ~ N(0, sigma^2 I).

    Unbiased for the gradient of E[L(theta + e)]. Pairs are spread over the devices; a pair's key
    depends on its global index alone, so the result depends on the number of devices by rounding
    only.

    Args:
      shortest: an estimate draws its longest horizon, and each pair its own as a share of it,
        uniform from `shortest` to 1: little work is idle.
    """

    name: ClassVar[str] = "full_es"
    shortest: Annotated[float, Within(1e-6, 1)] = 0.6

    @property
    def horizon_range(self) -> tuple[int, int]:
        """From the smallest share of the lowest horizon."""
        return round(self.shortest * self.horizon[0]), self.horizon[1]

    def steps_spent(self, outer_steps: int) -> float:
        """As of whole runs, times the mean share."""
        return super().steps_spent(outer_steps) * (1 + self.shortest) / 2

    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: Any,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, Any]:
        """One estimate: 2 `pairs` training runs."""
        horizon_key, pair_key = jax.random.split(key)
        longest = jnp.round(self.horizons.draw(horizon_key, outer_step)).astype(jnp.int32)
        return self.compare(self.pairs_of, problem, theta, state, pair_key, longest, outer_step)

    def _horizon(self, key: jax.Array, longest: jax.Array) -> jax.Array:
        """Steps (int32) of the pair of this key."""
        share = jax.random.uniform(jax.random.split(key, 4)[2], minval=self.shortest, maxval=1.0)
        return jnp.maximum(1, jnp.round(share * longest.astype(share.dtype)).astype(jnp.int32))

    def pairs_of(
        self,
        index: jax.Array,
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        longest: jax.Array,
        outer_step: jax.Array,
    ) -> Sides:
        """Of the pairs of one device, those of like horizons together."""
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
        horizons = jax.vmap(lambda key: self._horizon(key, longest))(keys)

        def one(key: jax.Array, most: jax.Array) -> Sides:
            return self.pair(problem, theta, key, longest, most, outer_step)

        return map_by_horizon(one, keys, horizons, group_size(problem.family, index.size))

    def pair(
        self,
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        longest: jax.Array,
        most: jax.Array | int,
        outer_step: jax.Array,
        loop: Callable[..., Any] = jax.lax.fori_loop,
    ) -> Sides:
        """One pair; `longest`: as drawn for the estimate; `most`, `loop`: as of `unroll`."""
        flat, unravel = ravel_pytree(theta)
        task_key, noise_key, _, run_key = jax.random.split(key, 4)
        task, horizon = problem.family.sample(task_key), self._horizon(key, longest)
        noise = self.sigma * jax.random.normal(noise_key, (flat.size,))
        sides = jax.vmap(lambda sign: unravel(flat + sign * noise))(jnp.asarray(SIGNS))
        losses, runs = unroll(
            problem, task, sides, run_key,
            horizon=horizon, max_steps=most, outer_step=outer_step, loop=loop, sides=True,
        )  # fmt: skip
        return Sides(
            losses,
            noise,
            inner_steps=runs.total.size * horizon.astype(jnp.float32),
            nonfinite=jnp.sum(~problem.asked(runs.finite)).astype(jnp.float32),
        )
