"""The provenance card: where a theta comes from, enough to make it again."""

import datetime
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from checkpoints import code_version, describe_device
from learned_opt import Artifact
from tasks import describe

from ._config import Config
from ._trainer import MetaTrainState


def make_card(
    config: Config,
    state: MetaTrainState,
    *,
    seconds: float,
    command: str,
    curve: dict[str, list[float]],
) -> dict[str, Any]:
    """Facts about a finished run, as JSON types.

    What was seen and spent counts from the very beginning: of the artifact that the run started
    from, too, whose card is kept as `start`.
    """
    specs = [source.spec for source in config.sources]
    parent = config.ancestor.card if config.ancestor else {}
    before, spent = parent.get("trained_on", {}), parent.get("budget", {})
    card = {
        "name": config.run.name,
        "command": command,
        "config": config.to_dict(),
        "trained_on": {
            "datasets": _union(before.get("datasets"), (n for s in specs for n in s.datasets)),
            "networks": _union(before.get("networks"), (s.problem.name for s in specs)),
            "suite": config.suite,
            "families": [
                {"hash": spec.fingerprint, "weight": round(weight, 4), **describe(spec)}
                for spec, weight in zip(specs, _shares(config), strict=True)
            ],
            "horizon": _hull(before.get("horizon"), _horizon(config)),
        },
        "budget": {
            "outer_steps": int(state.step) + spent.get("outer_steps", 0),
            "inner_steps": int(state.inner_steps) + spent.get("inner_steps", 0),
            "seconds": round(seconds + spent.get("seconds", 0.0), 1),
            "device": describe_device(),
        },
        "meta_valid_loss": round(float(state.best_score), 5),
        "meta_valid_loss_untrained": round(float(state.first_score), 5),
        "best_step": int(state.best_step),
        "meta_valid_curve": curve,
        "meta_parameters": sum(x.size for x in jax.tree.leaves(state.theta)),
        "code": code_version(),
        "jax": jax.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    if config.ancestor:
        card["start"] = {"sha256": config.ancestor.sha256, **parent}
    return card


def _union(before: Iterable[str] | None, now: Iterable[str]) -> list[str]:
    return sorted({*(before or ()), *now})


def _hull(before: list[int] | None, now: tuple[int, int]) -> list[int]:
    """The shortest and the longest of two ranges of horizons."""
    both = [*(before or now), *now]
    return [min(both), max(both)]


def _shares(config: Config) -> list[float]:
    total = sum(source.weight for source in config.sources)
    return [source.weight / total for source in config.sources]


def _horizon(config: Config) -> tuple[int, int]:
    """The shortest and the longest run that meta-training can have seen."""
    estimator: Any = config.estimator
    low, high = estimator.horizon
    shortest = getattr(estimator, "shortest", 1.0)
    resume = getattr(estimator, "resume", None)
    return round(shortest * low), high + (resume.longest if resume and resume.share else 0)


def code_identity() -> dict[str, str]:
    """What a checkpoint depends on: a hash of the sources of each room it needs, and jax's version.

    Unlike a commit it holds outside a checkout and does not change with the documentation.
    """
    root = Path(__file__).resolve().parent.parent
    identity = {"jax": jax.__version__}
    for room in ("learned_opt", "tasks", "meta_train"):
        digest = hashlib.sha256()
        for path in sorted((root / room).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
        identity[room] = digest.hexdigest()[:12]
    return identity


def card_markdown(artifact: Artifact) -> str:
    """The card for people: one page of Markdown."""
    card, budget, seen = artifact.card, artifact.card["budget"], artifact.card["trained_on"]
    low, high = seen["horizon"]
    families = "".join(_family_row(family) for family in seen["families"])
    estimator = card["config"]["estimator"]
    horizon = "" if getattr(artifact.optimizer, "horizon_free", False) else ", num_steps=1000"
    return f"""# {card["name"]}

A learned optimizer of the family `{artifact.optimizer.name}` with {card["meta_parameters"]}
meta-parameters.

```python
tx = learned_opt.learned("{card["name"]}"{horizon})
```

| | |
|---|---|
| made by | `{card["command"]}` |
{_start_row(card)}{families}| meta-gradient | {estimator["name"]}, {_options(estimator)} |
| horizons seen | {low} to {high} steps |
| budget | {budget["outer_steps"]} outer steps, {budget["inner_steps"]:,} inner steps, \
{budget["seconds"]:.0f} s on {budget["device"]} |
| meta-validation loss | {card["meta_valid_loss"]} at outer step {card["best_step"]}; \
{card["meta_valid_loss_untrained"]} {"at the start" if "start" in card else "untrained"} |
| code | {card["code"]}, jax {card["jax"]}, {card["date"]} |
| sha256 of theta and configuration | `{artifact.sha256}` |
{_note_row(card)}
Outside these tasks and horizons it has not been trained; the report of
`python -m eval {card["name"]} --suite quickstart --out DIR` says how it does there.
"""


def _note_row(card: dict[str, Any]) -> str:
    note = card["config"]["run"].get("note")
    return f"| note | {note} |\n" if note else ""


def _start_row(card: dict[str, Any]) -> str:
    start = card.get("start")
    if not start:
        return ""
    budget = start.get("budget", {})
    return (
        f"| started from | {start.get('name', 'an artifact')}, `{start['sha256'][:12]}`, made by "
        f"`{start.get('command', 'unknown')}` in {budget.get('inner_steps', 0):,} inner steps; "
        "they are counted below |\n"
    )


def _family_row(family: dict[str, Any]) -> str:
    """Rows of the table: what the family is, and how it is augmented."""
    row = (
        f"| learned from ({family['weight']:.0%}) | {family['problem']['name']} on "
        f"{family['data']}, batch {family['batch_size']}; {_ranges(family['problem'])} |\n"
    )
    for fields in family["augmentations"]:
        ranges = _ranges(fields)
        row += f"| augmented by | {fields['name']}{': ' if ranges else ''}{ranges} |\n"
    return row


def _options(fields: dict[str, Any]) -> str:
    """ "16 pairs, sigma 0.03": numbers above zero among the fields."""
    numbers = {
        name: value
        for name, value in fields.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value
    }
    return ", ".join(f"{name} {value:g}" for name, value in numbers.items())


def _ranges(fields: dict[str, Any]) -> str:
    """ "widths 8 to 32, depths 1 to 2": every pair of numbers among the fields."""
    pairs = [
        f"{name} {value[0]:g} to {value[1]:g}"
        for name, value in fields.items()
        if isinstance(value, list) and len(value) == 2
    ]
    return ", ".join(pairs)
