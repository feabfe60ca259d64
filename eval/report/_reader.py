"""Reports that are read: a report.json, or that inside a report.html."""

import contextlib
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from learned_opt._checks import one_line, shown, shown_path

from ._json import from_json
from ._report import SCHEMA, Report
from ._report_tasks import verdicts
from ._schema2 import DAMAGED, upgraded
from ._sentence import sentence


class ReportError(ValueError):
    """A report cannot be used; the message says which and why."""


def read_report(path: str | os.PathLike) -> Report:
    """The report of a `report.json`, or that inside a `report.html`.

    Raises:
      ReportError: the file holds none of schema 2 or 3, or cannot be read.
    """
    path = Path(path)
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
    if report.get("schema") not in (2, SCHEMA):
        raise ReportError(
            f"{where} must have schema 2 or {SCHEMA}, got {shown(report.get('schema'), 40)}; "
            "evaluate again"
        )
    try:
        return report_from_json(report)
    except ValueError as error:
        raise ReportError(f"{where} is damaged: {one_line(error)}; evaluate again") from error


def report_from_json(found: dict[str, Any]) -> Report:
    """The report of what `Report.to_json` returns, or returned in version 0.1 (schema 2).

    Raises:
      ValueError: names the first field that is missing or wrong.
    """
    if found.get("schema", SCHEMA) != 2:
        return from_json(Report, found)
    with contextlib.suppress(*DAMAGED):
        found = upgraded(found)  # a damaged one stays as it is
    report = from_json(Report, found | {"schema": SCHEMA})
    counted = dataclasses.replace(report, verdict=verdicts(report.tasks))
    return dataclasses.replace(counted, sentence=sentence(counted))
