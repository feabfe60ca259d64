"""`metrics.jsonl` and TensorBoard: one row a log interval, never one twice."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2
from tensorboardX.summary import scalar

from learned_opt.checkpoints import is_number, read_lines, set_aside, write_atomic

METRICS = "metrics.jsonl"

PROTO: Any = event_pb2
"""TensorBoard's records; its classes are made as it is imported."""


class Log:
    """The rows of a run, in its folder.

    Args:
      folder: receives `metrics.jsonl` and `tensorboard/`.
      step: rows after this outer step, of an earlier try, are forgotten; at 0 all of them, for
        the run starts anew.
      note: told, once, that TensorBoard's file cannot be written: `metrics.jsonl` has it all; and
        of damaged lines, which go to `metrics.jsonl.damaged`.

    Raises:
      OSError: `metrics.jsonl` cannot be read or written; so does `append`.
    """

    def __init__(
        self, folder: str | os.PathLike, step: int, note: Callable[[str], Any] = print
    ) -> None:
        self.path, self._note = Path(folder) / METRICS, note
        self._rows = [row for row in self._earlier() if step and row["step"] <= step]
        if step and not _whole([row["step"] for row in self._rows], step):
            self._note(f"note: {METRICS} lacks rows of before outer step {step}; the run goes on")
        self._start(step)

    def _earlier(self) -> list[dict[str, Any]]:
        """The rows of an earlier try; damaged lines are set aside."""
        lines = read_lines(self.path, _is_row)
        if lines.bad:
            aside = set_aside(self.path, lines.bad)
            self._note(f"note: {METRICS}: {lines.damage()}; kept in {aside.name}")
        return lines.rows

    def _start(self, step: int) -> None:
        write_atomic(self.path, "".join(_line(row) for row in self._rows))
        self._board = _Board(self.path.with_name("tensorboard"), step, self._note)

    def renew(self) -> None:
        """All rows so far once more, after the folder was removed and made anew."""
        self._board.close()
        self._start(0)
        for row in self._rows:
            self._board.write_row(row)

    def append(self, row: dict[str, Any]) -> None:
        """Write a row of numbers; its `step` is TensorBoard's, and what is not finite is null."""
        try:
            if self._rows and not self.path.exists():
                write_atomic(self.path, "".join(map(_line, self._rows)))
                self._note(f"note: {self.path} was removed while the run went on; it is made anew")
            with self.path.open("a") as file:
                file.write(_line(row))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._rows.append(row)
        self._board.write_row(row)

    def close(self) -> None:
        """Everything is on disk afterwards."""
        self._board.close()


class _Board:
    """A TensorBoard file, written at once; what cannot be written is given up."""

    def __init__(self, folder: Path, step: int, note: Callable[[str], Any]) -> None:
        self._note, self._writer = note, None
        # TensorBoard hides what lies after this step in the files of earlier tries.
        purge = step + 1 if step else 0
        log = PROTO.SessionLog(status=PROTO.SessionLog.START)
        start = PROTO.Event(step=purge, session_log=log)
        with self._giving_up():
            folder.mkdir(exist_ok=True)
            self._writer = EventsWriter(str(folder / "events"))
        self.write(start)

    def write_row(self, row: dict[str, Any]) -> None:
        numbers = {k: v for k, v in row.items() if k != "step" and isinstance(v, int | float)}
        self.write(
            *(PROTO.Event(summary=scalar(k, v), step=row["step"]) for k, v in numbers.items())
        )

    def write(self, *events: Any) -> None:
        if self._writer:
            with self._giving_up():
                for event in events:
                    event.wall_time = time.time()
                    self._writer.write_event(event)
                self._writer.flush()

    def close(self) -> None:
        if self._writer:
            with self._giving_up():
                self._writer.close()

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            self._note(f"note: TensorBoard's file cannot be written ({error.strerror})")


def _line(row: dict[str, Any]) -> str:
    return json.dumps({k: v if is_number(v) else None for k, v in row.items()}) + "\n"


def _is_row(row: dict[str, Any]) -> bool:
    step = row.get("step")
    counts = isinstance(step, int) and step >= 0
    return counts and all(value is None or is_number(value) for value in row.values())


def _whole(steps: list[int], last: int) -> bool:
    """Whether there is a row at 0, at `last`, and between them at equal distances."""
    return len(steps) > 1 and steps == list(range(0, last + 1, steps[1] or 1))


def whole_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`, without what is damaged or cut short.

    Raises:
      OSError: it cannot be read.
    """
    return read_lines(path, _is_row).rows


def validation_curve(folder: str | os.PathLike, points: int = 60) -> dict[str, list[float]]:
    """Outer steps and finite meta-validation losses of a run's log: `points`, evenly, or fewer.

    With half the 95 % interval of each, where all have one. What is damaged is left out: a log that
    cannot be read has none. The run may be going on.
    """
    try:
        rows = whole_rows(Path(folder) / METRICS)
    except OSError:
        rows = []
    rows = [row for row in rows if row.get("valid_loss") is not None]
    stride = max(1, -(-len(rows) // points))
    rows = rows[::-stride][::-1]
    curve = {
        "outer_steps": [row["step"] for row in rows],
        "valid_loss": [round(row["valid_loss"], 4) for row in rows],
    }
    errors = [row.get("valid_error") for row in rows]
    known = [round(error, 4) for error in errors if error is not None]
    return curve | ({"valid_error": known} if known and len(known) == len(rows) else {})


def valid_row(folder: str | os.PathLike, step: int) -> dict[str, Any]:
    """The numbers of the meta-validation after an outer step in a run's log; none if it has none.

    Raises:
      OSError: it cannot be read.
    """
    rows = [row for row in whole_rows(Path(folder) / METRICS) if row["step"] == step]
    return {k: v for row in rows for k, v in row.items() if k.startswith("valid_")}
