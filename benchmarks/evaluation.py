"""python -m benchmarks.evaluation [ARTIFACT] [--suite NAME]: where an evaluation's time goes.

Of each task those runs that an evaluation makes of what it judges: ten to 1.5 horizons, evaluated
on the way; and ten to the horizon under each of three wrong ones. All at a fraction of the
horizons, from which the whole is reckoned. Then the cells of the generalisation grid, and the runs
that are watched. In seconds of processor time, of all threads, since other work on the machine
changes that less than it does the clock; losses are not shown.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.eval import Trial
from learned_opt.eval.contestants import REPORT_SEEDS, UNTUNED, Subject, artifact_subject
from learned_opt.eval.contestants._protocol import BEYOND, WRONG_HORIZONS
from learned_opt.eval.grid import grid
from learned_opt.eval.running import trace
from learned_opt.eval.running._trials import POINTS
from learned_opt.tasks import EvalTask, load_suite

COLUMNS = ("compile", "steps", "evaluate")


def busy(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    tick = time.process_time()
    work()
    return time.process_time() - tick


def shortened(task: EvalTask, fraction: float) -> EvalTask:
    """The task for a fraction of its horizon, long enough to be evaluated as often."""
    return dataclasses.replace(task, horizon=max(POINTS + 1, round(fraction * task.horizon)))


def task_seconds(subject: Subject, task: EvalTask, fraction: float) -> tuple[float, ...]:
    """COLUMNS of all runs on a task."""
    short, runner = shortened(task, fraction), subject.runner()
    trials = [Trial(short, UNTUNED, seed) for seed in REPORT_SEEDS]
    longer = [dataclasses.replace(trial, beyond=BEYOND) for trial in trials]
    thrice = dataclasses.replace(short, horizon=3 * short.horizon)
    long = [dataclasses.replace(trial, task=thrice) for trial in trials]

    def reported() -> object:
        return runner(longer, curves=True)

    def wrong() -> object:
        return runner(trials)

    cold = busy(reported) + busy(wrong)
    curves, plain = busy(reported), busy(wrong)
    step = (busy(lambda: runner(long)) - plain) / (2 * short.horizon)
    steps = step * task.horizon * (BEYOND + len(WRONG_HORIZONS))
    evaluations = curves + len(WRONG_HORIZONS) * plain
    evaluations -= step * short.horizon * (BEYOND + len(WRONG_HORIZONS))
    return cold - curves - plain, steps, evaluations


def grid_seconds(subject: Subject, fraction: float) -> tuple[float, ...]:
    """COLUMNS of the cells; those evaluate once, which is not told from steps."""
    runner, total, whole = subject.runner(), 0.0, 0.0
    for cell in grid():
        short = shortened(cell.task, fraction)
        trials = [Trial(short, UNTUNED, seed, cell.told) for seed in REPORT_SEEDS]
        cold, warm = (busy(lambda trials=trials: runner(trials)) for _ in range(2))
        total += cold - warm
        whole += warm * cell.task.horizon / short.horizon
    return total, whole, 0.0


def watch_seconds(
    subject: Subject, tasks: tuple[EvalTask, ...], fraction: float
) -> tuple[float, ...]:
    """Of runs of one seed that are watched; compilation is not told from steps."""
    shorts = [shortened(task, fraction) for task in tasks]
    work = sum(busy(lambda t=t: trace(t, subject.on(t), seed=REPORT_SEEDS[0])) for t in shorts)
    return work, 0.0, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", nargs="?", default="small")
    parser.add_argument("--suite", default="META_TEST_V1")
    parser.add_argument("--tasks", nargs="*", default=[], help="of the suite; all if none is named")
    parser.add_argument("--fraction", type=float, default=0.05, help="of the horizons")
    parser.add_argument("--runs-only", action="store_true", help="no grid, nothing watched")
    args = parser.parse_args()
    use_all_cores()
    subject = artifact_subject(learned_opt.load(args.artifact))
    tasks = tuple(t for t in load_suite(args.suite) if not args.tasks or t.name in args.tasks)
    print(f"{args.artifact} on {args.suite}, {describe_device()}: seconds of processor time")
    print(f"{'':24}" + "".join(f"{name:>10}" for name in (*COLUMNS, "sum")))
    totals: list[tuple[float, ...]] = []

    def row(name: str, seconds: tuple[float, ...]) -> None:
        columns = "".join(f"{x:>10.1f}" for x in (*seconds, sum(seconds)))
        print(f"{name:24}{columns}", flush=True)

    for task in tasks:
        totals.append(task_seconds(subject, task, args.fraction))
        row(task.name, totals[-1])
    if not args.runs_only:
        totals.append(watch_seconds(subject, tasks, args.fraction))
        row("watched", totals[-1])
        totals.append(grid_seconds(subject, args.fraction))
        row("generalisation grid", totals[-1])
    row("sum", tuple(map(sum, zip(*totals, strict=True))))


if __name__ == "__main__":
    main()
