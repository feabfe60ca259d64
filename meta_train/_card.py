"""The provenance card: where a theta comes from, enough to make it again."""

import datetime
from collections.abc import Iterable
from typing import Any

import jax

from learned_opt._rooms import room_sources, source_hash
from learned_opt.checkpoints import code_version, describe_device
from learned_opt.tasks import describe

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
    rooms = ("learned_opt", "tasks", "meta_train")
    return {"jax": jax.__version__} | {room: source_hash(*room_sources(room)) for room in rooms}
