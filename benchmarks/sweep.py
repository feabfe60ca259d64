"""python -m benchmarks.sweep [BASELINE]: what it buys to make the runs of a sweep together.

A baseline is tuned on one digits task by the whole protocol, then run on fresh seeds. Those runs
are timed in alternating rounds: together, as an evaluation makes them; one by one, each a call of
the same program with one lane; and as a script does it, a loop in Python over a jitted training
step that is compiled once (of every tenth run, and evaluated at its end alone). The best round of
each counts; compilation is printed apart. The goal is a ratio of 5. "cores busy" tells how much of
the machine was left to each.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from learned_opt.devices import use_all_cores
from learned_opt.eval import BASELINES, Runner, Trial, tune
from learned_opt.eval.baselines import Baseline
from learned_opt.eval.contestants import REPORT_SEEDS
from learned_opt.tasks import full_loss, inner_init, inner_step, load_suite

TASK, ROUNDS, EVERY = "digits-mlp-32", 7, 10


class Script:
    """Trains run after run of one task, step after step."""

    def __init__(self, row: Baseline, trial: Trial) -> None:
        self.family, member = trial.task.family, trial.task.member
        make = functools.partial(row.transform, num_steps=trial.num_steps)

        def init(hyper: Any, key: jax.Array) -> Any:
            return inner_init(member, make(hyper), key)

        def step(state: Any, family: Any, hyper: Any, key: jax.Array) -> Any:
            return inner_step(family, make(hyper), state, key)[0]

        def loss(state: Any, family: Any) -> jax.Array:
            params = row.eval_params(state.opt_state, state.params)
            return full_loss(family, member, params, "outer_valid")[0]

        self.init, self.loss = jax.jit(init), jax.jit(loss)
        self.step = jax.jit(step, donate_argnums=0)

    def __call__(self, trials: Sequence[Trial]) -> None:
        """One after another."""
        for trial in trials:
            key = jax.random.key(trial.seed)
            # Arrays: a number would be a constant of the program, compiled anew for each.
            hyper = trial.hyper._make(np.float32(x) for x in trial.hyper)
            state = self.init(hyper, key)
            for t in range(trial.task.horizon):
                state = self.step(state, self.family, hyper, jax.random.fold_in(key, t))
            self.loss(state, self.family).block_until_ready()


def main(name: str = "adamw") -> None:
    use_all_cores()
    (task,) = (task for task in load_suite("quickstart") if task.name == TASK)
    (row,) = (row for row in BASELINES if row.name == name)
    together = Runner(row.transform, row.eval_params)
    one_by_one = Runner(row.transform, row.eval_params, most=1)
    sweep: list[tuple[Sequence[Trial], bool]] = []

    def losses(trials: Sequence[Trial]) -> list[float]:
        sweep.append((trials, False))
        return [curve.final["valid_loss"] for curve in together(trials)]

    hyper = tune(row, [task], losses)[TASK].hyper
    sweep.append(([Trial(task, hyper, seed) for seed in REPORT_SEEDS], True))
    runs = sum(len(trials) for trials, _ in sweep)
    print(f"{row.label} on {TASK}: {runs} runs of {task.horizon} steps")
    print(f"{jax.device_count()} x {jax.default_backend()}, best of {ROUNDS} rounds\n")

    script = Script(row, sweep[0][0][0])
    few = [trial for trials, _ in sweep for trial in trials][::EVERY]

    def whole(runner: Runner) -> int:
        for trials, report in sweep:
            runner(trials, curves=report)
        return runs

    def sample() -> int:
        script(few)
        return len(few)

    contestants: dict[str, Callable[[], int]] = {
        "together": lambda: whole(together),
        "one by one": lambda: whole(one_by_one),
        "by a script": sample,
    }

    def go(contestant: Callable[[], int]) -> tuple[float, float]:
        """Seconds of the whole sweep, and of all cores in it."""
        start, busy = time.perf_counter(), time.process_time()
        share = contestant() / runs
        return (time.perf_counter() - start) / share, (time.process_time() - busy) / share

    for contestant in contestants.values():  # compiles
        contestant()
    rounds = np.array([[go(x) for x in contestants.values()] for _ in range(ROUNDS)])
    best = rounds.min(axis=0)
    head = f"{'':>12} {'runs':>9} {'inner steps/s':>14} {'cores busy':>11} {'over together':>14}"
    print(f"{head}  rounds")
    for i, label in enumerate(contestants):
        wall, busy = best[i]
        ratios = rounds[:, i, 0] / rounds[:, 0, 0]
        print(
            f"{label:>12} {wall:>7.2f} s {runs * task.horizon / wall:>14,.0f} {busy / wall:>11.1f} "
            f"{wall / best[0, 0]:>13.1f}x  {ratios.min():.1f} to {ratios.max():.1f}"
        )
    compiled = [f"{x.programs.compile_seconds:.1f} s" for x in (together, one_by_one)]
    print(f"\ncompilation of steps apart: {compiled[0]} together, {compiled[1]} one by one")


if __name__ == "__main__":
    main(*sys.argv[1:])
