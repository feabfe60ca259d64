"""The outer loop: estimate a meta-gradient, step theta, validate, all in one compiled call."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from learned_opt import LearnedOptimizer, Theta
from tasks import TaskFamily, map_lanes

from ._base import GradientEstimator
from ._unroll import Objective, unroll


class MetaTrainState(NamedTuple):
    """Everything a run needs to go on: one pytree, one checkpoint.

    `best_theta`, `best_score`: the meta-parameters with the lowest meta-validation loss so far;
    `step`: outer steps done (int32); `inner_steps`: training steps spent so far (float32).
    """

    theta: Theta
    outer_state: optax.OptState
    estimator_state: Any
    best_theta: Theta
    best_score: jax.Array
    step: jax.Array
    inner_steps: jax.Array
    key: jax.Array


class Metrics(NamedTuple):
    """Of one chunk of outer steps: mean meta-loss and gradient norm, pairs dropped in all."""

    meta_loss: jax.Array
    grad_norm: jax.Array
    dropped: jax.Array


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Meta-training of one optimizer on one family.

    Args:
      optimizer: what is trained.
      estimator: its meta-gradient.
      outer: optax transformation that moves theta.
      objective: meta-loss of the meta-validation.
      mesh: devices for the meta-validation.
      valid_tasks: meta-validation runs, with fixed tasks, initial weights and data.
      valid_horizon: their length in steps.
      seed: of everything.
    """

    optimizer: LearnedOptimizer
    estimator: GradientEstimator
    outer: optax.GradientTransformation
    objective: Objective
    mesh: Mesh
    valid_tasks: int = 16
    valid_horizon: int = 300
    seed: int = 0

    def init(self, family: TaskFamily) -> MetaTrainState:
        """The state before the first outer step."""
        theta_key, estimator_key, key = jax.random.split(jax.random.key(self.seed), 3)
        theta = self.optimizer.init(theta_key)
        return MetaTrainState(
            theta=theta,
            outer_state=self.outer.init(theta),
            estimator_state=self.estimator.init(family, theta, estimator_key),
            best_theta=jax.tree.map(jnp.copy, theta),
            best_score=jnp.asarray(jnp.inf),
            step=jnp.zeros((), jnp.int32),
            inner_steps=jnp.zeros(()),
            key=key,
        )

    def step(
        self, family: TaskFamily, state: MetaTrainState
    ) -> tuple[MetaTrainState, tuple[jax.Array, jax.Array, jax.Array]]:
        """One outer step; returns the state, meta-loss, gradient norm and dropped pairs."""
        key = jax.random.fold_in(state.key, state.step)
        estimate, estimator_state = self.estimator.estimate(
            family, state.theta, state.estimator_state, key
        )
        updates, outer_state = self.outer.update(estimate.grad, state.outer_state, state.theta)
        state = state._replace(
            theta=optax.apply_updates(state.theta, updates),
            outer_state=outer_state,
            estimator_state=estimator_state,
            step=state.step + 1,
            inner_steps=state.inner_steps + estimate.inner_steps,
        )
        return state, (estimate.loss, optax.tree.norm(estimate.grad), estimate.dropped)

    def chunk(
        self, family: TaskFamily, state: MetaTrainState, length: int
    ) -> tuple[MetaTrainState, Metrics]:
        """`length` outer steps."""
        state, (loss, norm, dropped) = jax.lax.scan(
            lambda s, _: self.step(family, s), state, length=length
        )
        return state, Metrics(loss.mean(), norm.mean(), dropped.sum())

    def select(self, family: TaskFamily, state: MetaTrainState) -> tuple[MetaTrainState, jax.Array]:
        """Validate theta, keep it if it is the best so far; returns the state and the score."""
        score = self.validate(family, state.theta)
        better = score < state.best_score
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), state.theta, state.best_theta
        )
        best_score = jnp.where(better, score, state.best_score)
        return state._replace(best_theta=best, best_score=best_score), score

    def validate(self, family: TaskFamily, theta: Theta) -> jax.Array:
        """Mean meta-loss (scalar) over the fixed meta-validation runs."""
        horizon = jnp.asarray(self.valid_horizon, jnp.int32)
        root = jax.random.fold_in(jax.random.key(self.seed), 0x7A11D)

        def run(index, family, theta, root, horizon):
            task_key, run_key = jax.random.split(jax.random.fold_in(root, index))
            return unroll(
                self.optimizer, self.objective, family, family.sample(task_key), theta, run_key,
                horizon=horizon, max_steps=horizon,
            )  # fmt: skip

        runs = jnp.arange(self.valid_tasks)
        total = map_lanes(self.mesh, run, runs, family, theta, root, horizon, total=True)
        return total / self.valid_tasks
