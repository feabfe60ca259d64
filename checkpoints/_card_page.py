"""The card of an artifact for people."""

import json
from collections.abc import Iterator
from typing import Any

from learned_opt import Artifact, available, load

from ._markdown import markdown_code, markdown_text
from .folders import is_number


def card_markdown(artifact: Artifact) -> str:
    """The card for people: one page of Markdown, in which all that the card holds is mere text.

    What the card lacks is "unknown".
    """
    card = artifact.card
    name, budget, seen = _name(card), _table(card, "budget"), _table(card, "trained_on")
    source = _source(artifact)
    families = "".join(_family_row(family) for family in _tables(seen.get("families")))
    estimator = _table(card, "config", "estimator")
    horizon = f", num_steps={_steps(card)}"
    if artifact.optimizer.horizon_free:
        horizon = ""
    count, untrained = (
        card.get("meta_parameters"),
        "at the start" if "start" in card else "untrained",
    )
    learned_by = f"{_text(estimator.get('name'))}, {_options(estimator)}"
    low, high = _pair(seen.get("horizon")) or (None, None)
    found = _table(card, "meta_valid")
    return f"""# {markdown_text(name)}

A learned optimizer of the kind `{artifact.optimizer.name}`, whose theta is {_text(count)} numbers.

```python
tx = learned_opt.learned({json.dumps(source)}{horizon})
```

| | |
|---|---|
| made by | {_code(card.get("command"))} |
{_start_row(card)}{families}| meta-gradient | {learned_by} |
| horizons seen | {_text(low)} to {_text(high)} steps |
| budget | {_text(budget.get("outer_steps"))} outer steps, \
{_number(budget.get("inner_steps"), ",")} inner steps, {_number(budget.get("seconds"), ".0f")} s \
on {_text(budget.get("device"))} |
| meta-validation loss | {_text(card.get("meta_valid_loss"))}{_width(found, "valid_error")} at \
outer step {_text(card.get("best_step"))}{_gain(found)}; \
{_text(card.get("meta_valid_loss_untrained"))} {untrained} |
| code | {_text(card.get("code"))}, jax {_text(card.get("jax"))}, {_text(card.get("date"))} |
| sha256 of theta and configuration | `{artifact.sha256}` |
{_note_row(card)}
Outside these tasks and horizons it has not been trained.{_limits(card)}

{_results(card, source)}
"""


def _width(found: dict[str, Any], name: str) -> str:
    """ " ± 0.012": half of a 95 % interval, where there is one."""
    return f" ± {_number(found[name], '.3g')}" if name in found else ""


def _gain(found: dict[str, Any]) -> str:
    """What the score is above that of step 0, in pairs of equal runs."""
    if "valid_gain" not in found:
        return ""
    gain = _number(found["valid_gain"], "+.3g")
    return f", {gain}{_width(found, 'valid_gain_error')} against the same runs at step 0"


def _name(card: dict[str, Any]) -> str:
    return str(card.get("name") or "unknown")


def _source(artifact: Artifact) -> str:
    """What it is loaded by: its name if it ships, else the file beside the page."""
    name = _name(artifact.card)
    ships = name in available() and load(name).sha256 == artifact.sha256
    return name if ships else f"{name}.safetensors"


def _own_tasks(card: dict[str, Any]) -> list[str]:
    """ "module:name" of the tasks of somebody's own that it learned from alone."""
    families = list(_tables(_table(card, "config").get("families")))
    tasks = [family["task"] for family in families if isinstance(family.get("task"), str)]
    return tasks if len(tasks) == len(families) else []


def _steps(card: dict[str, Any]) -> int:
    """Of a run as an example: of what it was trained for, where that is somebody's own tasks."""
    horizon = _table(card, "config", "valid").get("horizon")
    return horizon if _own_tasks(card) and type(horizon) is int else 1000


def _limits(card: dict[str, Any]) -> str:
    return f" {markdown_text(card['limits'])}" if card.get("limits") is not None else ""


def _results(card: dict[str, Any], source: str) -> str:
    """What `learned-opt eval card` keeps of reports, or how to get one."""
    found = "\n\n".join(_result(row) for row in _tables(card.get("results")))
    tasks = "".join(f" --task {where}" for where in _own_tasks(card))
    command = f"learned-opt eval {source}{tasks or ' --suite quickstart'} --out DIR"
    return (
        found
        or f"""How it does there: the report of
{markdown_code(command)},
which `learned-opt eval card` keeps."""
    )


def _result(row: dict[str, Any]) -> str:
    return f"""## On {_text(row.get("suite"))}

{_text(row.get("sentence"))}

{_code(row.get("command"), cell=False)}, hash of the suite {_text(row.get("suite_hash"))}, \
code {_text(row.get("code"))}, on
{_text(row.get("device"))}, {_text(row.get("date"))}."""


def _note_row(card: dict[str, Any]) -> str:
    note = _table(card, "config", "run").get("note")
    return f"| note | {markdown_text(note)} |\n" if note else ""


def _start_row(card: dict[str, Any]) -> str:
    if "start" not in card:
        return ""
    start = _table(card, "start")
    steps = _number(_table(start, "budget").get("inner_steps", 0), ",")
    digest = start.get("sha256")
    return (
        f"| started from | {_text(start.get('name', 'an artifact'))}, "
        f"{_code(digest and str(digest)[:12])}, made by "
        f"{_code(start.get('command', 'unknown'))} in {steps} inner steps; "
        "they are counted below |\n"
    )


def _family_row(family: dict[str, Any]) -> str:
    """Rows of the table: what the family is, and how it is augmented."""
    problem = _table(family, "problem")
    ranges = _ranges(problem)
    row = (
        f"| learned from ({_number(family.get('weight'), '.0%')}) | {_text(problem.get('name'))} "
        f"on {_text(family.get('data'))}, batch {_text(family.get('batch_size'))}"
        f"{'; ' if ranges else ''}{ranges} |\n"
    )
    for fields in _tables(family.get("augmentations")):
        ranges = _ranges(fields)
        row += f"| augmented by | {_text(fields.get('name'))}{': ' if ranges else ''}{ranges} |\n"
    return row


def _options(fields: dict[str, Any]) -> str:
    """ "16 pairs, sigma 0.03": numbers above zero among the fields."""
    numbers = {name: value for name, value in fields.items() if is_number(value) and value}
    return ", ".join(f"{markdown_text(name)} {value:g}" for name, value in numbers.items())


def _ranges(fields: dict[str, Any]) -> str:
    """ "widths 8 to 32, depths 1 to 2": every pair of numbers among the fields."""
    pairs = [(name, pair) for name, value in fields.items() if (pair := _pair(value))]
    return ", ".join(f"{markdown_text(name)} {low:g} to {high:g}" for name, (low, high) in pairs)


def _text(value: Any) -> str:
    return "unknown" if value is None else markdown_text(value)


def _code(value: Any, *, cell: bool = True) -> str:
    return "unknown" if value is None else markdown_code(value, cell=cell)


def _number(value: Any, form: str) -> str:
    return format(value, form) if is_number(value) else _text(value)


def _pair(value: Any) -> tuple[Any, Any] | None:
    """Two numbers, or None."""
    pair = isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
    return (value[0], value[1]) if pair else None


def _table(table: Any, *keys: str) -> dict[str, Any]:
    """The table within tables, an empty one where there is none."""
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    yield from (x for x in value if isinstance(x, dict)) if isinstance(value, list) else ()
