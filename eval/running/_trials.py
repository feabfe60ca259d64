"""Many training runs at once: tasks x hyper-parameters x seeds in one compiled call."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from learned_opt.devices import device_mesh
from learned_opt.tasks import EvalTask, begin_run

from ..baselines import Baseline, Hyper, at_params
from ._batching import runs_per_call, tree_bytes, useful_width
from ._programs import ProgramCache, advance, begin, evaluate, jit

POINTS = 40
"""Evaluations a run on the way to the horizon, log-spaced from a hundredth of it."""

MakeTx = Callable[..., optax.GradientTransformationExtraArgs]
"""(hyper-parameters, number of steps[, epochs]) -> a complete optimizer; all may be traced."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training run: a task, hyper-parameters, a seed for weights and data order.

    `told`: the horizon that the optimizer is told, over the task's; `beyond`: how long the run
    lasts, over the task's horizon (at least 1).
    """

    task: EvalTask
    hyper: Hyper
    seed: int
    told: float = 1.0
    beyond: float = 1.0

    @property
    def num_steps(self) -> int:
        """What the optimizer is told."""
        return max(1, round(self.told * self.task.horizon))

    @property
    def epochs(self) -> float:
        """How often the run sees each example, by the number of steps that the optimizer is told,
        as a script finds it out.
        """
        return float(self.task.family.supply(self.task.member).epochs(self.num_steps))


class Curve(NamedTuple):
    """What one run did.

    `steps` (points,) int: where it was evaluated; `train` (points,): mean minibatch loss since the
    point before; `valid`, `test` (points,): loss on the whole split; `final`: losses and metrics of
    whole splits at the horizon, "valid_loss" and the like.

    Without curves it is evaluated once, at the horizon, and has no `test`; with them at
    `eval_steps`. Losses that are not finite stay as they are: nothing stops a run.
    """

    steps: np.ndarray
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray | None
    final: dict[str, float]


def eval_steps(horizon: int, beyond: float = 1.0) -> np.ndarray:
    """Increasing steps: up to POINTS, log-spaced, that end with `horizon`, then some beyond it.

    Those up to `horizon` do not depend on `beyond`; the others are as dense, and end with
    `beyond` x horizon.
    """
    points = min(POINTS, horizon)
    steps = np.round(np.geomspace(max(1, horizon / 100), horizon, points)).astype(int)
    steps = np.maximum.accumulate(steps - np.arange(points)) + np.arange(points)
    steps = np.minimum(steps, horizon - np.arange(points)[::-1])
    end = round(beyond * horizon)
    if end <= horizon:
        return steps
    count = int(np.ceil(np.log(beyond) / np.log(100) * (POINTS - 1)))
    after = np.round(np.geomspace(horizon, end, count + 1)).astype(int)
    return np.unique(np.concatenate([steps, after]))


class Runner:
    """Runs trials of one optimizer.

    Its programs begin runs and advance them from one evaluation to the next; how many of these
    there are is data, and so are horizons and what is told. What evaluates is compiled once for
    all optimizers, see `evaluate`.

    Args:
      make: builds the optimizer.
      eval_params: (its state, parameters) -> the parameters whose loss is reported.
      most: runs a call at most; None: as many as memory allows and the machine is faster for.
      traced: `make` takes the number of steps traced, so that one program serves all lengths; else
        it gets plain integers, and there is a program for each.
      epochs: `make` takes `Trial.epochs` too.
    """

    def __init__(
        self,
        make: MakeTx,
        eval_params: Callable[..., Any] = at_params,
        *,
        most: int | None = None,
        traced: bool = True,
        epochs: bool = False,
    ) -> None:
        self.make, self.eval_params, self.most, self.traced = make, eval_params, most, traced
        self.epochs = epochs
        self._bytes: dict[Any, list[int]] = {}
        self._asked: dict[Any, list[tuple[int, int]]] = {}
        self._begins = ProgramCache(jit(functools.partial(begin, make)))
        self.programs = ProgramCache(
            jit(functools.partial(advance, make, eval_params), donate_argnums=3)
        )

    def __call__(
        self, trials: Sequence[Trial], *, curves: bool = False, needed: Iterable[int] | None = None
    ) -> list[Curve]:
        """One curve a trial that is needed, in order.

        Trials of one family and one length run together, without `traced` those that are told the
        same number of steps. Which place of how many a trial has depends on all trials of this call
        and of those before: so its curve is the same, bit for bit, whichever of them are needed.

        Args:
          trials: runs.
          curves: evaluate along the way, and on the test split too; else no program is given a
            family that has that split.
          needed: indices of trials; None: all.
        """
        wanted = set(range(len(trials)) if needed is None else needed)
        groups: dict[Any, list[int]] = {}
        for i, trial in enumerate(trials):
            told = None if self.traced else trial.num_steps
            key = (trial.task.spec, trial.task.horizon, trial.beyond if curves else 1.0, told)
            groups.setdefault(key, []).append(i)
        made: dict[int, Curve] = {}
        for (spec, horizon, beyond, told), group in groups.items():
            steps = eval_steps(horizon, beyond) if curves else np.array([horizon])
            task = trials[group[0]].task
            asked = self._asked.setdefault((spec, told), [])
            asked.append((len(group), horizon))
            if wanted.isdisjoint(group):
                continue
            if spec not in self._bytes:
                self._bytes[spec] = self.run_bytes(task.family.without_test(), task.member, told)
            step, evaluation = self._bytes[spec]
            width = runs_per_call(asked, self.most or useful_width(step, evaluation), step)
            for start in range(0, len(group), width):
                part = group[start : start + width]
                if not wanted.isdisjoint(part):
                    found = self._train([trials[i] for i in part], width, steps, told, curves)
                    made |= dict(zip(part, found, strict=False))
        return [made[i] for i in sorted(wanted)]

    def _train(
        self, trials: Sequence[Trial], width: int, steps: np.ndarray, told: int | None, curves: bool
    ) -> list[Curve]:
        """One curve a place; those after the last trial are the first trial's."""
        task, mesh, stacked = trials[0].task, device_mesh(width), self._stack(trials, width)
        kind, horizon = (task.spec, told, width), task.horizon
        # Once on every device, not again in each call.
        everywhere = NamedSharding(mesh, PartitionSpec())
        family = jax.device_put(task.family.without_test(), everywhere)
        whole = jax.device_put(task.family, everywhere) if curves else family
        state = self._begins.run(kind, (mesh, told), stacked)
        points: list[dict[str, Any]] = []
        for start, end in itertools.pairwise((0, *steps.tolist())):
            bounds = np.array([start, end], np.int32)
            state, judged, train = self.programs.run(
                kind, (mesh, told), stacked, state, bounds, family
            )
            found = {"valid": evaluate(mesh, "outer_valid", stacked[0], judged, family)}
            if curves:
                found["test"] = evaluate(mesh, "test", stacked[0], judged, whole)
            if curves and end == horizon:
                found["train"] = evaluate(mesh, "train", stacked[0], judged, family)
            # Here it is waited for: else the parameters of all points would be held.
            points.append(jax.device_get({"mean": train, **found}))
        return [_curve(steps, points, horizon, place) for place in range(width)]

    def built(self, trial: Trial) -> optax.GradientTransformationExtraArgs:
        """The optimizer of a trial."""
        return self.make(trial.hyper, trial.num_steps, *([trial.epochs] if self.epochs else []))

    def run_bytes(self, family: Any, task: Any, told: int | None = None) -> list[int]:
        """About what a run holds in a training step, and in an evaluation: by shapes alone."""
        held = jax.eval_shape(
            functools.partial(self._held, told=told), family, task, jax.random.key(0)
        )
        return [tree_bytes(shapes) for shapes in held]

    def _held(
        self, family: Any, task: Any, key: jax.Array, told: int | None = None
    ) -> tuple[Any, Any]:
        hyper = Hyper(*(jnp.zeros(()) for _ in Hyper._fields))
        num_steps = jnp.ones((), jnp.int32) if told is None else told
        tx = self.make(hyper, num_steps, *([1.0] if self.epochs else []))
        state = begin_run(task, tx, key)

        def saved(batch: Any) -> Any:
            return jax.vjp(
                lambda p: task.train_loss(p, state.model_state, batch, key)[0], state.params
            )[1]

        batch = family.batch(task, key, "train")
        # Old and new parameters and state, gradients, updates.
        held = (state.params, state.opt_state) * 2, (state.params, state.params)
        return (held, batch, saved(batch)), saved(family.full(task, "outer_valid"))

    def _stack(self, trials: Sequence[Trial], width: int) -> Any:
        """The trials as arrays, the first once more for places that are too many."""
        padded = [*trials, *[trials[0]] * (width - len(trials))]
        members = jax.tree.map(lambda *xs: np.stack(xs), *[trial.task.member for trial in padded])
        hypers = np.array([trial.hyper for trial in padded], np.float32).T
        seeds = np.array([trial.seed for trial in padded], np.uint32)
        steps = np.array([trial.num_steps for trial in padded], np.int32)
        epochs = [np.array([trial.epochs for trial in padded], np.float32)] if self.epochs else []
        return members, Hyper(*hypers), seeds, steps, epochs


def _curve(steps: np.ndarray, points: Sequence[dict[str, Any]], horizon: int, place: int) -> Curve:
    flat = {}
    at_horizon = points[int(np.searchsorted(steps, horizon))]
    for split in ("test", "train", "valid"):
        if split not in at_horizon:
            continue
        loss, metrics = jax.tree.map(lambda x: float(x[place]), at_horizon[split])
        flat |= {f"{split}_loss": loss}
        flat |= {f"{split}_{name}": value for name, value in metrics.items()}

    def column(read: Callable[[dict[str, Any]], Any]) -> np.ndarray:
        return np.array([read(point)[place] for point in points])

    test = column(lambda point: point["test"][0]) if "test" in at_horizon else None
    mean, valid = column(lambda point: point["mean"]), column(lambda point: point["valid"][0])
    return Curve(steps, mean, valid, test, flat)


def baseline_runner(baseline: Baseline) -> Runner:
    """What trains with a baseline."""
    return Runner(baseline.transform, baseline.eval_params)
