"""What a family is made of, as plain values: hashed, compared, printed, and built on demand."""

import abc
import dataclasses
import functools
import hashlib
import json
from typing import Any

import jax
import numpy as np

from learned_opt._fields import Line, Size, check_fields
from learned_opt._modules import is_reference

from ._identity import project_source
from ._problem import Family, Problem
from .augmentations import Augmentation, augment
from .data import load_dataset


@dataclasses.dataclass(frozen=True)
class AnySpec(abc.ABC):
    """What says all about a family, hashed and compared before anything is built.

    `problem` has a `name`; `data`: name of the data; `own`: whether network or data are of
    somebody's own module, which no shipped optimizer can have seen.
    """

    problem: Any
    data: str
    batch_size: int
    augmentations: tuple[Augmentation, ...]

    @property
    @abc.abstractmethod
    def own(self) -> bool:
        """Whether it is of somebody's own module."""
        ...

    @property
    @abc.abstractmethod
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets."""
        ...

    @abc.abstractmethod
    def described(self) -> dict[str, Any]:
        """It as JSON types, with all names."""
        ...

    def identity(self) -> dict[str, Any]:
        """What the fingerprint is over, as JSON types."""
        return self.described()

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over all but the contents of the data."""
        return content_hash(self.identity())

    @property
    @abc.abstractmethod
    def data_fingerprint(self) -> str:
        """16 hex digits over the contents of the data."""
        ...

    @abc.abstractmethod
    def build(self) -> Any:
        """The family, ready to sample from."""
        ...


@dataclasses.dataclass(frozen=True)
class FamilySpec(AnySpec):
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

    @property
    def own(self) -> bool:
        """Whether the problem is of a module outside this package, or the data "module:name"."""
        return not _ours(type(self.problem)) or is_reference(self.data)

    def described(self) -> dict[str, Any]:
        """All fields, by their names and values."""
        return {f.name: describe(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def identity(self) -> dict[str, Any]:
        """All fields, by their names and values.

        Of a problem outside this package its module too, and what that imports from its own
        project: there a change of the code is a change of the problem.
        """
        if _ours(type(self.problem)):
            return self.described()
        return {**self.described(), "source": project_source(type(self.problem))}

    @property
    def data_fingerprint(self) -> str:
        """16 hex digits over every array of the data."""
        return data_fingerprint(self.data)

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


def _ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "learned_opt"


@functools.cache
def data_fingerprint(name: str) -> str:
    """`fingerprint` of a data set by name."""
    return fingerprint(load_dataset(name))


def fingerprint(data: Any) -> str:
    """16 hex digits over the description and every array of a data set.

    Each takes part whole, with its type and shape: 17 ms for the largest embedded set. A set that
    differs by machine, such as texts of Python's own library, has a fingerprint for each.
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(data):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return content_hash([data.name, describe(data.spec), digest.hexdigest()])


def describe(value: Any) -> Any:
    """Frozen dataclasses as JSON types, with the names of problems and augmentations."""
    if isinstance(value, AnySpec):
        return value.described()
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
