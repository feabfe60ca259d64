"""Somebody's examples, cut into the splits of a task."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from learned_opt._checks import shown

from .._base import STATIC, Split
from ..data._dataset import SHUFFLE_SEED, split_of
from ._host import HostExamples, draw
from ._read import Examples

EVALUATED: dict[str, int] = {
    "train": 8192, "inner_valid": 2048, "outer_valid": 2048, "test": 8192
}  # fmt: skip
"""Most examples of a split that an evaluation takes."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OwnData:
    """Examples in the structure in which they were given.

    Attributes:
      name: for people.
      splits: what of each split is evaluated, on the device.
      train: all training examples on the device; None if they stay where they are.
      host: all training examples where they stay; None if they are on the device.
      count: training examples.
    """

    name: str = dataclasses.field(metadata=STATIC)
    splits: dict[str, Any]
    train: Any
    host: HostExamples | None = dataclasses.field(metadata=STATIC)
    count: int = dataclasses.field(metadata=STATIC)

    @property
    def sources(self) -> int:
        """Number of data sets in it."""
        return 1

    def full(self, split: Split) -> Any:
        """What of the split is evaluated: all, or EVALUATED of its examples."""
        return split_of(self.splits, split)

    def batch(self, key: jax.Array, split: Split, size: int) -> Any:
        """`size` examples drawn with replacement."""
        if split != "train":
            part = split_of(self.splits, split)
            index = jax.random.randint(key, (size,), 0, _length(part))
            return jax.tree.map(lambda x: x[index], part)
        seed = jax.random.bits(key, (2,), jnp.uint32)
        if self.host is not None:
            return self.host.take(seed, size)
        index = draw(seed, size, self.count)
        # As if it came from the host: fused into the loss it would round otherwise.
        return jax.lax.optimization_barrier(jax.tree.map(lambda x: x[index], self.train))

    def without_test(self) -> "OwnData":
        """A copy in which reading `test` raises."""
        kept = {name: part for name, part in self.splits.items() if name != "test"}
        return dataclasses.replace(self, splits=kept)


def cut(
    name: str, data: Examples, valid: "Examples | float", test: Examples | None, memory: int
) -> OwnData:
    """The splits of a task.

    `valid` is cut, in an order of a fixed seed, into equal parts: inner_valid, outer_valid and,
    without `test`, a test split. So nothing that is chosen by one is judged by it. A fraction is
    taken from `data` in that order, and what is left of `data` are training examples.

    Args:
      name: for people.
      data: training examples.
      valid: validation examples, or the share of `data` that they are.
      test: test examples.
      memory: bytes of training examples that may be on the device.

    Raises:
      ValueError: too few examples for the splits, or of another structure.
    """
    parts = ["inner_valid", "outer_valid", *(["test"] if test is None else [])]
    rows = None
    if isinstance(valid, Examples):
        source, chosen = valid, _order(valid.count)
    else:
        count = round(valid * data.count)
        source, order = data, _order(data.count)
        chosen, rows = order[:count], np.sort(order[count:])
    for what, other in (("valid", source), ("test", test or source)):
        if other.kinds != data.kinds:
            raise ValueError(
                f"{what} must have the structure, shapes and dtypes of data, {shown(data.kinds)}, "
                f"got {shown(other.kinds)}"
            )
    if len(chosen) < len(parts):
        raise ValueError(
            f"valid must hold an example for each of {', '.join(parts)}, got {len(chosen)} in all"
        )
    pieces = dict(zip(parts, np.array_split(chosen, len(parts)), strict=True))
    splits = {part: source.rows(np.sort(i)[: EVALUATED[part]]) for part, i in pieces.items()}
    if test is not None:
        splits["test"] = test.rows(np.sort(_order(test.count)[: EVALUATED["test"]]))
    count = data.count if rows is None else len(rows)
    if count < 1:
        raise ValueError("data must hold a training example beside those of valid, got none")
    spaced = np.linspace(0, count - 1, min(count, EVALUATED["train"])).astype(np.int64)
    splits["train"] = data.rows(spaced if rows is None else rows[spaced])
    splits = {split: _on_device(part) for split, part in splits.items()}
    held = data.nbytes * count // data.count <= memory
    train = _on_device(data.rows(rows)) if held else None
    host = None if held else HostExamples(data.tree, rows)
    return OwnData(name, splits, train, host, count)


def _order(count: int) -> np.ndarray:
    return np.random.default_rng(SHUFFLE_SEED).permutation(count)


def _length(tree: Any) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def _on_device(tree: Any) -> Any:
    # Committed to no device: programs put them where they run.
    return jax.tree.map(jnp.asarray, tree)
