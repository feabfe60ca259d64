"""The record of a run: its whole configuration, in its folder."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..settings import Config, ConfigError, load_table, renamed

RECORD, COMMAND, CHECKPOINTS = "config.toml", "command.txt", "checkpoints"
"""Of a run's folder: its configuration; what began it, for its card; and what it goes on from."""

WHAT = "a meta-training run"
"""What a folder holds, in messages."""

CURE = "put it back as it was, or name another folder with --out"


def todays(facts: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint was made with, its configuration in today's names."""
    return {**facts, "config": renamed(facts.get("config", {}))}


def load_record(folder: str | os.PathLike, overrides: Sequence[str] = ()) -> Config:
    """The configuration of the run in `folder`, with overrides applied, see `load_table`.

    Raises:
      ConfigError: there is none, it is damaged, or an override is wrong.
    """
    path = Path(folder) / RECORD
    if not path.is_file():  # a pipe would be waited for
        what = "is no file" if os.path.lexists(path) else "is missing"
        raise ConfigError(f"{folder} holds no run that can go on: {path} {what}; {CURE}")
    try:
        table = load_table(path)
    except ConfigError as error:
        raise ConfigError(f"{error}; {CURE}") from error
    # Unused, those two are not written.
    wanted = {field.name for field in dataclasses.fields(Config)} - {"family", "outer"}
    if lacks := sorted(wanted - table.keys()):
        raise ConfigError(
            f"{path} lacks {', '.join(lacks)}: it is cut short, or of older code; {CURE}"
        )
    try:
        return Config.from_dict(load_table(path, overrides))
    except ConfigError as error:
        raise ConfigError(f"{path}{' and --set' if overrides else ''}: {error}") from error
