"""`runs.jsonl`: every run of an evaluation, one line each, never repeated."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from learned_opt.checkpoints import (
    FolderError,
    own_folder,
    read_lines,
    set_aside,
    write_atomic,
    writing,
)

from ._keys import Identity, run_key
from ._packed import unpack
from ._progress import Progress
from ._run import Run, line_fault, row_fault, run_from_json, run_of, trial_fields
from ._trials import Curve, Trial

RTOL = 1e-3
"""Two machines that ran the same run may differ by this much, relatively, in validation loss."""

MOST_AT_ONCE = 144
"""Runs between two looks at the file."""

Train = Callable[..., Sequence[Curve]]
"""What trains, a `Runner`: (trials, curves=, needed=) -> one curve for each of those needed."""


class Archive:
    """Runs by key: those that ship with the package, those of a file, those of files beside it.

    New ones are appended to the file as they are made. The other `*.jsonl` of its folder are read
    and never written: a copy of another machine's file there joins its runs to these. Of two runs
    of one key the first counts, in the order above, the other files by name.

    Damaged lines, see `row_fault`, are left out; those of the file itself move to
    `<file>.damaged`. A last line cut short by a kill is dropped. Where the file is removed while
    runs are made, all that there are are written anew.

    Safe to use from several threads. Of several processes only one may, see `own_archive`.

    Args:
      path: the `runs.jsonl`.
      base: files of shipped runs, where there are; none is copied to `path`.
      watch: whether the folder of `path` is still there, asked before each write; see `own_folder`.

    Attributes:
      runs: by key; `shipped`: keys of those in `base`; `used`: keys of what `run` returned.
      conflicts: runs that differ from the first of their key by more than RTOL.
      notes: sentences on what was amiss with the files; `say`: is called with later ones.
      progress: called with (runs found, runs made) as `run` goes on.

    Raises:
      ArchiveError, FolderError: a file cannot be read, or one of `base` is damaged.
      OSError: the file cannot be written. `run` raises it too.
    """

    def __init__(
        self, path: Path, base: Sequence[Path] = (), watch: Callable[[], bool] = lambda: True
    ) -> None:
        self.path = path
        self.runs: dict[str, Run] = {}
        self.used: set[str] = set()
        self.conflicts = 0
        self.notes: list[str] = []
        self.progress: Callable[[int, int], None] = lambda found, made: None
        self.say: Callable[[str], None] = self.notes.append
        self._watch = watch
        self._lock = threading.RLock()
        self._turns: dict[str, threading.Lock] = collections.defaultdict(threading.Lock)
        self._stopped = threading.Event()
        self._unwritten: OSError | None = None
        for file in base:
            self._join(unpack(file) if file.exists() else [])
        self.shipped = frozenset(self.runs)
        self._read(path)
        self._written = path.exists()
        for other in sorted(path.parent.glob("*.jsonl")):
            if other != path:
                self._read(other)
        if self.conflicts:
            self.notes.append(
                f"{self.conflicts} runs in {path.parent} differ from the same run of another "
                f"machine by more than {RTOL:.1%} in validation loss; the first of each counts"
            )

    def show(self, progress: Progress) -> None:
        """Say there what was amiss with the files, and from now on what goes on."""
        for note in self.notes:
            progress.note(note)
        self.notes.clear()
        self.progress, self.say = progress.runs, progress.note

    @property
    def saved(self) -> str:
        """What is in the file, for people: also of runs of which the last was cut short."""
        try:
            count = self.path.read_bytes().count(b"\n")
        except OSError:  # nothing, or no file
            count = 0
        return f"{count:,} runs are kept in {self.path}" if count else "no run is kept yet"

    def run(
        self, identity: Identity, runner: Train, trials: Sequence[Trial], *, curves: bool
    ) -> list[Run]:
        """One run a trial, in order; what is not there yet runs, and is kept as it is made.

        The runner is told of all, so that what it makes does not depend on what is there.

        Args:
          identity: the update rule of `runner`.
          curves: keep the curves of all splits; else only the final validation loss, and test is
            not read.

        Raises:
          CancelledError: `stop` was called.
        """
        keys = [run_key(identity, trial, curves=curves) for trial in trials]
        wanted = dict(zip(keys, trials, strict=True))
        # Two jobs may want the same run of one update rule: the second waits, and finds it.
        with self._turn(identity):
            self.progress(len(wanted.keys() & self.runs.keys()), 0)
            for part in _parts(wanted):
                self._make(identity, runner, part, curves)
        self.used |= wanted.keys()
        # The same run may have been made under another name, or before a field was there.
        return [
            dataclasses.replace(self.runs[key], optimizer=identity.name, **trial_fields(trial))
            for key, trial in zip(keys, trials, strict=True)
        ]

    def stop(self) -> None:
        """Let every `run`, in whatever thread, end after the task that it is at."""
        self._stopped.set()

    def facts(self) -> dict[str, Any]:
        """Of the runs used: how many, how many of them shipped, what ran them; and conflicts."""
        used = [self.runs[key] for key in self.used]
        return {
            "runs": len(used),
            "shipped": len(self.used & self.shipped),
            "conflicts": self.conflicts,
            "machines": sorted({f"{run.device}, jax {run.jax}" for run in used}),
        }

    def mend(self) -> None:
        """Write all runs anew where the file, or its folder, was removed, and say so."""
        with self._lock:
            there = self._watch()
            if there and (self.path.exists() or not self._written):
                return
            runs = [run for key, run in self.runs.items() if key not in self.shipped]
            write_atomic(self.path, _lines(runs))
        gone = self.path if there else self.path.parent
        self.say(
            f"{gone} was removed while the command ran; the {len(runs):,} runs so far are written "
            "anew"
        )

    def _turn(self, identity: Identity) -> threading.Lock:
        with self._lock:
            return self._turns[json.dumps(identity.facts, sort_keys=True)]

    def _make(
        self, identity: Identity, runner: Train, part: Mapping[str, Trial], curves: bool
    ) -> None:
        """Make those of a part that are missing."""
        needed = {i: key for i, key in enumerate(part) if key not in self.runs}
        if needed and self._stopped.is_set():
            raise concurrent.futures.CancelledError
        trials = list(part.values())
        made = runner(trials, curves=curves, needed=list(needed))
        if needed:
            self._append(
                run_of(key, identity, trials[i], curve)
                for (i, key), curve in zip(needed.items(), made, strict=True)
            )
            self.progress(0, len(needed))

    def _append(self, runs: Iterable[Run]) -> None:
        new = {run.key: run for run in runs}
        with self._lock:
            if self._unwritten:  # what it cut short stays the last line
                raise self._unwritten
            try:
                self.mend()
                with self.path.open("ab") as file:
                    file.write(_lines(new.values()).encode())
            except OSError as error:
                self._unwritten = OSError(error.errno, error.strerror, str(self.path))
                raise self._unwritten from error
            self._written = True
            self.runs |= new

    def _join(self, runs: Sequence[Run]) -> None:
        for run in runs:
            first = self.runs.setdefault(run.key, run)
            if first is not run:
                # Two that are not finite agree.
                self.conflicts += not math.isclose(first.valid_loss, run.valid_loss, rel_tol=RTOL)

    def _read(self, path: Path) -> None:
        """Join a file; the own one is mended."""
        try:
            lines = read_lines(path, lambda row: not row_fault(row))
        except OSError as error:
            raise FolderError(
                f"cannot read {path} ({error.strerror}); move it away, then give the same command "
                "again"
            ) from error
        runs, kept = [run_from_json(row) for row in lines.rows], ""
        if lines.bad and path == self.path:
            kept = f"; kept in {set_aside(path, lines.bad).name}"
        if path == self.path and not lines.clean:
            write_atomic(path, _lines(runs))
        if lines.bad:
            number, first = next(iter(lines.bad.items()))
            self.notes.append(
                f"{path}: {lines.damage()}{kept} (of line {number} {line_fault(first)}); what is "
                "missing runs again"
            )
        self._join(runs)


@contextlib.contextmanager
def own_archive(
    folder: str | os.PathLike,
    record: str,
    facts: dict[str, Any],
    *,
    what: str,
    base: Sequence[Path] = (),
) -> Iterator[Archive]:
    """The archive of a folder that is one command's own, see `own_folder`, during a `with` block.

    Raises:
      WriteError: something inside could not be written; the message says how many runs are kept.
      FolderError, ArchiveError: see `own_folder` and `Archive`.
    """
    path, archive = Path(folder) / "runs.jsonl", None

    def kept() -> str:
        return archive.saved if archive else "nothing is saved yet"

    with writing(folder, kept), own_folder(folder, record, facts, what=what) as watch:
        archive = Archive(path, base, watch)
        yield archive


def _parts(wanted: Mapping[str, Trial]) -> list[dict[str, Trial]]:
    """The trials that can share compiled calls, not so many that a kill would cost much."""
    groups: dict[Any, list[str]] = {}
    for key, trial in wanted.items():
        groups.setdefault((trial.task.spec, trial.task.horizon, trial.beyond), []).append(key)
    return [
        {key: wanted[key] for key in keys[start : start + MOST_AT_ONCE]}
        for keys in groups.values()
        for start in range(0, len(keys), MOST_AT_ONCE)
    ]


def _lines(runs: Iterable[Run]) -> str:
    return "".join(json.dumps(run.to_json(), allow_nan=False) + "\n" for run in runs)
