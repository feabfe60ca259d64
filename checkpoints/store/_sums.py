"""Whether the files of a checkpoint are those that were written.

TensorStore checks its indices, but not the arrays themselves: of a large one a bit can change and
nobody would know.
"""

import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

from learned_opt._checks import one_line

SUMS = "SHA256SUMS"
"""Of a checkpoint's folder; `sha256sum -c` reads it too."""


def write_sums(folder: Path) -> None:
    """Record the files in the folders of `folder`; those beside them Orbax still writes."""
    found = [path for path in sorted(folder.glob("*/**/*")) if path.is_file()]
    lines = [f"{_sum(path)}  {path.relative_to(folder).as_posix()}\n" for path in found]
    with (folder / SUMS).open("w") as file:
        file.write("".join(lines))
        file.flush()
        os.fsync(file.fileno())


def damage(folder: Path) -> str:
    """What is amiss with the files of a checkpoint, in a few words; "" if nothing is.

    Of one that has no record, as of before there was one, little is known until it is loaded.
    """
    if not folder.is_dir():
        return "it is no folder"
    name = SUMS
    try:
        for path in folder.rglob("*"):
            if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe is waited for
                return f"{path.relative_to(folder).as_posix()} is no file"
        for line in _text(folder / SUMS).splitlines() if (folder / SUMS).exists() else []:
            name = SUMS
            recorded, name = line.split("  ", 1)
            if not (folder / name).exists():
                return f"{name} is missing"
            if _sum(folder / name) != recorded:
                return f"{name} is not as it was written"
        name = "metrics/metrics"
        if (folder / name).exists() and not _is_score(json.loads(_text(folder / name))):
            return f"{name} holds no score"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:
        return one_line(f"{name} does not read back ({error})", 120)
    return ""


def move_aside(folder: Path) -> str:
    """Give a damaged checkpoint a name that is none of a step; returns it."""
    names = (f"{folder.name}.damaged{i or ''}" for i in itertools.count())
    name = next(name for name in names if not os.path.lexists(folder.with_name(name)))
    try:
        folder.rename(folder.with_name(name))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return name


def _sum(path: Path) -> str:
    _check_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(path: Path) -> str:
    _check_file(path)
    return path.read_bytes().decode()


def _check_file(path: Path) -> None:
    if not path.is_file():  # a pipe would be waited for
        raise OSError(0, "it is no file", str(path))


def _is_score(metrics: Any) -> bool:
    score = metrics.get("score") if isinstance(metrics, dict) else None
    return isinstance(score, int | float) and not isinstance(score, bool)
