"""A meta-training run in a folder: start, log, save, resume, stop, export."""

import contextlib
import errno
import math
import os
import time
from pathlib import Path
from typing import Any

import jax
import rich.console

from learned_opt import Artifact
from learned_opt._files import cannot_write
from learned_opt.checkpoints import (
    FolderError,
    Store,
    claim_folder,
    quiet_saves,
    saved_steps,
    write_atomic,
)

from ._card import code_identity
from ._config import Config, Setup
from ._errors import DivergedError, StoppedError, WriteError
from ._export import COMMAND, export
from ._log import Log
from ._processes import agree, idle_devices, leader_does, leads, stop_on_signals
from ._programs import Programs
from ._progress import Progress
from ._trainer import MetaTrainState, Metrics

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
) -> Artifact:
    """Meta-train by `config` into the folder `out` and export the artifact with the best score.

    Writes `config.toml`, `command.txt`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`,
    `NAME.safetensors`, `NAME.md`. A run that was killed at any moment continues with `resume=True`
    and ends with the theta, bit for bit, of a run that was not; with nothing to resume it starts.
    In a program of several processes all call this with the same arguments, and share the folder.

    Raises:
      ConfigError: the configuration cannot be built here.
      FolderError: `out` holds files and `resume` is off, or a run of another configuration.
      CheckpointError: the checkpoints are of another configuration, or of other code and
        `accept_new_code` is off.
      StoppedError: SIGTERM or SIGINT came; the run is saved and can be resumed.
      DivergedError: see `Run.tolerance`; the best theta is exported.
      WriteError: a file could not be written, as on a full disk; what was saved before is good.
    """
    console = console or rich.console.Console()
    console.quiet |= not leads()
    setup = config.build()
    try:
        with quiet_saves():
            return _train(config, setup, Path(out), resume, command, console, accept_new_code)
    except OSError as error:
        raise WriteError(unwritten(error, Path(out))) from error


def unwritten(error: OSError, folder: Path) -> str:
    """What could not be written and why, what was saved last, and how to go on."""
    steps = saved_steps(folder / "checkpoints")
    saved = f"the last checkpoint is of outer step {steps[-1]}" if steps else "nothing is saved yet"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    cure = "make room" if full else "put that right"
    return f"{cannot_write(error, folder)}; {saved}: {cure}, then continue with --resume"


def _train(
    config: Config,
    setup: Setup,
    folder: Path,
    resume: bool,
    command: str | None,
    console: rich.console.Console,
    accept_new_code: bool,
) -> Artifact:
    facts = config.to_dict()

    def claim() -> None:
        claim_folder(folder, "config.toml", facts, what="a meta-training run", resume=resume)
        if not (folder / COMMAND).exists():
            begun = command or f"learned_opt.meta_train.meta_train(Config(...), {str(folder)!r})"
            write_atomic(folder / COMMAND, begun + "\n")

    leader_does(claim, (FolderError, OSError))
    identity: dict[str, Any] = {"config": facts, "code": code_identity()}
    if config.ancestor:
        identity["start"] = config.ancestor.sha256
    store = Store(folder / "checkpoints", keep=config.save.keep, best=config.save.best)
    programs = Programs(*setup, config.run.chunk)
    state, seconds = programs.start, 0.0
    if idle := idle_devices(programs.mesh.size, config.estimator.rows):
        console.print(idle, soft_wrap=True, highlight=False)
    if resume:
        expect = {"config": facts} if accept_new_code else identity
        restored = store.restore(state, expect)
        if restored:
            _, state, saved = restored
            seconds = saved["seconds"]
            console.print(
                f"Resuming after {int(state.step)} of {config.run.outer_steps} outer steps."
            )
    log = Log(folder, int(state.step), console.print) if leads() else None
    with stop_on_signals() as stop, Progress(console, config.run.outer_steps) as progress:
        loop = _Loop(config, programs, store, log, progress, identity, seconds)
        with contextlib.closing(log or contextlib.ExitStack()), contextlib.closing(store):
            state = loop.run(state, stop.agreed)
        if stop.signal and int(state.step) < config.run.outer_steps and not loop.astray:
            raise StoppedError(
                f"saved after {int(state.step)} of {config.run.outer_steps} outer steps; "
                "continue with --resume",
                stop.signal,
            )
    artifact = export(config, folder, state, loop.seconds, console)
    if loop.astray:
        raise DivergedError(
            f"diverged: {loop.astray}; the best theta (outer step {int(state.best_step)}, "
            f"meta-validation loss {float(state.best_score):.4f}) was exported. A lower "
            "outer.learning_rate or estimator.sigma, or more pairs, may help"
        )
    return artifact


class _Loop:
    """The loop over chunks; `seconds`: of training so far; `astray`: why it diverged, or ""."""

    def __init__(
        self,
        config: Config,
        programs: Programs,
        store: Store,
        log: Log | None,
        progress: Progress,
        identity: dict[str, Any],
        seconds: float,
    ) -> None:
        self.config, self.programs, self.store = config, programs, store
        self.log, self.progress, self.identity = log, progress, identity
        self.seconds, self.astray, self._bad = seconds, "", 0
        self._saved, self._saved_at = -1, 0.0

    def run(self, state: MetaTrainState, stop: Any) -> MetaTrainState:
        """Until the last outer step, a request to stop, or divergence; the state is saved."""
        run, step = self.config.run, int(state.step)
        start = time.perf_counter() - self.seconds
        if step >= run.outer_steps:
            return state
        self.progress.compiling(step)
        self.programs.compile()
        self.progress.compiled()
        if step == 0 and not stop():
            state, scores = self.programs.validate(state)
            self._write({"step": 0, **self._scores(scores)})
        self._saved_at = time.perf_counter()
        while step < run.outer_steps and not stop() and not self.astray:
            before, tick = float(state.inner_steps), time.perf_counter()
            state, metrics = jax.block_until_ready(self.programs.chunk(state))
            took = time.perf_counter() - tick
            step, chunks = int(state.step), int(state.step) // run.chunk
            row, score = self._row(state, metrics, before, took), None
            last = step >= run.outer_steps
            if last or chunks % self.config.valid.every == 0:
                state, scores = self.programs.validate(state)
                row |= self._scores(scores)
                score = row["valid_loss"]
                self._judge(state, row)
            self.seconds = time.perf_counter() - start
            row["seconds"] = round(self.seconds, 2)
            late = time.perf_counter() - self._saved_at >= self.config.save.seconds
            # First the row: killed between the two, a run forgets rows its checkpoint lacks.
            self._write(row)
            if last or agree(leads() and late):
                self._save(state, score)
        if not self.astray and self._saved != step:
            self._save(state)
        self.seconds = time.perf_counter() - start
        return state

    def _save(self, state: MetaTrainState, score: float | None = None) -> None:
        facts = {**self.identity, "seconds": self.seconds}
        self._saved, self._saved_at = int(state.step), time.perf_counter()
        self.store.save(self._saved, state, facts, score=score)

    def _judge(self, state: MetaTrainState, row: dict[str, Any]) -> None:
        """Notice a run that has gone astray."""
        score, first = row["valid_loss"], float(state.first_score)
        if not math.isfinite(row["grad_norm"]) or not all(
            bool(jax.numpy.isfinite(x).all()) for x in jax.tree.leaves(state.theta)
        ):
            self.astray = f"theta is no longer finite at outer step {row['step']}"
        self._bad = self._bad + 1 if not score <= first + self.config.run.tolerance else 0
        if self._bad >= PATIENCE:
            self.astray = (
                f"the meta-validation loss has been above {first:.4f} + "
                f"{self.config.run.tolerance:g} {PATIENCE} times in a row up to outer step "
                f"{row['step']}"
            )

    def _row(
        self, state: MetaTrainState, metrics: Metrics, before: float, took: float
    ) -> dict[str, Any]:
        row = {
            "step": int(state.step),
            "inner_steps": int(state.inner_steps),
            "inner_steps_per_second": round((float(state.inner_steps) - before) / took, 1),
            "outer_steps_per_second": round(self.config.run.chunk / took, 3),
            "meta_loss": float(metrics.loss),
            "grad_norm": float(metrics.grad_norm),
            "nonfinite": float(metrics.nonfinite),
        }
        if len(self.config.sources) > 1:
            named = zip(self.config.sources, metrics.losses, strict=True)
            row |= {f"meta_loss/{source.name}": float(loss) for source, loss in named}
        return row

    def _scores(self, scores: list[float]) -> dict[str, float]:
        found = {"valid_loss": sum(scores) / len(scores)}
        if len(scores) > 1:
            named = zip(self.config.judge_names, scores, strict=True)
            found |= {f"valid_loss/{name}": score for name, score in named}
        return found

    def _write(self, row: dict[str, Any]) -> None:
        if self.log:
            self.log.append(row)
        self.progress.update(row)
