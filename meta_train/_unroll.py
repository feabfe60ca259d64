"""Inner training runs: begun, advanced by some steps, ended, or from start to horizon at once.

What is to be learned (`MetaProblem`) and what all estimators do with it.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from learned_opt import LearnedOptimizer, Theta
from learned_opt.tasks import (
    InnerState,
    TaskFamily,
    begin_run,
    full_loss,
    reference_loss,
    relative_loss,
    run_step,
)

from ._objective import MetaLoss
from ._teacher import Teacher
from ._told import told


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["family", "untrained"],
    meta_fields=["optimizer", "objective", "mesh", "teacher"],
)
@dataclasses.dataclass(frozen=True)
class MetaProblem:
    """What is to be learned: an optimizer, on a family of tasks, by an objective, on a mesh.

    A pytree whose leaves are the data; all else is static.

    Args:
      family: where tasks come from.
      optimizer: what is meta-trained.
      objective: meta-loss of one run.
      mesh: devices that share the lanes of an estimate, see `devices.device_mesh`.
      teacher: a hand-made optimizer that takes part in the inner update for a while.
      untrained: the theta with which `Gain` compares; None for objectives that do not.
    """

    family: TaskFamily
    optimizer: LearnedOptimizer
    objective: MetaLoss
    mesh: Mesh
    teacher: Teacher = Teacher()
    untrained: Theta | None = None

    def transform(
        self, theta: Theta, episode: "Episode", outer_step: jax.Array | None
    ) -> optax.GradientTransformationExtraArgs:
        """What is added to parameters.

        Without `outer_step` the teacher is silent and nothing is hidden, see `told`.
        """
        learned = told(
            self.optimizer, theta, self.family, episode.task, episode.key, episode.horizon,
            hides=outer_step is not None,
        )  # fmt: skip
        if outer_step is not None:
            learned = self.teacher.assist(learned, episode.horizon, outer_step)
        return optax.with_extra_args_support(optax.chain(learned, optax.scale(-1.0)))

    def beside(self, theta: Theta, *, sides: bool = False) -> Theta:
        """What runs side by side for the meta-loss at theta: leaves (lanes, ...).

        With `sides` theta is several, leaves (sides, ...). The untrained theta is the last lane
        where the objective needs it; where it does not, theta is returned as it is.
        """
        if not self.objective.untrained:
            return theta
        if self.untrained is None:
            raise ValueError(
                f"the objective {self.objective.name!r} needs MetaProblem.untrained, the theta to "
                "compare with, got None: give optimizer.init(key)"
            )
        if not sides:
            theta = jax.tree.map(lambda x: x[None], theta)
        return jax.tree.map(lambda x, u: jnp.concatenate([x, u[None]]), theta, self.untrained)

    def axes(self, *, sides: bool = False) -> tuple[tuple[None, int, int], ...]:
        """What `advance` is to vectorise `beside` over."""
        return ((None, 0, 0),) if sides or self.objective.untrained else ()

    def asked(self, lanes: jax.Array) -> jax.Array:
        """(..., lanes) without the untrained one."""
        return lanes[..., :-1] if self.objective.untrained else lanes


class Episode(NamedTuple):
    """What the two runs of an antithetic pair share.

    `task`; `key`: of the data of all steps; `horizon`: planned steps and `t`: steps done (int32);
    `reference`: the task's reference loss.
    """

    task: Any
    key: jax.Array
    horizon: jax.Array
    t: jax.Array
    reference: jax.Array


class Run(NamedTuple):
    """One training run in progress.

    `total`, `tail`: sums of relative training losses over all steps and over the last tenth;
    `finite`: whether every loss so far was a finite number; `model_state`: the model has none.
    """

    params: Any
    opt_state: optax.OptState
    gradient_state: optax.OptState
    total: jax.Array
    tail: jax.Array
    finite: jax.Array
    model_state = ()


class StatefulRun(NamedTuple):
    """A `Run` of a model with a state. Apart, so that checkpoints without one are as before."""

    params: Any
    opt_state: optax.OptState
    gradient_state: optax.OptState
    total: jax.Array
    tail: jax.Array
    finite: jax.Array
    model_state: Any


def begin(family: TaskFamily, task: Any, key: jax.Array, horizon: jax.Array) -> Episode:
    """An episode at step 0; `key` decides its initial weights and data."""
    return Episode(task, key, horizon, jnp.zeros((), jnp.int32), reference_loss(family, task))


def start(
    problem: MetaProblem,
    episode: Episode,
    theta: Theta,
    outer_step: jax.Array | None = None,
    *,
    lanes: bool = False,
) -> Run:
    """A run at step 0, with the episode's initial parameters; with `lanes` one for each theta."""
    if lanes:
        return jax.vmap(lambda theta: start(problem, episode, theta, outer_step))(theta)
    tx = problem.transform(theta, episode, outer_step)
    state = begin_run(episode.task, tx, episode.key)
    zero = jnp.zeros(())
    run = Run(state.params, state.opt_state, state.gradient_state, zero, zero, jnp.array(True))
    if not jax.tree.leaves(state.model_state):
        return run
    return typing.cast(Run, StatefulRun(*run, state.model_state))


def advance(
    problem: MetaProblem,
    episode: Episode,
    run: Run,
    theta: Theta,
    steps: int | jax.Array,
    outer_step: jax.Array | None = None,
    *,
    over: Sequence[tuple[int | None, int, int]] = (),
    masked: bool = False,
    loop: Callable[..., Any] = jax.lax.fori_loop,
) -> tuple[Run, jax.Array]:
    """`steps` more training steps at `theta`; returns the run and what its steps earned (scalar).

    Args:
      over: axes of (episode, run, theta) to vectorise over, the outermost first. The loop is
        around the vectorised step, which traces faster than a vectorised loop.
      masked: `steps` may reach past the horizon, where the run stands still.
      loop: `jax.lax.fori_loop` or what is called like it.
    """

    def step(i: jax.Array, episode: Episode, carry: tuple[Run, jax.Array], theta: Theta) -> Any:
        return _step(problem, episode, carry, theta, i, outer_step, masked)

    for episode_axis, run_axis, theta_axis in reversed(over):
        step = jax.vmap(step, in_axes=(None, episode_axis, run_axis, theta_axis))
    shape = run.total.shape[: len(over)]
    return loop(0, steps, lambda i, carry: step(i, episode, carry, theta), (run, jnp.zeros(shape)))


def _step(
    problem: MetaProblem,
    episode: Episode,
    carry: tuple[Run, jax.Array],
    theta: Theta,
    i: jax.Array,
    outer_step: jax.Array | None,
    masked: bool,
) -> tuple[Run, jax.Array]:
    """Step number `i` of an `advance`."""
    (run, earned), t = carry, episode.t + i
    tx = problem.transform(theta, episode, outer_step)
    horizon, reference = episode.horizon, episode.reference
    tail_start = horizon - jnp.maximum(1, horizon // 10)
    state = InnerState(episode.task, run.params, run.opt_state, run.gradient_state, run.model_state)
    new, loss = run_step(problem.family, tx, state, episode.key, t)
    moved = new.params, new.model_state
    credit = problem.objective.of_step(loss, reference, horizon)
    finite, loss = jnp.isfinite(loss), relative_loss(loss, reference)
    if masked:
        on = t < horizon
        moved = jax.tree.map(lambda a, b: jnp.where(on, a, b), moved, (run.params, run.model_state))
        loss, credit = jnp.where(on, loss, 0.0), jnp.where(on, credit, 0.0)
        finite |= ~on
    after = Run(
        moved[0],
        new.opt_state,
        new.gradient_state,
        run.total + loss,
        run.tail + jnp.where(t >= tail_start, loss, 0.0),
        run.finite & finite,
    )
    run = after if isinstance(run, Run) else type(run)(*after, moved[1])
    return run, earned + credit


def finish(problem: MetaProblem, episode: Episode, run: Run) -> jax.Array:
    """What the end of a run earns (scalar); of runs side by side, (lanes,), as `of_end` says."""

    def losses(run: Run) -> tuple[jax.Array | None, jax.Array, jax.Array]:
        valid = None
        if problem.objective.valid:
            valid, _ = full_loss(
                problem.family, episode.task, run.params, "inner_valid", run.model_state
            )
        tail_steps = jnp.maximum(1, episode.horizon // 10)
        last = episode.reference * run.tail / tail_steps.astype(jnp.float32)
        mean = episode.reference * run.total / episode.horizon.astype(jnp.float32)
        return valid, last, mean

    found = (jax.vmap(losses) if run.total.ndim else losses)(run)
    earned = problem.objective.of_end(*found, episode.reference)
    # A scalar where every weight but that of steps is zero.
    return jnp.broadcast_to(earned, problem.asked(run.total).shape)


def unroll(
    problem: MetaProblem,
    task: Any,
    theta: Theta,
    key: jax.Array,
    *,
    horizon: jax.Array,
    max_steps: jax.Array | int | None = None,
    outer_step: jax.Array | None = None,
    loop: Callable[..., Any] = jax.lax.fori_loop,
    sides: bool = False,
) -> tuple[jax.Array, Run]:
    """Meta-loss (scalar) of training `task` for `horizon` steps at `theta`, and the run.

    With `sides` theta is several, leaves (sides, ...): meta-losses (sides,), and the runs of all
    lanes, of which the untrained theta's is the last where the objective compares with it.

    The loop runs `max_steps` >= `horizon` times, so that under `vmap` runs of several horizons
    share it: past its horizon a run stands still. Both may be traced: no recompilation.
    """
    episode = begin(problem.family, task, key, horizon)
    lanes, over = problem.beside(theta, sides=sides), problem.axes(sides=sides)
    run = start(problem, episode, lanes, outer_step, lanes=bool(over))
    steps = horizon if max_steps is None else max_steps
    run, earned = advance(
        problem, episode, run, lanes, steps, outer_step,
        over=over, masked=max_steps is not None, loop=loop,
    )  # fmt: skip
    losses = problem.asked(earned) + finish(problem, episode, run)
    if over and not sides:
        losses, run = jax.tree.map(lambda x: x[0], (losses, run))
    return losses, run
