"""Runs that live on from estimate to estimate, one truncation at a time, and begin anew when over.

What truncated evolution strategies and truncated backpropagation share.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from learned_opt import Theta
from learned_opt._fields import Steps
from learned_opt.devices import map_blocks

from .._horizons import whole_truncations
from .._unroll import Episode, MetaProblem, Run, advance, begin, finish
from ._base import GradientEstimator, MetaGrad


class Truncation(NamedTuple):
    """What a truncation has come to, in leaves with a row a lane.

    `over`: whether the next one begins a new run; `losses`: what its steps, and the ends of runs
    that are over, have earned.
    """

    episode: Episode
    runs: Run
    over: jax.Array
    losses: jax.Array


@dataclasses.dataclass(frozen=True)
class Truncating(GradientEstimator):
    """Base of the estimators that look at `truncation` steps at a time.

    Estimates are of the gradient of a whole run's meta-loss: those of a truncation times the mean
    number of truncations in a run. Horizons are whole numbers of truncations. A run that ends is
    replaced at the next outer step, outside the inner loop; no step is lost.

    Args:
      truncation: inner steps an estimate.
      stagger: the first horizon of each run is cut to a random part, so that runs do not march in
        step.
    """

    row_state: ClassVar[bool] = True
    truncation: Steps = 20
    stagger: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.truncation > self.horizon[1]:
            raise ValueError(
                f"truncation must be at most the longest horizon ({self.horizon[1]}), "
                f"got {self.truncation}"
            )

    def steps_spent(self, outer_steps: int) -> float:
        """A truncation of every run."""
        return float(self.runs * self.truncation)

    def in_words(self) -> str:
        """ "runs of 20 to 60 steps, 10 at a time"."""
        return f"{super().in_words()}, {self.truncation:,} at a time"

    def average(
        self, block: Callable[..., Any], problem: MetaProblem, state: Any, *args: Any
    ) -> tuple[MetaGrad, Any]:
        """The estimate from what `block` sums over the lanes of each device, and the next state.

        Args:
          block: from ((indices, state), problem, *args) to the state and the sums as `MetaGrad`.
          args: theta, key, outer step.
        """
        rows = (jnp.arange(self.lanes), state)
        state, total = map_blocks(problem.mesh, block, rows, problem, *args)
        scale = self.horizons.truncations(self.truncation, args[-1]) / self.lanes
        grad, loss = jax.tree.map(lambda x: scale * x, (total.grad, total.loss))
        return MetaGrad(grad, loss, total.inner_steps, total.nonfinite), state

    def blank(self, fresh: Callable[[jax.Array], Any], key: jax.Array) -> Any:
        """Rows as `fresh` makes one from a key, all over: the first estimate begins their runs.

        `fresh` gives a named tuple with `age`, truncations done, and `over`.
        """
        rows = jax.eval_shape(jax.vmap(fresh), jax.random.split(key, self.lanes))
        return jax.tree.map(_blank, rows)._replace(
            age=jnp.full(self.lanes, -1, jnp.int32), over=jnp.ones(self.lanes, bool)
        )

    def begin(
        self, problem: MetaProblem, key: jax.Array, outer_step: jax.Array, first: jax.Array
    ) -> Episode:
        """An episode at its start; `first`: whether it is the first of its lane."""
        task_key, _, horizon_key, run_key = jax.random.split(key, 4)
        horizon = self.horizons.draw(horizon_key, outer_step)
        if self.stagger:
            part = jax.random.uniform(jax.random.fold_in(horizon_key, 1))
            horizon *= jnp.where(first, part, 1.0)
        steps = self.truncation * whole_truncations(horizon, self.truncation)
        task = problem.family.sample(task_key)
        return begin(problem.family, task, run_key, steps.astype(jnp.int32))

    def unroll(
        self,
        problem: MetaProblem,
        episode: Episode,
        runs: Run,
        theta: Theta,
        outer_step: jax.Array,
        *,
        over: Sequence[tuple[int | None, int, int]],
        loop: Callable[..., Any] = jax.lax.fori_loop,
    ) -> Truncation:
        """One truncation; `over` and `loop` as of `advance`, the rows outermost."""
        runs, losses = advance(
            problem, episode, runs, theta, self.truncation, outer_step, over=over, loop=loop
        )
        episode = episode._replace(t=episode.t + self.truncation)
        done = episode.t >= episode.horizon

        def ends() -> jax.Array:
            def end(episode: Episode, run: Run) -> jax.Array:
                return finish(problem, episode, run)

            return where_rows(done, jax.vmap(end)(episode, runs), jnp.zeros_like(losses))

        losses = problem.asked(losses)
        # A branch, not a select: most truncations end no run.
        losses += jax.lax.cond(jnp.any(done), ends, lambda: jnp.zeros_like(losses))
        return Truncation(episode, runs, done, losses)


def where_rows(chosen: jax.Array, yes: Any, no: Any) -> Any:
    """Rows of the tree `yes` where `chosen` (rows,), of `no` elsewhere."""

    def select(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(select, yes, no)


def row_keys(key: jax.Array, index: jax.Array) -> jax.Array:
    """A key for each lane, by its number among all."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def _blank(shape: jax.ShapeDtypeStruct) -> jax.Array:
    """Zeros, or one and the same key where keys belong."""
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), shape.shape)
    return jnp.zeros(shape.shape, shape.dtype)
