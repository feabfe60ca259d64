"""`metrics.jsonl` and TensorBoard: one row a chunk, never one twice."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2
from tensorboardX.summary import scalar

from learned_opt.checkpoints import write_atomic

METRICS = "metrics.jsonl"

PROTO: Any = event_pb2
"""TensorBoard's records; its classes are made as it is imported."""


class Log:
    """The rows of a run, in its folder.

    Args:
      folder: receives `metrics.jsonl` and `tensorboard/`.
      step: rows after this outer step, of an earlier try, are forgotten; at 0 all of them, for
        the run starts anew.
      note: told, once, that TensorBoard's file cannot be written: `metrics.jsonl` has it all.

    Raises:
      OSError: `metrics.jsonl` cannot be written; so does `append`.
    """

    def __init__(
        self, folder: str | os.PathLike, step: int, note: Callable[[str], Any] = print
    ) -> None:
        self.path, self._note = Path(folder) / METRICS, note
        self._rows = [row for row in whole_rows(self.path) if row["step"] <= step] if step else []
        self._start(step)

    def _start(self, step: int) -> None:
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in self._rows))
        self._board = _Board(self.path.with_name("tensorboard"), step, self._note)

    def renew(self) -> None:
        """All rows so far once more, after the folder was removed and made anew."""
        self._board.close()
        self._start(0)
        for row in self._rows:
            self._board.write_row(row)

    def append(self, row: dict[str, Any]) -> None:
        """Write a row; its `step` is TensorBoard's."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
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


def whole_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`, without a last line that a kill or a full disk cut short."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def validation_curve(folder: str | os.PathLike, points: int = 60) -> dict[str, list[float]]:
    """Outer steps and finite meta-validation losses of a run's log: `points`, evenly, or fewer."""
    rows = whole_rows(Path(folder) / METRICS)
    rows = [row for row in rows if math.isfinite(row.get("valid_loss", math.nan))]
    stride = max(1, -(-len(rows) // points))
    rows = rows[::-stride][::-1]
    return {
        "outer_steps": [row["step"] for row in rows],
        "valid_loss": [round(row["valid_loss"], 4) for row in rows],
    }
