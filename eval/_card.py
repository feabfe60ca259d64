"""What reports say of an artifact, kept in its card."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from learned_opt import Artifact

from .report._parts import reproduce


def add_results(
    artifact: Artifact, reports: Sequence[dict[str, Any]], limits: str | None = None
) -> Artifact:
    """The artifact with `results` in its card: of each report the suite, its hash, the sentence.

    Args:
      artifact: made by `learned-opt meta-train`.
      reports: of this artifact, as `report.json` holds them; they take the place of earlier ones.
      limits: in words, beside what it was trained on; None leaves what is there.

    Raises:
      ValueError: a report is of another artifact, or the artifact was not meta-trained here.
    """
    if "budget" not in artifact.card:
        raise ValueError(
            f"the card of {artifact.card.get('name', 'this artifact')} has no budget: results are "
            "kept for what learned-opt meta-train has made"
        )
    for report in reports:
        subject = report["subject"]
        if subject.get("digest") != artifact.sha256:
            raise ValueError(
                f"the report on {report['suite']} is of {subject['name']} "
                f"({str(subject.get('digest'))[:12]}), the artifact is {artifact.sha256[:12]}: "
                "give a report of this one"
            )
    card = {**artifact.card, "results": [_row(report) for report in reports]}
    if limits is not None:
        card["limits"] = limits
    return dataclasses.replace(artifact, card=card)


def _row(report: dict[str, Any]) -> dict[str, Any]:
    kept = ("suite", "suite_hash", "sentence", "code", "device", "date")
    return {name: report[name] for name in kept} | {"command": reproduce(report)}
