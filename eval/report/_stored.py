"""Reports that are read: a report.json, or that inside a report.html."""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from learned_opt._checks import one_line, shown, shown_path

from ..running import CURVE, LOSS, STEPS, TEXT, Rule

Report = dict[str, Any]
SCHEMA = 2


class ReportError(ValueError):
    """A report cannot be used; the message says which and why."""


def _kind(wanted: str, *kinds: type) -> Rule:
    return Rule(wanted, lambda x: type(x) in kinds)


OBJECT = _kind("an object", dict)
OBJECTS = Rule(
    "a list of objects", lambda x: type(x) is list and x != [] and {*map(type, x)} == {dict}
)
COUNT = Rule("a positive integer", lambda x: type(x) is int and x > 0)
CURVES = Rule(
    "three lists of finite numbers and nulls",
    lambda x: type(x) is list and len(x) == 3 and all(map(CURVE.right, x)),
)

REPORT = {
    "suite": TEXT, "seeds": COUNT, "headline": TEXT, "sentence": _kind("text", str),
    "subject": OBJECT, "optimizers": OBJECT, "tracks": OBJECT, "tasks": OBJECTS,
    "groups": OBJECTS,
}  # fmt: skip
SUBJECT = {"name": _kind("text", str), "kind": TEXT}
TASK = {"name": TEXT, "leakage": TEXT, "horizon": COUNT, "results": OBJECT, "against": OBJECT}
RESULT = {
    "valid_loss": LOSS, "test_loss": LOSS, "steps": STEPS, "curves": OBJECT,
    "seed_losses": OBJECT, "times": OBJECT,
}  # fmt: skip
INSIDE = {
    "curves": {"train": CURVES, "valid": CURVES, "test": CURVES},
    "seed_losses": {"valid": CURVE, "test": CURVE},
    "times": {"90": CURVE},
}
"""Fields of schema 2 that all pages need, by where they are: numbers that verdicts are made of."""


def read_report(path: Path) -> Report:
    """The report of a `report.json`, or that inside a `report.html`.

    Raises:
      ReportError: the file holds none of schema 2, or cannot be read.
    """
    where = shown_path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ReportError(f"cannot read {where} (it is no file); give a report.json")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise ReportError(f"cannot read {where} ({error.strerror}); give a report.json") from error
    if path.suffix == ".html":
        found = re.search(r'<script type="application/json" id="report">(.*?)</script>', text, re.S)
        text = found[1] if found else ""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict) or "tracks" not in report:
        raise ReportError(
            f"{where} holds no report, or one that is cut short; give a report.json or report.html "
            "of learned-opt eval"
        )
    if report.get("schema") != SCHEMA:
        raise ReportError(
            f"{where} must have schema {SCHEMA}, got {shown(report.get('schema'), 40)}; evaluate "
            "again"
        )
    fault = report_fault(report)
    if fault:
        raise ReportError(f"{where} is damaged: {fault}; evaluate again")
    return report


def report_fault(report: Report) -> str:
    """What is wrong with a report of schema 2, "" if nothing is found."""
    fault = _fault(report, REPORT) or _fault(report["subject"], SUBJECT, "subject.")
    for task in () if fault else report["tasks"]:
        fault = fault or _fault(task, TASK, "tasks.")
        results = {} if fault else {"learned": None} | task["results"]
        for name, result in results.items():
            where = f"tasks.{task['name']}.{name}."
            fault = fault or _fault(result, RESULT, where)
            for part, fields in INSIDE.items():
                fault = fault or _fault(result[part], fields, f"{where}{part}.")
            fault = fault or _lengths(result, where)
    return fault


def _fault(found: Any, fields: dict[str, Rule], where: str = "") -> str:
    if not isinstance(found, dict):
        return f"{where.rstrip('.')} must be an object, got {shown(found, 40)}"
    for name, rule in fields.items():
        if name not in found:
            return f"{where}{name} is missing"
        if not rule.right(found[name]):
            return f"{where}{name} must be {rule.wanted}, got {shown(found[name], 40)}"
    return ""


def _lengths(result: Report, where: str) -> str:
    """Every curve has a value a step."""
    count = len(result["steps"])
    for which, curves in result["curves"].items():
        if any(len(curve) != count for curve in curves):
            return f"{where}curves.{which} must have a value for each of {count} steps"
    return ""


@contextlib.contextmanager
def using(paths: Sequence[Path | str]) -> Iterator[None]:
    """What a damaged report raises inside, where its fields are used, is one sentence.

    Args:
      paths: of the reports.
    """
    try:
        yield
    except (ReportError, OSError):
        raise
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
        named = " or ".join(shown_path(path) for path in paths)
        raise ReportError(
            f"{named} is damaged ({type(error).__name__}: {one_line(error, 100)}); evaluate again"
        ) from error
