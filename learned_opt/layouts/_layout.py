"""What the axes of a tensor are: stack, window of a convolution, inputs, outputs.

And every tensor in one order, so that a rule sees the same matrix however a framework stores it.
"""

import dataclasses
import math
from functools import cached_property
from itertools import accumulate
from operator import mul
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec, reshard

from ..devices._axes import has_explicit_axes


def leaf_name(path: Any) -> str:
    """The path to a leaf as layer/w."""
    return jax.tree_util.keystr(path, simple=True, separator="/") or "the only leaf"


@dataclasses.dataclass(frozen=True)
class Axes:
    """What each axis of a parameter is; together the four name every axis once.

    Axes are numbers, negative ones from the end. Several inputs, or outputs, count as one axis,
    the first outermost: heads and what each of them holds.

    Args:
      batch: of a stack of tensors that have nothing to do with each other, such as layers for
        `jax.lax.scan`: each is updated as if it were a leaf of its own.
      window: positions of the kernel of a convolution.
      inputs: summed over in the product with the tensor. Without any it is no matrix, but a
        vector: a bias, the scale of a norm, an embedding of which rows are looked up.
      outputs: what it maps to.

    Raises:
      TypeError: not tuples of integers.

    Example:
      >>> from learned_opt import Axes
      >>> dense, transposed = Axes(inputs=(0,), outputs=(1,)), Axes(inputs=(1,), outputs=(0,))
      >>> oihw = Axes(window=(2, 3), inputs=(1,), outputs=(0,))
      >>> stacked_queries = Axes(batch=(0,), inputs=(1,), outputs=(2, 3))
    """

    batch: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def __post_init__(self):
        for name, value in vars(self).items():
            whole = isinstance(value, tuple) and all(type(x) is int for x in value)
            if not whole:
                raise TypeError(
                    f"{name} must be a tuple of axis numbers, got {value!r}; write (0,)"
                )

    @property
    def all(self) -> tuple[int, ...]:
        """Every axis in the order of a `Layout`: batch, window, inputs, outputs."""
        return self.batch + self.window + self.inputs + self.outputs

    def resolved(self, shape: tuple[int, ...], leaf: str = "the tensor") -> "Axes":
        """The same with numbers from 0; a ValueError that names the leaf where they do not fit."""
        rank = len(shape)
        axes = Axes(
            *(tuple(x + rank if x < 0 else x for x in part) for part in vars(self).values())
        )
        if sorted(axes.all) != list(range(rank)):
            raise ValueError(
                f"axes must name each of the {rank} axes of {leaf} of shape {shape} once, "
                f"got {self}; correct the entry of {leaf}"
            )
        if axes.window and not axes.inputs:
            raise ValueError(
                f"the window of {leaf} of shape {shape} needs inputs, got {self}; of a kernel with "
                "a filter for each channel call the window inputs and the channels batch"
            )
        return axes


@dataclasses.dataclass(frozen=True)
class Layout:
    """A tensor of some shape as a stack of tensors in the order (*window, in, out).

    Equal where they say the same of the same shape. `axes`: None where nothing is known; then
    ranks 0 and 1 are vectors, and others (*window, in, out) as they are, but that above rank 2
    fewer than two sides above 1 are a vector, too: (8, 1, 1, 1), the scales of a norm in the rank
    of what it multiplies.
    """

    shape: tuple[int, ...]
    axes: Axes | None = None

    def __post_init__(self):
        axes, rank = self.axes, len(self.shape)
        if axes is not None:
            axes = axes.resolved(self.shape)
        elif rank < 2:
            axes = Axes(outputs=tuple(range(rank)))
        elif rank == 2 or sum(side > 1 for side in self.shape) >= 2:
            axes = Axes((), tuple(range(rank - 2)), (rank - 2,), (rank - 1,))
        object.__setattr__(self, "axes", axes)

    @property
    def is_matrix(self) -> bool:
        """Whether it maps inputs to outputs."""
        return self.axes is not None and bool(self.axes.inputs)

    @property
    def count(self) -> int:
        """How many tensors."""
        return 1 if self.axes is None else self._size(self.axes.batch)

    @cached_property
    def tensor(self) -> tuple[int, ...]:
        """The shape of one of them: (*window, in, out), or (n,) of a vector, () of a scalar.

        A vector of which nothing is known keeps its shape.
        """
        axes = self.axes
        if axes is None:
            return self.shape
        out = self._size(axes.outputs)
        if self.is_matrix:
            return (*(self.shape[i] for i in axes.window), self._size(axes.inputs), out)
        return (out,) if axes.outputs else ()

    @property
    def fan_in(self) -> int:
        """Numbers that are summed into one output: window times inputs, 1 of a vector."""
        return math.prod(self.tensor[:-1]) if self.is_matrix else 1

    @property
    def fan_out(self) -> int:
        """Outputs; of a vector at least 1."""
        return self.tensor[-1] if self.is_matrix else max(1, math.prod(self.tensor))

    @cached_property
    def plain(self) -> bool:
        """Whether it is one tensor, already in that order."""
        axes = self.axes
        if axes is None:
            return True
        return not axes.batch and self.tensor == self.shape and self._in_order

    def to_tensors(self, x: jax.Array) -> jax.Array:
        """(*shape, *more) -> (count, *tensor, *more)."""
        rank = len(self.shape)
        if self.axes is not None and not self._in_order:
            x = jnp.transpose(x, (*self.axes.all, *range(rank, x.ndim)))
        return _reshape(x, (self.count, *self.tensor, *x.shape[rank:]))

    def from_tensors(self, y: jax.Array) -> jax.Array:
        """(count, *tensor, *more) -> (*shape, *more)."""
        more = y.shape[1 + len(self.tensor) :]
        if self.axes is None or self._in_order:
            return _reshape(y, (*self.shape, *more))
        order = (*self.axes.all, *range(len(self.shape), len(self.shape) + len(more)))
        y = _reshape(y, (*(self.shape[i] for i in self.axes.all), *more))
        return jnp.transpose(y, sorted(range(len(order)), key=order.__getitem__))

    def __str__(self) -> str:
        sides = [str(side) for side in self.tensor]
        one = f"vector {'x'.join(sides)}" if sides else "scalar"
        if self.is_matrix:
            one = f"{'x'.join(sides[:-1])} -> {sides[-1]}"
        return one if self.count == 1 else f"{self.count} of {one}"

    @property
    def _in_order(self) -> bool:
        return self.axes is None or self.axes.all == tuple(range(len(self.shape)))

    def _size(self, axes: tuple[int, ...]) -> int:
        return math.prod(self.shape[i] for i in axes)


def _reshape(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Where the sharding is part of the type, axes that are merged or split become whole."""
    if has_explicit_axes(x):
        sharding, kept = jax.typeof(x).sharding, _ends(shape)
        spec = [
            s if end in kept else None for s, end in zip(sharding.spec, _ends(x.shape), strict=True)
        ]
        x = reshard(x, NamedSharding(sharding.mesh, PartitionSpec(*spec)))
    return jnp.reshape(x, shape)


def _ends(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Of every axis its size, and the product of all sizes up to it."""
    return list(zip(shape, accumulate(shape, mul), strict=True))
