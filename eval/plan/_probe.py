"""What a training run of a task costs, timed on a few steps of it."""

import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from learned_opt.devices import compiler_options, device_mesh, map_lanes
from learned_opt.tasks import EvalTask, Split, begin_run, full_loss, run_step

from ..running import Runner, Trial, eval_steps, useful_width

SECONDS = 1.0
"""What the timed steps should take, and at most MOST of them, at least one."""

MOST = 100


@dataclasses.dataclass(frozen=True)
class Timed:
    """So many runs in one call: seconds of a training step of all, and of an evaluation of all.

    `compiling`, `compiling_evaluation`: seconds; `memory`: bytes that the call fills.
    """

    width: int
    step: float
    evaluation: float
    compiling: float
    compiling_evaluation: float
    memory: int


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

    def compiling(self, *, curves: bool) -> float:
        """Seconds for one program."""
        return self.wide.compiling + (3 if curves else 1) * self.wide.compiling_evaluation

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
        programs = list(pool.map(lambda one: _Programs(task, *runs[one[0]], one[1]), asked))
    timed = {one: made.timed() for one, made in zip(asked, programs, strict=True)}
    return {
        name: Probe(timed[name, 1], timed[name, most], (valid, test, train))
        for name, most in widths.items()
    }


def _useful(task: EvalTask, runner: Runner, trial: Trial) -> int:
    told = None if runner.traced else trial.num_steps
    return useful_width(*runner.run_bytes(task.family, task.member, told))


class _Programs:
    """Of so many runs in one call: they begin, they take steps, they are evaluated."""

    def __init__(self, task: EvalTask, runner: Runner, trial: Trial, width: int) -> None:
        member, mesh, self.width, self.family = task.member, device_mesh(width), width, task.family
        tx = runner.make(trial.hyper, trial.num_steps)

        def begin(key: jax.Array) -> Any:
            return key, begin_run(member, tx, key)

        def advance(row: Any, start: jax.Array, end: jax.Array, family: Any) -> Any:
            key, state = row

            def body(t: jax.Array, state: Any) -> Any:
                return run_step(family, tx, state, key, t)[0]

            return key, jax.lax.fori_loop(start, end, body, state)

        def evaluate(row: Any, family: Any) -> Any:
            _, state = row
            params = runner.eval_params(state.opt_state, state.params)
            return full_loss(family, member, params, "outer_valid")[0]

        def lanes(one: Callable[..., Any], **options: Any) -> Any:
            every = functools.partial(map_lanes, mesh, one)
            return jax.jit(every, compiler_options=compiler_options(), **options)

        self.rows = lanes(begin)(jax.random.split(jax.random.key(0), width))
        zero = jnp.int32(0)
        self.step, self.compiling = _compiled(
            lanes(advance, donate_argnums=0), self.rows, zero, zero, self.family
        )
        self.look, self.compiling_look = _compiled(lanes(evaluate), self.rows, self.family)

    def timed(self) -> Timed:
        seconds = min(self._advance(1), self._advance(1))
        steps = max(1, min(MOST, int(SECONDS / seconds)))
        return Timed(
            width=self.width,
            step=self._advance(steps) / steps,
            evaluation=min(self._evaluate(), self._evaluate()),
            compiling=self.compiling,
            compiling_evaluation=self.compiling_look,
            memory=max(map(_filled, (self.step, self.look))),
        )

    def _advance(self, steps: int) -> float:
        tick = time.perf_counter()
        self.rows = self.step(self.rows, jnp.int32(0), jnp.int32(steps), self.family)
        jax.block_until_ready(self.rows)
        return time.perf_counter() - tick

    def _evaluate(self) -> float:
        tick = time.perf_counter()
        jax.block_until_ready(self.look(self.rows, self.family))
        return time.perf_counter() - tick


def _compiled(function: Any, *arguments: Any) -> tuple[Any, float]:
    tick = time.perf_counter()
    made = function.lower(*arguments).compile()
    return made, time.perf_counter() - tick


def _filled(compiled: Any) -> int:
    """Bytes of a program's arguments, results and what it needs in between."""
    found = compiled.memory_analysis()
    if found is None:
        return 0
    sizes = (found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes)
    return int(sum(sizes) - found.alias_size_in_bytes)


def examples(task: EvalTask, split: Split) -> int:
    """Examples of a split."""
    member = task.member
    shapes = jax.eval_shape(lambda family: family.full(member, split), task.family)
    return jax.tree.leaves(shapes)[0].shape[0]
