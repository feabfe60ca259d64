"""What a suite holds: families to learn from, or single tasks to be judged by."""

import dataclasses
import functools
from typing import Any, Literal

from learned_opt._fields import Positive, Steps, check_fields

from .._spec import AnySpec, content_hash, describe

Tier = Literal["cpu", "gpu"]


@dataclasses.dataclass(frozen=True)
class TrainFamily:
    """A family to learn from.

    `weight`: its share of the antithetic pairs is its weight over the sum of weights. `longest`:
    its runs have at most so many steps, whatever horizon the estimator draws from; a family whose
    steps are dear has it.
    """

    name: str
    spec: AnySpec
    weight: Positive = 1.0
    longest: Steps | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class EvalTask:
    """One member of a family, trained for `horizon` steps.

    Tasks of equal `spec` share a family object, hence compiled programs.

    Args:
      name: unique in its suite.
      spec: problem, data, batch size and augmentations.
      numbers: of the member, (name, value) each; the others are those of `Family.member`.
      horizon: inner steps.
      tier: "cpu" for what two cores train in a minute, "gpu" for 10^6 to 10^8 parameters.
      variant_of: name of the task it is a variant of.
    """

    name: str
    spec: AnySpec
    numbers: tuple[tuple[str, float], ...] = ()
    horizon: Steps = 1000
    tier: Tier = "cpu"
    variant_of: str = ""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def family(self) -> Any:
        """The family; ValueError if its data is not on this machine."""
        return self.spec.build()

    @functools.cached_property
    def member(self) -> Any:
        """The task itself."""
        return self.family.member(**dict(self.numbers))

    @property
    def own(self) -> bool:
        """Whether its network or its data are somebody's own: see `tasks.from_functions`."""
        return self.spec.own

    @property
    def network(self) -> str:
        """Architecture family, compared with a provenance card to label leakage."""
        return self.spec.problem.name

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets, compared with a provenance card to label leakage."""
        return self.spec.datasets


_UNLIMITED = ("longest", None)
"""The field is younger than META_TRAIN_V2."""


@dataclasses.dataclass(frozen=True)
class Suite:
    """A frozen list: a change is a new name.

    Args:
      name: with its version.
      purpose: what it is for and who may look at it, one or two sentences; not in the hash.
      entries: of one kind.
    """

    name: str
    purpose: str
    entries: tuple[TrainFamily, ...] | tuple[EvalTask, ...]

    @property
    def hash(self) -> str:
        """16 hex digits of SHA-256 over every field of every entry, but a `longest` of None."""
        rows = [describe(entry) for entry in self.entries]
        return content_hash(
            [{k: v for k, v in row.items() if (k, v) != _UNLIMITED} for row in rows]
        )

    def tier(self, tier: Tier) -> tuple[EvalTask, ...]:
        """The tasks of a tier."""
        tasks = (entry for entry in self.entries if isinstance(entry, EvalTask))
        return tuple(task for task in tasks if task.tier == tier)
