"""`runs.jsonl`: every run of an evaluation, one line each, never repeated."""

import concurrent.futures
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from learned_opt.checkpoints import write_atomic

from ._keys import Identity, machine, row_fields, run_key
from ._pack import unpack
from ._run import Curve, Trial

RTOL = 1e-3
"""Two machines that ran the same run may differ by this much, relatively, in validation loss."""

REQUIRED = {"key", "stage", "task", "optimizer", "seed", "device", "jax", "valid_loss"}
CURVES = {"steps", "train_curve", "valid_curve", "test_curve"}

MOST_AT_ONCE = 144
"""Runs between two looks at the file."""

Run = Callable[..., Sequence[Curve]]
"""What trains, a `Runner`: (trials, report=) -> one curve a trial."""


class Archive:
    """Runs by key: those that ship with the package, those of a file, those of files beside it.

    New ones are appended to the file as they are made. The other `*.jsonl` of its folder are read
    and never written: a copy of another machine's file there joins its runs to these. Of two rows
    of one key the first counts, in the order above, the other files by name.

    Safe to use from several threads. Of several processes only one may, see `hold_folder`.

    Args:
      path: the `runs.jsonl`. A last line cut short by a kill is dropped, and so are damaged lines.
      base: files of shipped runs, see `unpack`, where there are; none is copied to `path`.

    Attributes:
      rows: by key.
      shipped: keys of the runs in `base`.
      used: keys of what `run` returned.
      conflicts: rows that differ from the first of their key by more than RTOL.
      notes: sentences on what was amiss with the files, for people.
      watch: called with (rows found, rows made) as `run` goes on.

    Raises:
      ArchiveError: a file of `base` is damaged.
    """

    def __init__(self, path: Path, base: Sequence[Path] = ()) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self.used: set[str] = set()
        self.conflicts = 0
        self.notes: list[str] = []
        self.watch: Callable[[int, int], None] = lambda found, made: None
        self._making: set[str] = set()
        self._lock = threading.Condition()
        self._stopped = threading.Event()
        for file in base:
            self._join(unpack(file) if file.exists() else [])
        self.shipped = frozenset(self.rows)
        own, whole = self._read(path)
        if not whole:
            write_atomic(path, "".join(_line(row) for row in own))
        for other in sorted(path.parent.glob("*.jsonl")):
            if other != path:
                self._read(other)
        if self.conflicts:
            self.notes.append(
                f"{self.conflicts} runs in {path.parent} differ from the same run of another "
                f"machine by more than {RTOL:.1%} in validation loss; the first of each counts"
            )

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
        self.watch(found, 0)
        made = self._make(identity, runner, wanted, stage)
        # The others were made meanwhile by another thread.
        self.watch(len(wanted) - found - made, 0)
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

    def _make(
        self, identity: Identity, runner: Run, wanted: Mapping[str, Trial], stage: str
    ) -> int:
        """Make those of the wanted rows that are missing; how many. Returns when all are there.

        What another thread is making is waited for, and made if that thread fails.
        """
        made = 0
        while True:
            with self._lock:
                missing = {k: trial for k, trial in wanted.items() if k not in self.rows}
                if not missing:
                    return made
                if self._stopped.is_set():
                    raise concurrent.futures.CancelledError
                mine = {k: trial for k, trial in missing.items() if k not in self._making}
                if not mine:
                    self._lock.wait()
                self._making |= mine.keys()
            try:
                for part in _parts(mine):
                    if self._stopped.is_set():
                        raise concurrent.futures.CancelledError
                    curves = runner(list(part.values()), report=stage == "report")
                    self._append(
                        _row(key, stage, identity, trial, curve)
                        for (key, trial), curve in zip(part.items(), curves, strict=True)
                    )
                    made += len(part)
                    self.watch(0, len(part))
            finally:
                with self._lock:
                    self._making -= mine.keys()
                    self._lock.notify_all()

    def _append(self, rows: Iterator[dict[str, Any]]) -> None:
        new = {row["key"]: row for row in rows}
        with self._lock:
            with self.path.open("ab") as file:
                file.write("".join(_line(row) for row in new.values()).encode())
            self.rows |= new

    def _join(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            first = self.rows.setdefault(row["key"], row)
            if first is not row:
                self.conflicts += not _agree(first["valid_loss"], row["valid_loss"])

    def _read(self, path: Path) -> tuple[list[dict[str, Any]], bool]:
        """Join a file; its rows, and whether nothing in it must be mended."""
        if not path.exists():
            return [], True
        # Every line ends in a line break, or it was cut short by a kill.
        *lines, last = path.read_bytes().split(b"\n")
        parsed = {i: _parse(line) for i, line in enumerate(lines, 1) if line}
        damaged = [i for i, row in parsed.items() if row is None]
        if damaged:
            shown = ", ".join(map(str, damaged[:5])) + (", ..." if damaged[5:] else "")
            self.notes.append(
                f"{path}: {'lines' if damaged[1:] else 'line'} {shown} of {len(lines)} "
                f"{'are' if damaged[1:] else 'is'} damaged and left out; what is missing runs again"
            )
        rows = [row for row in (*parsed.values(), _parse(last)) if row is not None]
        self._join(rows)
        return rows, not (damaged or last)


def _parts(missing: dict[str, Trial]) -> list[dict[str, Trial]]:
    """The trials that can share compiled calls, not so many that a kill would cost much."""
    groups: dict[Any, list[str]] = {}
    for key, trial in missing.items():
        groups.setdefault((trial.task.spec, trial.task.horizon, trial.beyond), []).append(key)
    return [
        {key: missing[key] for key in keys[start : start + MOST_AT_ONCE]}
        for keys in groups.values()
        for start in range(0, len(keys), MOST_AT_ONCE)
    ]


def _row(key: str, stage: str, identity: Identity, trial: Trial, curve: Curve) -> dict[str, Any]:
    row = {
        "key": key,
        "stage": stage,
        "optimizer": identity.name,
        **row_fields(trial),
        **machine(),
        **{name: _number(x) for name, x in curve.final.items()},
    }
    if curve.test is not None:
        row |= {
            "steps": curve.steps.tolist(),
            "train_curve": [_number(x) for x in curve.train],
            "valid_curve": [_number(x) for x in curve.valid],
            "test_curve": [_number(x) for x in curve.test],
        }
    return row


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    """A row, or None if the line is not one."""
    try:
        row = json.loads(line, parse_constant=lambda name: None)
    except ValueError:
        return None
    if not isinstance(row, dict) or not row.keys() >= REQUIRED:
        return None
    whole = isinstance(row["key"], str) and (row["stage"] != "report" or row.keys() >= CURVES)
    loss = row["valid_loss"]
    return row if whole and (loss is None or isinstance(loss, int | float)) else None


def _agree(a: float | None, b: float | None) -> bool:
    """Whether two final losses are equal to rounding; two that are not finite are."""
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=RTOL)


def _number(x: Any) -> float | None:
    """Six significant digits; None, JSON's null, for a loss that is not finite."""
    return float(f"{float(x):.6g}") if np.isfinite(x) else None


def loss_of(row: dict[str, Any], name: str = "valid_loss") -> float:
    """A loss of a row as a float: not finite counts as infinite."""
    return float("inf") if row[name] is None else row[name]


def curve_of(row: dict[str, Any], name: str = "valid_curve") -> np.ndarray:
    """A loss curve of a row; points that are not finite are infinite."""
    return np.array([np.inf if x is None else x for x in row[name]])
