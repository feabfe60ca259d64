"""The output folder of a run: claimed, held, watched, made anew if it is removed."""

import contextlib
import enum
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learned_opt.checkpoints import (
    CheckpointsLostError,
    FolderError,
    own_folder,
    saved_steps,
    write_atomic,
)

from ..settings import renamed
from ._log import METRICS, Log, whole_rows
from ._record import CHECKPOINTS, COMMAND, RECORD, WHAT


class Found(enum.IntEnum):
    """What has become of the folder, as all processes must know: `LATE`, a save is due."""

    WHOLE = 0
    LATE = 1
    REMOVED = 2
    TAKEN = 3


class RunFolder:
    """The folder as the leading process has it, from `claim` to `close`.

    Args:
      path: of the folder.
      facts: the configuration, which the record keeps.
      command: what began the run.
      note: told, in a line, what was amiss with the folder.

    Attributes:
      log: its rows, once training begins.
      newest: outer step of the newest checkpoint when `watch` was called; None if there was none.
      problem: why the folder is `TAKEN`.
    """

    def __init__(
        self, path: Path, facts: dict[str, Any], command: str, note: Callable[[str], Any]
    ) -> None:
        self.path, self._facts, self._command, self.note = path, facts, command, note
        self._held = contextlib.ExitStack()
        self._is_there: Callable[[], bool] = lambda: False
        self._had_place = False
        self.log: Log | None = None
        self.newest: int | None = None
        self.problem: FolderError | None = None

    def claim(self, resume: bool) -> None:
        """Make the folder this run's own, and keep other processes out.

        Raises:
          FolderError: it holds something else, or is in use. OSError: it cannot be written.
        """
        own = own_folder(self.path, RECORD, self._facts, what=WHAT, resume=resume, renew=renamed)
        self._is_there = self._held.enter_context(own)
        self._had_place = (self.path / CHECKPOINTS).is_dir()
        self._write_command()

    def _write_command(self) -> None:
        if not os.path.lexists(self.path / COMMAND):
            write_atomic(self.path / COMMAND, self._command + "\n")

    def check_progress(self) -> None:
        """To be called where no checkpoint is: a run killed before its first one may begin anew.

        Raises:
          CheckpointsLostError: the log says that there was a checkpoint, or there was no place for
            any.
        """
        check_progress(self.path, self._had_place)

    def set_aside(self) -> None:
        """Move what an earlier try has left to `earlier-N`, so that nothing is lost."""
        number = 1
        while (self.path / f"earlier-{number}").exists():
            number += 1
        aside = self.path / f"earlier-{number}"
        aside.mkdir()
        exports = [file.name for file in self.path.glob("*.safetensors")]
        pages = [file.removesuffix(".safetensors") + ".md" for file in exports]
        for name in (CHECKPOINTS, METRICS, "tensorboard", *exports, *pages):
            if (self.path / name).exists():
                (self.path / name).rename(aside / name)
        self.note(f"Starting over; what the run had is in {aside}.")

    def watch(self) -> Found:
        """What has become of the folder; it and its log are written anew where they were removed.

        Not the checkpoints: all processes write those together.
        """
        try:
            return self._watch()
        except FolderError as error:
            self.problem = error
            return Found.TAKEN

    def _watch(self) -> Found:
        had_record = (self.path / RECORD).exists()
        there, steps = self._is_there(), saved_steps(self.path / CHECKPOINTS)
        newest, self.newest = self.newest, steps[-1] if steps else None
        if not there:
            self._write_command()
            if self.log:
                self.log.renew()
            gone = self.path / ".lock" if had_record else self.path
        elif newest is not None and (self.newest is None or self.newest < newest):
            gone = self.path / CHECKPOINTS / str(newest)
        else:
            return Found.WHOLE
        self.note(f"note: {gone} was removed while the run went on; it is made anew")
        return Found.REMOVED

    def close(self) -> None:
        """All is on disk afterwards, and other processes may come in."""
        if self.log:
            self.log.close()
        self._held.close()


def check_progress(path: Path, had_place: bool) -> None:
    """CheckpointsLostError where a folder without checkpoints has had some.

    `had_place`: whether there was a folder for them.
    """
    rows = whole_rows(path / METRICS)
    done = rows[-1]["step"] if rows else 0
    artifacts = sorted(file.name for file in path.glob("*.safetensors"))
    saved = not had_place or any("checkpoint" in row for row in rows)
    tells = ""
    if done and saved:
        tells = f"{METRICS} tells of {done} outer steps"
    elif artifacts:
        tells = f"there is {artifacts[0]}"
    if tells:
        raise CheckpointsLostError(
            f"{path / CHECKPOINTS} has no checkpoint, but {tells}: "
            "put the checkpoints back, or start over with --resume --start-over"
        )
