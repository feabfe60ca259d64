"""Reports of schema 2, of version 0.1, with what schema 3 asks for, as far as their runs tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..statistics import loss_ratios
from ._json import as_json

DAMAGED = (AttributeError, LookupError, TypeError, ValueError)
"""What a report that is damaged raises here; `from_json` says where it is."""


def upgraded(found: dict[str, Any]) -> dict[str, Any]:
    """The same report in schema 3: clipped ratios from the losses of its runs, roles by name.

    Raises:
      one of DAMAGED.
    """
    results = {task["name"]: task["results"] for task in found["tasks"]}

    def losses(runs: Sequence[tuple[str, str]], split: str) -> np.ndarray:
        rows = [results[task][name]["seed_losses"][split] for task, name in runs]
        return np.array([[np.inf if x is None else x for x in row] for row in rows], float)

    def compared(old: dict[str, Any], runs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """A comparison with these runs, (task, optimizer)."""
        ours = [(task, "learned") for task, _ in runs]
        try:
            pairs = [[losses(side, split) for side in (ours, runs)] for split in ("valid", "test")]
            return {name: as_json(x) for name, x in loss_ratios(*pairs).items()} | old
        except DAMAGED:
            return old

    def pooled(part: dict[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
        against = {
            name: compared(old, [(task, name) for task in tasks])
            for name, old in part["against"].items()
        }
        return part | {"against": against}

    made = found | {
        "schema": 3,
        "optimizers": {name: _facts(facts) for name, facts in found["optimizers"].items()},
        "tasks": [pooled(task, [task["name"]]) for task in found["tasks"]],
        "groups": [pooled(group, group["tasks"]) for group in found["groups"]],
    }
    if oracle := found.get("oracle"):
        against = compared(oracle["against"], [*oracle["choice"].items()])
        made["oracle"] = oracle | {"against": against}
    return made


def _facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Of an optimizer, by its role of today: once a baseline could be one that nobody tuned."""
    untuned = facts["role"] == "baseline" and not facts["trials"]
    role = "default" if untuned else "calibrated" if facts["role"] == "frozen" else facts["role"]
    return facts | {"role": role}
