"""An evaluation in a folder: everybody's runs, what is measured beside them, the report."""

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

import rich.console

from learned_opt import Artifact
from learned_opt.checkpoints import plain_console
from learned_opt.tasks import EvalTask, load_suite
from learned_opt.tasks.suites import SUITES, Tier

from ._origin import origin
from ._own import evaluate_own
from ._readings import count_readings
from .baselines import ADAMW, BASELINES, Baseline
from .contestants import (
    MULTIPLIED,
    REPORT_SEEDS,
    Protocol,
    Results,
    Subject,
    artifact_subject,
    baseline_jobs,
    learned_job,
    multiplied_job,
    rival_jobs,
    run_jobs,
)
from .cost import measure
from .grid import GRID, run_grid
from .report import Report, summarise, write_report
from .running import Archive, own_archive, shipped_file

SMOKE_STEPS, SMOKE_TASKS = 40, 2


def evaluate(
    subject: Subject,
    suite: str | None = None,
    out: str | os.PathLike = "report",
    *,
    tasks: Sequence[EvalTask] = (),
    tier: Tier = "cpu",
    rivals: Sequence[Artifact] = (),
    tuned_rivals: Sequence[Artifact] = (),
    quick: bool = False,
    smoke: bool = False,
    budget: float | None = None,
    all_tuned: bool = False,
    arguments: Sequence[str] = (),
    console: rich.console.Console | None = None,
) -> Report:
    """Compare an optimizer, untuned, with others on a suite or on tasks of one's own.

    Returns the report. Writes `runs.jsonl` (every run that did not ship with the package),
    `report.json`, `report.html` and `report.md` into the folder `out`. An interrupted evaluation
    goes on where it stopped when it is called again; so does one whose runs were made elsewhere,
    see `Archive`.

    Args:
      subject: see `artifact_subject` and `factory_subject`.
      suite: name of a suite of tasks.
      out: folder.
      tasks: in place of a suite those of one's own, such as `learned_opt.tasks.from_functions`
        makes: planned by a few timed steps, and reported for their owner.
      tier: of its tasks.
      rivals: other learned optimizers, run untuned beside the baselines.
      tuned_rivals: those whose learning rate is tuned as AdamW's is.
      quick: without the generalisation grid, steps timed at two loads and on no task.
      smoke: two tasks of a few steps and two baselines: shows that all works, and nothing else.
      budget: of one's own tasks, seconds that all may take: fewer seeds and settings are tried, and
        the report says so.
      all_tuned: every tuned baseline; else, on a suite whose runs of baselines ship, those that are
        among them, and on one's own tasks AdamW and Muon, and no wrong horizons.
      arguments: the words after `learned-opt eval` that ask for this report, but for the folder.

    Raises:
      FolderError: `out` cannot be used, or holds something else.
      ArchiveError: the runs that ship with the package are damaged.
      WriteError: a file could not be written; the runs made so far are kept.
      ValueError: no such suite, or none of this tier; a suite and tasks, or neither; a task that
        cannot be judged by, or a budget too short for anything.
    """
    console = console or plain_console()
    if bool(suite) == bool(tasks):
        raise ValueError("give either the name of a suite or tasks")
    if tasks:
        if smoke or quick:
            raise ValueError("smoke and quick are of suites; give tasks a budget")
        return evaluate_own(
            subject, tasks, out, rivals=rivals, tuned_rivals=tuned_rivals, budget=budget,
            all_tuned=all_tuned, arguments=arguments, console=console,
        )  # fmt: skip
    assert suite
    out, start = Path(out), time.perf_counter()
    if not subject.traced:
        console.print(
            f"{subject.name} could not be run with a traced number of steps: it gets plain "
            "integers, and its programs are compiled for each length",
            markup=False,
            soft_wrap=True,
        )
    facts = {"subject": subject.digest, "suite": suite, "tier": tier, "smoke": smoke}
    shipped = shipped_file(suite, tier), shipped_file(GRID, "cpu")
    own = own_archive(out, "evaluation.toml", facts, what="an evaluation", base=shipped)
    with own as archive:
        resumed = archive.runs.keys() > archive.shipped
        if smoke:
            protocol, baselines = smoke_test(suite, tier)
        else:
            every = all_tuned or not shipped[0].exists()
            protocol, baselines = whole(suite, tier), BASELINES if every else ladder(archive)
        jobs = {
            "learned": learned_job(subject),
            **baseline_jobs(baselines, calibrated=not smoke),
            **rival_jobs(rivals, tuned_rivals),
            **({} if smoke else {MULTIPLIED: multiplied_job(subject)}),
        }
        read = [subject, *map(artifact_subject, (*rivals, *tuned_rivals))]
        readings = None if smoke else count_readings(read, suite, tier, out, archive.say)
        contestants = run_jobs(jobs, protocol, archive, console, "Evaluating")
        extent = "smoke" if smoke else "quick" if quick else "whole"
        measured = measure(archive, subject, protocol, contestants, extent, console)
        cells, grid_runs = ((), []) if smoke or quick else run_grid(archive, console, subject)
        results = Results(
            subject=subject.to_json(),
            suite={"name": suite, "hash": SUITES[suite].hash, "tier": tier, "smoke": smoke},
            tasks=protocol.tasks,
            contestants=contestants,
            variants=protocol.variants,
            step_us=measured.pop("step_us"),
            extra={
                **measured,
                "grid": [cell.to_json() for cell in cells],
                "meta_training": subject.card.get("meta_valid_curve", {}),
                "merged": archive.facts(),
                "readings": readings,
                **origin(),
            },
            grid_rows=grid_runs,
            arguments=tuple(arguments),
        )
        # What it took is not known where runs were there before.
        took = None if resumed else round(time.perf_counter() - start, 1)
        report = summarise(results, seconds=took)
        archive.mend()
        write_report(report, out)
    return report


def ladder(archive: Archive) -> list[Baseline]:
    """The rows that nobody tunes, and of the tuned ones those whose runs ship with the package."""
    there = {archive.runs[key].optimizer for key in archive.shipped}
    return [row for row in BASELINES if not row.tuned or row.name in there]


def whole(suite: str, tier: Tier) -> Protocol:
    """All tasks of a tier, and those variants of them that there are."""
    tasks = load_suite(suite, tier)
    names = {task.name for task in tasks}
    variants = SUITES["VARIANTS_V1"].tier(tier)
    return Protocol(tasks, tuple(v for v in variants if v.variant_of in names))


def smoke_test(suite: str, tier: Tier) -> tuple[Protocol, list[Baseline]]:
    """Two tasks of a few steps, and two baselines of which one is hardly tuned."""
    tasks = [
        dataclasses.replace(task, horizon=min(SMOKE_STEPS, task.horizon))
        for task in load_suite(suite, tier)[:SMOKE_TASKS]
    ]
    untuned = next(row for row in BASELINES if row.name == "adam_default")
    adamw = dataclasses.replace(ADAMW, lrs=(1e-3, 1e-2), wds=(0.1,))
    return Protocol(tuple(tasks), (), REPORT_SEEDS[:3], (2.0,)), [untuned, adamw]
