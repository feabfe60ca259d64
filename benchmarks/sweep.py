"""python -m benchmarks.sweep [BASELINE]: what it buys to make the runs of a sweep together.

A baseline is tuned on one digits task by the whole protocol, then run on fresh seeds. Those runs
are timed twice, in alternating rounds: together, as an evaluation makes them; and one by one, each
a call of the same program with one lane. The best round of each counts; compilation is printed
apart. The goal is a ratio of 5. "cores busy" tells how much of the machine was left to either.
"""

import sys
import time
from collections.abc import Sequence

import jax
import numpy as np

from eval import BASELINES, Runner, Trial, tune
from eval._evaluate import REPORT_SEEDS
from tasks import load_suite, use_all_cores

TASK, ROUNDS = "digits-mlp-32", 7


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

    def go(runner: Runner) -> tuple[float, float]:
        """Seconds of the whole sweep, and of all cores in it; compiled before."""
        start, busy = time.perf_counter(), time.process_time()
        for trials, report in sweep:
            runner(trials, report=report)
        return time.perf_counter() - start, time.process_time() - busy

    contestants = {"together": together, "one by one": one_by_one}
    for runner in contestants.values():
        go(runner)
    rounds = [[go(runner) for runner in contestants.values()] for _ in range(ROUNDS)]
    best = np.min(rounds, axis=0)
    print(f"{'':>12} {'runs':>9} {'inner steps/s':>14} {'cores busy':>11} {'compile':>9}")
    for (label, runner), (wall, busy) in zip(contestants.items(), best, strict=True):
        print(
            f"{label:>12} {wall:>7.2f} s {runs * task.horizon / wall:>14,.0f} "
            f"{busy / wall:>11.1f} {runner.programs.compile_seconds:>7.1f} s"
        )
    wall, busy = best[1] / best[0]
    spread = [alone[0] / fused[0] for fused, alone in rounds]
    print(
        f"\n{wall:.1f} times as fast together (rounds: {min(spread):.1f} to {max(spread):.1f}), "
        f"in {busy:.1f} times less of the cores' time"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
