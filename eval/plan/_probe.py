"""What a training run of a task costs, timed on a few steps of it."""

import concurrent.futures
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from learned_opt.tasks import EvalTask, Split, Timed, TimedRuns

from ..running import Runner, Trial, eval_steps, useful_width


@dataclasses.dataclass(frozen=True)
class Probe:
    """Of one optimizer on one task: alone, and with as many runs in a call as are useful.

    `splits`: examples of the validation, test and training splits.
    """

    alone: Timed
    wide: Timed
    splits: tuple[int, int, int]

    def seconds(self, steps: int, width: int, *, curves: bool) -> float:
        """About what a call of `width` runs takes, with its evaluations, compiled already.

        Between the two widths that were timed what it takes is a straight line.
        """
        step, evaluation = self._at(width, "step"), self._at(width, "evaluation")
        valid, test, train = self.splits
        if not curves:
            return steps * step + evaluation
        each = evaluation * (valid + test) / valid
        return steps * step + len(eval_steps(steps)) * each + evaluation * train / valid

    @property
    def compiling_evaluations(self) -> float:
        """Seconds for the programs that evaluate each split, which all optimizers share."""
        return len(self.splits) * self.wide.compiling_evaluation

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Probe":
        """A probe as `dataclasses.asdict` has it."""
        valid, test, train = found["splits"]
        return cls(Timed(**found["alone"]), Timed(**found["wide"]), (valid, test, train))

    def _at(self, width: int, what: str) -> float:
        low, high = getattr(self.alone, what), getattr(self.wide, what)
        span = self.wide.width - self.alone.width
        return low + (high - low) * (width - 1) / span if span else low


def probe(task: EvalTask, runs: Mapping[str, tuple[Runner, Trial]]) -> dict[str, Probe]:
    """Time a few steps and an evaluation: one run alone, and as many in a call as are useful.

    Args:
      runs: of each optimizer what trains, and a run of the task.

    Returns: by optimizer.
    """
    valid, test, train = (examples(task, split) for split in ("outer_valid", "test", "train"))
    widths = {name: _useful(task, *run) for name, run in runs.items()}
    asked = [(name, width) for name, most in widths.items() for width in sorted({1, most})]
    # Two compile at a time, as they will later; what is timed runs alone.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        programs = list(pool.map(lambda one: _runs(task, *runs[one[0]], one[1]), asked))
    timed = {one: made.timed() for one, made in zip(asked, programs, strict=True)}
    return {
        name: Probe(timed[name, 1], timed[name, most], (valid, test, train))
        for name, most in widths.items()
    }


def _runs(task: EvalTask, runner: Runner, trial: Trial, width: int) -> TimedRuns:
    tx = runner.built(trial)
    return TimedRuns(task.family, task.member, tx, width, runner.eval_params)


def _useful(task: EvalTask, runner: Runner, trial: Trial) -> int:
    told = None if runner.traced else trial.num_steps
    return useful_width(*runner.run_bytes(task.family, task.member, told))


def examples(task: EvalTask, split: Split) -> int:
    """Examples of a split."""
    member = task.member
    shapes = jax.eval_shape(lambda family: family.full(member, split), task.family)
    return jax.tree.leaves(shapes)[0].shape[0]
