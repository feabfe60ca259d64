"""A network with a memory for every element of a tensor: a GRU, then two normalised hidden layers.

Its weights have the names and the order of flax. Layer normalisation: Ba, Kiros, Hinton 2016.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from .._base import Theta
from ..parts._networks import dense

EPS = 1e-6


def network_shapes(inputs: int, gru: int, hidden: int, outputs: int) -> Theta:
    """Shapes of the weights by name."""
    onto, within = {"bias": (gru,), "kernel": (inputs, gru)}, {"kernel": (gru, gru)}
    norm = {"bias": (hidden,), "scale": (hidden,)}
    return {
        "gru": {
            "hn": {"bias": (gru,), **within},
            **dict.fromkeys(("hr", "hz"), within),
            **dict.fromkeys(("in", "ir", "iz"), onto),
        },
        "mlp": {
            "layers_0": {"bias": (hidden,), "kernel": (gru, hidden)},
            "layers_1": norm,
            "layers_3": {"bias": (hidden,), "kernel": (hidden, hidden)},
            "layers_4": norm,
            "layers_6": {"bias": (outputs,), "kernel": (hidden, outputs)},
        },
    }


def count_weights(shapes: Theta) -> int:
    """Numbers in arrays of those shapes."""
    return sum(math.prod(shape) for shape in jax.tree.leaves(shapes, is_leaf=_is_shape))


def init_network(key: jax.Array, shapes: Theta) -> Theta:
    """LeCun normal kernels, orthogonal ones on the memory, zero biases, scales 1."""
    paths, treedef = jax.tree.flatten_with_path(shapes, is_leaf=_is_shape)
    leaves = []
    for (path, shape), k in zip(paths, jax.random.split(key, len(paths)), strict=True):
        layer, last = path[-2].key, path[-1].key
        if last != "kernel":
            leaves.append(jnp.full(shape, float(last == "scale"), jnp.float32))
        elif layer in ("hn", "hr", "hz"):
            leaves.append(jax.nn.initializers.orthogonal()(k, shape, jnp.float32))
        else:
            leaves.append(jax.nn.initializers.lecun_normal()(k, shape, jnp.float32))
    return treedef.unflatten(leaves)


def from_vector(flat: np.ndarray, shapes: Theta) -> Theta:
    """The weights that are side by side in a vector of `count_weights(shapes)` numbers."""
    leaves, treedef = jax.tree.flatten(shapes, is_leaf=_is_shape)
    ends = np.cumsum([math.prod(shape) for shape in leaves])
    parts = np.split(flat.astype(np.float32), ends[:-1])
    return treedef.unflatten(
        [jnp.asarray(x.reshape(shape)) for x, shape in zip(parts, leaves, strict=True)]
    )


def network_outputs(mlp: Theta, units: jax.Array) -> jax.Array:
    """dense(relu(norm(dense(relu(norm(dense(units))))))), (gru, *shape) -> (outputs, *shape)."""
    for layer, norm in (("layers_0", "layers_1"), ("layers_3", "layers_4")):
        units = dense(mlp[layer]["kernel"], mlp[layer]["bias"], units)
        units = (units - jnp.mean(units, 0)[None]) * rsqrt(jnp.var(units, 0) + EPS)[None]
        scale, bias = (mlp[norm][k].reshape(-1, *[1] * (units.ndim - 1)) for k in ("scale", "bias"))
        units = jax.nn.relu(scale * units + bias)
    return dense(mlp["layers_6"]["kernel"], mlp["layers_6"]["bias"], units)


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple)
