"""The provenance card: where a theta comes from, enough to make it again."""

import datetime
import json
from collections.abc import Callable, Iterable
from typing import Any

import jax

from learned_opt import Artifact
from learned_opt._checks import one_line, shown
from learned_opt._rooms import room_sources, source_hash
from learned_opt.checkpoints import code_version, describe_device, is_number
from learned_opt.tasks import describe

from .._trainer import MetaTrainState
from ..settings import Config

DEEPEST = 100
"""Tables within tables, as of what started from what."""


def make_card(
    config: Config,
    start: Artifact | None,
    state: MetaTrainState,
    *,
    seconds: float,
    command: Callable[[], str],
    curve: Callable[[], dict[str, list[float]]],
    best: Callable[[], dict[str, float]],
) -> tuple[dict[str, Any], list[str]]:
    """Facts about a finished run, as JSON types, and what of them could not be told and why.

    No fact is worth the theta: one whose making fails, or that JSON cannot hold, is None. What was
    seen and spent counts from the very beginning: of the artifact that the run started from, too,
    whose card is kept as `start`.
    """
    specs = [source.spec for source in config.sources]
    before = start.card if start else {}

    def names(what: str, now: Iterable[str]) -> list[str]:
        return sorted({*_given(before, "trained_on", what, [], str), *now})

    def spent(what: str) -> float:
        return _given(before, "budget", what, 0, int | float)

    facts = {
        "name": config.run.name,
        "command": command,
        "config": config.to_dict,
        "trained_on": {
            "datasets": lambda: names("datasets", (n for s in specs for n in s.datasets)),
            "networks": lambda: names("networks", (s.problem.name for s in specs)),
            "suite": config.suite,
            "families": lambda: [
                {"hash": spec.fingerprint, "weight": round(weight, 4), **describe(spec)}
                for spec, weight in zip(specs, _shares(config), strict=True)
            ],
            "horizon": lambda: _hull(
                _given(before, "trained_on", "horizon", [], int), config.estimator.horizon_range
            ),
        },
        "budget": {
            "outer_steps": lambda: int(state.step) + spent("outer_steps"),
            "inner_steps": lambda: int(state.inner_steps) + spent("inner_steps"),
            "seconds": lambda: round(seconds + spent("seconds"), 1),
            "device": describe_device,
        },
        "meta_valid_loss": lambda: round(float(state.best_score), 5),
        "meta_valid_loss_untrained": lambda: round(float(state.first_score), 5),
        "meta_valid": lambda: {k: round(v, 5) for k, v in best().items() if is_number(v)},
        "best_step": lambda: int(state.best_step),
        "meta_valid_curve": curve,
        "meta_parameters": lambda: sum(x.size for x in jax.tree.leaves(state.theta)),
        "code": code_version,
        "jax": jax.__version__,
        "date": lambda: datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    if start:
        facts["start"] = {**before, "sha256": start.sha256}
    lost: list[str] = []
    return _told(facts, "", lost), lost


def _told(fact: Any, where: str, lost: list[str], depth: int = 0) -> Any:
    """The fact, called if it can be, as JSON types; None, and a word in `lost`, if that fails."""
    try:
        if callable(fact):
            fact = fact()
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        if not isinstance(fact, dict | list | tuple):
            json.dumps(fact, allow_nan=False)
            return fact
    except Exception as error:
        said = shown(fact) if isinstance(fact, float) else one_line(error, 100)
        lost.append(f"{where} ({said})")
        return None
    items = fact.items() if isinstance(fact, dict) else enumerate(fact)
    found = {
        str(key): _told(value, f"{where}.{key}" if where else str(key), lost, depth + 1)
        for key, value in items
    }
    return found if isinstance(fact, dict) else list(found.values())


def _given(card: dict[str, Any], section: str, name: str, default: Any, kind: Any) -> Any:
    """A number, or a list, in the card of what the run started from, which may hold anything.

    Raises:
      ValueError: it, or a part of it, is not of the kind.
    """
    table = card.get(section, {})
    value = table.get(name, default) if isinstance(table, dict) else table
    parts = value if isinstance(default, list) else [value]
    if not isinstance(parts, list) or not all(isinstance(x, kind) for x in parts):
        raise ValueError(f"in the card of what it started from: {shown(value)}")
    return value


def _hull(before: list[int], now: tuple[int, int]) -> list[int]:
    """The shortest and the longest of two ranges of horizons."""
    both = [*before, *now]
    return [min(both), max(both)]


def _shares(config: Config) -> list[float]:
    total = sum(source.weight for source in config.sources)
    return [source.weight / total for source in config.sources]


def run_identity(config: Config, start: Artifact | None) -> dict[str, Any]:
    """What a checkpoint must have been made with for a run to go on from it."""
    identity: dict[str, Any] = {"config": config.to_dict(), "code": code_identity()}
    specs = [one.spec for one in (*config.sources, *config.judged) if one.spec.own]
    if specs:  # whose sources are in no other hash
        identity["own"] = [[spec.fingerprint, spec.data_fingerprint] for spec in specs]
    return identity | ({"start": start.sha256} if start else {})


def code_identity() -> dict[str, str]:
    """What a checkpoint depends on: a hash of the code of each folder it needs, and jax's version.

    Unlike a commit it holds outside a checkout and does not change with the documentation.
    """
    found = {"jax": jax.__version__}
    for room in ("learned_opt", "tasks", "meta_train"):
        # A command line computes nothing.
        files = [path for path in room_sources(room) if path.name != "__main__.py"]
        found[room] = source_hash(*files)
    return found
