"""What a family is made of, as plain values: hashed, compared, printed, and built on demand."""

import dataclasses
import functools
import hashlib
import json
from typing import Any

from learned_opt._fields import Line, Size, check_fields

from ._problem import Family, Problem
from .augmentations import Augmentation, augment
from .data import load_dataset


@dataclasses.dataclass(frozen=True)
class FamilySpec:
    """A problem, a data set by name, and augmentations.

    Args:
      problem: network, loss and ranges.
      data: see `load_dataset`.
      batch_size: examples a minibatch.
      augmentations: the first innermost.
    """

    problem: Problem
    data: Line
    batch_size: Size = 64
    augmentations: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        for augmentation in self.augmentations:
            augmentation.check(self.batch_size)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets, without sizes: what leakage is judged by. Points are no data."""
        names = {part.partition("/")[0] for part in self.data.split("+")}
        return tuple(sorted(names - {"points", "many_points"}))

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over all fields, by their names and values."""
        return content_hash(describe(self))

    def build(self) -> Any:
        """The family, ready to sample from; the same object for the same values.

        Raises:
          ValueError: the data is not on this machine, or of the wrong kind for the problem.
        """
        return _build(self)


@functools.cache
def _build(spec: FamilySpec) -> Any:
    family = Family(spec.problem, load_dataset(spec.data), spec.batch_size)
    family.check()
    return augment(family, *spec.augmentations)


def describe(value: Any) -> Any:
    """Frozen dataclasses as JSON types, with the names of problems and augmentations."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        name = getattr(value, "name", None)
        return fields if name is None or "name" in fields else {"name": name, **fields}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    return value


def content_hash(value: Any) -> str:
    """16 hex digits of SHA-256 over the JSON of a value of plain types."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
