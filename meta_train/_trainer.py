"""The outer loop's mathematics: estimate meta-gradients, step theta, validate, keep the best."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec

from learned_opt import Artifact, LearnedOptimizer, Theta
from learned_opt.devices import map_lanes
from learned_opt.tasks import full_loss

from ._objective import clipped_log_ratio
from ._unroll import MetaProblem, unroll
from .estimators import GradientEstimator, MetaGrad


class MetaTrainState(NamedTuple):
    """Everything a run needs to go on: one pytree, one checkpoint.

    `estimator_states`: one a family; `best_theta`, `best_score`, `best_step`: the meta-parameters
    with the lowest meta-validation loss so far, that loss, and when; `first_score`: the loss
    before the first step; `step`: outer steps done (int32); `inner_steps`: training steps spent so
    far (float32).
    """

    theta: Theta
    outer_state: optax.OptState
    estimator_states: tuple[Any, ...]
    best_theta: Theta
    best_score: jax.Array
    best_step: jax.Array
    first_score: jax.Array
    step: jax.Array
    inner_steps: jax.Array
    key: jax.Array


class Metrics(NamedTuple):
    """Of one or several outer steps.

    `losses`: meta-loss by family, (families,); `loss`: their weighted mean; `grad_norm`: norm of
    the meta-gradient before the outer optimizer; `nonfinite`: runs that met a loss or gradient
    that was not a finite number, in all.
    """

    losses: jax.Array
    loss: jax.Array
    grad_norm: jax.Array
    nonfinite: jax.Array

    @classmethod
    def over(cls, steps: "Metrics") -> "Metrics":
        """Of several steps, from leaves with a leading axis: means, and the sum of `nonfinite`."""
        means = jax.tree.map(lambda x: x.mean(0), steps)
        return means._replace(nonfinite=steps.nonfinite.sum())


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["problem", "task", "horizon", "key", "references"],
    meta_fields=["runs"],
)
@dataclasses.dataclass(frozen=True)
class Judge:
    """Meta-validation: the scores of `runs` runs that are always the same. A pytree.

    A run's score is its meta-loss or, with references, clip(log(V / reference), -log 2, log 2),
    V being its final loss on `outer_valid`: as an evaluation on the task would find it.

    Args:
      problem: what is learned, and the family.
      task: a member of the family, or None: each run draws its own.
      horizon: steps (int32).
      key: of the tasks, initial weights and data.
      runs: how many.
      references: final losses of tuned optimizers on the task, (rivals,), or None.
    """

    problem: MetaProblem
    task: Any
    horizon: jax.Array
    key: jax.Array
    runs: int
    references: jax.Array | None = None

    def score(self, theta: Theta) -> jax.Array:
        """The mean of the runs' scores at theta (scalar), which chooses: the lower the better."""
        return self.scores(theta)[:, 0].mean()

    def scores(self, theta: Theta) -> jax.Array:
        """Of each run, (runs, rivals); without references, (runs, 1). The first column chooses."""

        def run(index: jax.Array, judge: "Judge", theta: Theta) -> jax.Array:
            task_key, run_key = jax.random.split(jax.random.fold_in(judge.key, index))
            family = judge.problem.family
            task = family.sample(task_key) if judge.task is None else judge.task
            loss, end = unroll(judge.problem, task, theta, run_key, horizon=judge.horizon)
            if judge.references is None:
                return loss[None]
            valid, _ = full_loss(family, task, end.params, "outer_valid", end.model_state)
            return clipped_log_ratio(valid, judge.references)

        return map_lanes(self.problem.mesh, run, jnp.arange(self.runs), self, theta)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Meta-training of one optimizer on one or several families.

    Args:
      optimizer: what is trained.
      estimators: the meta-gradient of each family.
      weights: of the families' meta-gradients; they sum to one.
      outer: optax transformation that moves theta.
      seed: of everything but the meta-validation.
      start: whose theta is where the run begins; None: what the optimizer initialises.
    """

    optimizer: LearnedOptimizer
    estimators: tuple[GradientEstimator, ...]
    weights: tuple[float, ...]
    outer: optax.GradientTransformation
    seed: int = 0
    start: Artifact | None = None

    @property
    def theta(self) -> Theta:
        """Where the run begins, and what `Gain` compares with."""
        theta = self.optimizer.init(self._keys[0])
        if self.start is not None:
            given = self.start.theta
            theta = jax.tree.map(lambda x, given: jnp.asarray(given, x.dtype), theta, given)
        return theta

    @property
    def _keys(self) -> jax.Array:
        return jax.random.split(jax.random.key(self.seed), 3)

    def init(self, problems: Sequence[MetaProblem]) -> MetaTrainState:
        """The state before the first outer step; one problem a family."""
        _, estimator_key, key = self._keys
        # The very theta that runs are compared with: compiled, its numbers might round otherwise.
        given = problems[0].untrained
        theta = self.theta if given is None else jax.tree.map(jnp.copy, given)
        return MetaTrainState(
            theta=theta,
            outer_state=self.outer.init(theta),
            estimator_states=tuple(
                estimator.init(problem, theta, jax.random.fold_in(estimator_key, i))
                for i, (estimator, problem) in enumerate(
                    zip(self.estimators, problems, strict=True)
                )
            ),
            best_theta=jax.tree.map(jnp.copy, theta),
            best_score=jnp.asarray(jnp.inf),
            best_step=jnp.zeros((), jnp.int32),
            first_score=jnp.asarray(jnp.inf),
            step=jnp.zeros((), jnp.int32),
            inner_steps=jnp.zeros(()),
            key=key,
        )

    def specs(self, state: MetaTrainState, rows: PartitionSpec) -> Any:
        """Like the state: `rows` for leaves that have a row a lane, no sharding for the others."""
        whole = PartitionSpec()
        specs = [
            jax.tree.map(lambda _, spec=rows if estimator.row_state else whole: spec, part)
            for estimator, part in zip(self.estimators, state.estimator_states, strict=True)
        ]
        everything = jax.tree.map(lambda _: whole, state)
        return everything._replace(estimator_states=tuple(specs))

    def estimate(
        self, family: int, problem: MetaProblem, state: MetaTrainState
    ) -> tuple[MetaGrad, Any]:
        """The meta-gradient of one family, by its number, and its estimator's next state."""
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), family)
        return self.estimators[family].estimate(
            problem, state.theta, state.estimator_states[family], key, state.step
        )

    def apply(
        self, state: MetaTrainState, estimates: Sequence[tuple[MetaGrad, Any]]
    ) -> tuple[MetaTrainState, Metrics]:
        """One step of theta, after all families have been estimated."""
        found = [estimate for estimate, _ in estimates]
        grad = jax.tree.map(
            lambda *parts: sum(w * g for w, g in zip(self.weights, parts, strict=True)),
            *(one.grad for one in found),
        )
        updates, outer_state = self.outer.update(grad, state.outer_state, state.theta)
        losses = jnp.stack([one.loss for one in found])
        metrics = Metrics(
            losses=losses,
            loss=losses @ jnp.asarray(self.weights, losses.dtype),
            grad_norm=optax.tree.norm(grad),
            nonfinite=sum((one.nonfinite for one in found), start=jnp.zeros(())),
        )
        state = state._replace(
            theta=optax.apply_updates(state.theta, updates),
            outer_state=outer_state,
            estimator_states=tuple(after for _, after in estimates),
            step=state.step + 1,
            inner_steps=state.inner_steps + sum(one.inner_steps for one in found),
        )
        return state, metrics

    def step(
        self, problems: Sequence[MetaProblem], state: MetaTrainState
    ) -> tuple[MetaTrainState, Metrics]:
        """One outer step."""
        estimates = [self.estimate(i, problem, state) for i, problem in enumerate(problems)]
        return self.apply(state, estimates)

    def steps(
        self, problems: Sequence[MetaProblem], state: MetaTrainState, length: int
    ) -> tuple[MetaTrainState, Metrics]:
        """`length` outer steps."""
        state, steps = jax.lax.scan(lambda s, _: self.step(problems, s), state, length=length)
        return state, Metrics.over(steps)

    def select(self, state: MetaTrainState, score: jax.Array) -> MetaTrainState:
        """Keep theta, if it is finite, and its meta-validation loss `score` the lowest so far."""
        finite = [jnp.isfinite(x).all() for x in jax.tree.leaves(state.theta)]
        better = (score < state.best_score) & jnp.stack(finite).all()
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), state.theta, state.best_theta
        )
        return state._replace(
            best_theta=best,
            best_score=jnp.where(better, score, state.best_score),
            best_step=jnp.where(better, state.step, state.best_step),
            first_score=jnp.where(state.step == 0, score, state.first_score),
        )
