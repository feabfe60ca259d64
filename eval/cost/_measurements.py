"""What is measured beside the runs: single runs that are watched, and what a step costs."""

import concurrent.futures
import inspect
import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import optax
import rich.console

from learned_opt._rooms import CORE, room_sources, source_hash
from learned_opt.checkpoints import describe_device, write_atomic
from learned_opt.tasks import EvalTask, content_hash

from ..baselines import ADAMW, BASELINES, Hyper
from ..contestants import Contestant, Protocol, Subject
from ..running import Archive, trace
from ._loads import ENDS, LOADS, TINY, mlp
from ._steps import measure_costs, measure_step

HASH = "hash"
"""Entry of the file: a hash of the others."""

SECONDS = 0.25
"""What a round of timed steps may take: 100 steps of up to 2.5 ms."""

NUM_STEPS = 10_000
"""What optimizers are told where only time counts."""


def measure(
    archive: Archive,
    subject: Subject,
    protocol: Protocol,
    contestants: Sequence[Contestant],
    extent: str,
    console: rich.console.Console,
) -> dict[str, Any]:
    """Traces and costs, kept in `measured.json` of the folder: they are no runs.

    They are measured again where the subject, the code, the machine or AdamW's settings differ,
    and where the file is damaged.

    Args:
      archive: of the folder.
      extent: "smoke", one task and a small load; "quick", without steps of the tasks and at two
        loads; or "whole".
    """
    headline = next(c for c in contestants if c.name == ADAMW.name)
    path, key = archive.path.with_name("measured.json"), _key(subject, headline, extent)
    kept = _read(path, archive.say)
    if kept.get("key") != key:
        console.print("Measuring step sizes along single runs", style="dim")
        watched = protocol.tasks[:1] if extent == "smoke" else protocol.tasks
        kept = {"key": key, "traces": _traces(subject, protocol.seeds[0], watched, headline)}
        console.print("Timing training steps", style="dim")
        kept["cost"] = _costs(subject, extent)
        timed = protocol.tasks if extent == "whole" else ()
        kept["step_us"] = _step_times(subject, timed, headline)
        archive.mend()
        kept = json.loads(json.dumps(kept))  # as it will be read
        write_atomic(path, json.dumps(kept | {HASH: content_hash(kept)}))
    return {name: kept[name] for name in ("traces", "cost", "step_us")}


def _read(path: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """What is kept; nothing, and a note, of a file that is not as it was written."""
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_bytes())
        if kept.pop(HASH) == content_hash(kept):
            return kept
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    say(f"{path} is damaged: what it held is measured again")
    return {}


def _key(subject: Subject, headline: Contestant, extent: str) -> list[Any]:
    """What the measurements depend on, as JSON types."""
    rooms = [*room_sources(CORE), *room_sources("tasks")]
    ours = (Path(inspect.getfile(made)) for made in (measure_costs, mlp, trace))
    source = source_hash(*rooms, *ours)
    machine = [platform.node(), describe_device(), jax.__version__]
    settings = {task: list(tuned.hyper) for task, tuned in sorted(headline.tuned.items())}
    return [subject.digest, source, machine, settings, extent]


def _traces(
    subject: Subject, seed: int, watched: Sequence[EvalTask], headline: Contestant
) -> dict[str, Any]:
    def watch(task: EvalTask) -> dict[str, Any]:
        pair = _pair(subject, headline, task).items()
        return {name: trace(task, tx, seed=seed).to_json() for name, tx in pair}

    # A single run keeps one core busy.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = pool.map(watch, watched)
        return {task.name: rows for task, rows in zip(watched, found, strict=True)}


def _step_times(
    subject: Subject, tasks: Sequence[EvalTask], headline: Contestant
) -> dict[str, dict[str, float]]:
    """Microseconds of a step, by task and optimizer."""
    return {
        task.name: measure_step(task, _pair(subject, headline, task), seconds=SECONDS)
        for task in tasks
    }


def _pair(
    subject: Subject, headline: Contestant, task: EvalTask
) -> dict[str, optax.GradientTransformation]:
    """The optimizer and the baseline that it is first compared with, as they ran on a task."""
    hyper = headline.tuned[task.name].hyper
    return {
        "learned": subject.on(task),
        headline.name: ADAMW.transform(hyper, task.horizon),
    }


def hand_designed() -> dict[str, optax.GradientTransformation]:
    """Those that a learned one is timed beside, as they run: AdamW, then Muon."""
    rows = {row.name: row for row in BASELINES}
    return {name: rows[name].transform(Hyper(1e-3), NUM_STEPS) for name in (ADAMW.name, "muon")}


def _costs(subject: Subject, extent: str) -> dict[str, Any]:
    loads, seconds = {
        "smoke": (TINY, 0.05),
        "quick": (ENDS, SECONDS),
        "whole": (LOADS, SECONDS),
    }[extent]
    others = hand_designed()
    if extent == "smoke":
        others = {ADAMW.name: others[ADAMW.name]}
    optimizers = {"learned": subject.make(NUM_STEPS), **others}
    by_device: dict[str, list[dict[str, Any]]] = {}
    for row in measure_costs(optimizers, loads, seconds=seconds):
        facts = {"network": row.network, "kind": row.kind, "parameters": row.parameters}
        facts |= {"batch": row.batch_size, "tokens": row.tokens}
        by_device.setdefault(row.device, []).extend(
            {**facts, "optimizer": name, **cost._asdict()} for name, cost in row.costs.items()
        )
    (device, found), *rest = by_device.items()
    elsewhere = [{"device": name, "rows": more} for name, more in rest]
    return {"device": device, "rows": found, "elsewhere": elsewhere}
