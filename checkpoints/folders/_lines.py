"""Files of one JSON object a line: what is whole is read, what is not is named and kept."""

import dataclasses
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard


@dataclasses.dataclass(frozen=True)
class Lines:
    """What `read_lines` found.

    rows: those that are whole, in order; NaN and Infinity, which JSON has not, are None.
    bad: the bytes of every other line, by its number from 1. A last line without its line break,
    as a kill or a full disk cuts it, is none of them, and a row only if it is whole.
    count: of lines. clean: the file is as it would be written from `rows`.
    """

    rows: list[dict[str, Any]]
    bad: dict[int, bytes]
    count: int
    clean: bool

    def damage(self) -> str:
        """ "line 1 of 8 is damaged and left out", for people; of `bad`, which is not empty."""
        numbers = list(self.bad)
        shown = ", ".join(map(str, numbers[:5])) + (", ..." if numbers[5:] else "")
        lines, are = ("lines", "are") if numbers[1:] else ("line", "is")
        return f"{lines} {shown} of {self.count} {are} damaged and left out"


def read_lines(
    path: str | os.PathLike, check: Callable[[dict[str, Any]], bool] = lambda row: True
) -> Lines:
    """Read a file of JSON objects; none are in one that is missing.

    Args:
      check: whether an object is a row.

    Raises:
      OSError: the file cannot be read, or is none.
    """
    path = Path(path)
    if not path.exists():
        return Lines([], {}, 0, True)
    if not path.is_file():  # a pipe would be waited for
        raise OSError(errno.EISDIR, "it is no file", str(path))
    *lines, last = path.read_bytes().split(b"\n")
    rows, bad = [], {}
    for i, line in enumerate(lines, 1):
        row = _parse(line, check)
        if row is not None:
            rows.append(row)
        elif line.strip():
            bad[i] = line
    row = _parse(last, check)
    return Lines([*rows, row] if row is not None else rows, bad, len(lines), not (bad or last))


def set_aside(path: str | os.PathLike, bad: dict[int, bytes]) -> Path:
    """Append damaged lines, as they are, to the file `path`.damaged, which is returned.

    Raises:
      OSError: it cannot be written.
    """
    kept = Path(f"{os.fspath(path)}.damaged")
    try:
        with kept.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in bad.values()))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(kept)) from error
    return kept


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value of a row is a finite number; True and False are none."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return right and abs(value) <= sys.float_info.max


def _parse(line: bytes, check: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode(), parse_constant=lambda name: None)
    except (ValueError, RecursionError):  # no UTF-8, no JSON, a number of thousands of digits
        return None
    return row if isinstance(row, dict) and check(row) else None
