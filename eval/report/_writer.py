"""Files of a report: report.json, report.html, report.md and its figure report.svg."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import matplotlib

from learned_opt.checkpoints import write_atomic

from ._json import as_json
from ._markdown import to_markdown
from ._page import to_html
from ._report import Report
from .figures import STYLE, alone, final_losses


def write_report(report: Report, out: Path) -> None:
    """Write `report.json`, `.html`, `.md` and its figure `.svg`; equal reports give equal bytes.

    Args:
      out: a folder that exists.

    Raises:
      ValueError: a number is not finite; it must be None.
    """
    report = canonical(report)
    write_atomic(out / "report.json", json_text(report.to_json()))
    write_atomic(out / "report.html", to_html(report))
    write_atomic(out / "report.md", to_markdown(report))
    with matplotlib.rc_context(STYLE):
        write_atomic(out / "report.svg", alone(final_losses(report)))


def canonical(report: Report) -> Report:
    """The report with that sorted whose order means nothing: failures, machines, the card."""
    subject, merged = report.subject, report.merged
    return dataclasses.replace(
        report,
        failures=sorted(report.failures, key=lambda f: json.dumps(as_json(f), sort_keys=True)),
        merged=merged and dataclasses.replace(merged, machines=sorted(merged.machines)),
        subject=dataclasses.replace(subject, card=dict(sorted(subject.card.items()))),
    )


def json_text(value: dict[str, Any]) -> str:
    """Indented JSON with lists of numbers on one line, so that two reports can be compared."""
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"a report must hold finite numbers or null: {error}") from None
    return re.sub(r"\[\s+([^\[\]{}\"]+?)\s+\]", _one_line, text) + "\n"


def _one_line(match: re.Match[str]) -> str:
    return f"[{' '.join(match[1].split())}]"
