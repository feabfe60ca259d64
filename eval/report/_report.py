"""The report: all that an evaluation found. A field of `report.json` is an attribute here.

None stands for JSON's null: a number that is not finite, or that was not measured. A field whose
default is None is left out of the file where it is None.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable
from typing import Any, Literal

from ..statistics import Comparison, Estimate
from ._json import Amount, Count, Curve, Loss, Natural, Positive, Text, as_json
from ._report_budgets import Budgets
from ._report_measured import Cost, GridCell, MetaTraining, Readings, Trace
from ._report_own import Own
from ._report_tasks import Failure, TaskReport, Variant

SCHEMA = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubjectFacts:
    """What was judged. `card`: its provenance; `trials`: settings of it tried on each task;
    `uses_epochs`: it was told how often a run sees each example.
    """

    name: str
    kind: Text
    identity: str | None = None
    digest: str | None = None
    card: dict[str, Any] = dataclasses.field(default_factory=dict)
    trials: Amount = 0
    horizon_free: bool = False
    uses_epochs: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerFacts:
    """An optimizer of the report. `trials`: settings tried a task, of a calibrated one once."""

    label: str
    role: Literal["learned", "baseline", "calibrated", "default", "rival"]
    horizon_free: bool
    trials: Amount

    @property
    def nobody_tuned(self) -> bool:
        """Whether it is hand-designed, and has the setting that it has on every task."""
        role = self.role
        return role in ("calibrated", "default") or (role == "baseline" and not self.trials)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Tasks pooled: all of them, or those of one leakage."""

    label: Text
    tasks: list[str]
    against: dict[str, Comparison]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Oracle:
    """Against the best baseline of each task, and which that was."""

    against: Comparison
    choice: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracks:
    """Optimizers that are told the number of steps, and those that are not."""

    known: list[str]
    free: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Misinformed:
    """The learned optimizer if told `told` times the number of steps, all tasks pooled."""

    told: Positive
    against_told_right: Estimate
    against_headline: Estimate
    diverged: Natural


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """Shares `rho` of tasks solved within `tau` times the fastest's steps, and their areas."""

    names: list[str]
    tau: Curve
    rho: dict[str, Curve]
    area: dict[str, Loss]
    gated: dict[str, Loss] | None = None

    def __post_init__(self) -> None:
        if {*self.names} - (self.rho.keys() & self.area.keys()):
            raise ValueError("rho and area must have an entry for each of the names")
        if len(self.tau) < 2 or {len(rho) for rho in self.rho.values()} != {len(self.tau)}:
            raise ValueError("rho must have a share for each of two or more tau")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BreakEven:
    """`tasks` after which meta-training has cost less than the tuning that it spares."""

    meta_steps: Amount
    tuning_steps_per_task: Amount
    tasks: Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCounts:
    """Runs that the report is made of, and of them those that shipped with the package."""

    runs: Natural
    shipped: Natural
    conflicts: Natural
    machines: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """All of it; `report.json` has these fields in this order.

    Attributes:
      headline: the optimizer that the subject, called "learned", is first compared with.
      groups: all tasks first, if there is more than one.
      own: of tasks of one's own what was planned; None of a suite.
      verdict: optimizer -> how many tasks the subject is better, worse, undecided on.
      sentence: the verdict in words.
      seconds: that the evaluation took; None where it was interrupted.
    """

    schema: Literal[3] = SCHEMA
    suite: Text
    suite_hash: str | None = None
    tier: str | None = None
    smoke: bool = False
    arguments: list[str] = dataclasses.field(default_factory=list)
    seeds: Count
    tune_seeds: Natural | None = None
    headline: Text
    subject: SubjectFacts
    optimizers: dict[str, OptimizerFacts]
    tasks: list[TaskReport]
    groups: list[Group]
    own: Own | None = None
    oracle: Oracle | None = None
    tracks: Tracks
    budgets: Budgets | None = None
    misinformed: list[Misinformed] = dataclasses.field(default_factory=list)
    profile: Profile | None = None
    variants: list[Variant] = dataclasses.field(default_factory=list)
    break_even: BreakEven | None
    failures: list[Failure] = dataclasses.field(default_factory=list)
    traces: dict[str, dict[str, Trace]] = dataclasses.field(default_factory=dict)
    cost: Cost = dataclasses.field(default_factory=Cost)
    grid: list[GridCell] = dataclasses.field(default_factory=list)
    meta_training: MetaTraining = dataclasses.field(default_factory=MetaTraining)
    merged: RunCounts | None = None
    readings: Readings | None = None
    device: str | None = None
    jax: str | None = None
    code: str | None = None
    date: str | None = None
    verdict: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    sentence: str
    seconds: Amount | None

    def __post_init__(self) -> None:
        """ValueError where a part speaks of optimizers or tasks that the report does not have."""
        for part in ("tasks", "groups"):
            if not getattr(self, part):
                raise ValueError(f"{part} must be a list of objects, got []")
        everyone = self.optimizers.keys()
        others = everyone - {"learned"}
        _check_names("optimizers", everyone, everyone, ("learned", self.headline))
        for task in self.tasks:
            _check_names(f"tasks.{task.name}.results", task.results, everyone, everyone)
            _check_names(f"tasks.{task.name}.against", task.against, others, others)
        for group in self.groups:
            _check_names(f"groups.{group.label}.against", group.against, others, others)
            if not group.tasks or {*group.tasks} - {task.name for task in self.tasks}:
                raise ValueError(f"groups.{group.label}.tasks must be some of the tasks")
        for variant in self.variants:
            where = f"variants.{variant.name}.results"
            _check_names(where, variant.results, everyone, ("learned",))
        for task, traces in self.traces.items():
            _check_names(f"traces.{task}", traces, everyone)
        _check_names("budgets.rows", self.budgets.rows if self.budgets else (), everyone)
        _check_names("profile.names", self.profile.names if self.profile else (), everyone)

    @property
    def name(self) -> str:
        """Of what was evaluated."""
        return self.subject.name or "learned optimizer"

    @property
    def rival(self) -> str:
        """The headline baseline, for the middle of a sentence."""
        return self.label(self.headline).split(",")[0]

    @property
    def kinds(self) -> list[tuple[str, list[str]]]:
        """(title, optimizers) of each kind, what is judged in the first place of its own; in each
        those that are hardest to beat come first.
        """
        kinds: dict[str, list[str]] = {title: [] for title in KINDS}
        for name, facts in self.optimizers.items():
            kinds[_kind(facts)].append(name)
        return [(title, self.hardest_first(names)) for title, names in kinds.items() if names]

    def nobody_tuned(self, free: bool | None = None) -> list[str]:
        """Hand-designed optimizers with the setting that they have on every task.

        Args:
          free: of those that are not told the number of steps, or of those that are; None: of all.
        """
        return [
            name
            for name, facts in self.optimizers.items()
            if facts.nobody_tuned and free in (None, facts.horizon_free)
        ]

    def hardest_first(self, names: Iterable[str]) -> list[str]:
        """Those that the learned one has most trouble to beat first; itself before all."""
        pooled = self.groups[0].against

        def ease(name: str) -> tuple[float, float]:
            if name not in pooled:
                return -math.inf, 0.0
            clipped, plain = pooled[name].clipped, pooled[name].valid_ratio
            return -(clipped.mid or 0.0), -(plain.mid or 0.0)

        return sorted(names, key=ease)

    def label(self, name: str) -> str:
        """What people call an optimizer."""
        if name == "oracle":
            return "best baseline of each task"
        return self.optimizers[name].label if name in self.optimizers else name

    def tried(self, name: str) -> str:
        """What trials of an optimizer are called: those of the learned one multiply its step."""
        return f"{self.name}, step multiplied" if name == "learned" else self.label(name)

    def index(self, name: str) -> int:
        """The place of an optimizer among all."""
        return list(self.optimizers).index(name)

    def to_json(self) -> dict[str, Any]:
        """As in `report.json`."""
        return as_json(self)


KINDS = (
    "Nobody tuned, told the number of steps",
    "Nobody tuned, not told the number of steps",
    "Tuned for each task",
    "Other learned optimizers",
)


def _kind(facts: OptimizerFacts) -> str:
    told, free, tuned, others = KINDS
    if facts.role in ("baseline", "learned", "rival") and facts.trials:
        return tuned
    if facts.role == "rival":
        return others
    return free if facts.horizon_free else told


def _check_names(
    where: str, found: Collection[str], known: Collection[str], needed: Collection[str] = ()
) -> None:
    for name in needed:
        if name not in found:
            raise ValueError(f"{where}.{name} is missing")
    for name in found:
        if name not in known:
            raise ValueError(f"{where}.{name} is of no optimizer of the report")
