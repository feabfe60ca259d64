"""The provenance card: where a theta comes from, enough to make it again."""

import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from learned_opt import Artifact
from tasks import describe

from ._config import Config
from ._full_es import SHORTEST
from ._trainer import MetaTrainState


def make_card(
    config: Config, state: MetaTrainState, *, seconds: float, command: str
) -> dict[str, Any]:
    """Facts about a finished run, as JSON types."""
    shortest, longest = config.estimator.horizon
    spec = config.family.spec()
    return {
        "name": config.run.name,
        "command": command,
        "config": config.to_dict(),
        "trained_on": {
            "datasets": list(spec.datasets),
            "networks": [spec.problem.name],
            "family": describe(spec),
            "family_hash": spec.fingerprint,
            "horizon": [round(SHORTEST * shortest), longest],
            "batch_size": spec.batch_size,
        },
        "budget": {
            "outer_steps": int(state.step),
            "inner_steps": int(state.inner_steps),
            "seconds": round(seconds, 1),
            "device": describe_device(),
        },
        "meta_valid_loss": round(float(state.best_score), 5),
        "meta_parameters": sum(x.size for x in jax.tree.leaves(state.theta)),
        "code": code_version(),
        "jax": jax.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def describe_device() -> str:
    """For example "2 x cpu (x86_64)"."""
    devices = jax.devices()
    kind = devices[0].device_kind if devices[0].platform != "cpu" else platform.machine()
    return f"{len(devices)} x {devices[0].platform} ({kind})"


def code_version() -> str:
    """The commit of this checkout, with "+changes" if it has any; "unknown" outside one."""
    root = Path(__file__).resolve().parent

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def card_markdown(artifact: Artifact) -> str:
    """The card for people: one page of Markdown."""
    card, budget, seen = artifact.card, artifact.card["budget"], artifact.card["trained_on"]
    low, high = seen["horizon"]
    augmentations = "".join(
        f"| augmented by | {_named_ranges(fields)} |\n"
        for fields in seen["family"]["augmentations"]
    )
    return f"""# {card["name"]}

A learned optimizer of the family `{artifact.optimizer.name}` with {card["meta_parameters"]}
meta-parameters.

```python
tx = learned_opt.learned("{card["name"]}", num_steps=1000)
```

| | |
|---|---|
| made by | `{card["command"]}` |
| learned from | {", ".join(seen["networks"])} on {", ".join(seen["datasets"])}, \
batch {seen["batch_size"]}; \
{_ranges(seen["family"]["problem"])} |
{augmentations}| horizons seen | {low} to {high} steps |
| budget | {budget["outer_steps"]} outer steps, {budget["inner_steps"]:,} inner steps, \
{budget["seconds"]:.0f} s on {budget["device"]} |
| meta-validation loss | {card["meta_valid_loss"]} |
| code | {card["code"]}, jax {card["jax"]}, {card["date"]} |
| sha256 of theta and configuration | `{artifact.sha256}` |

Outside these tasks and horizons it has not been trained; the report of
`python -m eval {card["name"]} --suite quickstart --out DIR` says how it does there.
"""


def _ranges(fields: dict[str, Any]) -> str:
    """ "widths 8 to 32, depths 1 to 2": every pair of numbers among the fields."""
    pairs = [
        f"{name} {value[0]:g} to {value[1]:g}"
        for name, value in fields.items()
        if isinstance(value, list) and len(value) == 2
    ]
    return ", ".join(pairs)


def _named_ranges(fields: dict[str, Any]) -> str:
    ranges = _ranges(fields)
    return f"{fields['name']}: {ranges}" if ranges else fields["name"]
