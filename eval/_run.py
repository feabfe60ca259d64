"""Many training runs at once: tasks x hyper-parameters x seeds as lanes of one compiled call."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tasks import (
    EvalTask,
    compiler_options,
    device_mesh,
    full_loss,
    inner_init,
    inner_step,
    map_lanes,
)

from ._baselines import Hyper

LANES = 36
"""Runs a call: every call has this many, so that each optimizer compiles once a task family."""

POINTS = 40
"""Evaluations of the validation loss a run, log-spaced."""

MakeTx = Callable[[Hyper, jax.Array], optax.GradientTransformationExtraArgs]
"""(hyper-parameters, number of steps) -> a complete optimizer; both are traced."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training run: a task, hyper-parameters, a seed for weights and data order."""

    task: EvalTask
    hyper: Hyper
    seed: int


class Curve(NamedTuple):
    """What one run did.

    `steps` (POINTS,) int; `train` (POINTS,): mean minibatch loss since the point before; `valid`
    (POINTS,): loss on the whole outer-validation split; `params`: at the end.
    """

    steps: np.ndarray
    train: np.ndarray
    valid: np.ndarray
    params: Any


def eval_steps(horizon: int) -> np.ndarray:
    """POINTS increasing steps from about horizon / 100 to horizon, log-spaced where they fit."""
    steps = np.round(np.geomspace(max(1, horizon / 100), horizon, POINTS)).astype(int)
    for i in range(1, POINTS):
        steps[i] = max(steps[i], steps[i - 1] + 1)
    return np.minimum(steps, horizon)


class Runner:
    """Runs trials of one optimizer.

    Args:
      make: builds the optimizer.
    """

    def __init__(self, make: MakeTx) -> None:
        self.make = make
        self.mesh = device_mesh(LANES)
        self._compiled = jax.jit(self._lanes, compiler_options=compiler_options())

    def __call__(self, trials: Sequence[Trial]) -> list[Curve]:
        """One curve a trial, in order. Trials that share a family object run together."""
        curves: dict[int, Curve] = {}
        groups: dict[int, list[int]] = {}
        for i, trial in enumerate(trials):
            groups.setdefault(id(trial.task.family), []).append(i)
        for group in groups.values():
            for start in range(0, len(group), LANES):
                part = group[start : start + LANES]
                curves |= zip(part, self._call([trials[i] for i in part]), strict=True)
        return [curves[i] for i in range(len(trials))]

    def _call(self, trials: list[Trial]) -> list[Curve]:
        padded = trials + [trials[0]] * (LANES - len(trials))
        stack = functools.partial(jax.tree.map, lambda *xs: np.stack(xs))
        lanes = (
            stack(*[trial.task.member for trial in padded]),
            Hyper(*(np.array(x, np.float32) for x in zip(*[t.hyper for t in padded], strict=True))),
            np.array([trial.seed for trial in padded], np.uint32),
            np.stack([eval_steps(trial.task.horizon) for trial in padded]).astype(np.int32),
        )
        family = trials[0].task.family.without_test()
        train, valid, params = jax.device_get(self._compiled(lanes, family))
        return [
            Curve(
                steps=lanes[3][i],
                train=train[i],
                valid=valid[i],
                params=jax.tree.map(lambda p, i=i: p[i], params),
            )
            for i in range(len(trials))
        ]

    def _lanes(self, lanes: Any, family: Any) -> Any:
        return map_lanes(self.mesh, self._lane, lanes, family)

    def _lane(self, lane: Any, family: Any) -> Any:
        task, hyper, seed, steps = lane
        tx = self.make(hyper, steps[-1])
        init_key, step_key = jax.random.split(jax.random.key(seed))
        state = inner_init(task, tx, init_key)

        def segment(carry: Any, end: jax.Array) -> Any:
            state, start = carry

            def body(t: jax.Array, inner: Any) -> Any:
                state, total = inner
                state, loss = inner_step(family, tx, state, jax.random.fold_in(step_key, t))
                return state, total + loss

            state, total = jax.lax.fori_loop(start, end, body, (state, jnp.zeros(())))
            valid, _ = full_loss(family, task, state.params, "outer_valid")
            train = total / jnp.maximum(1, end - start).astype(total.dtype)
            return (state, end), (train, valid)

        (state, _), (train, valid) = jax.lax.scan(segment, (state, jnp.zeros((), jnp.int32)), steps)
        return train, valid, state.params


@jax.jit
def _final(family: Any, task: Any, params: Any) -> Any:
    return {
        split: full_loss(family, task, params, split) for split in ("train", "outer_valid", "test")
    }


def final_losses(trial: Trial, curve: Curve) -> dict[str, float]:
    """Loss and metrics on whole splits at the end of a run: the one place that reads `test`."""
    results = jax.device_get(_final(trial.task.family, trial.task.member, curve.params))
    flat = {}
    for split, (loss, metrics) in results.items():
        flat[f"{split}_loss"] = float(loss)
        flat |= {f"{split}_{name}": float(value) for name, value in metrics.items()}
    return flat
