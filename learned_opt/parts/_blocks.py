"""Pallas kernels over one tensor, block by block, the same for every platform that runs them."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton as plgpu

from ._pack import Shape


@dataclasses.dataclass(frozen=True)
class Platform:
    """How kernels run on one: the size of a block, and what its compiler is told.

    With `masks` blocks have powers of two as sizes, and load and store under masks, as Triton
    wants it; else they are multiples of (16, 128) or whole axes, which Mosaic for TPU itself cuts
    at the border of the array.
    """

    rows: int
    cols: int
    masks: bool
    options: dict[str, Any]

    def takes(self, shape: Shape) -> bool:
        """Whether kernels find an array of this shape in memory as they want it: rows together.

        XLA for TPU keeps a matrix transposed where that takes fewer tiles of (8, 128), and tiles a
        vector otherwise than a matrix: all arrays would be copied before a kernel and after.
        """
        if self.masks or len(shape) < 2:
            return self.masks
        tiles = [
            pl.cdiv(rows, 8) * pl.cdiv(cols, 128) for rows, cols in (shape[-2:], shape[:-3:-1])
        ]
        return tiles[0] <= tiles[1]

    def block(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of a block of a matrix; with `masks` higher where that is narrow."""
        if not self.masks:
            return min(rows, self.rows), min(cols, self.cols)
        size, ceil = self.rows * self.cols, pl.next_power_of_2
        height = min(ceil(rows), size // min(ceil(cols), self.cols))
        return height, min(ceil(cols), size // height)


PLATFORMS = {
    # Interpreted: few blocks, for each costs time.
    "cpu": Platform(128, 128, True, {"interpret": True}),
    # Four numbers a thread: with eight, ptxas gives the longer kernel of `Nominal` 157 registers on
    # sm_90 instead of 76, and a processor one block at a time.
    "cuda": Platform(16, 64, True, {"compiler_params": plgpu.CompilerParams(num_warps=8)}),
    # Ten float32 blocks, twice for pipelining, fill a third of the 16 MB of VMEM.
    "tpu": Platform(64, 1024, False, {"compiler_params": pltpu.CompilerParams()}),
}
"""No size here is chosen by a timing."""


class Blocks:
    """The blocks of arrays of one shape, seen as (batch, rows, columns), and kernels over them.

    `shape`: that view; `grid`: number of blocks along its axes; `whole`, `beside`, `above`: which
    part of an array of that shape, of (batch, rows, 1) and of (batch, 1, columns) a kernel sees.
    """

    def __init__(self, platform: Platform, shape: Shape) -> None:
        rows, cols = (1, *shape)[-2:]
        self.platform, self.shape = platform, (math.prod(shape[:-2]), rows, cols)
        self.height, self.width = platform.block(rows, cols)
        self.grid = (self.shape[0], pl.cdiv(rows, self.height), pl.cdiv(cols, self.width))
        self.whole = pl.BlockSpec((None, self.height, self.width), lambda b, i, j: (b, i, j))
        self.beside = pl.BlockSpec((None, self.height, 1), lambda b, i, j: (b, i, 0))
        self.above = pl.BlockSpec((None, 1, self.width), lambda b, i, j: (b, 0, j))
        self.ragged = rows % self.height > 0 or cols % self.width > 0

    def sums(self) -> list[tuple[Shape, pl.BlockSpec]]:
        """Shapes and specifications of what blocks sum up, float32, for XLA to add.

        Eight numbers each: (*grid, 1, 8); one for each row: (batch, horizontal blocks, rows, 1);
        one for each column: (batch, vertical blocks, 1, columns).
        """
        (batch, rows, cols), (_, down, across) = self.shape, self.grid
        index = [
            lambda b, i, j: (b, i, j, 0, 0),
            lambda b, i, j: (b, j, i, 0),
            lambda b, i, j: (b, i, 0, j),
        ]
        return [
            ((*self.grid, 1, 8), pl.BlockSpec((None, None, None, 1, 8), index[0])),
            ((batch, across, rows, 1), pl.BlockSpec((None, None, self.height, 1), index[1])),
            ((batch, down, 1, cols), pl.BlockSpec((None, None, 1, self.width), index[2])),
        ]

    def call(
        self,
        body: Callable[..., None],
        scalars: Any,
        inputs: Sequence[tuple[jax.Array, pl.BlockSpec]],
        outputs: Sequence[tuple[Any, pl.BlockSpec]],
        aliases: dict[int, int] | None = None,
    ) -> list[jax.Array]:
        """body(scalars, *references to blocks of inputs, then of outputs) for every block.

        Args:
          body: reads with `load` and writes with `store`.
          scalars: any tree of float32 arrays; it comes as `flatten_scalars` says.
          inputs, outputs: arrays, or what tells shape and dtype, and the part a block sees.
          aliases: number of an input -> number of the output that replaces it in memory.
        """
        row, rebuild = flatten_scalars(scalars)
        arrays, in_specs = zip(*inputs, strict=True)
        likes, out_specs = zip(*outputs, strict=True)
        memory = None if self.platform.masks else pltpu.SMEM

        def kernel(row: Any, *refs: Any) -> None:
            body(rebuild(row), *refs)

        kernel.__name__ = body.__name__
        return pl.pallas_call(
            kernel,
            [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in likes],
            grid=self.grid,
            in_specs=[pl.BlockSpec(memory_space=memory), *in_specs],
            out_specs=out_specs,
            input_output_aliases={1 + k: out for k, out in (aliases or {}).items()},
            **self.platform.options,
        )(row, *arrays)

    def load(self, ref: Any) -> jax.Array:
        """A block as float32; zeros beyond the border of the array."""
        if not self.ragged:
            return ref[...].astype(jnp.float32)
        inside = self._inside(ref.shape)
        if self.platform.masks:
            other = jnp.zeros((), ref.dtype)
            return plgpu.load(ref, mask=inside, other=other).astype(jnp.float32)
        return jnp.where(inside, ref[...].astype(jnp.float32), 0.0)

    def store(self, ref: Any, value: jax.Array) -> None:
        """Writes a block, in the dtype of its array, as far as that reaches."""
        if self.ragged and self.platform.masks:
            plgpu.store(ref, value.astype(ref.dtype), mask=self._inside(ref.shape))
        else:
            ref[...] = value.astype(ref.dtype)

    def _inside(self, shape: Shape) -> jax.Array:
        inside = jnp.full(shape, True)
        for axis, (length, size) in enumerate(zip(shape, self.shape[1:], strict=True)):
            # A length of one: of a vector beside or above, or of an axis that it divides.
            if length > 1:
                start = pl.program_id(axis + 1) * length
                inside &= start + jax.lax.broadcasted_iota(jnp.int32, shape, axis) < size
        return inside


def in_a_row(numbers: Sequence[jax.Array], length: int = 8) -> jax.Array:
    """Scalars of a kernel as an array (1, length) that ends in zeros; not all compilers stack."""
    place = jax.lax.broadcasted_iota(jnp.int32, (1, length), 1)
    row = jnp.zeros((1, length), jnp.float32)
    for k, number in enumerate(numbers):
        row = jnp.where(place == k, number, row)
    return row


def flatten_scalars(tree: Any) -> tuple[jax.Array, Callable[[Any], Any]]:
    """All numbers of a tree as one row, (1, n), and what makes of such a row the tree again.

    Its leaves are then scalars, or NumPy arrays of scalars that are indexed as what they stand for.
    """
    leaves, treedef = jax.tree.flatten(tree)
    shapes = [np.shape(x) for x in leaves]

    def rebuild(row: Any) -> Any:
        position, found = itertools.count(), []
        for shape in shapes:
            scalars = np.empty(shape, object)
            for index in np.ndindex(shape):
                scalars[index] = row[0, next(position)]
            found.append(scalars[()])
        return treedef.unflatten(found)

    return jnp.concatenate([jnp.reshape(x, (1, -1)) for x in leaves], 1), rebuild
