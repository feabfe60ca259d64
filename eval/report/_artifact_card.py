"""What reports say of an artifact, kept in its card."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import learned_opt
from learned_opt import Artifact, ArtifactError
from learned_opt._checks import shown, shown_path
from learned_opt.artifacts._artifact import ZOO
from learned_opt.checkpoints import card_markdown

from ._reader import ReportError
from ._report import Report
from .tables import command


def add_results(
    artifact: Artifact, reports: Sequence[Report], limits: str | None = None
) -> Artifact:
    """The artifact with `results` in its card: of each report the suite, its hash, the sentence.

    Args:
      artifact: made by `learned-opt meta-train`.
      reports: of this artifact; they take the place of earlier ones.
      limits: in words, beside what it was trained on; None leaves what is there.

    Raises:
      ReportError: a report is of another artifact.
      ValueError: the artifact was not meta-trained here.
    """
    if "budget" not in artifact.card:
        raise ValueError(
            f"the card of {artifact.card.get('name', 'this artifact')} has no budget: results are "
            "kept for what learned-opt meta-train has made"
        )
    for report in reports:
        subject = report.subject
        if subject.digest != artifact.sha256:
            raise ReportError(
                f"the report on {report.suite} is of {subject.name} "
                f"({str(subject.digest)[:12]}), the artifact is {artifact.sha256[:12]}: "
                "give a report of this one"
            )
    card = {**artifact.card, "results": [_row(report) for report in reports]}
    if limits is not None:
        card["limits"] = limits
    return dataclasses.replace(artifact, card=card)


def _row(report: Report) -> dict[str, Any]:
    kept = ("suite", "suite_hash", "sentence", "code", "device", "date")
    return {name: getattr(report, name) for name in kept} | {"command": command(report)}


def load_file(name: str) -> tuple[Path, Artifact]:
    """The file of an artifact, and what is in it.

    Raises:
      ArtifactError: it is no file, or no artifact.
    """
    path = Path(name)
    if name in learned_opt.available() and not path.exists():
        raise ArtifactError(
            f"results are kept in a file, and {name!r} is a name: give the file, such as a copy of "
            f"{ZOO / name}.safetensors"
        )
    if path.suffix != ".safetensors":  # the card beside it has another name
        raise ArtifactError(f"results are kept in a file NAME.safetensors, got {shown(name)}")
    return path, learned_opt.load(path)


def save_with_card(artifact: Artifact, path: Path) -> Path:
    """Write the artifact and, beside it, its card for people, both or neither; returns the card.

    Raises:
      OSError: they cannot be written; both are as they were.
    """
    card = path.with_suffix(".md")
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
            made, page = Path(folder) / path.name, Path(folder) / card.name
            page.write_text(card_markdown(artifact), encoding="utf-8")
            artifact.save(made)
            page.replace(card)  # cannot be where a folder is, and nothing is changed then
            made.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown_path(path)) from error
    return card
