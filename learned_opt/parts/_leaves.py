"""Leaves of a tree of parameters: their update, their layers, and what a prefix says of them."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._axes import has_explicit_axes
from .._base import zeros_for
from ._pack import PACK_BELOW


@dataclasses.dataclass(frozen=True)
class Groups:
    """Which leaves of a tree are updated by one call, stacked along a new first axis.

    `indices`: positions among the leaves of the tree. A group of one leaf is that leaf itself.
    """

    indices: tuple[tuple[int, ...], ...]

    def stack(self, leaves: Sequence[Any]) -> list[Any]:
        """For every group its leaves, or trees of arrays in their place, as one."""
        return [
            leaves[group[0]]
            if len(group) == 1
            else jax.tree.map(lambda *xs: jnp.stack(xs), *(leaves[i] for i in group))
            for group in self.indices
        ]

    def unstack(self, stacks: Sequence[Any]) -> list[Any]:
        """The inverse of `stack`."""
        found: dict[int, Any] = {}
        for group, every in zip(self.indices, stacks, strict=True):
            for k, i in enumerate(group):
                alone = len(group) == 1
                found[i] = every if alone else jax.tree.map(lambda x, k=k: x[k], every)
        return [found[i] for i in range(len(found))]

    def map(self, fun: Callable[..., Any], *stacks: Sequence[Any]) -> list[Any]:
        """fun of every group, where it has several leaves for each of them at once."""
        rows = zip(self.indices, *stacks, strict=True)
        return [(fun if len(group) == 1 else jax.vmap(fun))(*row) for group, *row in rows]

    def update(
        self, step: Callable[..., tuple[Any, Any]], grads: Any, params: Any, *stacks: Sequence[Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """The steps, a tree like the gradients, and the new states that step(g, p, *row) gives."""
        leaves, treedef = jax.tree.flatten(grads)
        # Types may differ in a group.
        rows = (
            self.stack([x.astype(jnp.float32) for x in t])
            for t in (leaves, jax.tree.leaves(params))
        )
        found = self.map(step, *rows, *stacks)
        steps = self.unstack([step for step, _ in found])
        steps = [step.astype(g.dtype) for step, g in zip(steps, leaves, strict=True)]
        return treedef.unflatten(steps), tuple(state for _, state in found)


def group_leaves(params: Any, kinds: Sequence[Any] | None = None) -> Groups:
    """Small leaves of one shape together, so that hundreds of tensors compile to a few loops.

    Args:
      params: a tree of arrays.
      kinds: of every leaf; only those of one kind share a group, and None is alone.
    """
    groups = defaultdict(list)
    leaves = jax.tree.leaves(params)
    for i, p in enumerate(leaves):
        kind = "" if kinds is None else kinds[i]
        # A stack of arrays with shardings of their own has none that they agree on.
        apart = kind is None or jnp.size(p) >= PACK_BELOW or has_explicit_axes(p)
        groups[i if apart else (kind, jnp.shape(p))].append(i)
    return Groups(tuple(tuple(group) for group in groups.values()))


def layer_fractions(params: Any) -> np.ndarray:
    """i / (layers - 1) for every leaf, 0 for a lone layer, in the order of the leaves.

    Leaves are one layer when their parent holds only leaves and is not the root, else each is one.
    """
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    branching = {()}.union(*({path[:k] for k in range(len(path) - 1)} for path in paths))
    layers = [path if path[:-1] in branching else path[:-1] for path in paths]
    order = {layer: i for i, layer in enumerate(dict.fromkeys(layers))}
    return np.array([order[x] / max(1, len(order) - 1) for x in layers], np.float32)


def for_leaves(name: str, given: Any, params: Any) -> list[jax.Array]:
    """`given`, a prefix of the tree of parameters, as a float32 array for each of them.

    Each has the shape and the sharding of its parameter. ValueError, which calls it `name`, where
    it does not fit.
    """
    try:
        leaves = jax.tree.leaves(jax.tree.broadcast(given, params))
        return [
            # A sum, to be sharded like p.
            zeros_for(p) + jnp.broadcast_to(jnp.asarray(x, jnp.float32), p.shape)
            for x, p in zip(leaves, jax.tree.leaves(params), strict=True)
        ]
    except ValueError as error:
        raise ValueError(
            f"{name} must be a tree like params, or a prefix of it, of arrays that broadcast to "
            f"the tensors, got one that does not fit: {error}; for a matrix of shape (in, out) "
            "pass a scalar, (out,) or (in, out)"
        ) from error
