"""What a task of somebody's own is made of, hashed and built on demand."""

import dataclasses
import functools
from typing import Any

import jax

from learned_opt._fields import Line, Size, check_fields

from .._identity import Facts
from .._spec import AnySpec, content_hash
from ._data import OwnData
from ._problem import OwnFamily, OwnProblem, batch_shapes, check_problem


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class OwnSpec(AnySpec):
    """Functions and data; made by `from_functions`.

    Attributes:
      problem: the functions.
      data: name of the data.
      batch_size: examples a minibatch.
      examples: the data itself; `digest`: a hash of what was given as data.
      given_name: whether somebody chose the name.
    """

    problem: OwnProblem
    data: Line
    batch_size: Size
    examples: OwnData
    digest: str
    given_name: bool = True
    augmentations: tuple[()] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def own(self) -> bool:
        """True."""
        return True

    @property
    def datasets(self) -> tuple[str, ...]:
        """The name of the data."""
        return (self.data,)

    def described(self) -> dict[str, Any]:
        """Names, hashes of the functions' sources and of what they hold, and shapes."""
        return self._facts

    def identity(self) -> dict[str, Any]:
        """The same without names, which do not count."""
        return {**self._facts, "problem": {**self._facts["problem"], "name": ""}, "data": ""}

    @functools.cached_property
    def _facts(self) -> dict[str, Any]:
        problem, held = self.problem, Facts()
        holds = content_hash(held.of([problem.init, problem.loss, problem.valid_loss]))
        batch = batch_shapes(self.build())
        params, state = check_problem(problem, batch)
        return {
            "problem": {
                "name": problem.name,
                "source": held.source,
                "holds": holds,
                "stateful": problem.stateful,
                "params": _shapes(params),
                "state": _shapes(state),
            },
            "data": self.data,
            "batch": _shapes(batch),
            "batch_size": self.batch_size,
            "augmentations": [],
        }

    @property
    def data_fingerprint(self) -> str:
        """16 hex digits over all arrays that were given."""
        return self.digest

    def named(self, name: str) -> "OwnSpec":
        """The same by another name."""
        problem = dataclasses.replace(self.problem, name=name)
        return dataclasses.replace(self, problem=problem, data=f"own:{name}")

    def build(self) -> OwnFamily:
        """The family; the same object every time."""
        return self._family

    @functools.cached_property
    def _family(self) -> OwnFamily:
        return OwnFamily(self.problem, self.examples, self.batch_size)


def _shapes(tree: Any) -> list[str]:
    return [
        f"{jax.tree_util.keystr(path)} {leaf.dtype.name}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(tree)
    ]
