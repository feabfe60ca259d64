"""Who runs in an evaluation, and the runs that each of them makes."""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optax

import learned_opt
from learned_opt import Artifact
from learned_opt.tasks import EvalTask

from ..baselines._table import ADAMW, Baseline, Hyper, weights
from ..running._archive import Archive
from ..running._keys import Identity, artifact_identity, baseline_identity
from ..running._progress import Progress
from ..running._run import Run
from ..running._trials import Runner, Trial
from ..tuning._frozen import frozen_setting
from ..tuning._tune import TUNE_SEEDS, Tuned, tune
from ._results import Contestant
from ._subject import Subject

REPORT_SEEDS = tuple(range(100, 110))
BEYOND = 1.5
"""Horizons that the learned optimizer may take to reach a target."""

TOLD = (0.5, 2.0, 10.0)
"""Wrong horizons that it is told, over the right one."""

UNTUNED = Hyper(1.0)

MULTIPLIERS = (10**-1.5, 10**1.5)
"""First and last of the half-decade grid of a tuned rival, over its own peak step size."""

RIVAL = "rival:"
"""What the names of rivals begin with."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What runs: tasks, variants of them, seeds of reported runs, wrong horizons."""

    tasks: tuple[EvalTask, ...]
    variants: tuple[EvalTask, ...] = ()
    seeds: tuple[int, ...] = REPORT_SEEDS
    told: tuple[float, ...] = TOLD


@dataclasses.dataclass(frozen=True)
class Entry:
    """A contestant with its runs on variants and, the learned one, under wrong horizons."""

    contestant: Contestant
    variants: Sequence[Run]
    misinformed: Mapping[float, Sequence[Run]] = dataclasses.field(default_factory=dict)

    @property
    def label(self) -> str:
        """For people."""
        return self.contestant.label


@dataclasses.dataclass(frozen=True)
class Job:
    """What makes an entry, and about how many runs that takes."""

    make: Callable[[Plan, Archive], Entry]
    runs: Callable[[Plan], int]


def baseline_job(row: Baseline, role: Any = "baseline", identity: Any = None) -> Job:
    """Tune a row on every task, run it on fresh seeds, and as tuned on the variants."""
    identity = identity or baseline_identity(row)

    def make(plan: Plan, archive: Archive) -> Entry:
        runner = Runner(row.transform, row.eval_params)

        def final_losses(trials: Sequence[Trial]) -> list[float]:
            return [run.valid_loss for run in archive.run(identity, runner, trials, curves=False)]

        tuned = tune(row, plan.tasks, final_losses)
        report, variants = _reported(plan, archive, identity, runner, tuned)
        found = Contestant(row.name, row.label, role, row.horizon_free, tuned, report)
        return Entry(found, variants)

    return Job(make, lambda plan: row.trials * len(TUNE_SEEDS) * len(plan.tasks) + _fresh(plan))


def frozen_job(hyper: Hyper) -> Job:
    """AdamW under one setting on all tasks."""

    def make(plan: Plan, archive: Archive) -> Entry:
        runner = Runner(ADAMW.transform, ADAMW.eval_params)
        tuned = {task.name: Tuned(hyper, 0, 0, ()) for task in plan.tasks}
        rows, variants = _reported(plan, archive, baseline_identity(ADAMW), runner, tuned)
        label = f"AdamW cosine, {hyper.lr:.2g} everywhere"
        return Entry(Contestant("adamw_frozen", label, "frozen", False, tuned, rows), variants)

    return Job(make, _fresh)


def baseline_jobs(rows: Sequence[Baseline]) -> dict[str, Job]:
    """All jobs of an evaluation but the subject's: those of the rows, and the frozen AdamW's.

    That one goes with AdamW, whose name its runs bear.
    """
    jobs = {row.name: baseline_job(row) for row in rows}
    return jobs | ({"adamw_frozen": frozen_job(frozen_setting())} if ADAMW.name in jobs else {})


def rival_jobs(
    rivals: Sequence[Artifact] = (), tuned_rivals: Sequence[Artifact] = ()
) -> dict[str, Job]:
    """Other learned optimizers, see `rival_job` and `tuned_rival_job`; one job each, by name.

    The name is the artifact's title, with some of its hash where two artifacts share a title.
    """
    titles: dict[str, set[str]] = {}
    for artifact in (*rivals, *tuned_rivals):
        titles.setdefault(_title(artifact), set()).add(artifact.sha256)

    def name(artifact: Artifact) -> str:
        return rival_names(artifact)[len(titles[_title(artifact)]) > 1]

    jobs = {name(a): rival_job(a, name(a)) for a in rivals}
    return jobs | {f"{name(a)}:tuned": tuned_rival_job(a, name(a)) for a in tuned_rivals}


def check_rivals(
    subject: Subject, rivals: Sequence[Artifact], tuned_rivals: Sequence[Artifact]
) -> None:
    """ValueError for an artifact that would be two rows of the same runs."""
    for flag, artifacts in (("--rival", rivals), ("--tuned-rival", tuned_rivals)):
        hashes = [artifact.sha256 for artifact in artifacts]
        for artifact in artifacts:
            if hashes.count(artifact.sha256) > 1:
                raise ValueError(
                    f"{flag} must be another artifact each time, got {_title(artifact)} twice; "
                    "leave one out"
                )
            if flag == "--rival" and artifact.sha256 == subject.digest:
                raise ValueError(
                    f"--rival must be another artifact than what is judged, got {_title(artifact)} "
                    "for both; leave it out"
                )


def rival_names(artifact: Artifact) -> tuple[str, str]:
    """What it is called as a rival: by its title, and where another one shares that."""
    name = f"{RIVAL}{_title(artifact)}"
    return name, f"{name} {artifact.sha256[:6]}"


def rival_job(artifact: Artifact, name: str = "") -> Job:
    """Another learned optimizer, untuned."""
    name = name or rival_names(artifact)[0]

    def make(plan: Plan, archive: Archive) -> Entry:
        runner = Runner(lambda hyper, steps: learned_opt.learned(artifact, num_steps=steps))
        tuned = {task.name: Tuned(UNTUNED, 0, 0, ()) for task in plan.tasks}
        rows, variants = _reported(plan, archive, artifact_identity(artifact), runner, tuned)
        label, free = f"{name.removeprefix(RIVAL)}, untuned", artifact.optimizer.horizon_free
        return Entry(Contestant(name, label, "rival", free, tuned, rows), variants)

    return Job(make, _fresh)


class _TunedRival(Baseline):
    """A row whose `make` takes the number of steps in place of `extra`."""

    def transform(self, hyper: Hyper, num_steps: Any) -> optax.GradientTransformationExtraArgs:
        """The complete optimizer; every number may be traced."""
        made = self.make(self.rate(hyper, num_steps), hyper.wd, num_steps)
        return optax.with_extra_args_support(made)


def tuned_rival_job(artifact: Artifact, name: str = "") -> Job:
    """Another learned optimizer whose learning rate, schedule and decay are tuned like AdamW's.

    The learning rate multiplies its own peak step size, the schedule takes the place of its own
    warm-up and decay, weight decay has AdamW's units, and it is told the number of steps.
    """
    name = name or rival_names(artifact)[0]

    def make(lr: Any, wd: Any, num_steps: Any) -> Any:
        return learned_opt.learned(
            artifact,
            num_steps=num_steps,
            learning_rate=lr,
            weight_decay=wd,
            mask=weights,
            schedule=lambda count: 1.0,
        )

    label = f"{name.removeprefix(RIVAL)}, tuned"
    row = _TunedRival(f"{name}:tuned", label, make, MULTIPLIERS, ADAMW.wds, ADAMW.schedules)
    facts = artifact_identity(artifact).facts | {"tuned": 3}
    return baseline_job(row, role="rival", identity=Identity(row.name, facts))


def _title(artifact: Artifact) -> str:
    return str(artifact.card.get("name", artifact.optimizer.name))


def learned_job(subject: Subject) -> Job:
    """What is judged: half as long again, under wrong horizons, on the variants."""

    def make(plan: Plan, archive: Archive) -> Entry:
        runner = subject.runner()
        run = functools.partial(archive.run, subject.identity, runner, curves=True)
        trials = [Trial(task, UNTUNED, seed) for task in plan.tasks for seed in plan.seeds]
        rows = run([dataclasses.replace(trial, beyond=BEYOND) for trial in trials])
        wrong = {
            told: archive.run(
                subject.identity,
                runner,
                [dataclasses.replace(t, told=told) for t in trials],
                curves=False,
            )
            for told in plan.told
        }
        variants = run(
            [Trial(task, UNTUNED, seed) for task in plan.variants for seed in plan.seeds]
        )
        tuned = {task.name: Tuned(UNTUNED, subject.trials, 0, ()) for task in plan.tasks}
        label = f"{subject.name}, {'tuned' if subject.trials else 'untuned'}"
        found = Contestant("learned", label, "learned", subject.horizon_free, tuned, rows)
        return Entry(found, variants, wrong)

    return Job(make, lambda plan: _fresh(plan) + len(plan.told) * len(plan.tasks) * len(plan.seeds))


def run_jobs(jobs: Mapping[str, Job], plan: Plan, archive: Archive, progress: Progress) -> Any:
    """Name -> entry; two jobs at a time, those with most runs first.

    An error of one, or an interruption, stops the others after the calls that they are at.
    """
    archive.show(progress)
    ordered = sorted(jobs, key=lambda name: -jobs[name].runs(plan))
    # While one optimizer compiles the other runs.
    with progress, concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = {name: pool.submit(jobs[name].make, plan, archive) for name in ordered}
        try:
            for future in concurrent.futures.as_completed(futures.values()):
                progress.advance(future.result().label)
        except BaseException:
            archive.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: futures[name].result() for name in jobs}


def _reported(
    plan: Plan, archive: Archive, identity: Identity, runner: Runner, tuned: Mapping[str, Tuned]
) -> tuple[list[Run], list[Run]]:
    """Runs on fresh seeds, on the tasks and on their variants with the settings of the task."""
    pairs = [(task, task.name) for task in plan.tasks]
    pairs += [(variant, variant.variant_of) for variant in plan.variants]
    trials = [Trial(task, tuned[name].hyper, s) for task, name in pairs for s in plan.seeds]
    rows = archive.run(identity, runner, trials, curves=True)
    count = len(plan.tasks) * len(plan.seeds)
    return rows[:count], rows[count:]


def _fresh(plan: Plan) -> int:
    return (len(plan.tasks) + len(plan.variants)) * len(plan.seeds)
