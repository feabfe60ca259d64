"""An evaluation in a folder: everybody's runs, what is measured beside them, the report."""

import dataclasses
import datetime
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import optax
import rich.console

from checkpoints import claim_folder, code_version, describe_device, hold_folder, write_atomic
from learned_opt import Artifact
from tasks import EvalTask, load_suite
from tasks.suites import SUITES, Tier

from ._archive import Archive
from ._baselines import ADAMW, BASELINES, Baseline, Hyper
from ._compared import interval
from ._contest import (
    REPORT_SEEDS,
    UNTUNED,
    Job,
    Plan,
    baseline_job,
    frozen_job,
    learned_job,
    rival_job,
    run_jobs,
    tuned_rival_job,
)
from ._cost import BATCH_SIZES, NETWORKS, measure_costs, measure_step
from ._frozen import frozen_setting
from ._grid import GRID, grid
from ._grid_results import grid_results
from ._keys import baseline_identity
from ._pack import shipped_file
from ._progress import Progress
from ._results import Contestant, Results
from ._run import Runner, Trial
from ._subject import Subject
from ._summary import summarise
from ._trace import trace
from .report import write_report

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
    console: rich.console.Console | None = None,
) -> dict[str, Any]:
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
      smoke: two tasks of a few steps and three baselines: shows that all works, and nothing else.

    Raises:
      FolderError: `out` holds something else, or an evaluation of another optimizer or suite, or
        another process is at work there.
      ArchiveError: the runs that ship with the package are damaged.
      ValueError: no such suite, or none of this tier.
    """
    console = console or rich.console.Console()
    facts = {"subject": subject.digest, "suite": suite, "tier": tier, "smoke": smoke}
    out = claim_folder(out, "evaluation.toml", facts, what="an evaluation", resume=True)
    start = time.perf_counter()
    with hold_folder(out):
        shipped = shipped_file(suite, tier), shipped_file(GRID, "cpu")
        archive = Archive(out / "runs.jsonl", shipped)
        plan, jobs = _smoke(suite, tier) if smoke else _whole(suite, tier)
        jobs = {"learned": learned_job(subject), **jobs}
        for artifact in rivals:
            jobs[f"rival {len(jobs)}"] = rival_job(artifact)
        for artifact in tuned_rivals:
            jobs[f"rival {len(jobs)}"] = tuned_rival_job(artifact)
        runs = sum(job.runs(plan) for job in jobs.values())
        entries = run_jobs(jobs, plan, archive, Progress(console, "Evaluating", len(jobs), runs))
        contestants = [entry.contestant for entry in entries.values()]
        extent = "smoke" if smoke else "quick" if quick else "whole"
        measured = _measured(out, subject, plan, contestants, extent, console)
        measured["grid"] = [] if smoke or quick else _grid(subject, archive, console)
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
                "meta_training": subject.card.get("meta_valid_curve", {}),
                "merged": archive.facts(),
                "device": describe_device(),
                "jax": jax.__version__,
                "code": code_version(),
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            },
        )
        report = summarise(results)
        report["seconds"] = round(time.perf_counter() - start, 1)
        write_report(report, out)
    return report


def suite_plan(suite: str, tier: Tier) -> Plan:
    """All tasks of a tier, and those variants of them that there are."""
    tasks = load_suite(suite, tier)
    names = {task.name for task in tasks}
    variants = SUITES["VARIANTS_V1"].tier(tier)
    return Plan(tasks, tuple(v for v in variants if v.variant_of in names))


def _whole(suite: str, tier: Tier) -> tuple[Plan, dict[str, Job]]:
    jobs = {row.name: baseline_job(row) for row in BASELINES}
    return suite_plan(suite, tier), jobs | {"adamw_frozen": frozen_job(frozen_setting())}


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
        dataclasses.replace(rows["lion"], lrs=(1e-4, 1e-3), wds=()),
    ]
    return plan, {row.name: baseline_job(row) for row in chosen}


def _measured(
    out: Path,
    subject: Subject,
    plan: Plan,
    contestants: Sequence[Contestant],
    extent: str,
    console: rich.console.Console,
) -> dict[str, Any]:
    """Traces and costs, kept in `measured.json`: they are no runs."""
    headline = next(c for c in contestants if c.name == ADAMW.name)
    path = out / "measured.json"
    key = [subject.digest, jax.__version__, jax.devices()[0].device_kind, extent]
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("key") != key:
        console.print("Watching single runs", style="dim")
        kept = {"key": key, "traces": _traces(subject, plan, headline)}
        console.print("Timing steps", style="dim")
        kept["cost"] = _costs(subject, extent)
        kept["step_us"] = _steps(subject, plan, headline) if extent == "whole" else {}
        write_atomic(path, json.dumps(kept))
    return {name: kept[name] for name in ("traces", "cost", "step_us")}


def _grid(subject: Subject, archive: Archive, console: rich.console.Console) -> list[Any]:
    console.print("Generalisation grid", style="dim")
    runners = {
        "learned": (subject.identity, Runner(lambda hyper, steps: subject.make(steps))),
        ADAMW.name: (baseline_identity(ADAMW), Runner(ADAMW.transform, ADAMW.eval_params)),
    }

    def run(name: str, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        return archive.run(*runners[name], trials, "tune")

    found = grid_results(grid(), run, untuned=UNTUNED, seeds=REPORT_SEEDS)
    return [
        cell.to_json()
        | {"retuned": interval(cell.over_retuned), "transferred": interval(cell.over_transferred)}
        for cell in found
    ]


def _traces(subject: Subject, plan: Plan, headline: Contestant) -> dict[str, Any]:
    return {
        task.name: {
            name: _flat(trace(task, tx, seed=plan.seeds[0]).to_json())
            for name, tx in _pair(subject, headline, task).items()
        }
        for task in plan.tasks
    }


def _steps(subject: Subject, plan: Plan, headline: Contestant) -> dict[str, dict[str, float]]:
    """Microseconds of a step, by task and optimizer."""
    return {
        task.name: measure_step(task, _pair(subject, headline, task), seconds=0.3)
        for task in plan.tasks
    }


def _pair(
    subject: Subject, headline: Contestant, task: EvalTask
) -> dict[str, optax.GradientTransformation]:
    """The optimizer and the baseline that it is first compared with, as they ran on a task."""
    hyper: Hyper = headline.tuned[task.name].hyper
    return {
        "learned": subject.make(task.horizon),
        headline.name: ADAMW.transform(hyper, task.horizon),
    }


def _flat(traced: dict[str, Any]) -> dict[str, Any]:
    """Of the whole tree, under the names of the report."""
    names = {
        "update_rms": "update", "relative": "relative", "effective_lr": "rate", "cosine": "cosine",
    }  # fmt: skip
    whole = traced["all"]
    return {"steps": traced["steps"]} | {name: whole[old] for name, old in names.items()}


def _costs(subject: Subject, extent: str) -> dict[str, Any]:
    networks, batch_sizes, seconds = {
        "smoke": ({"10k": NETWORKS["10k"]}, (32,), 0.05),
        "quick": ({"1M": NETWORKS["1M"]}, (128,), 0.3),
        "whole": (NETWORKS, BATCH_SIZES, 0.3),
    }[extent]
    rows = measure_costs(
        {"learned": subject.make(10_000), "adamw": optax.adamw(1e-3), "adam": optax.adam(1e-3)},
        networks,
        batch_sizes=batch_sizes,
        seconds=seconds,
    )
    flat = [
        {
            "network": row.network,
            "parameters": row.parameters,
            "batch": row.batch_size,
            "optimizer": name,
            **cost._asdict(),
        }
        for row in rows
        for name, cost in row.costs.items()
    ]
    return {"rows": flat, "device": rows[0].device}
