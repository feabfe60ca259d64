"""Somebody's data, arrays or batches, as arrays whose first axis is that of examples."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from learned_opt._checks import shown
from learned_opt._modules import blame
from learned_opt.devices import device_memory

from ._digest import file_hash
from ._spill import Spill

ENDLESS = (itertools.count, itertools.cycle)
MOST_EXAMPLES = 50_000_000
"""Examples of an iterable without a length after which it is taken to have no end."""


class Examples:
    """A tree of arrays with a common first axis.

    Attributes:
      tree: arrays in memory or mapped from files, in the structure in which they were given.
      count: of examples; nbytes: of all arrays.
      kinds: structure, shapes of an example and dtypes, for comparison.
    """

    def __init__(self, tree: Any, what: str) -> None:
        self.tree = jax.tree.map(lambda leaf: _plain(leaf, what), tree, is_leaf=_is_array)
        leaves, structure = jax.tree.flatten(self.tree)
        sizes = {len(leaf) for leaf in leaves}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                f"the arrays of {what} must have the same first axis, that of examples, got "
                f"{', '.join(map(str, [leaf.shape for leaf in leaves][:8])) or 'none'}"
            )
        self.count, self.nbytes = sizes.pop(), sum(leaf.nbytes for leaf in leaves)
        kinds = [
            (leaf.shape[1:], str(jax.dtypes.canonicalize_dtype(leaf.dtype))) for leaf in leaves
        ]
        self.kinds = str(structure), kinds

    def rows(self, index: np.ndarray | None) -> Any:
        """Those examples, in memory."""
        if index is None:
            return self.tree
        return jax.tree.map(lambda leaf: np.asarray(leaf[index]), self.tree)

    def digest(self) -> list[str]:
        """A hash of each array."""
        return [file_hash(leaf) for leaf in jax.tree.leaves(self.tree)]


def read(source: Any, what: str, *, memory: int, examples: int | None = None) -> Examples:
    """The examples of anything that `from_functions` takes as data.

    Args:
      source: an array, a tuple or dict of arrays, or an iterable of batches that are such.
      what: "data", "valid" or "test", for messages.
      memory: bytes above which the batches of an iterable are written to a file as they are read.
      examples: how many are read of an iterable; None: all.

    Raises:
      ValueError: it is none of these, it has no end, or its batches do not fit together.
    """
    if _is_array(source) or isinstance(source, tuple | dict):
        leaves = jax.tree.leaves(source, is_leaf=_is_array)
        if leaves and all(_is_array(leaf) for leaf in leaves):
            return Examples(source, what)
        raise ValueError(
            f"{what} must be arrays, a tuple or dict of arrays, or an iterable of batches, got "
            f"{shown(source)}"
        )
    if isinstance(source, str | bytes) or not isinstance(source, Iterable):
        raise ValueError(
            f"{what} must be arrays, a tuple or dict of arrays, or an iterable of batches, got "
            f"{shown(source)}"
        )
    if examples is None and isinstance(source, ENDLESS):
        raise ValueError(f"{what} has no end; say with examples= how many examples to read of it")
    if hasattr(source, "column_names") and hasattr(source, "iter"):  # a Hugging Face data set
        rows: Any = source
        source = rows.iter(1000)
    return _join(source, what, memory, examples)


def _join(source: Iterable[Any], what: str, memory: int, examples: int | None) -> Examples:
    spill, count, sized = Spill(what, memory), 0, hasattr(source, "__len__")
    with spill:
        for batch in _blamed(source, what):
            part = Examples(batch, f"a batch of {what}")
            if examples is not None and count + part.count > examples:
                part = Examples(part.rows(np.arange(examples - count)), what)
            spill.add(part.tree, part.kinds)
            count += part.count
            if count == examples:
                break
            if examples is None and not sized and (count > MOST_EXAMPLES or spill.filling):
                raise ValueError(
                    f"{what} has not ended after {count:,} examples; say with examples= how many "
                    "to read of it"
                )
        if not count:
            raise ValueError(
                f"{what} must yield batches, got none; an iterator that was read before is empty"
            )
        return Examples(spill.joined(), what)


def _blamed(source: Iterable[Any], what: str) -> Iterator[Any]:
    """The items; what reading them raises becomes one sentence."""
    try:
        yield from source
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"reading {what} raised {blame(error)}") from error


def _is_array(value: Any) -> bool:
    """Whether NumPy takes it for an array of at least one axis; so are lists of numbers in rows."""
    return hasattr(value, "__array__") or (isinstance(value, list) and not _holds_arrays(value))


def _holds_arrays(value: list[Any]) -> bool:
    first = value[0] if value else None
    return isinstance(first, tuple | dict) or hasattr(first, "__array__")


def _plain(leaf: Any, what: str) -> np.ndarray:
    """As NumPy, in a dtype that JAX has."""
    try:
        array = leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)
        dtype = jax.dtypes.canonicalize_dtype(array.dtype)
        if not (array.dtype == bool or jnp.issubdtype(array.dtype, np.number)):
            raise TypeError(f"an array of dtype {array.dtype}")
    except Exception as error:
        raise ValueError(f"{what} must hold arrays of numbers: {blame(error)}") from error
    if not array.ndim:
        raise ValueError(
            f"{what} must have a first axis, that of examples, got a single number; yield batches"
        )
    if array.dtype.itemsize > dtype.itemsize and array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        most = np.iinfo(dtype)
        if not most.min <= low <= high <= most.max:
            raise ValueError(f"the integers of {what} must fit into {dtype}, got {low} to {high}")
    return array


def default_memory() -> int:
    """A quarter of what the device, or this machine, has in all."""
    return device_memory(jax.local_devices()[0]) // 4
