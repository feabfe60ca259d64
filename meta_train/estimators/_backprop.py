"""Meta-gradients by reverse-mode differentiation through the inner steps.

Whole runs: Maclaurin, Duvenaud & Adams 2015, "Gradient-based hyperparameter optimization through
reversible learning". Truncated: Williams & Peng 1990 for recurrent networks. Exact, and of little
use where runs are long: the gradients explode (Metz et al. 2019).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from learned_opt import Theta
from learned_opt._fields import NonNegative, Size
from learned_opt.devices import map_lanes

from .._unroll import Episode, MetaProblem, Run, start, unroll
from ._base import GradientEstimator, MetaGrad
from ._truncating import Truncating, Truncation, row_keys, where_rows


@dataclasses.dataclass(frozen=True)
class _Backprop(GradientEstimator):
    """What both have in common.

    Args:
      tasks: runs an estimate.
      clip: largest norm of the gradient of one run; 0: any. A gradient that is not finite is left
        out and counted.
    """

    unit: ClassVar[str] = "tasks"
    tasks: Size = 16
    clip: NonNegative = 0.0

    @property
    def runs(self) -> int:
        """One a task."""
        return self.tasks

    def sound(self, grad: Theta) -> tuple[Theta, jax.Array]:
        """One run's gradient, clipped, or zeros if it is not finite; and whether it was."""
        norm = optax.tree.norm(grad)
        ok = jnp.isfinite(norm)
        scale = jnp.minimum(1.0, self.clip / jnp.maximum(norm, 1e-30)) if self.clip else 1.0
        return jax.tree.map(lambda g: jnp.where(ok, g * scale, 0.0), grad), ok


@dataclasses.dataclass(frozen=True)
class Backprop(_Backprop):
    """g = mean over runs of d L / d theta, exact, through the whole of every run.

    Only every square-root-th inner state is kept and the steps between are run again (Chen et al.
    2016, "Training deep nets with sublinear memory cost"): memory grows with the square root of
    the horizon.
    """

    name: ClassVar[str] = "backprop"

    @property
    def kept(self) -> int:
        """Of the longest run there can be."""
        return Segments.of(self.horizon[1]).kept

    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: tuple[()],
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, tuple[()]]:
        """One estimate: `tasks` training runs, forwards and backwards."""
        segments = Segments.of(self.horizon[1])

        def lane(index, problem, theta, key, outer_step):
            task_key, horizon_key, run_key = jax.random.split(jax.random.fold_in(key, index), 3)
            horizon = jnp.round(self.horizons.draw(horizon_key, outer_step)).astype(jnp.int32)
            task = problem.family.sample(task_key)

            def run_at(theta):
                return unroll(
                    problem, task, theta, run_key, horizon=horizon, max_steps=segments.steps,
                    outer_step=outer_step, loop=checkpointed(segments.length),
                )  # fmt: skip

            (loss, run), grad = jax.value_and_grad(run_at, has_aux=True)(theta)
            grad, ok = self.sound(grad)
            bad = (~(ok & run.finite)).astype(jnp.float32)
            spent = horizon * (1 + problem.objective.untrained)
            return MetaGrad(grad, loss, spent.astype(jnp.float32), bad)

        total = map_lanes(
            problem.mesh, lane, jnp.arange(self.tasks), problem, theta, key, outer_step, total=True
        )
        grad, loss = jax.tree.map(lambda x: x / self.tasks, (total.grad, total.loss))
        return MetaGrad(grad, loss, total.inner_steps, total.nonfinite), state


class Lane(NamedTuple):
    """A run between two truncations; in the state every leaf has a leading axis.

    `run`: for objectives that compare with the untrained theta its run too, leaves (2, ...).
    `age`: truncations done, -1 before the first run of all; `over`: whether the next truncation
    begins a new run.
    """

    episode: Episode
    run: Run
    age: jax.Array
    over: jax.Array


@dataclasses.dataclass(frozen=True)
class TBPTT(Truncating, _Backprop):
    """g = mean over runs of d L_k / d theta through the steps of one truncation k alone.

    Times the mean number of truncations in a run. Biased: what theta does beyond the truncation
    is not seen. Runs live on from estimate to estimate, with staggered starts.
    """

    name: ClassVar[str] = "tbptt"

    @property
    def kept(self) -> int:
        """One a step of the truncation."""
        return self.truncation

    def init(self, problem: MetaProblem, theta: Theta, key: jax.Array) -> Lane:
        """Blank runs, all over."""

        def fresh(key: jax.Array) -> Lane:
            return self._begin(problem, theta, key, jnp.int32(0), jnp.array(True))

        return self.blank(fresh, key)

    def estimate(
        self,
        problem: MetaProblem,
        theta: Theta,
        state: Lane,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[MetaGrad, Lane]:
        """One estimate: one truncation of `tasks` runs, forwards and backwards."""
        return self.average(self._block, problem, state, theta, key, outer_step)

    def _block(
        self,
        rows: tuple[jax.Array, Lane],
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        outer_step: jax.Array,
    ) -> tuple[Lane, MetaGrad]:
        index, lanes = rows

        def renewed() -> Lane:
            def one(key: jax.Array, age: jax.Array) -> Lane:
                return self._begin(problem, theta, key, outer_step, age < 0)

            return where_rows(lanes.over, jax.vmap(one)(row_keys(key, index), lanes.age), lanes)

        lanes = jax.lax.cond(jnp.any(lanes.over), renewed, lambda: lanes)

        def losses(thetas: Theta) -> tuple[jax.Array, Truncation]:
            done = self.unroll(
                problem, lanes.episode, lanes.run, jax.vmap(problem.beside)(thetas), outer_step,
                over=((0, 0, 0), *problem.axes()), loop=checkpointed(1),
            )  # fmt: skip
            return done.losses.sum(), done

        each = jax.tree.map(lambda x: jnp.broadcast_to(x, (index.size, *x.shape)), theta)
        (loss, done), grads = jax.value_and_grad(losses, has_aux=True)(each)
        grads, ok = jax.vmap(self.sound)(grads)
        finite = problem.asked(done.runs.finite).reshape(-1)
        total = MetaGrad(
            grad=jax.tree.map(lambda g: g.sum(0), grads),
            loss=loss,
            inner_steps=jnp.asarray(float(self.truncation * lanes.run.total.size)),
            nonfinite=jnp.sum(~ok | (~finite & done.over)).astype(jnp.float32),
        )
        return Lane(done.episode, done.runs, lanes.age + 1, done.over), total

    def _begin(
        self,
        problem: MetaProblem,
        theta: Theta,
        key: jax.Array,
        outer_step: jax.Array,
        first: jax.Array,
    ) -> Lane:
        episode = self.begin(problem, key, outer_step, first)
        lanes = problem.beside(theta)
        run = start(problem, episode, lanes, outer_step, lanes=bool(problem.axes()))
        return Lane(episode, run, jnp.zeros((), jnp.int32), jnp.array(False))


class Segments(NamedTuple):
    """A run in `parts` segments of `length` steps, at whose starts its state is kept."""

    parts: int
    length: int

    @classmethod
    def of(cls, steps: int) -> "Segments":
        """About as many segments as each has steps."""
        length = math.isqrt(steps - 1) + 1
        return cls(math.ceil(steps / length), length)

    @property
    def steps(self) -> int:
        """All of them: at least as many as asked for."""
        return self.parts * self.length

    @property
    def kept(self) -> int:
        """States: one a segment, those within one, and that of the step being taken."""
        return self.parts + self.length + 1


def checkpointed(segment: int, longest: jax.Array | None = None) -> Callable[..., Any]:
    """`fori_loop` from 0 over a multiple of `segment` steps that keeps one state a segment.

    Segments that begin at step `longest` or later, where all runs stand still, are left out.
    """

    def loop(lower: int, upper: int, body: Callable[[jax.Array, Any], Any], carry: Any) -> Any:
        del lower

        def step(carry: Any, i: jax.Array) -> tuple[Any, None]:
            return jax.checkpoint(body)(i, carry), None

        def some(carry: Any, steps: jax.Array) -> tuple[Any, None]:
            if longest is None:
                return jax.lax.scan(step, carry, steps)
            ran = jax.lax.cond(
                steps[0] < longest, lambda c: jax.lax.scan(step, c, steps)[0], lambda c: c, carry
            )
            return ran, None

        steps = jnp.arange(upper, dtype=jnp.int32).reshape(-1, segment)
        return jax.lax.scan(jax.checkpoint(some), carry, steps)[0]

    return loop
