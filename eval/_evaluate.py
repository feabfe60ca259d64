"""An evaluation in a folder: tune the baselines, run everyone on fresh seeds, write the report."""

import concurrent.futures
import dataclasses
import functools
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import optax
import rich.console

import learned_opt
from checkpoints import claim_folder, hold_folder, write_atomic
from learned_opt import Artifact
from tasks import EvalTask, load_suite
from tasks.suites import Tier

from ._archive import Archive, loss_of
from ._baselines import BASELINES, Baseline, Hyper
from ._cost import measure_costs
from ._figures import draw
from ._html import to_html
from ._keys import artifact_identity, baseline_identity
from ._pack import shipped_file
from ._progress import Progress
from ._run import Runner, Trial
from ._summary import summarise
from ._tune import Tuned, tune

REPORT_SEEDS = tuple(range(100, 110))
UNTUNED = Hyper(1.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One optimizer's runs on fresh seeds, and how its settings were chosen per task."""

    name: str
    label: str
    tuned: dict[str, Tuned]
    rows: list[dict[str, Any]]


Job = Callable[[], Contestant]


def evaluate(
    artifact: Artifact,
    suite: str,
    out: str | os.PathLike,
    *,
    tier: Tier = "cpu",
    console: rich.console.Console | None = None,
) -> dict[str, Any]:
    """Compare an artifact, untuned, with tuned baselines on a suite; returns the report.

    Writes `runs.jsonl` (every run that did not ship with the package), `report.json` and
    `report.html` into the folder `out`. An interrupted evaluation goes on where it stopped when
    it is called again; so does one whose runs were made elsewhere, see `Archive`.

    Raises:
      FolderError: `out` holds something else, or an evaluation of another artifact or suite, or
        another process is at work there.
      ArchiveError: the runs that ship with the package are damaged.
      ValueError: no such suite, or none of this tier.
    """
    console = console or rich.console.Console()
    tasks = load_suite(suite, tier)
    facts = {"artifact": artifact.sha256, "suite": suite, "tier": tier, "jax": jax.__version__}
    out = claim_folder(out, "evaluation.toml", facts, what="an evaluation", resume=True)
    start = time.perf_counter()
    with hold_folder(out):
        shipped = shipped_file(suite, tier)
        archive = Archive(out / "runs.jsonl", shipped if shipped.exists() else None)
        jobs, runs = baseline_jobs(BASELINES, tasks, archive)
        jobs["learned"] = functools.partial(_learned, artifact, tasks, archive)
        runs += len(tasks) * len(REPORT_SEEDS)
        found = run_jobs(jobs, archive, Progress(console, "Evaluating", len(jobs), runs))
        contestants = [found[name] for name in ("learned", *(b.name for b in BASELINES))]
        step_tx = learned_opt.learned(artifact, num_steps=10_000)
        costs = measure_costs({"learned": step_tx, "adam": optax.adam(1e-3)})
        report = summarise(artifact, suite, tasks, contestants, costs)
        report["archive"] = archive.facts()
        report["seconds"] = round(time.perf_counter() - start, 1)
        write_report(report, out)
    return report


def baseline_jobs(
    baselines: Sequence[Baseline], tasks: Sequence[EvalTask], archive: Archive
) -> tuple[dict[str, Job], int]:
    """What tunes each baseline and runs it on fresh seeds, longest first; about how many runs."""
    planned = {row.name: planned_runs(row, tasks) for row in baselines}
    ordered = sorted(baselines, key=lambda row: -planned[row.name])
    jobs = {row.name: functools.partial(_baseline, row, tasks, archive) for row in ordered}
    return jobs, sum(planned.values())


def run_jobs(jobs: dict[str, Job], archive: Archive, progress: Progress) -> dict[str, Contestant]:
    """The results of jobs that run on one archive, two at a time, in the order they come.

    An error of one, or an interruption, stops the others after the tasks that they are at.
    """
    for note in archive.notes:
        progress.console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    archive.watch = progress.runs
    # While one optimizer compiles the other runs.
    with progress, concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = {pool.submit(job): name for name, job in jobs.items()}
        try:
            for future in concurrent.futures.as_completed(futures):
                progress.advance(future.result().label)
        except BaseException:
            archive.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: future.result() for future, name in futures.items()}


def planned_runs(baseline: Baseline, tasks: Sequence[EvalTask]) -> int:
    """Runs that a baseline takes if the first learning rates of its grid need no more of them."""
    count, lrs = 0, []

    def best_in_the_middle(trials: Sequence[Trial]) -> list[float]:
        nonlocal count, lrs
        count += len(trials)
        lrs = lrs or sorted({trial.hyper.lr for trial in trials})
        return [abs(math.log(trial.hyper.lr / lrs[len(lrs) // 2])) for trial in trials]

    tune(baseline, tasks, best_in_the_middle)
    return count + len(tasks) * len(REPORT_SEEDS)


def write_report(report: dict[str, Any], out: Path) -> None:
    """`report.json` and the self-contained `report.html`."""
    write_atomic(out / "report.json", json.dumps(report, indent=1))
    write_atomic(out / "report.html", to_html(report, draw(report)))


def _learned(artifact: Artifact, tasks: Sequence[EvalTask], archive: Archive) -> Contestant:
    runner = Runner(lambda hyper, num_steps: learned_opt.learned(artifact, num_steps=num_steps))
    trials = [Trial(task, UNTUNED, seed) for task in tasks for seed in REPORT_SEEDS]
    rows = archive.run(artifact_identity(artifact), runner, trials, "report")
    untuned = {task.name: Tuned(UNTUNED, 0, 0, ()) for task in tasks}
    return Contestant("learned", f"{artifact.card.get('name', 'learned')}, untuned", untuned, rows)


def _baseline(baseline: Baseline, tasks: Sequence[EvalTask], archive: Archive) -> Contestant:
    runner, identity = Runner(baseline.transform), baseline_identity(baseline)

    def final_losses(trials: Sequence[Trial]) -> list[float]:
        return [loss_of(row) for row in archive.run(identity, runner, trials, "tune")]

    tuned = tune(baseline, tasks, final_losses)
    trials = [Trial(task, tuned[task.name].hyper, s) for task in tasks for s in REPORT_SEEDS]
    rows = archive.run(identity, runner, trials, "report")
    return Contestant(baseline.name, baseline.label, tuned, rows)
