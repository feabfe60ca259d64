"""Leaves of a tree of parameters: their layers, and what a prefix says of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._base import zeros_for
from .._layout_names import unboxed
from .._trees import leaf_shape


def layer_fractions(params: Any) -> np.ndarray:
    """i / (layers - 1) for every leaf, 0 for a lone layer, in the order of the leaves.

    Leaves are one layer when their parent holds only leaves and is not the root, else each is one.
    """
    paths = [unboxed(path) for path, _ in jax.tree.leaves_with_path(params)]
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
            zeros_for(p) + jnp.broadcast_to(jnp.asarray(x, jnp.float32), leaf_shape(p))
            for x, p in zip(leaves, jax.tree.leaves(params), strict=True)
        ]
    except ValueError as error:
        raise ValueError(
            f"{name} must be a tree like params, or a prefix of it, of arrays that broadcast to "
            f"the tensors, got one that does not fit: {error}; for a matrix of shape (in, out) "
            "pass a scalar, (out,) or (in, out)"
        ) from error
