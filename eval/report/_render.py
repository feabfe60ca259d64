"""A report rendered again from its own data, with what its artifacts say of themselves now."""

from collections.abc import Sequence

import learned_opt
from learned_opt import Artifact

from ..contestants import rival_names
from ._stored import Report, ReportError
from ._summary import tracks


def with_facts(report: Report, artifacts: Sequence[Artifact] = ()) -> Report:
    """The report with who is told the number of steps, as the artifacts declare it.

    Everything else in it is what its runs were and stays. That of a function of somebody's stays
    too: it was found by trying.

    Args:
      report: schema 2.
      artifacts: its subject and its rivals, but for those that ship.

    Raises:
      ReportError: one of them is missing, or the report is of another version of its subject.
    """
    subject, optimizers = dict(report["subject"]), dict(report["optimizers"])
    known = [*artifacts, *map(learned_opt.load, learned_opt.available())]
    for name, facts in optimizers.items():
        if facts["role"] == "learned" and subject["kind"] == "artifact":
            same = [one for one in known if one.sha256 == subject["digest"]]
            who = f"its subject {subject['name']} ({subject['digest'][:12]})"
        elif facts["role"] == "rival" and not name.endswith(":tuned"):
            same = [one for one in known if name in rival_names(one)]
            who = f"its {name}"
        else:  # a tuned row is told by the schedules that it tries
            continue
        if not same:
            raise ReportError(
                f"the report on {report['suite']} needs {who} to be rendered again; give its file "
                "with --artifact"
            )
        optimizers[name] = facts | {"horizon_free": same[0].optimizer.horizon_free}
        if facts["role"] == "learned":
            subject["horizon_free"] = same[0].optimizer.horizon_free
    return report | {
        "subject": subject,
        "optimizers": optimizers,
        "tracks": tracks({name: facts["horizon_free"] for name, facts in optimizers.items()}),
    }
