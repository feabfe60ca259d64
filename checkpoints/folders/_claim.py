"""Output folders: one run each, and a record of which."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

from learned_opt._checks import one_line
from learned_opt._files import write_atomic


class FolderError(RuntimeError):
    """The output folder cannot be used for this run; the message says why and what to do."""


def claim_folder(
    folder: str | os.PathLike,
    record: str,
    facts: dict[str, Any],
    *,
    what: str,
    resume: bool,
    renew: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Path:
    """Make a folder one run's own: create it and record the run's facts, or recognise them.

    Args:
      folder: where the run writes.
      record: file name of the record, TOML.
      facts: what identifies the run, as TOML types.
      what: what a run is called, with its article, for messages.
      resume: whether a folder that holds the same run is welcome.
      renew: the facts of an older record as they are said today.

    Raises:
      FolderError: a file, a folder with other files, with another run, or `resume` is off and
        there is a run already. Nothing in the folder is touched.
    """
    folder = Path(folder)
    path = folder / record
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"--out must be a folder, got the file {folder}; choose another")
    if os.path.lexists(path):
        recorded = renew(_read(path))
        found, lacks = differences(recorded, facts), sorted(facts.keys() - recorded.keys())
        if lacks and _within(recorded, facts):
            raise FolderError(
                f"{path} lacks {', '.join(lacks)}: it is cut short, or of older code; {_CURE}"
            )
        if found:
            raise FolderError(
                f"{folder} already holds another run ({'; '.join(found)}); "
                "use the same settings, or choose another folder with --out"
            )
        if not resume:
            raise FolderError(
                f"{folder} already holds this run; continue it with --resume, "
                "or choose another folder with --out"
            )
        return folder
    # A kill between creating the folder and the record leaves hidden temporary files only.
    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise FolderError(
            f"{folder} already holds files that are not {what}, for it has no {record}: put that "
            "back if it had one, or choose another folder with --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, tomli_w.dumps(facts))
    return folder


_CURE = "put it back as it was, or choose another folder with --out"


def _within(part: Any, whole: Any) -> bool:
    """Whether all that there is of a nested dict is in another."""
    if not (isinstance(part, dict) and isinstance(whole, dict)):
        return part == whole
    return all(key in whole and _within(value, whole[key]) for key, value in part.items())


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise FolderError(f"{path} must be a file, and is none; {_CURE}")
        return tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8, no TOML, nested too deeply
        reason = one_line(getattr(error, "strerror", None) or error, 120)
        raise FolderError(f"{path} does not read back ({reason}); {_CURE}") from error


def differences(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """What a person is told of two nested dicts: "a.b was 1, is now 2" for each entry."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found += differences(was, now, f"{where}{key}.")
        elif was != now:
            found.append(f"{where}{key} was {was!r}, is now {now!r}")
    return found
