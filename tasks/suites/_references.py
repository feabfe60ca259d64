"""Final losses of tuned optimizers on the tasks of a suite, to which scores are relative."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "references"


def references(suite: str) -> dict[str, dict[str, float]] | None:
    """By task and optimizer, the geometric mean over seeds of the final loss on `outer_valid`.

    Each optimizer tuned on the task. None for a suite that has no such file.
    """
    path = FOLDER / f"{suite}.json"
    return json.loads(path.read_text())["tasks"] if path.is_file() else None
