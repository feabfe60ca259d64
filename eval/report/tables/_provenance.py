"""The table of where an optimizer and the numbers come from, and the command to get them again."""

import shlex

from .._html import table
from .._numbers import MISSING, duration, escape, plain, short
from .._report import Report
from .._report_measured import Readings


def provenance(report: Report) -> str:
    """T4: the subject and its card, the suite, the machine, the runs."""
    subject, merged = report.subject, report.merged
    facts = {
        "evaluated": f"{subject.name} ({subject.kind})",
        "identity": subject.identity,
        **{key.replace("_", " "): value for key, value in subject.card.items()},
        "suite": f"{report.suite}, hash {report.suite_hash or MISSING}",
        "tier": report.tier, "device": report.device, "JAX": report.jax, "code": report.code,
        "date": report.date,
        "seeds": f"{report.seeds} to report, {plain(report.tune_seeds)} others to tune",
        "duration of the evaluation": duration(report.seconds),
        "readings": report.readings and _readings(report.readings),
        "runs": merged and f"{short(merged.runs)}, of which {short(merged.shipped)} shipped; "
        f"{merged.conflicts} differ between machines",
    }  # fmt: skip
    rows = [[escape(k), escape(plain(v))] for k, v in facts.items() if v not in (None, "", [], {})]
    return table(["fact", "value"], rows, text=[1])


def _readings(found: Readings) -> str:
    """How often the suite was read by others, and whether this reading is counted."""
    count, who = len(found.before) + found.damaged, len({one.digest for one in found.before})
    text = "This suite has not been read before."
    if count:
        said = ", ".join(f"{one.name} ({one.date}, {one.digest[:8]})" for one in found.before)
        damaged = f"; {found.damaged} by nobody knows whom" if found.damaged else ""
        text = f"This suite has been read {count} time{'s' * (count > 1)} before"
        text += f", by {who} optimizer{'s' * (who > 1)}: {said}" if said else ""
        text += f"{damaged}."
    if not found.counted:
        text += " This reading could not be counted: the package cannot be written to."
    return text


def command(report: Report) -> str:
    """The command that makes this report, on one line: as it was given, where that was kept."""
    subject = report.subject
    what = subject.name if subject.kind == "artifact" else f"--optimizer {subject.identity}"
    tier = f" --tier {report.tier}" if report.tier else ""
    smoke = " --smoke" if report.smoke else ""
    words = f"{what} --suite {report.suite}{tier}{smoke}"
    if report.own:
        words = f"{what} --task MODULE:NAME"
    if report.arguments:
        words = shlex.join(report.arguments)
    # It stands between fences in Markdown, which a line of its own could close.
    return " ".join(f"learned-opt eval {words} --out OUT".split())
