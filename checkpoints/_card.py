"""The card of an artifact for people."""

from typing import Any

from learned_opt import Artifact


def card_markdown(artifact: Artifact) -> str:
    """The card for people: one page of Markdown."""
    card, budget, seen = artifact.card, artifact.card["budget"], artifact.card["trained_on"]
    low, high = seen["horizon"]
    families = "".join(_family_row(family) for family in seen["families"])
    estimator = card["config"]["estimator"]
    horizon = "" if artifact.optimizer.horizon_free else ", num_steps=1000"
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
Outside these tasks and horizons it has not been trained.{_limits(card)}

{_results(card)}
"""


def _limits(card: dict[str, Any]) -> str:
    return f" {card['limits']}" if "limits" in card else ""


def _results(card: dict[str, Any]) -> str:
    """What `learned-opt eval card` keeps of reports, or how to get one."""
    found = card.get("results")
    if not found:
        return f"""How it does there: the report of
`learned-opt eval {card["name"]} --suite quickstart --out DIR`,
which `learned-opt eval card` keeps."""
    return "\n\n".join(_result(row) for row in found)


def _result(row: dict[str, Any]) -> str:
    return f"""## On {row["suite"]}

{row["sentence"]}

`{row["command"]}`, hash of the suite {row["suite_hash"]}, code {row["code"]}, on
{row["device"]}, {row["date"]}."""


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
