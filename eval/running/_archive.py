"""`runs.jsonl`: every run of an evaluation, one line each, never repeated."""

import concurrent.futures
import contextlib
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

from ._keys import Identity, row_fields, run_key
from ._packed import unpack
from ._progress import Progress
from ._rows import line_fault, make_row, row_fault
from ._trials import Curve, Trial

RTOL = 1e-3
"""Two machines that ran the same run may differ by this much, relatively, in validation loss."""

MOST_AT_ONCE = 144
"""Runs between two looks at the file."""

Run = Callable[..., Sequence[Curve]]
"""What trains, a `Runner`: (trials, report=, needed=) -> one curve for each of those needed."""


class Archive:
    """Runs by key: those that ship with the package, those of a file, those of files beside it.

    New ones are appended to the file as they are made. The other `*.jsonl` of its folder are read
    and never written: a copy of another machine's file there joins its runs to these. Of two rows
    of one key the first counts, in the order above, the other files by name.

    Lines that are no rows, see `row_fault`, are left out; those of the file itself move to
    `<file>.damaged`. A last line cut short by a kill is dropped. Where the file is removed while
    runs are made, all that there are are written anew.

    Safe to use from several threads. Of several processes only one may, see `hold_folder`.

    Args:
      path: the `runs.jsonl`.
      base: files of shipped runs, see `unpack`, where there are; none is copied to `path`.
      watch: whether the folder of `path` is still there, asked before each write; see `own_folder`.

    Attributes:
      rows: by key.
      shipped: keys of the runs in `base`.
      used: keys of what `run` returned.
      conflicts: rows that differ from the first of their key by more than RTOL.
      notes: sentences on what was amiss with the files, for people.
      progress: called with (rows found, rows made) as `run` goes on.
      say: called with a sentence on what is amiss later.

    Raises:
      ArchiveError: a file of `base` is damaged.
      FolderError: one of the folder is no file, or cannot be read.
      OSError: the file cannot be written. `run` raises it too.
    """

    def __init__(
        self, path: Path, base: Sequence[Path] = (), watch: Callable[[], bool] = lambda: True
    ) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self.used: set[str] = set()
        self.conflicts = 0
        self.notes: list[str] = []
        self.progress: Callable[[int, int], None] = lambda found, made: None
        self.say: Callable[[str], None] = self.notes.append
        self._watch = watch
        self._making: set[str] = set()
        self._lock = threading.Condition()
        self._stopped = threading.Event()
        self._unwritten: OSError | None = None
        for file in base:
            self._join(unpack(file) if file.exists() else [])
        self.shipped = frozenset(self.rows)
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
        """What is in the file, for people: also of rows of which the last was cut short."""
        try:
            count = self.path.read_bytes().count(b"\n")
        except OSError:  # nothing, or no file
            count = 0
        return f"{count:,} runs are kept in {self.path}" if count else "no run is kept yet"

    def run(
        self, identity: Identity, runner: Run, trials: Sequence[Trial], stage: str
    ) -> list[dict[str, Any]]:
        """One row a trial, in order; what is not there yet runs, and is kept as it is made.

        Args:
          identity: the update rule of `runner`.
          stage: "tune" (only the final validation loss is kept, test is not read) or "report".

        Raises:
          CancelledError: `stop` was called.
        """
        keys = [run_key(identity, trial, stage) for trial in trials]
        wanted = dict(zip(keys, trials, strict=True))
        found = len(wanted.keys() & self.rows.keys())
        self.progress(found, 0)
        made = self._make(identity, runner, wanted, stage)
        # The others were made meanwhile by another thread.
        self.progress(len(wanted) - found - made, 0)
        self.used |= wanted.keys()
        # The same run may have been made under another name, or before a field was there.
        return [
            self.rows[key] | row_fields(trial) | {"optimizer": identity.name}
            for key, trial in zip(keys, trials, strict=True)
        ]

    def stop(self) -> None:
        """Let every `run`, in whatever thread, end after the task that it is at."""
        with self._lock:
            self._stopped.set()
            self._lock.notify_all()

    def facts(self) -> dict[str, Any]:
        """Of the runs used: how many, how many of them shipped, what ran them; and conflicts."""
        used = [self.rows[key] for key in self.used]
        return {
            "runs": len(used),
            "shipped": len(self.used & self.shipped),
            "conflicts": self.conflicts,
            "machines": sorted({f"{row['device']}, jax {row['jax']}" for row in used}),
        }

    def mend(self) -> None:
        """Write all runs anew where the file, or its folder, was removed, and say so."""
        with self._lock:
            there = self._watch()
            if there and (self.path.exists() or not self._written):
                return
            rows = [row for key, row in self.rows.items() if key not in self.shipped]
            write_atomic(self.path, _lines(rows))
        gone = self.path if there else self.path.parent
        self.say(
            f"{gone} was removed while the command ran; the {len(rows):,} runs so far are written "
            "anew"
        )

    def _make(
        self, identity: Identity, runner: Run, wanted: Mapping[str, Trial], stage: str
    ) -> int:
        """Make those of the wanted rows that are missing; how many. Returns when all are there.

        What another thread is making is waited for, and made if that thread fails. The runner is
        told of all, so that what it makes does not depend on what is there.
        """
        made, parts, first = 0, _parts(wanted), True
        while True:
            for part in parts:
                made += self._make_part(identity, runner, part, stage, first)
            first = False
            with self._lock:
                missing = wanted.keys() - self.rows.keys()
                if not missing:
                    return made
                if self._stopped.is_set():
                    raise concurrent.futures.CancelledError
                if missing <= self._making:
                    self._lock.wait()

    def _make_part(
        self, identity: Identity, runner: Run, part: Mapping[str, Trial], stage: str, tell: bool
    ) -> int:
        """Make those that are missing and no other thread makes; `tell`: the runner, if none is."""
        with self._lock:
            mine = {k for k in part if k not in self.rows and k not in self._making}
            if mine and self._stopped.is_set():
                raise concurrent.futures.CancelledError
            self._making |= mine
        if not (mine or tell):
            return 0
        try:
            needed = {i: key for i, key in enumerate(part) if key in mine}
            trials = list(part.values())
            curves = runner(trials, report=stage == "report", needed=list(needed))
            if mine:
                self._append(
                    make_row(key, stage, identity, trials[i], curve)
                    for (i, key), curve in zip(needed.items(), curves, strict=True)
                )
                self.progress(0, len(mine))
            return len(mine)
        finally:
            with self._lock:
                self._making -= mine
                self._lock.notify_all()

    def _append(self, rows: Iterable[dict[str, Any]]) -> None:
        new = {row["key"]: row for row in rows}
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
            self.rows |= new

    def _join(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            first = self.rows.setdefault(row["key"], row)
            if first is not row:
                self.conflicts += not _agree(first["valid_loss"], row["valid_loss"])

    def _read(self, path: Path) -> None:
        """Join a file; the own one is mended."""
        try:
            lines = read_lines(path, lambda row: not row_fault(row))
        except OSError as error:
            raise FolderError(
                f"cannot read {path} ({error.strerror}); move it away, then give the same command "
                "again"
            ) from error
        kept = ""
        if lines.bad and path == self.path:
            kept = f"; kept in {set_aside(path, lines.bad).name}"
        if path == self.path and not lines.clean:
            write_atomic(path, _lines(lines.rows))
        if lines.bad:
            number, first = next(iter(lines.bad.items()))
            self.notes.append(
                f"{path}: {lines.damage()}{kept} (of line {number} {line_fault(first)}); what is "
                "missing runs again"
            )
        self._join(lines.rows)


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


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _agree(a: float | None, b: float | None) -> bool:
    """Whether two final losses are equal to rounding; two that are not finite are."""
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=RTOL)
