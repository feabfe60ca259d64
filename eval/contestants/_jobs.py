"""Who runs in an evaluation, and the runs that each of them makes."""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optax
import rich.console

import learned_opt
from learned_opt import Artifact
from learned_opt.tasks import EvalTask

from ..baselines import ADAMW, Baseline, Hyper, weights
from ..running import (
    Archive,
    Identity,
    Progress,
    Run,
    Runner,
    Trial,
    artifact_identity,
    baseline_identity,
    baseline_runner,
)
from ..tuning import (
    TUNE_SEEDS,
    Calibrated,
    FinalLosses,
    Tuned,
    calibrated_settings,
    tune,
    tune_among,
)
from ._protocol import UNTUNED, Protocol
from ._results import Contestant, Role
from ._subject import Subject, artifact_subject

PEAKS = (10**-1.5, 10**1.5)
"""First and last of the half-decade grid of a tuned rival, over its own peak step size."""

MULTIPLIERS = (1.0, 0.3, 3.0, 0.1, 10.0, 0.03, 30.0, 0.01)
"""Of the steps of what is judged, in the order in which they are tried."""

MULTIPLIED = "learned:multiplied"
"""What is judged, at its best multiplier on each task."""

RIVAL = "rival:"
"""What the names of rivals begin with."""

Choose = Callable[[Sequence[EvalTask], FinalLosses], Mapping[str, Tuned]]
"""Tasks, and what trains on them -> the setting of each, by name."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What makes a contestant: its settings are chosen, then it runs on fresh seeds.

    Attributes:
      name, label, role, horizon_free: see `Contestant`.
      identity: what its runs depend on.
      runner: makes what trains.
      choose: its settings; `settings`: about how many of them that tries on each task, on
        `tune_seeds` seeds.
      judged: also runs on beyond the horizon, and under wrong ones.
      varied: also runs on the variants.
    """

    name: str
    label: str
    role: Role
    horizon_free: bool
    identity: Identity
    runner: Callable[[], Runner]
    choose: Choose
    settings: int = 0
    tune_seeds: int = len(TUNE_SEEDS)
    judged: bool = False
    varied: bool = True

    def runs(self, protocol: Protocol) -> int:
        """About how many it takes."""
        tasks, wrong = len(protocol.tasks), len(protocol.wrong_horizons) * self.judged
        fresh = tasks * (1 + wrong) + len(protocol.variants) * self.varied
        return self.settings * self.tune_seeds * tasks + fresh * len(protocol.seeds)

    def make(self, protocol: Protocol, archive: Archive) -> Contestant:
        """Make the runs, those that are not in the archive.

        Raises:
          ValueError: a loss is negative.
        """
        train = functools.partial(archive.run, self.identity, self.runner())

        def run(trials: Sequence[Trial], *, curves: bool) -> list[Run]:
            made = train(trials, curves=curves)
            check_losses(made)
            return made

        def final_losses(trials: Sequence[Trial]) -> list[float]:
            return [made.valid_loss for made in run(trials, curves=False)]

        def trials(settings: Sequence[tuple[EvalTask, Tuned]], beyond: float) -> list[Trial]:
            return [
                Trial(task, choice.hyper, seed, beyond=beyond)
                for task, choice in settings
                for seed in protocol.seeds
            ]

        tuned = self.choose(protocol.tasks, final_losses)
        on_tasks = [(task, tuned[task.name]) for task in protocol.tasks]
        on_variants = [(task, tuned[task.variant_of]) for task in protocol.variants if self.varied]
        reported = trials(on_tasks, protocol.beyond if self.judged else 1.0)
        runs = run([*reported, *trials(on_variants, 1.0)], curves=True)
        misinformed = {}
        for told in protocol.wrong_horizons if self.judged else ():
            wrong = [dataclasses.replace(trial, told=told, beyond=1.0) for trial in reported]
            misinformed[told] = run(wrong, curves=False)
        return Contestant(
            self.name,
            self.label,
            self.role,
            self.horizon_free,
            tuned,
            runs[: len(reported)],
            runs[len(reported) :],
            misinformed,
        )


def check_losses(runs: Sequence[Run]) -> None:
    """ValueError for a loss below 0, before more runs are made that nothing can be said of."""
    for run in runs:
        least = min(run.valid_loss, run.final.get("test_loss", 0.0))
        if least < 0:
            raise ValueError(
                f"the loss of {run.task} must not be below 0, for losses are compared by their "
                f"ratio, got {least:.4g} at the end of a run of {run.optimizer}; add a constant "
                "to it"
            )


def fixed(hyper: Hyper, trials: int = 0) -> Choose:
    """One setting for all tasks; `trials`: how many were tried before it was chosen."""
    return lambda tasks, losses: {task.name: Tuned(hyper, trials, 0, ()) for task in tasks}


def learned_job(subject: Subject) -> Job:
    """What is judged."""
    label = f"{subject.name}, {'tuned' if subject.trials else 'untuned'}"
    choose = fixed(UNTUNED, subject.trials)
    return Job(
        "learned", label, "learned", subject.horizon_free, subject.identity, subject.runner, choose,
        judged=True,
    )  # fmt: skip


def multiplied_job(subject: Subject) -> Job:
    """What is judged with its steps multiplied, its own schedule kept: the best of MULTIPLIERS."""

    def transform(hyper: Hyper, *told: Any) -> Any:
        return optax.chain(subject.make(*told), optax.scale(hyper.lr))

    settings = [Hyper(multiplier) for multiplier in MULTIPLIERS]
    identity = Identity(MULTIPLIED, subject.identity.facts | {"multiplied": 1})
    return Job(
        MULTIPLIED, f"{subject.name}, best of {len(settings)} step multipliers", "rival",
        subject.horizon_free, identity,
        lambda: Runner(transform, traced=subject.traced, epochs=subject.uses_epochs),
        functools.partial(tune_among, settings), len(settings), varied=False,
    )  # fmt: skip


def baseline_job(row: Baseline) -> Job:
    """A baseline that is tuned on every task, or is at its defaults."""
    return Job(
        row.name, row.label, "baseline" if row.tuned else "default", row.horizon_free,
        baseline_identity(row), functools.partial(baseline_runner, row),
        functools.partial(tune, row), row.trials,
    )  # fmt: skip


def calibrated_job(row: Baseline, found: Calibrated) -> Job:
    """A baseline under one setting on all tasks; its runs are those of the baseline."""
    method = row.label.removesuffix(", tuned")
    label = f"{method} cosine, {found.hyper.lr:.2g} everywhere"
    return Job(
        calibrated_name(row.name), label, "calibrated", False, baseline_identity(row),
        functools.partial(baseline_runner, row), fixed(found.hyper, found.trials),
    )  # fmt: skip


def calibrated_name(row: str) -> str:
    """What a row under one setting on all tasks is called.

    >>> calibrated_name("adamw")
    'adamw_calibrated'
    """
    return f"{row}_calibrated"


def baseline_jobs(rows: Sequence[Baseline], *, calibrated: bool = True) -> dict[str, Job]:
    """Those of the rows by name; then, of those that are calibrated, that with one setting."""
    jobs = {row.name: baseline_job(row) for row in rows}
    settings = calibrated_settings() if calibrated else {}
    made = [calibrated_job(row, settings[row.name]) for row in rows if row.name in settings]
    return jobs | {job.name: job for job in made}


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

    jobs = [rival_job(a, name(a)) for a in rivals]
    jobs += [tuned_rival_job(a, name(a)) for a in tuned_rivals]
    return {job.name: job for job in jobs}


def rival_names(artifact: Artifact) -> tuple[str, str]:
    """What it is called as a rival: by its title, and where another one shares that."""
    name = f"{RIVAL}{_title(artifact)}"
    return name, f"{name} {artifact.sha256[:6]}"


def rival_job(artifact: Artifact, name: str) -> Job:
    """Another learned optimizer, untuned."""
    rival = artifact_subject(artifact)
    label = f"{name.removeprefix(RIVAL)}, untuned"
    return Job(
        name, label, "rival", rival.horizon_free, rival.identity, rival.runner, fixed(UNTUNED)
    )


def tuned_rival_job(artifact: Artifact, name: str) -> Job:
    """Another learned optimizer whose learning rate, schedule and decay are tuned like AdamW's.

    The learning rate multiplies its own peak step size, the schedule takes the place of its own
    warm-up and decay, weight decay has AdamW's units, and it is told what an untuned one is told.
    """
    row = dataclasses.replace(ADAMW, lrs=PEAKS)

    def transform(hyper: Hyper, num_steps: Any, epochs: Any = None) -> Any:
        return learned_opt.learned(
            artifact,
            num_steps=num_steps,
            epochs=epochs,
            learning_rate=row.rate(hyper, num_steps),
            weight_decay=hyper.wd,
            mask=weights,
            schedule=lambda count: 1.0,
        )

    full = f"{name}:tuned"
    identity = Identity(full, artifact_identity(artifact).facts | {"tuned": 3})
    return Job(
        full, f"{name.removeprefix(RIVAL)}, tuned", "rival", False, identity,
        lambda: Runner(transform, epochs=artifact.optimizer.uses_epochs),
        functools.partial(tune, row), row.trials,
    )  # fmt: skip


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


def run_jobs(
    jobs: Mapping[str, Job],
    protocol: Protocol,
    archive: Archive,
    console: rich.console.Console,
    title: str,
    *,
    at_once: int = 2,
    seconds: float | None = None,
) -> list[Contestant]:
    """One contestant a job, in order; `at_once` jobs at a time, those with most runs first.

    `seconds`: about what they take, where that is known.

    An error of one, or an interruption, stops the others after the calls that they are at.
    """
    runs = {name: job.runs(protocol) for name, job in jobs.items()}
    progress = Progress(console, title, len(jobs), sum(runs.values()), seconds)
    archive.show(progress)
    ordered = sorted(jobs, key=lambda name: -runs[name])
    # While one optimizer compiles the other runs.
    with progress, concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        futures = {name: pool.submit(jobs[name].make, protocol, archive) for name in ordered}
        try:
            for future in concurrent.futures.as_completed(futures.values()):
                progress.advance(future.result().label)
        except BaseException:
            archive.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [futures[name].result() for name in jobs]


def _title(artifact: Artifact) -> str:
    return str(artifact.card.get("name", artifact.optimizer.name))
