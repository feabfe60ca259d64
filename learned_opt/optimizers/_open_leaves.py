"""Leaves of a tree of parameters: their layers, and what a prefix says of them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._base import zeros_for
from ..layouts._names import unboxed
from ..transformation._trees import leaf_shape


def layer_fractions(params: Any, counts: Sequence[int]) -> list[np.ndarray]:
    """i / (layers - 1) for every leaf, 0 for a lone layer, in the order of the leaves.

    Leaves are one layer when their parent holds only leaves and is not the root, else each is one.
    Of a leaf that is a stack of tensors, with a count above 1, these are as many layers in a row.
    """
    paths = [unboxed(path) for path, _ in jax.tree.leaves_with_path(params)]
    branching = {()}.union(*({path[:k] for k in range(len(path) - 1)} for path in paths))
    layers = [path if path[:-1] in branching else path[:-1] for path in paths]
    deep: dict[Any, int] = {}
    for layer, count in zip(layers, counts, strict=True):
        deep[layer] = max(count, deep.get(layer, 1))
    starts = dict(zip(deep, np.cumsum([0, *deep.values()]).tolist(), strict=False))
    last = max(1, sum(deep.values()) - 1)
    return [
        (starts[layer] + np.arange(count)).astype(np.float32) / np.float32(last)
        for layer, count in zip(layers, counts, strict=True)
    ]


def for_leaves(name: str, given: Any, params: Any) -> list[jax.Array]:
    """`given`, a prefix of the tree of parameters, as a float32 array for each of them.

    Each has the shape and the sharding of its parameter. ValueError, which calls it `name`, where
    it does not fit.
    """
    try:
        leaves = jax.tree.leaves(jax.tree.broadcast(given, params))
        return [
            # A sum, to be sharded like p.
            zeros_for(p) + jnp.broadcast_to(jnp.asarray(x, jnp.float32), leaf_shape(p))
            for x, p in zip(leaves, jax.tree.leaves(params), strict=True)
        ]
    except ValueError as error:
        raise ValueError(
            f"{name} must be a tree like params, or a prefix of it, of arrays that broadcast to "
            f"the tensors, got one that does not fit: {error}; for a matrix of shape (in, out) "
            "pass a scalar, (out,) or (in, out)"
        ) from error
