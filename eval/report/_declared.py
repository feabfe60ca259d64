"""A report with what its artifacts say of themselves now, to be rendered again."""

import dataclasses
from collections.abc import Sequence

import learned_opt
from learned_opt import Artifact

from ..contestants import MULTIPLIED, rival_names
from ._reader import ReportError
from ._report import Report
from ._summary import tracks
from ._verdict import verdict_of


def with_declared(report: Report, artifacts: Sequence[Artifact] = ()) -> Report:
    """The report with who is told the number of steps, as the artifacts declare it, and with the
    sentence of today's code.

    Everything else in it is what its runs were and stays. That of a function of somebody's stays
    too: it was found by trying.

    Args:
      artifacts: its subject and its rivals, but for those that ship.

    Raises:
      ReportError: one of them is missing, or the report is of another version of its subject.
    """
    subject, optimizers = report.subject, dict(report.optimizers)
    known = [*artifacts, *map(learned_opt.load, learned_opt.available())]
    for name, facts in optimizers.items():
        if facts.role == "learned" and subject.kind == "artifact":
            same = [one for one in known if one.sha256 == subject.digest]
            who = f"its subject {subject.name} ({str(subject.digest)[:12]})"
        elif name == MULTIPLIED:
            optimizers[name] = dataclasses.replace(facts, horizon_free=subject.horizon_free)
            continue
        elif facts.role == "rival" and not name.endswith(":tuned"):
            same = [one for one in known if name in rival_names(one)]
            who = f"its {name}"
        else:  # a tuned row is told by the schedules that it tries
            continue
        if not same:
            raise ReportError(
                f"the report on {report.suite} needs {who} to be rendered again; give its file "
                "with --artifact"
            )
        free = same[0].optimizer.horizon_free
        optimizers[name] = dataclasses.replace(facts, horizon_free=free)
        if facts.role == "learned":
            subject = dataclasses.replace(subject, horizon_free=free)
    made = dataclasses.replace(
        report,
        subject=subject,
        optimizers=optimizers,
        tracks=tracks({name: facts.horizon_free for name, facts in optimizers.items()}),
    )
    return dataclasses.replace(made, sentence=verdict_of(made))
