"""python -m research.references SUITE --out FOLDER: the losses that the suite is scored against.

AdamW and Muon are tuned on every task as `learned-opt eval` tunes them, then run on ten fresh
seeds, unless --few says otherwise; `made_by` in the file tells which it was. The geometric means of
their losses on `outer_valid` at the horizon are written to tasks/suites/references/SUITE.json. Runs
are kept in FOLDER, so that an interrupted call goes on; those of --archive, a file of `learned-opt
eval baselines`, are not made again. --few N is the cheap version: N settings on one seed, then N
fresh seeds.
"""

import argparse
import datetime
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rich.console

from learned_opt.checkpoints import describe_device, plain_console, write_atomic
from learned_opt.devices import use_all_cores
from learned_opt.eval import BASELINES, Trial
from learned_opt.eval.baselines import Baseline
from learned_opt.eval.contestants import REPORT_SEEDS, baseline_jobs
from learned_opt.eval.running import Archive, own_archive
from learned_opt.eval.tuning import TUNE_SEEDS, few_settings, tune_among
from learned_opt.tasks import SUITES, EvalTask, load_suite
from learned_opt.tasks.suites._references import references_file

ROWS = tuple(row for row in BASELINES if row.name in ("adamw", "muon"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m research.references", description=__doc__)
    parser.add_argument("suite", metavar="SUITE")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="keeps the runs")
    parser.add_argument("--archive", metavar="FILE.npz", help="runs that are there already")
    parser.add_argument("--few", type=int, metavar="N", help="settings, and fresh seeds")
    args = parser.parse_args(argv)
    use_all_cores()
    console, tasks = plain_console(), load_suite(args.suite)
    facts = {"suite": args.suite}
    base = [Path(args.archive)] if args.archive else []
    with own_archive(args.out, "references.toml", facts, what="references", base=base) as archive:
        losses = {task.name: losses_of(task, archive, args.few, console) for task in tasks}
    how = "tuned as by learned-opt eval, then ten fresh seeds"
    if args.few:
        how = f"the best of {args.few} settings on one seed, then {args.few} fresh seeds"
    made = {
        "suite": args.suite,
        "hash": SUITES[args.suite].hash,
        "split": "outer_valid",
        "made_by": f"{how}; {describe_device()}, {datetime.datetime.now(datetime.UTC).date()}",
        "tasks": losses,
    }
    file = references_file(args.suite)
    write_atomic(file, json.dumps(made, indent=1) + "\n")
    console.print(f"Written: {file}")


def losses_of(
    task: EvalTask, archive: Archive, few: int | None, console: rich.console.Console
) -> dict[str, float]:
    """Of each baseline the geometric mean of its final losses on fresh seeds."""
    found = {row.name: _loss(row, task, archive, few) for row in ROWS}
    console.print(task.name, found)
    return found


def _loss(row: Baseline, task: EvalTask, archive: Archive, few: int | None) -> float:
    job = baseline_jobs([row], calibrated=False)[row.name]
    run, choose = functools.partial(archive.run, job.identity, job.runner()), job.choose
    seeds = REPORT_SEEDS
    if few:
        choose = functools.partial(tune_among, few_settings(row, few), seeds=TUNE_SEEDS[:1])
        seeds = seeds[:few]
    tuned = choose([task], lambda trials: [r.valid_loss for r in run(trials, curves=False)])
    trials = [Trial(task, tuned[task.name].hyper, seed) for seed in seeds]
    # Whole archives have curves: their runs are found. Without, a run is half as dear.
    runs = run(trials, curves=few is None)
    return float(f"{np.exp(np.mean(np.log([r.valid_loss for r in runs]))):.6g}")


if __name__ == "__main__":
    main()
