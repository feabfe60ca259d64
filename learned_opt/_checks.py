"""How a wrong value is shown, in one line, and names of files that are given."""

import os
from typing import Any


def check_path(name: str, value: Any) -> str:
    """`value` as a string; a TypeError unless it is a string or a path."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string or a path, got {shown(value)}; pass a file name")
    return text


def name_fault(name: str, what: str, value: str | None) -> str:
    """What is wrong with the name of a file or a folder that a flag gives; "" if nothing is."""
    if value is None or (value and value.isprintable()):
        return ""
    return f"{name} must name a {what} in printable text, got {shown(value)}"


def shown(value: Any, most: int = 80) -> str:
    """`repr(value)` in one line, with its middle left out where it is long."""
    try:
        return one_line(repr(value), most)
    except Exception:  # an integer of more digits than Python writes, a list too deep
        return f"a value of type {type(value).__name__}"


def shown_path(path: str | os.PathLike) -> str:
    """A file name as it is, if that is readable."""
    text = os.fspath(path)
    readable = isinstance(text, str) and text.isprintable() and len(text) <= 500
    return text if readable else shown(text)


def one_line(text: object, most: int = 300) -> str:
    """Anything, such as an error of another package, in one line."""
    line = " ".join(str(text).split()) or type(text).__name__
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= most else f"{line[: most - 20]}...{line[-17:]}"
