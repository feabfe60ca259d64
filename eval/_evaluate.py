"""An evaluation in a folder: everybody's runs, what is measured beside them, the report."""

import dataclasses
import datetime
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import rich.console

from learned_opt import Artifact
from learned_opt.checkpoints import (
    code_version,
    describe_device,
    plain_console,
)
from learned_opt.tasks import load_suite
from learned_opt.tasks.suites import SUITES, Tier

from .baselines._table import ADAMW, BASELINES, Baseline
from .contestants._jobs import (
    REPORT_SEEDS,
    UNTUNED,
    Job,
    Plan,
    baseline_job,
    baseline_jobs,
    learned_job,
    rival_jobs,
    run_jobs,
)
from .contestants._results import Results
from .contestants._subject import Subject
from .cost._measurements import measure
from .grid._cells import GRID, grid
from .grid._outcomes import grid_results, grid_runs
from .report import Report, summarise, write_report
from .running._archive import Archive, own_archive
from .running._keys import baseline_identity
from .running._packed import shipped_file
from .running._progress import Progress
from .running._trials import Runner, Trial
from .statistics import estimate

SMOKE_STEPS, SMOKE_TASKS = 40, 2


def evaluate(
    subject: Subject,
    suite: str,
    out: str | os.PathLike,
    *,
    tier: Tier = "cpu",
    rivals: Sequence[Artifact] = (),
    tuned_rivals: Sequence[Artifact] = (),
    quick: bool = False,
    smoke: bool = False,
    arguments: Sequence[str] = (),
    console: rich.console.Console | None = None,
) -> Report:
    """Compare an optimizer, untuned, with tuned baselines on a suite; returns the report.

    Writes `runs.jsonl` (every run that did not ship with the package), `report.json`,
    `report.html` and `report.md` into the folder `out`. An interrupted evaluation goes on where
    it stopped when it is called again; so does one whose runs were made elsewhere, see `Archive`.

    Args:
      subject: see `artifact_subject` and `factory_subject`.
      suite: name of a suite of tasks.
      out: folder.
      tier: of its tasks.
      rivals: other learned optimizers, run untuned beside the baselines.
      tuned_rivals: those whose learning rate is tuned as AdamW's is.
      quick: without the generalisation grid, steps timed on one network and on no task.
      smoke: two tasks of a few steps and two baselines: shows that all works, and nothing else.
      arguments: the words after `learned-opt eval` that ask for this report, but for the folder.

    Raises:
      FolderError: `out` holds something else, or an evaluation of another optimizer or suite, or
        another process is at work there, or it cannot be made.
      ArchiveError: the runs that ship with the package are damaged.
      WriteError: a file could not be written, as on a full disk; the runs made so far are kept.
      ValueError: no such suite, or none of this tier.
    """
    console = console or plain_console()
    facts = {"subject": subject.digest, "suite": suite, "tier": tier, "smoke": smoke}
    out, start = Path(out), time.perf_counter()
    if not subject.traced:
        console.print(
            f"{subject.name} could not be run with a traced number of steps: it gets plain "
            "integers, and its programs are compiled for each length",
            markup=False,
            soft_wrap=True,
        )
    shipped = shipped_file(suite, tier), shipped_file(GRID, "cpu")
    own = own_archive(out, "evaluation.toml", facts, what="an evaluation", base=shipped)
    with own as archive:
        resumed = archive.rows.keys() > archive.shipped
        plan, jobs = _smoke(suite, tier) if smoke else _whole(suite, tier)
        jobs = {"learned": learned_job(subject), **jobs, **rival_jobs(rivals, tuned_rivals)}
        runs = sum(job.runs(plan) for job in jobs.values())
        entries = run_jobs(jobs, plan, archive, Progress(console, "Evaluating", len(jobs), runs))
        contestants = [entry.contestant for entry in entries.values()]
        extent = "smoke" if smoke else "quick" if quick else "whole"
        measured = measure(archive, subject, plan, contestants, extent, console)
        cells, grid_rows = ([], []) if smoke or quick else _grid(subject, archive, console)
        results = Results(
            subject.to_json(),
            {"name": suite, "hash": SUITES[suite].hash, "tier": tier, "smoke": smoke},
            plan.tasks,
            contestants,
            plan.variants,
            {entry.contestant.name: entry.variants for entry in entries.values()},
            entries["learned"].misinformed,
            measured.pop("step_us"),
            measured
            | {
                "grid": cells,
                "meta_training": subject.card.get("meta_valid_curve", {}),
                "merged": archive.facts(),
                "device": describe_device(),
                "jax": jax.__version__,
                "code": code_version(),
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            },
            grid_rows,
            tuple(arguments),
        )
        # What it took is not known where runs were there before.
        took = None if resumed else round(time.perf_counter() - start, 1)
        report = summarise(results, seconds=took)
        archive.mend()
        write_report(report, out)
    return report


def suite_plan(suite: str, tier: Tier) -> Plan:
    """All tasks of a tier, and those variants of them that there are."""
    tasks = load_suite(suite, tier)
    names = {task.name for task in tasks}
    variants = SUITES["VARIANTS_V1"].tier(tier)
    return Plan(tasks, tuple(v for v in variants if v.variant_of in names))


def _whole(suite: str, tier: Tier) -> tuple[Plan, dict[str, Job]]:
    return suite_plan(suite, tier), baseline_jobs(BASELINES)


def _smoke(suite: str, tier: Tier) -> tuple[Plan, dict[str, Job]]:
    whole = suite_plan(suite, tier)
    tasks = [
        dataclasses.replace(task, horizon=min(SMOKE_STEPS, task.horizon))
        for task in whole.tasks[:SMOKE_TASKS]
    ]
    plan = Plan(tuple(tasks), (), REPORT_SEEDS[:3], (2.0,))
    rows = {row.name: row for row in BASELINES}
    chosen: list[Baseline] = [
        rows["adam_default"],
        dataclasses.replace(ADAMW, lrs=(1e-3, 1e-2), wds=(0.1,)),
    ]
    return plan, {row.name: baseline_job(row) for row in chosen}


def _grid(
    subject: Subject, archive: Archive, console: rich.console.Console
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The cells as JSON types, and the runs of fresh seeds in them."""
    runners = {
        "learned": (subject.identity, subject.runner()),
        ADAMW.name: (baseline_identity(ADAMW), Runner(ADAMW.transform, ADAMW.eval_params)),
    }
    cells, fresh = grid(), {}
    runs = grid_runs(cells, REPORT_SEEDS) + len(cells) * len(REPORT_SEEDS)
    progress = Progress(console, "Generalisation grid", 1, runs)

    def run(name: str, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        rows = archive.run(*runners[name], trials, "tune")
        # A setting that is retuned to what is transferred has the same runs.
        fresh.update({row["key"]: row for row in rows if row["seed"] in REPORT_SEEDS})
        return rows

    archive.show(progress)
    with progress:
        found = grid_results(cells, run, untuned=UNTUNED, seeds=REPORT_SEEDS)
        progress.advance("grid")
    made = [
        cell.to_json()
        | {
            "retuned": vars(estimate(cell.over_retuned)),
            "transferred": vars(estimate(cell.over_transferred)),
        }
        for cell in found
    ]
    return made, list(fresh.values())
