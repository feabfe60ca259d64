"""How many runs an evaluation takes and how long: told before it begins, and kept in its folder."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from learned_opt._durations import budget_of
from learned_opt.tasks import EvalTask

from ..baselines import ADAMW
from ..contestants import Job, Protocol
from ..running import even_width
from ._extent import EVERYTHING, LEVELS, Extent, own_jobs, own_protocol
from ._probe import Probe

TIMING = 12.0
"""Seconds that it takes to time the steps of four optimizers on a task, programs compiled."""

Probes = Mapping[str, Mapping[str, Probe]]
"""Task -> "learned" or "adamw" -> what a run of it costs."""


class Row(NamedTuple):
    """Of one contestant: its runs, seconds for all of them, and for its programs.

    `untuned`: it is a hand-designed one that nobody tunes.
    """

    label: str
    runs: int
    seconds: float
    compiling: float
    untuned: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be run.

    Attributes:
      extent: how much; `level`: its place in LEVELS, None where all was asked for.
      budget: seconds that were asked for, None without one.
      rows: one a contestant.
      probes: what the times are estimated from.
      at_once: contestants that run at a time: 1 where the model fills memory.
    """

    extent: Extent
    level: int | None
    budget: float | None
    rows: tuple[Row, ...]
    probes: Probes
    at_once: int

    @property
    def runs(self) -> int:
        """Of all contestants."""
        return sum(row.runs for row in self.rows)

    @property
    def seconds(self) -> float:
        """About what it all takes from now on, with what is timed at the end.

        The steps that were timed before are not in it: a second try finds them.
        """
        timing = 0.0
        for each in self.probes.values():
            learned, adamw = each["learned"].wide, each[ADAMW.name].wide
            timing += TIMING + learned.compiling + 3 * adamw.compiling
        return self.compiling + timing + sum(row.seconds for row in self.rows)

    @property
    def compiling(self) -> float:
        """Seconds of it for programs, before the timing at the end."""
        # Compiling keeps a core from running, so that little is won by doing both at a time.
        shared = sum(each[ADAMW.name].compiling_evaluations for each in self.probes.values())
        return shared + sum(row.compiling for row in self.rows)

    @property
    def memory(self) -> int:
        """Bytes that the largest calls fill, as many as there are at a time."""
        each = [probe.wide.memory for probes in self.probes.values() for probe in probes.values()]
        return self.at_once * max(each)


def choose_plan(
    jobs: Mapping[str, Job],
    tasks: Sequence[EvalTask],
    probes: Probes,
    *,
    budget: float | None = None,
    all_tuned: bool = False,
    at_once: int = 2,
) -> Plan:
    """The plan of most runs whose time is within the budget; without one, of all.

    Raises:
      ValueError: the budget is too short for the least; or all was asked for, and a budget.
    """

    def plan(extent: Extent, level: int | None) -> Plan:
        protocol = own_protocol(tasks, extent)
        rows = tuple(_row(job, protocol, probes) for job in own_jobs(jobs, extent).values())
        return Plan(extent, level, budget, rows, probes, at_once)

    if all_tuned and budget is not None:
        raise ValueError("--all and --budget exclude each other: leave one out")
    if all_tuned:
        return plan(EVERYTHING, None)
    plans = (plan(extent, level) for level, extent in enumerate(LEVELS, 1))
    last = None
    for last in plans:
        if budget is None or last.seconds <= budget:
            return last
    least = last.seconds if last else 0.0
    raise ValueError(
        f"--budget must be {math.ceil(least)}s or more for the least that says anything "
        f"({'; '.join(LEVELS[-1].left_out)}), got {budget:g}s; try --budget {budget_of(least)}"
    )


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """JSON types; `plan_from_json` is its inverse."""
    return dataclasses.asdict(plan) | {"rows": [list(row) for row in plan.rows]}


def plan_from_json(found: Mapping[str, Any]) -> Plan:
    """A plan as it was."""
    probes = {
        task: {name: Probe.from_json(probe) for name, probe in each.items()}
        for task, each in found["probes"].items()
    }
    rows = tuple(Row(*row) for row in found["rows"])
    return Plan(**{**found, "extent": Extent(**found["extent"]), "rows": rows, "probes": probes})


def _row(job: Job, protocol: Protocol, probes: Probes) -> Row:
    seconds = compiling = 0.0
    learned = job.role in ("learned", "rival")
    tuning = job.settings * job.tune_seeds
    fresh = len(protocol.seeds)
    for task in protocol.tasks:
        cost = probes[task.name]["learned" if learned else "adamw"]
        told = 1 + len(protocol.wrong_horizons) * job.judged
        steps = round(task.horizon * (protocol.beyond if job.judged else 1.0))
        widths = set()
        for count, curves, length in (
            (fresh, True, steps),
            (tuning + (told - 1) * fresh, False, task.horizon),
        ):
            if count:
                width = even_width(count, cost.wide.width)
                seconds += math.ceil(count / width) * cost.seconds(length, width, curves=curves)
                widths.add(width)
        compiling += len(widths) * cost.wide.compiling
    by_hand = job.role in ("calibrated", "default", "baseline")
    untuned = by_hand and (job.role != "baseline" or not job.settings)
    return Row(job.label, job.runs(protocol), seconds, compiling, untuned)
