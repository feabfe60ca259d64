"""What a run would do and need, told before anything long is done."""

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import rich.console

from learned_opt import Artifact
from learned_opt.checkpoints import (
    CheckpointError,
    CheckpointsLostError,
    FolderError,
    Store,
    claim_folder,
    saved_steps,
)

from ..estimators import GradientEstimator
from ..processes import leads
from ..settings import Config, renamed
from ._folder import check_progress
from ._memory import Need, size_text, tree_bytes
from ._programs import program_of
from ._provenance import run_identity
from ._record import CHECKPOINTS, RECORD, WHAT, todays
from ._setup import Setup, build_and_need

REFUSED = "refused: "


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would do and need, as known before anything is compiled; nothing is written.

    Attributes:
      inner_steps: expected training steps of an outer step, on average.
      valid_steps: of a meta-validation, exactly; `valids`: how many of these there are.
      programs: compiled, of training and of meta-validation.
      meta_parameters: of theta; `checkpoint`: bytes of one; `need`: of memory, the largest.
      folder: what is in the output folder and what becomes of it, in words.
      done: outer steps of the run that are done.
    """

    config: Config
    setup: Setup
    inner_steps: float
    valid_steps: int
    valids: int
    programs: tuple[int, int]
    meta_parameters: int
    checkpoint: int
    need: Need
    folder: str
    done: int = 0

    @property
    def refused(self) -> bool:
        """Whether the run could not go on, or begin, in its folder."""
        return self.folder.startswith(REFUSED)


def plan_run(
    config: Config,
    out: str | os.PathLike,
    *,
    resume: bool = False,
    accept_new_code: bool = False,
    start_over: bool = False,
) -> Plan:
    """Look ahead at what `meta_train` would do with the same arguments.

    Raises:
      ConfigError: the configuration cannot be built here, or does not fit into memory.
    """
    setup, need = build_and_need(config)
    trainer, problems, judges = setup
    theta = jax.eval_shape(trainer.optimizer.init, jax.random.key(0))
    state = jax.eval_shape(trainer.init, problems)
    steps = config.run.outer_steps
    folder, done = _folder(
        config, trainer.start, Path(out), state, resume, accept_new_code, start_over
    )
    return Plan(
        config,
        setup,
        inner_steps=sum(training_steps(one, config) for one in trainer.estimators),
        valid_steps=sum(
            judge.runs * int(judge.horizon) * (1 + judge.problem.objective.untrained)
            for judge in judges
        ),
        valids=1 + -(-steps // config.run.log_every // config.valid.every),
        programs=(len(problems), len({program_of(judge) for judge in judges})),
        meta_parameters=sum(x.size for x in jax.tree.leaves(theta)),
        checkpoint=tree_bytes(state),
        need=need,
        folder=folder,
        done=done,
    )


def training_steps(estimator: GradientEstimator, config: Config) -> float:
    """Training steps of an estimate, on average over the run, those of the untrained included."""
    untrained = config.objective.untrained * estimator.untrained_runs / estimator.runs
    return estimator.steps_spent(config.run.outer_steps) * (1 + untrained)


def _folder(
    config: Config,
    start: Artifact | None,
    path: Path,
    state: Any,
    resume: bool,
    accept_new_code: bool,
    start_over: bool,
) -> tuple[str, int]:
    """What is in the output folder, and what a run would make of it; outer steps that are done."""
    settings, steps = config.to_dict(), config.run.outer_steps
    try:
        if not path.exists() or (path.is_dir() and not _entries(path)):
            return f"{path}: a new run begins there", 0
        claim_folder(path, RECORD, settings, what=WHAT, resume=resume, renew=renamed)
        if not saved_steps(path / CHECKPOINTS):
            check_progress(path, (path / CHECKPOINTS).is_dir())
            return f"{path}: holds this run without a checkpoint; it begins anew", 0
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), state)
        with contextlib.closing(Store(path / CHECKPOINTS, tidy=False)) as store:
            expect = {"config": settings} if accept_new_code else run_identity(config, start)
            step, _, _ = store.restore(like, expect, todays) or (0, None, None)
    except (FolderError, CheckpointError, OSError) as error:
        if start_over and isinstance(error, CheckpointsLostError):
            return f"{path}: holds this run and no checkpoint that can be read; it starts over", 0
        return f"{REFUSED}{error}", 0
    if step >= steps:
        return f"{path}: holds this run, all of it done; it is exported again", step
    return f"{path}: this run goes on after {step:,} of {steps:,} outer steps", step


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]


def print_plan(plan: Plan, console: rich.console.Console) -> None:
    """For people: a line a fact."""
    print_lines(_lines(plan), console)


def print_lines(lines: Iterable[str], console: rich.console.Console) -> None:
    """As they are, by one of several processes."""
    for line in lines if leads() else ():
        console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)


def _lines(plan: Plan) -> Iterable[str]:
    config, (trainer, problems, judges) = plan.config, plan.setup
    run, mesh, estimator = config.run, problems[0].mesh, config.estimator
    lanes = [one.lanes for one in trainer.estimators]
    training, valid = plan.inner_steps * run.outer_steps, plan.valid_steps * plan.valids
    devices, need = jax.devices(), plan.need
    yield f"Plan of the run {run.name}: nothing is trained."
    yield ""
    rows = [
        [source.name, f"{weight:.0%}", f"{lane:,}", f"{source.spec.batch_size:,}"]
        for source, weight, lane in zip(config.sources, trainer.weights, lanes, strict=True)
    ]
    yield from table([["family", "weight", estimator.unit, "batch"], *rows])
    yield ""
    yield from fact_lines(
        {
            "optimizer": f"{config.optimizer.name}, theta of {plan.meta_parameters:,} numbers",
            "estimator": f"{estimator.name}, {estimator.in_words()}",
            "outer steps": f"{run.outer_steps:,}, a log line every {run.log_every:,}",
            "inner steps": f"about {plan.inner_steps:,.0f} an outer step, {training:,.0f} in all",
            "meta-validation": f"{plan.valids:,} times {sum(j.runs for j in judges):,} runs, "
            f"{valid:,} inner steps in all",
            "programs": f"{plan.programs[0]:,} to compile for training, "
            f"{plan.programs[1]:,} for meta-validation",
            "devices": f"{mesh.size} of {len(devices)} x {devices[0].platform}, "
            f"{sum(lanes) // mesh.size:,} {estimator.unit} on each",
            "checkpoints": f"{size_text(plan.checkpoint)} each; the newest {config.save.keep:,} "
            f"and the best {config.save.best:,} are kept",
            "memory": f"at least {size_text(need.bytes)} of the {size_text(need.available)} that "
            f"{need.holder} has ({need.what})",
            "folder": plan.folder,
        }
    )


def fact_lines(told: dict[str, str]) -> Iterable[str]:
    """A line a fact, with its name."""
    width = max(map(len, told))
    return (f"{name:{width}}  {fact}" for name, fact in told.items())


def table(rows: list[list[str]]) -> Iterable[str]:
    """The first column is text, the others are numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *cells[1:]])
