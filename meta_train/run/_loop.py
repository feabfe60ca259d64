"""A meta-training run in a folder: start, log, save, resume, stop, export."""

import contextlib
import dataclasses
import functools
import math
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.console

from learned_opt import Artifact
from learned_opt._files import cannot_write
from learned_opt.checkpoints import (
    CheckpointsLostError,
    FolderError,
    SaveError,
    Store,
    disk_full,
    plain_console,
    quiet_saves,
    saved_steps,
    writing,
)

from .._errors import DivergedError, StoppedError
from .._trainer import MetaTrainState, Metrics
from ..processes import agree, idle_devices, leader_does, leads, stop_on_signals
from ..settings import Config
from ._export import export
from ._folder import Found, RunFolder
from ._log import Log
from ._memory import fits
from ._programs import Programs
from ._progress import Progress
from ._provenance import run_identity
from ._record import CHECKPOINTS, todays
from ._scores import score_row
from ._setup import Setup, build

GO_ON = "continue with --resume"
"""What to do with a run that was saved."""

STOPPING = (
    "note: stopping when this log interval is done and saved; a second Ctrl-C stops at once, at "
    "the last checkpoint"
)

ATTEMPTS = 4
"""To save a state, while somebody removes what is being written."""

PATIENCE = 3
"""Meta-validations in a row that must be out of bounds before a run counts as diverged."""


def meta_train(
    config: Config,
    out: str | os.PathLike,
    *,
    resume: bool = False,
    command: str | None = None,
    console: rich.console.Console | None = None,
    accept_new_code: bool = False,
    start_over: bool = False,
) -> Artifact:
    """Meta-train by `config` into the folder `out` and export the artifact with the best score.

    Writes `config.toml`, `command.txt`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`,
    `NAME.safetensors`, `NAME.md`. A run that was killed at any moment continues with `resume=True`
    and ends with the theta, bit for bit, of a run that was not; with nothing to resume it starts.
    In a program of several processes all call this with the same arguments, and share the folder.
    If the folder is removed meanwhile, it is written anew.

    Args:
      config: what is learned, from what, and how long.
      out: the folder.
      resume: whether a run that is there goes on.
      command: what began it, for the card.
      console: where it says what it does.
      accept_new_code: resume although the checkpoints were made by other code.
      start_over: with `resume`, begin from the start where the run's checkpoints are gone or none
        reads back; what else there is of it is moved to `out`/earlier-1.

    Raises:
      ConfigError: the configuration cannot be built here, or does not fit into memory.
      FolderError: `out` holds files and `resume` is off, or a run of another configuration; another
        process is at work there, or has taken the folder over.
      CheckpointError: the checkpoints are of another configuration, or of other code and
        `accept_new_code` is off; or there were some, none can be read, and `start_over` is off.
      StoppedError: SIGTERM or SIGINT came; the run is saved and can be resumed.
      DivergedError: see `run.tolerance`; the best theta is exported.
      WriteError: a file could not be written, as on a full disk; what was saved before is good.
    """
    console = console or plain_console()
    console.quiet |= not leads()
    setup = build(config)
    with writing(out, lambda: saved_so_far(out), GO_ON), quiet_saves(), fits():
        return _train(
            config, setup, Path(out), resume, command, console, accept_new_code, start_over
        )


def saved_so_far(folder: str | os.PathLike) -> str:
    """Which checkpoint of a run is the last, in words."""
    steps = saved_steps(Path(folder) / CHECKPOINTS)
    return f"the last checkpoint is of outer step {steps[-1]}" if steps else "nothing is saved yet"


def _train(
    config: Config,
    setup: Setup,
    path: Path,
    resume: bool,
    command: str | None,
    console: rich.console.Console,
    accept_new_code: bool,
    start_over: bool,
) -> Artifact:
    facts = config.to_dict()
    begun = command or f"learned_opt.meta_train.meta_train(Config(...), {str(path)!r})"
    note = functools.partial(
        console.print, soft_wrap=True, markup=False, highlight=False, emoji=False
    )
    folder = RunFolder(path, facts, begun, note)
    with contextlib.closing(folder), contextlib.ExitStack() as within:
        leader_does(lambda: folder.claim(resume), (FolderError, OSError))
        identity = run_identity(config, setup.trainer.start)
        programs = within.enter_context(contextlib.closing(Programs(*setup, config.run.log_every)))
        store = Store(path / CHECKPOINTS, keep=config.save.keep, best=config.save.best, note=note)
        state, seconds = programs.start, 0.0
        if idle := idle_devices(programs.mesh.size, config.estimator.unit):
            note(idle)
        if resume:
            expect = {"config": facts} if accept_new_code else identity
            restored = _restore(store, folder, state, expect, start_over)
            if restored:
                _, state, saved = restored
                seconds = saved["seconds"]
                note(f"Resuming after {int(state.step)} of {config.run.outer_steps} outer steps.")
        if leads():
            folder.log = Log(path, int(state.step), note)
        with (
            stop_on_signals(lambda: note(STOPPING)) as stop,
            Progress(console, config.run.outer_steps) as progress,
        ):
            loop = _Loop(config, programs, store, folder, progress, identity, seconds)
            with contextlib.closing(store):
                state = loop.run(state, stop.agreed)
            if stop.signal and int(state.step) < config.run.outer_steps and not loop.astray:
                raise StoppedError(
                    f"saved after {int(state.step)} of {config.run.outer_steps} outer steps; "
                    f"{GO_ON}",
                    stop.signal,
                )
        artifact = export(config, setup.trainer.start, path, state, loop.seconds, console)
    if loop.astray:
        step, score = int(state.best_step), float(state.best_score)
        best = f"the best theta (outer step {step}, meta-validation loss {score:.4f})"
        raise DivergedError(
            f"diverged: {loop.astray}; {best if math.isfinite(score) else 'the untrained theta'} "
            "was exported. A lower outer.learning_rate or estimator.sigma, or more pairs, may help"
        )
    return artifact


def _restore(
    store: Store,
    folder: RunFolder,
    state: MetaTrainState,
    expect: dict[str, Any],
    start_over: bool,
) -> tuple[int, Any, dict[str, Any]] | None:
    """As `Store.restore`; None where the run may begin from its start."""
    try:
        restored = store.restore(state, expect, todays)
        if not restored:
            leader_does(folder.check_progress, (CheckpointsLostError,))
    except CheckpointsLostError:
        if not start_over:
            raise
        restored = None
        leader_does(folder.set_aside, (OSError,))
        store.reopen()
    return restored


@dataclasses.dataclass
class _Loop:
    """Log interval after log interval.

    `seconds`: of training so far; `astray`: why the run diverged, or ""; `bad`: validations in a
    row out of bounds; `saved`, `saved_at`, `score`: outer step, time and score of the newest save;
    `first`: scores of every run of meta-validation at the theta that the run began with.
    """

    config: Config
    programs: Programs
    store: Store
    folder: RunFolder
    progress: Progress
    identity: dict[str, Any]
    seconds: float
    astray: str = ""
    bad: int = 0
    saved: int = -1
    saved_at: float = 0.0
    score: float | None = None
    first: list[np.ndarray] | None = None

    def run(self, state: MetaTrainState, stop: Any) -> MetaTrainState:
        """Until the last outer step, a request to stop, or divergence; the state is saved."""
        run, step = self.config.run, int(state.step)
        start = time.perf_counter() - self.seconds
        if step >= run.outer_steps:
            return state
        self.progress.compiling(step)
        self.programs.compile()
        self.progress.compiled()
        # Judged after the first log interval, by when judges are compiled: `steps` uses it up.
        untrained = jax.tree.map(jnp.copy, (state.theta, state.step)) if step == 0 else None
        self.saved_at = time.perf_counter()
        while step < run.outer_steps and not stop() and not self.astray:
            before, tick = float(state.inner_steps), time.perf_counter()
            state, metrics = jax.block_until_ready(self.programs.steps(state))
            took = time.perf_counter() - tick
            if untrained:
                state, scores = self.programs.validate(state, untrained)
                untrained = None
                self._write({"step": 0, **self._scores(scores)})
                self.first = scores
                if not math.isfinite(first := float(state.first_score)):
                    self.astray = f"the meta-validation loss is {first} before the first outer step"
                    break
            step, lines = int(state.step), int(state.step) // run.log_every
            row, score = self._row(state, metrics, before, took), None
            last = step >= run.outer_steps
            if last or lines % self.config.valid.every == 0:
                if self.first is None:  # of a run that goes on
                    self.first = self.programs.first_scores()
                state, scores = self.programs.validate(state)
                row |= self._scores(scores)
                score = row["valid_loss"]
                self._judge(state, row)
            self.seconds = time.perf_counter() - start
            row["seconds"] = round(self.seconds, 2)
            late = time.perf_counter() - self.saved_at >= self.config.save.seconds
            due = self._due(late)
            # First the row: killed between the two, a run forgets rows its checkpoint lacks.
            self._write(row)
            if last or due:
                self._save(state, score, last)
        if not self.astray:
            self._settle(state)
        self.seconds = time.perf_counter() - start
        return state

    def _due(self, late: bool) -> bool:
        """Whether to save now; looks after the folder, which may have been removed or taken."""
        found = agree(max(self.folder.watch(), late) if leads() else 0)
        if found == Found.TAKEN:
            raise self._taken()
        if found == Found.REMOVED:
            self.store.reopen()
        return found != Found.WHOLE

    def _save(self, state: MetaTrainState, score: float | None = None, last: bool = False) -> None:
        """Begin to save; with `last` the save is done afterwards."""
        facts = {**self.identity, "seconds": self.seconds}
        self.saved, self.saved_at, self.score = int(state.step), time.perf_counter(), score

        def save() -> None:
            self.store.save(self.saved, state, facts, score=score)
            if last:
                self.store.close()

        for _ in range(ATTEMPTS - 1):
            try:
                return save()
            except SaveError as error:
                self._mend(error)
        return save()

    def _settle(self, state: MetaTrainState) -> None:
        """The state is saved afterwards, whether or not it was being saved."""
        score = None
        if self.saved == int(state.step):
            try:
                self.store.close()
            except SaveError as error:
                self._mend(error)
                score = self.score
            else:
                return
        self._save(state, score, last=True)

    def _mend(self, error: SaveError) -> None:
        """Make ready to save anew what was removed meanwhile; raise what has another cause."""
        if disk_full(error) or jax.process_count() > 1:
            raise error
        if self.folder.watch() == Found.TAKEN:
            raise self._taken() from error
        self.folder.note(f"note: {cannot_write(error)}; the state is saved anew")
        self.store.reopen()

    def _taken(self) -> FolderError:
        other = f"{self.folder.path} was taken over by another run: this process stops"
        return self.folder.problem or FolderError(other)

    def _judge(self, state: MetaTrainState, row: dict[str, Any]) -> None:
        """Notice a run that has gone astray."""
        score, first = row["valid_loss"], float(state.first_score)
        if not math.isfinite(row["grad_norm"]) or not all(
            bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(state.theta)
        ):
            self.astray = f"theta is no longer finite at outer step {row['step']}"
        self.bad = self.bad + 1 if not score <= first + self.config.tolerance else 0
        if self.bad >= PATIENCE:
            self.astray = (
                f"the meta-validation loss has been above {first:.4f} + "
                f"{self.config.tolerance:g} {PATIENCE} times in a row up to outer step "
                f"{row['step']}"
            )

    def _row(
        self, state: MetaTrainState, metrics: Metrics, before: float, took: float
    ) -> dict[str, Any]:
        row = {
            "step": int(state.step),
            "inner_steps": int(state.inner_steps),
            "inner_steps_per_second": round((float(state.inner_steps) - before) / took, 1),
            "outer_steps_per_second": round(self.config.run.log_every / took, 3),
            "meta_loss": float(metrics.loss),
            "grad_norm": float(metrics.grad_norm),
            "nonfinite": float(metrics.nonfinite),
        }
        if len(self.config.sources) > 1:
            named = zip(self.config.sources, metrics.losses, strict=True)
            row |= {f"meta_loss/{source.name}": float(loss) for source, loss in named}
        return row

    def _scores(self, scores: list[np.ndarray]) -> dict[str, float]:
        return score_row(scores, self.first, self.config.judge_names)

    def _write(self, row: dict[str, Any]) -> None:
        if self.folder.log:
            newest = self.folder.newest
            self.folder.log.append(row if newest is None else row | {"checkpoint": newest})
        self.progress.update(row)
