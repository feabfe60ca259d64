"""Files of a report: report.json, report.html, report.md and its figure report.svg."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib

from learned_opt.checkpoints import write_atomic

from ._draw import STYLE, alone
from ._forest import headline
from ._markdown import to_markdown
from ._page import to_html
from ._stored import SCHEMA, ReportError

Report = dict[str, Any]


def write_report(report: Report, out: Path) -> None:
    """Write `report.json`, `.html`, `.md` and its figure `.svg`; equal reports give equal bytes.

    Args:
      report: schema 2; a number that is not finite must be null.
      out: a folder that exists.

    Raises:
      ValueError: another schema (ReportError), or a number that is not finite.
    """
    report = canonical(report)
    write_atomic(out / "report.json", to_json(report))
    write_atomic(out / "report.html", to_html(report))
    write_atomic(out / "report.md", to_markdown(report))
    with matplotlib.rc_context(STYLE):
        write_atomic(out / "report.svg", alone(headline(report)["loss"]))


def canonical(report: Report) -> Report:
    """The report with that sorted whose order means nothing: failures, machines, the card."""
    found = report.get("schema")
    if found != SCHEMA:
        raise ReportError(f"a report must have schema {SCHEMA}, got {found!r}; evaluate again")
    made = dict(report)
    if made.get("failures"):
        made["failures"] = sorted(made["failures"], key=lambda f: json.dumps(f, sort_keys=True))
    if made.get("merged"):
        merged = made["merged"]
        made["merged"] = merged | {"machines": sorted(merged.get("machines") or [])}
    subject = made["subject"]
    made["subject"] = subject | {"card": dict(sorted((subject.get("card") or {}).items()))}
    return made


def to_json(report: Report) -> str:
    """Indented JSON with lists of numbers on one line, so that two reports can be compared."""
    try:
        text = json.dumps(report, indent=1, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"a report must hold finite numbers or null: {error}") from None
    return re.sub(r"\[\s+([^\[\]{}\"]+?)\s+\]", _one_line, text) + "\n"


def _one_line(match: re.Match[str]) -> str:
    return f"[{' '.join(match[1].split())}]"
