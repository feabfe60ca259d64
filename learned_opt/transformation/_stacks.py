"""Tensors of one shape as one array, so that programs grow with the number of shapes.

XLA compiles every array operation of a program by itself: a network of expressions for each of 300
tensors would take minutes. A stack costs a copy of what is stacked; see `STACKED`.
"""

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..devices._axes import has_explicit_axes
from ..layouts._layout import Layout

SMALL = 16_384
"""Tensors of fewer elements are stacked always; larger ones where a rule is not `cheap`."""

STACKED = 2**24
"""Elements of a stack of larger ones, at most: what is copied takes memory for a while."""


@dataclasses.dataclass(frozen=True)
class Stack:
    """Tensors that are updated together.

    `leaves`: which leaves hold them, in order; `rows`: their positions among all tensors; `shape`:
    of each of them; `is_matrix`, `fan_in`, `fan_out`: see `Layout`; `kind`: what the rule says of
    them; `alone`: one tensor, whose arrays have no axis in front.
    """

    leaves: tuple[int, ...]
    rows: tuple[int, ...]
    layout: Layout
    kind: Hashable
    alone: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one tensor."""
        return self.layout.tensor

    @property
    def end_to_end(self) -> bool:
        """Whether they may be joined along their own first axis, which may be sharded."""
        return math.prod(self.shape) < SMALL

    def map(self, fun: Callable[..., Any], *args: Any) -> Any:
        """fun of every tensor at once; `args` are stacked as the tensors are."""
        return fun(*args) if self.alone else jax.vmap(fun)(*args)

    def each(self, x: Any) -> Any:
        """Of arrays with a row for every tensor of the tree, the rows of this stack."""
        if self.alone:
            return jax.tree.map(lambda a: a[self.rows[0]], x)
        first, count = self.rows[0], len(self.rows)
        if self.rows == tuple(range(first, first + count)):
            return jax.tree.map(lambda a: a[first : first + count], x)
        return jax.tree.map(lambda a: a[np.array(self.rows)], x)


def make_stacks(
    layouts: Sequence[Layout],
    kinds: Sequence[Hashable],
    types: Sequence[Hashable],
    leaves: Sequence[int],
    cheap: bool,
) -> tuple[Stack, ...]:
    """Which tensors are updated together.

    Args:
      layouts, kinds: of every leaf of the tree; only leaves of one kind share a stack.
      types: what else they must agree in, such as how they are sharded.
      leaves: those that have a gradient.
      cheap: whether a rule's update is about one pass over its arrays, as Adam's: then a copy of
        large tensors would cost more than it saves.
    """
    starts = np.concatenate([[0], np.cumsum([layouts[i].count for i in leaves])]).tolist()
    rows = {i: tuple(range(a, b)) for i, a, b in zip(leaves, starts, starts[1:], strict=False)}
    groups: dict[Hashable, list[int]] = defaultdict(list)
    filled: dict[Hashable, int] = defaultdict(int)
    for i in leaves:
        layout, size = layouts[i], math.prod(layouts[i].tensor)
        key: Hashable = (layout.tensor, layout.is_matrix, kinds[i], types[i])
        if size >= SMALL:
            if cheap:
                key = (key, i)
            else:
                # As many to a stack as fit into it.
                room = max(1, STACKED // size)
                key = (key, filled[key] // room)
                filled[key[0]] += layout.count
        groups[key].append(i)
    return tuple(
        Stack(
            tuple(group),
            tuple(r for i in group for r in rows[i]),
            layouts[group[0]],
            kinds[group[0]],
            len(group) == 1 and layouts[group[0]].count == 1,
        )
        for group in groups.values()
    )


def stack(group: Stack, layouts: Sequence[Layout], trees: Sequence[Any]) -> Any:
    """Of trees of arrays, one for every leaf, those of the group as one tree.

    Each array has the leaf's shape in front, or is one a tensor.
    """
    if group.alone:
        (i,) = group.leaves
        return jax.tree.map(lambda x: to_tensors(layouts[i], x)[0], trees[i])
    if group.end_to_end and all(layouts[i].plain for i in group.leaves):
        return jax.tree.map(_end_to_end, *(trees[i] for i in group.leaves))
    parts = [
        jax.tree.map(functools.partial(to_tensors, layouts[i]), trees[i]) for i in group.leaves
    ]
    return jax.tree.map(lambda *x: x[0] if len(x) == 1 else jnp.concatenate(x), *parts)


def _end_to_end(*leaves: jax.Array) -> jax.Array:
    """Arrays of one shape as one, without an operation for each of them where that can be."""
    shape = leaves[0].shape
    if not shape or has_explicit_axes(leaves[0]):
        return jnp.stack(leaves)
    return jnp.concatenate(leaves).reshape(len(leaves), *shape)


def unstack(
    group: Stack,
    layouts: Sequence[Layout],
    tree: Any,
    found: dict[int, Any],
    places: Sequence[jax.Array],
) -> None:
    """The inverse of `stack`, into `found` by leaf; `places`: from `make_places`."""
    counts = [layouts[i].count for i in group.leaves]
    if group.alone:
        parts = [jax.tree.map(lambda x: x[None], tree)]
    elif max(counts) == 1:
        arrays, treedef = jax.tree.flatten(tree)
        rows = zip(*(_rows(x, tuple(places[: len(x)])) for x in arrays), strict=True)
        parts = [treedef.unflatten([x[None] for x in row]) for row in rows]
    else:
        ends = np.cumsum(counts)
        parts = [
            jax.tree.map(lambda x, a=end - count, b=end: x[a:b], tree)
            for count, end in zip(counts, ends, strict=True)
        ]
    for i, part in zip(group.leaves, parts, strict=True):
        found[i] = jax.tree.map(functools.partial(from_tensors, layouts[i]), part)


def make_places(one: jax.Array, count: int) -> list[jax.Array]:
    """0, 1, ..., but XLA must not know: see `_rows`. `one`: a 1 that does not look so, int32."""
    places = [one - one]
    while len(places) < count:
        # A division is not compiled into what it leads to, as a chain of additions would be.
        places.append(jax.lax.div(places[-1] + one, one))
    return places


@jax.custom_jvp
def _rows(x: jax.Array, places: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """x[0], x[1], ..., in programs that compile fast.

    XLA on CPU compiles a slice at a fixed place by itself; those at a place that is
    not known before are one and the same kernel.
    """
    return jax.lax.platform_dependent(x, places, cpu=_placed_rows, default=_fixed_rows)


@_rows.defjvp
def _rows_jvp(primals: Any, tangents: Any) -> Any:
    # Linear; and transposed these are better slices.
    return _rows(*primals), _fixed_rows(tangents[0], primals[1])


def _fixed_rows(x: jax.Array, places: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(x[k] for k in range(len(places)))


@jax.custom_batching.custom_vmap
def _placed_rows(x: jax.Array, places: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(jax.lax.dynamic_index_in_dim(x, k, keepdims=False) for k in places)


@_placed_rows.def_vmap
def _placed_rows_vmap(size: int, batched: Any, x: jax.Array, places: Any) -> Any:
    # Places of their own for every lane would be gathered.
    del size
    axis = 1 if batched[0] else 0
    rows = (jax.lax.index_in_dim(x, k, axis, keepdims=False) for k in range(len(places)))
    return tuple(rows), (batched[0],) * len(places)


def gather(groups: Sequence[Stack], parts: Sequence[Any]) -> Any:
    """Arrays with a row for every tensor, in order, from an entry or rows for each stack."""
    parts = [
        jax.tree.map(lambda x: x[None], part) if group.alone else part
        for group, part in zip(groups, parts, strict=True)
    ]
    rows = [row for group in groups for row in group.rows]
    every = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    if rows == sorted(rows):
        return every
    return jax.tree.map(lambda x: x[np.argsort(rows)], every)


def facts(groups: Sequence[Stack], of: Callable[[Stack], Sequence[float]]) -> np.ndarray:
    """Numbers that shapes tell, float32, (tensors, numbers)."""
    rows = sorted((row, tuple(of(group))) for group in groups for row in group.rows)
    return np.asarray([numbers for _, numbers in rows], np.float32)


def to_tensors(layout: Layout, x: jax.Array) -> jax.Array:
    """`Layout.to_tensors` of an array with the leaf's shape in front, or of one a tensor."""
    if layout.plain:
        return x[None]
    if x.shape[: len(layout.shape)] != layout.shape:
        return x if _batched(layout) else x[None]
    return layout.to_tensors(x)


def from_tensors(layout: Layout, y: jax.Array) -> jax.Array:
    """The inverse of `to_tensors`."""
    if layout.plain:
        return y[0]
    if y.shape[1 : 1 + len(layout.tensor)] != layout.tensor:
        return y if _batched(layout) else y[0]
    return layout.from_tensors(y)


def _batched(layout: Layout) -> bool:
    return layout.axes is not None and bool(layout.axes.batch)
