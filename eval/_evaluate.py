"""An evaluation in a folder: tune the baselines, run everyone on fresh seeds, write the report."""

import concurrent.futures
import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import optax
import rich.console

import learned_opt
from checkpoints import claim_folder, write_atomic
from learned_opt import Artifact
from tasks import EvalTask, load_suite

from ._archive import Archive, loss_of
from ._baselines import BASELINES, Hyper
from ._cost import QUICK, measure_costs
from ._figures import draw
from ._html import to_html
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


def evaluate(
    artifact: Artifact,
    suite: str,
    out: str | os.PathLike,
    *,
    console: rich.console.Console | None = None,
) -> dict[str, Any]:
    """Compare an artifact, untuned, with tuned baselines on a suite; returns the report.

    Writes `runs.jsonl` (every run), `report.json` and `report.html` into the folder `out`. An
    interrupted evaluation goes on where it stopped when it is called again.

    Raises:
      FolderError: `out` holds something else, or an evaluation of another artifact or suite.
      ValueError: no such suite.
    """
    console = console or rich.console.Console()
    tasks = load_suite(suite)
    facts = {"artifact": artifact.sha256, "suite": suite, "jax": jax.__version__}
    out = claim_folder(out, "evaluation.toml", facts, what="an evaluation", resume=True)
    archive = Archive(out / "runs.jsonl", suite)
    start = time.perf_counter()
    with Progress(console, len(BASELINES) + 1) as progress:
        # Two at a time: while one optimizer compiles the other runs. Longest first.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = {
                row.name: pool.submit(_baseline, row, tasks, archive)
                for row in sorted(BASELINES, key=lambda row: -len(row.grid) * (1 + len(row.wds)))
            }
            jobs["learned"] = pool.submit(_learned, artifact, tasks, archive)
            for job in concurrent.futures.as_completed(jobs.values()):
                progress.advance(job.result().label, len(archive.rows))
        contestants = [jobs[name].result() for name in ("learned", *(b.name for b in BASELINES))]
    step_tx = learned_opt.learned(artifact, num_steps=10_000)
    measured = {"learned": step_tx, "adam": optax.adam(1e-3)}
    costs = measure_costs(measured, QUICK, batch_sizes=(64,))
    report = summarise(artifact, suite, tasks, contestants, costs)
    report["seconds"] = round(time.perf_counter() - start, 1)
    write_report(report, out)
    return report


def write_report(report: dict[str, Any], out: Path) -> None:
    """`report.json` and the self-contained `report.html`."""
    write_atomic(out / "report.json", json.dumps(report, indent=1))
    write_atomic(out / "report.html", to_html(report, draw(report)))


def _learned(artifact: Artifact, tasks: Sequence[EvalTask], archive: Archive) -> Contestant:
    runner = Runner(lambda hyper, num_steps: learned_opt.learned(artifact, num_steps=num_steps))
    trials = [Trial(task, UNTUNED, seed) for task in tasks for seed in REPORT_SEEDS]
    rows = archive.run(f"learned:{artifact.sha256}", runner, trials, "report")
    untuned = {task.name: Tuned(UNTUNED, 0, 0, ()) for task in tasks}
    return Contestant("learned", f"{artifact.card.get('name', 'learned')}, untuned", untuned, rows)


def _baseline(baseline: Any, tasks: Sequence[EvalTask], archive: Archive) -> Contestant:
    runner = Runner(baseline.transform)

    def final_losses(trials: Sequence[Trial]) -> list[float]:
        return [loss_of(row) for row in archive.run(baseline.name, runner, trials, "tune")]

    tuned = tune(baseline, tasks, final_losses)
    trials = [Trial(task, tuned[task.name].hyper, s) for task in tasks for s in REPORT_SEEDS]
    rows = archive.run(baseline.name, runner, trials, "report")
    return Contestant(baseline.name, baseline.label, tuned, rows)
