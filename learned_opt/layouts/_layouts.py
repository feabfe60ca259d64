"""How the parameters of a model are read: as told, by preset, or by what is sure."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ._layout import Axes, Layout, leaf_name
from ._names import BOTH, FLAX, HAIKU, Leaf, path_of, read_names
from ._types import read_types

AxesLike = str | Any | Callable[[Any], Any] | None
"""A preset, a tree like the parameters or a prefix of it, a function of them that gives one, or
None: what names and types say."""

PRESETS: dict[str, Callable[[list[Leaf], Any], list[Any]]] = {
    "flax": lambda leaves, params: read_names(leaves, FLAX, sure=False),
    "haiku": lambda leaves, params: read_names(leaves, HAIKU, sure=False),
    "equinox": lambda leaves, params: read_types(params),
}


def layouts(axes: AxesLike, params: Any) -> tuple[Layout, ...]:
    """A `Layout` for every leaf of `params`, in the order of `jax.tree.leaves`.

    Args:
      axes: a preset ("flax", "haiku", "equinox"), a tree like `params`, or a prefix of it, of
        `Axes` and None, or a function of `params` that gives one of these. None, alone or in a
        tree: what the names of leaves (Flax, Haiku) and the types of modules (Equinox) leave no
        doubt of; of others nothing is known.
      params: a tree of arrays, or of what has their shapes.

    Raises:
      ValueError: no such preset, a tree that does not fit, or axes that do not fit a leaf; the
        message has its path. TypeError: a tree that holds something else.
    """
    # A module of Equinox may be called, too, but is a tree.
    if callable(axes) and jax.tree_util.all_leaves([axes]):
        axes = axes(params)
    found = [(path, tuple(jnp.shape(leaf))) for path, leaf in jax.tree.leaves_with_path(params)]
    leaves = [(path_of(path), shape) for path, shape in found]
    if isinstance(axes, str):
        if axes not in PRESETS:
            raise ValueError(
                f"axes must be one of {', '.join(PRESETS)}, a tree of Axes or a function, "
                f"got {axes!r}"
            )
        given = PRESETS[axes](leaves, params)
    else:
        given = _by_leaf(axes, params)
        named = read_names(leaves, BOTH, sure=True)
        typed = read_types(params)
        given = [a or b or c for a, b, c in zip(given, typed, named, strict=True)]
    return tuple(
        Layout(shape, a and a.resolved(shape, leaf_name(path)))
        for (path, shape), a in zip(found, given, strict=True)
    )


def describe_layouts(params: Any, axes: AxesLike = None) -> str:
    """How each parameter is read, a line each: path, shape, (window x) inputs -> outputs.

    Args:
      params: a tree of arrays, or of what has their shapes.
      axes: as `learned` takes it.

    Raises:
      ValueError, TypeError: as `learned` raises for `axes`.

    Example:
      >>> import jax.numpy as jnp
      >>> from learned_opt import describe_layouts
      >>> block = {"kernel": jnp.zeros((12, 64, 32)), "bias": jnp.zeros((12, 32))}
      >>> print(describe_layouts({"block": block}))
      block/bias    (12, 32)      12 of vector 32
      block/kernel  (12, 64, 32)  12 of 64 -> 32
    """
    paths = [leaf_name(path) for path, _ in jax.tree.leaves_with_path(params)]
    rows = [
        (path, str(x.shape), str(x)) for path, x in zip(paths, layouts(axes, params), strict=True)
    ]
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(2)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows)


def _by_leaf(tree: Any, params: Any) -> list[Axes | None]:
    """A prefix of `params`, leaf by leaf."""
    if tree is None:
        return [None] * len(jax.tree.leaves(params))
    entries = jax.tree.leaves_with_path(tree, is_leaf=_is_axes)
    for path, x in entries:
        if not _is_axes(x):
            raise TypeError(
                f"axes must hold Axes or None, got {type(x).__name__} at {leaf_name(path)}; "
                "write learned_opt.Axes(inputs=..., outputs=...)"
            )
    # In boxes: None is a tree without leaves.
    boxes = jax.tree.map(lambda x: lambda: x, tree, is_leaf=_is_axes)
    try:
        return [box() for box in jax.tree.leaves(jax.tree.broadcast(boxes, params))]
    except ValueError:
        raise ValueError(
            "axes must be a tree like params or a prefix of it, got one "
            f"{_misfit([path for path, _ in entries], params)}; make it with jax.tree.map of params"
        ) from None


def _misfit(entries: list[Any], params: Any) -> str:
    """The first place where a tree with these paths is no prefix of the parameters."""
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    for path in paths:
        if not any(path[: len(entry)] == entry for entry in entries):
            return f"without an entry for {leaf_name(path)}"
    for entry in entries:
        if not any(path[: len(entry)] == entry for path in paths):
            return f"with an entry {leaf_name(entry)} that params has not"
    return "whose containers are of other types"


def _is_axes(x: Any) -> bool:
    return x is None or isinstance(x, Axes)
