"""An evaluation on tasks of one's own: planned first, within a budget, reported for its owner."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import rich.console

from learned_opt import Artifact
from learned_opt._files import cache_folder
from learned_opt.checkpoints import describe_device
from learned_opt.tasks import EvalTask, content_hash, parameter_count

from ._origin import origin
from .baselines import ADAMW, BASELINES, COSINE, Hyper
from .contestants import (
    MULTIPLIED,
    UNTUNED,
    Contestant,
    Job,
    Results,
    Subject,
    baseline_jobs,
    learned_job,
    multiplied_job,
    rival_jobs,
    run_jobs,
)
from .cost import device_label, measure_task
from .plan import (
    LEVELS,
    Plan,
    Probe,
    check_start,
    choose_plan,
    kept,
    own_jobs,
    own_protocol,
    plan_from_json,
    plan_text,
    plan_to_json,
    probe,
)
from .report import Report, summarise, write_report
from .running import Archive, Identity, Trial, memory_budget, own_archive, run_key

TIMED = {"learned": UNTUNED, ADAMW.name: Hyper(1e-3, 0.0, COSINE)}
"""Whose steps are timed before a plan is made, and with which setting."""


RECORD = "evaluation.toml"
"""Of a folder: what evaluation it is of."""


def everyone(
    subject: Subject, rivals: Sequence[Artifact] = (), tuned_rivals: Sequence[Artifact] = ()
) -> dict[str, Job]:
    """The jobs that an evaluation of one's own tasks chooses from."""
    return {
        "learned": learned_job(subject),
        **baseline_jobs(BASELINES),
        **rival_jobs(rivals, tuned_rivals),
        MULTIPLIED: multiplied_job(subject),
    }


def plan_own(
    jobs: Mapping[str, Job],
    tasks: Sequence[EvalTask],
    console: rich.console.Console,
    *,
    budget: float | None = None,
    all_tuned: bool = False,
) -> Plan:
    """Time a few steps of each task, and plan what to run.

    Raises:
      ValueError: a task cannot be judged by, or the budget is too short.
    """
    check_names(tasks)
    for task in tasks:
        if warning := check_start(task):
            console.print(f"note: {warning}", style="yellow")
    probes = {}
    for i, task in enumerate(tasks, 1):
        which = f", task {i} of {len(tasks)}" if len(tasks) > 1 else ""
        said = f"{task.name}{which}: compiling AdamW and the learned one, then timing a few steps"
        probes[task.name] = kept_probes(jobs, task, lambda said=said: _say(console, said))
    filled = max(one.wide.memory for each in probes.values() for one in each.values())
    return choose_plan(
        jobs,
        tasks,
        probes,
        budget=budget,
        all_tuned=all_tuned,
        at_once=1 if filled > memory_budget() else 2,
    )


def evaluate_own(
    subject: Subject,
    tasks: Sequence[EvalTask],
    out: str | os.PathLike,
    *,
    rivals: Sequence[Artifact] = (),
    tuned_rivals: Sequence[Artifact] = (),
    budget: float | None = None,
    all_tuned: bool = False,
    arguments: Sequence[str] = (),
    console: rich.console.Console,
) -> Report:
    """See `evaluate`: that of tasks of one's own."""
    check_names(tasks)
    start = time.perf_counter()
    jobs = everyone(subject, rivals, tuned_rivals)
    identities = {task.name: task_identity(task) for task in tasks}
    # With its name, for people: it is what a folder that is another's is refused by.
    facts = {"subject": f"{subject.name}, {subject.digest[:16]}", "tasks": identities}
    with own_archive(out, RECORD, facts, what="an evaluation") as archive:
        resumed = bool(archive.runs)
        folder = Path(out)

        def make() -> Any:
            return plan_to_json(plan_own(jobs, tasks, console, budget=budget, all_tuned=all_tuned))

        key = [facts, budget, all_tuned, sorted(jobs), describe_device()]
        try:
            plan = plan_from_json(kept(folder / "plan.json", key, make))
        except BaseException:
            if not archive.runs:  # a changed task, or a shorter one, may then have the folder
                (folder / RECORD).unlink(missing_ok=True)
            raise
        console.print(plan_text(plan, tasks))
        protocol = own_protocol(tasks, plan.extent)
        contestants = run_jobs(
            own_jobs(jobs, plan.extent), protocol, archive, console, "Evaluating",
            at_once=plan.at_once, seconds=plan.seconds,
        )  # fmt: skip
        cost = _costs(archive, subject, tasks, contestants, console)
        results = Results(
            subject=subject.to_json(),
            suite={
                "name": ", ".join(identities),
                "hash": content_hash(identities),
                "tier": None,
                "smoke": False,
            },
            tasks=tasks,
            contestants=contestants,
            step_us={
                task.name: {
                    row["optimizer"]: row["step"]
                    for row in cost["rows"]
                    if row["network"] == task.name
                }
                for task in tasks
            },
            extra={
                "cost": cost,
                "meta_training": subject.card.get("meta_valid_curve", {}),
                "merged": archive.facts(),
                "own": own_facts(plan),
                **origin(),
            },
            arguments=tuple(arguments),
        )
        took = None if resumed else round(time.perf_counter() - start, 1)
        report = summarise(results, seconds=took)
        archive.mend()
        write_report(report, folder)
    return report


def check_names(tasks: Sequence[EvalTask]) -> None:
    """ValueError for two tasks of one name: their runs would be taken for each other's."""
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"tasks must have different names, got {name} more than once; give each its name="
            )


def task_identity(task: EvalTask) -> str:
    """16 hex digits over all that runs of the task depend on: module, data, steps."""
    return run_key(Identity("", {}), Trial(task, UNTUNED, 0), curves=False)


def own_facts(plan: Plan) -> dict[str, Any]:
    """Of a plan, as in `report.json`."""
    extent = plan.extent
    return {
        "budget": plan.budget,
        "level": plan.level,
        "levels": len(LEVELS),
        "settings": extent.settings,
        "tune_seeds": extent.tune_seeds,
        "multipliers": extent.multipliers,
        "left_out": extent.left_out,
        "runs": plan.runs,
        "seconds": round(plan.seconds, 1),
    }


def kept_probes(
    jobs: Mapping[str, Job], task: EvalTask, say: Callable[[], None]
) -> dict[str, Probe]:
    """What was timed today on this machine, of the same task and code; else it is timed now.

    Args:
      say: called before it is.
    """
    trials = {n: Trial(task, hyper, 0) for n, hyper in TIMED.items()}
    keys = {n: run_key(jobs[n].identity, trial, curves=False) for n, trial in trials.items()}

    def make() -> Any:
        say()
        found = probe(task, {n: (jobs[n].runner(), trial) for n, trial in trials.items()})
        return {name: dataclasses.asdict(one) for name, one in found.items()}

    path = cache_folder() / "probes" / f"{keys['learned']}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Anew each day: the machine may have been busy.
        today = time.strftime("%F")
        for old in path.parent.iterdir():
            if time.strftime("%F", time.localtime(old.stat().st_mtime)) != today:
                old.unlink(missing_ok=True)
        found = kept(path, [keys, describe_device(), jax.__version__, today], make)
    except OSError:  # there is no place for it
        found = make()
    return {name: Probe.from_json(one) for name, one in found.items()}


def _say(console: rich.console.Console, text: str) -> None:
    console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def _costs(
    archive: Archive,
    subject: Subject,
    tasks: Sequence[EvalTask],
    contestants: Sequence[Contestant],
    console: rich.console.Console,
) -> dict[str, Any]:
    """What a step of each task costs those of `_timed`, as in `report.json`."""
    named = {task.name: _timed(task, contestants) for task in tasks}

    def make() -> dict[str, Any]:
        console.print("Timing training steps", style="dim")
        rows = []
        for task in tasks:
            made = {c.name: _optimizer(subject, c, task) for c in named[task.name]}
            facts = {
                "network": task.name,
                "kind": task.network,
                "parameters": parameter_count(task.member),
                "batch": task.spec.batch_size,
            }
            found = measure_task(task, made, seconds=0.5)
            rows += [{**facts, "optimizer": name, **cost._asdict()} for name, cost in found.items()]
        return {"device": device_label(jax.devices()[0]), "rows": rows}

    names = {task: [c.name for c in those] for task, those in named.items()}
    return kept(archive.path.with_name("measured.json"), [names, describe_device()], make)


def _timed(task: EvalTask, contestants: Sequence[Contestant]) -> list[Contestant]:
    """Whose steps are timed: the learned one, AdamW, the best untuned and the best tuned."""
    learned, *others = contestants
    headline = next(c for c in others if c.name == ADAMW.name)
    by_hand = [c for c in others if c.role != "rival"]
    tuned = [c for c in by_hand if c.role == "baseline" and c.tuned[task.name].trials]
    best = [
        min(those, key=lambda c: float(np.median(c.losses([task.name]))))
        for those in (tuned, [c for c in by_hand if c not in tuned])
        if those
    ]
    return list({c.name: c for c in (learned, headline, *best)}.values())


def _optimizer(
    subject: Subject, c: Contestant, task: EvalTask
) -> optax.GradientTransformationExtraArgs:
    """A contestant's optimizer as it ran on a task."""
    if c.role == "learned":
        return subject.on(task)
    row = next(row for row in BASELINES if row.name == c.name.removesuffix("_calibrated"))
    return row.transform(c.tuned[task.name].hyper, task.horizon)
