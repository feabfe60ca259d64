"""How often a test suite was read: `eval` appends a line for every learned optimizer it runs.

A suite is counted if a file of readings lies beside its archive, be it empty. Two evaluations of
one update rule, of the same weights and the same sources, find the same: they are one reading.
"""

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from learned_opt.checkpoints import code_version, read_lines, write_atomic
from learned_opt.tasks import content_hash

from .contestants import Subject
from .running import TEXT, shipped_file

FACTS = ("date", "name", "digest", "code")
"""Of a reading, for people. Its line has a hash of the update rule too."""

UNCOUNTED = "readings.json"
"""In the folder of an evaluation, where the file of the suite could not be written."""


def readings_file(suite: str, tier: str) -> Path:
    """Beside the shipped runs."""
    return shipped_file(suite, tier).with_suffix(".readings.jsonl")


def count_readings(
    subjects: Sequence[Subject], suite: str, tier: str, out: Path, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Count that learned optimizers are read on a suite; to be called before their first run there.

    Args:
      subjects: what is judged, then its rivals.
      out: folder of the evaluation, which keeps the lines where the file cannot be written.
      say: is told of that, and of damaged lines.

    Returns:
      Field `readings` of the report, as JSON types: those before that of the first subject; None of
      a suite that is not counted.

    Raises:
      OSError: nor can the folder be written to.
    """
    path = readings_file(suite, tier)
    if not path.exists():
        return None
    made = {line["rule"]: line for line in map(_line, subjects)}
    rows, damaged, counted = [], 0, True
    try:
        lines = read_lines(path, lambda row: all(TEXT.right(row.get(x)) for x in (*FACTS, "rule")))
        rows, damaged = lines.rows, len(lines.bad)
        if damaged:
            say(f"{path}: {lines.damage()}; each counts as a reading")
        there = {row["rule"] for row in rows}
        for rule, line in made.items():
            if rule not in there:
                _append(path, line)
    except OSError as error:
        write_atomic(out / UNCOUNTED, json.dumps([*made.values()], indent=1) + "\n")
        counted = False
        say(
            f"this reading of {suite} is not counted, for {path} cannot be used "
            f"({error.strerror}); it is kept in {out / UNCOUNTED}"
        )
    earlier: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["rule"] == next(iter(made)):  # it is here again
            break
        earlier.setdefault(row["rule"], {name: row[name] for name in FACTS})
    return {"before": list(earlier.values()), "damaged": damaged, "counted": counted}


def _line(subject: Subject) -> dict[str, str]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "name": subject.name,
        "digest": subject.digest,
        "code": code_version(),
        "rule": content_hash(subject.identity.facts),
    }


def _append(path: Path, line: dict[str, Any]) -> None:
    """In one write; what a kill cut short before it stays a line of its own."""
    with path.open("a+b") as file:
        file.seek(0)
        whole = file.read()[-1:] in (b"", b"\n")
        file.write((b"" if whole else b"\n") + json.dumps(line).encode() + b"\n")
