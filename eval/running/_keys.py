"""What a run depends on, as one hash: equal keys, equal runs."""

import ast
import dataclasses
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from learned_opt import Artifact
from learned_opt._rooms import CORE, room_folder, room_sources, source_hash
from learned_opt.tasks import EvalTask, content_hash

from ..baselines import Baseline
from ._trials import Trial

RUN_VERSION = 2
"""Part of every key. A change of what a run is, such as its evaluation steps or its random keys,
makes a new number and new runs."""

STAGES = {False: "tune", True: "report"}
"""What keys and files call a run by whether its curves are kept, or its final loss alone: names of
what such runs were first made for, which keys keep so that runs of then are still found."""


class Identity(NamedTuple):
    """An update rule. `name`: for people, not in keys; `facts`: what says which rule, JSON types.

    With the hyper-parameters the facts must say all about the rule.
    """

    name: str
    facts: dict[str, Any]


def baseline_identity(baseline: Baseline) -> Identity:
    """A baseline is its name and version."""
    return Identity(baseline.name, {"baseline": baseline.name, "version": baseline.version})


def artifact_identity(artifact: Artifact) -> Identity:
    """A learned optimizer is the content of its file, and the sources that make it a rule.

    Where it makes use of epochs that it is told them.
    """
    sources = rule_sources(Path(inspect.getfile(type(artifact.optimizer))))
    facts = {"artifact": artifact.sha256, "source": source_hash(*sources)}
    if artifact.optimizer.uses_epochs:
        facts["told"] = "epochs"
    return Identity(artifact.card.get("name", "learned"), facts)


def rule_sources(module: Path) -> list[Path]:
    """`module`, what it imports from its own folder, and all of learned_opt but other rules.

    So a change of one rule leaves the runs of the others what they are.
    """
    reached, left = set(), [module.resolve()]
    while left:
        path = left.pop()
        if path not in reached and path.is_file():
            reached.add(path)
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.ImportFrom) and node.level == 1:
                    names = [node.module] if node.module else [name.name for name in node.names]
                    left += [path.with_name(f"{name}.py") for name in names]
    rules = room_folder(CORE) / "optimizers"
    shared = [path for path in room_sources(CORE) if path.parent != rules]
    return sorted(reached | set(shared))


def factory_identity(factory: Callable[..., Any]) -> Identity:
    """A hand-made optimizer is the function that builds it and the file that the function is in.

    What that file imports is not looked at.

    Raises:
      ValueError: it is not a function with a name at the top of a file.
    """
    function = inspect.unwrap(factory)
    name = getattr(function, "__qualname__", "<none>")
    try:
        source = Path(inspect.getsourcefile(function) or "").read_bytes()
    except (TypeError, OSError):
        source = b""
    if "<" in name or not source:
        raise ValueError(
            f"an optimizer's factory must be a function at the top of a file, got {factory!r}; "
            "define it there with def"
        )
    where = f"{function.__module__}:{name}"
    return Identity(where, {"factory": where, "source": hashlib.sha256(source).hexdigest()})


def run_key(identity: Identity, trial: Trial, *, curves: bool) -> str:
    """16 hex digits over all that a run depends on: names of suites and of tasks do not count.

    The machine does not count either; a `Run` says which it was.
    """
    facts = {
        "version": RUN_VERSION,
        "stage": STAGES[curves],
        "optimizer": identity.facts,
        "task": _task(trial.task),
        "hyper": _but(_hyper(trial), trial.hyper._field_defaults),
        **_but(_others(trial), {f.name: f.default for f in dataclasses.fields(trial)}),
    }
    return content_hash(facts)


def _task(task: EvalTask) -> dict[str, Any]:
    return {
        "spec": task.spec.fingerprint,
        "data": task.spec.data_fingerprint,
        "numbers": {name: float(value) for name, value in task.numbers},
        "horizon": task.horizon,
    }


def _hyper(trial: Trial) -> dict[str, float]:
    return {name: float(value) for name, value in trial.hyper._asdict().items()}


def _others(trial: Trial) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(trial)} - {"task", "hyper"}
    return {name: getattr(trial, name) for name in sorted(names)}


def _but(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Without fields at their defaults, so that a new field leaves the keys of old runs alone."""
    return {k: v for k, v in values.items() if k not in defaults or v != defaults[k]}
