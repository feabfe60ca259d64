"""What a suite is scored against: losses of tuned baselines, as they ship."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "references"


def references(suite: str) -> dict[str, dict[str, float]] | None:
    """Losses that tuned baselines reach on the tasks of a suite; None where none ship.

    Of "adamw" and of "muon", each tuned on the task, the geometric mean over fresh seeds of the
    loss on `outer_valid` at the horizon. With how many settings and seeds says `made_by` in the
    file, `tasks/suites/references/SUITE.json`, and `python -m research.references SUITE` makes it.

    Returns: task name -> baseline -> loss.

    Example:
      >>> from learned_opt.tasks import references
      >>> sorted(references("META_VALID_V9")["photos-mixer-16"])
      ['adamw', 'muon']
      >>> references("META_VALID_V1")
    """
    file = references_file(suite)
    return read_references(file)["tasks"] if file.exists() else None


def references_file(suite: str) -> Path:
    """Where those of a suite ship, whether they do or not."""
    return FOLDER / f"{suite}.json"


def read_references(file: Path) -> dict[str, Any]:
    """`suite`, its `hash`, `split`, how they were made (`made_by`), and `tasks`."""
    return json.loads(file.read_text())
