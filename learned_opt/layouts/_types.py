"""The axes of the parameters of Equinox's layers, by the type of the layer, not by name.

Equinox is not imported: its types are known by module and name, subclasses by what they are of.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import DictKey, GetAttrKey, SequenceKey

from ._layout import Axes

Read = Callable[[Any], Axes]
"""The layer -> the axes of one of its parameters, where the layer is not stacked."""


def _vector(rank: int) -> Read:
    return lambda layer: Axes(outputs=tuple(range(rank)))


def _out_in(layer: Any) -> Axes:
    del layer
    return Axes(inputs=(1,), outputs=(0,))


def _kernel(layer: Any) -> Axes:
    return Axes(window=tuple(range(2, 2 + layer.num_spatial_dims)), inputs=(1,), outputs=(0,))


def _bias_of_kernel(layer: Any) -> Axes:
    return Axes(outputs=tuple(range(1 + layer.num_spatial_dims)))


def _like_shape(layer: Any) -> Axes:
    return Axes(outputs=tuple(range(len(layer.shape))))


CONV = {"weight": _kernel, "bias": _bias_of_kernel}
NORM = {"weight": _like_shape, "bias": _like_shape}
CHANNELS = {"weight": _vector(1), "bias": _vector(1)}
CELL = {"weight_ih": _out_in, "weight_hh": _out_in, "bias": _vector(1), "bias_n": _vector(1)}

TYPES: dict[str, dict[str, Read]] = {
    "Linear": {"weight": _out_in, "bias": _vector(1)},
    "Conv": CONV,
    "ConvTranspose": CONV,
    "Embedding": {"weight": _vector(2)},
    "LayerNorm": NORM,
    "RMSNorm": NORM,
    "GroupNorm": CHANNELS,
    "BatchNorm": CHANNELS,
    "GRUCell": CELL,
    "LSTMCell": CELL,
}
"""Layer of `equinox.nn` -> its parameters. `MultiheadAttention` and `MLP` are made of `Linear`."""


def read_types(params: Any) -> list[Axes | None]:
    """The axes of every leaf of a layer in TYPES; None of others.

    Axes in front of those that the layer has by itself are a stack, as `jax.vmap` of a
    constructor makes it.
    """
    return [_read(params, path, jax.numpy.ndim(x)) for path, x in jax.tree.leaves_with_path(params)]


def _read(node: Any, path: Any, rank: int) -> Axes | None:
    if not path or not isinstance(path[-1], GetAttrKey):
        return None
    for key in path[:-1]:
        try:
            match key:
                case GetAttrKey(name=name):
                    node = getattr(node, name)
                case DictKey(key=name) | SequenceKey(idx=name):
                    node = node[name]
                case _:
                    return None
        except (AttributeError, LookupError, TypeError):
            # A node of someone's own, whose keys are no way to its children.
            return None
    read = _parameters(node).get(path[-1].name)
    if read is None:
        return None
    axes = read(node)
    stacked = rank - len(axes.all)
    if stacked < 0:
        return None
    move = lambda part: tuple(i + stacked for i in part)  # noqa: E731
    return Axes(tuple(range(stacked)), move(axes.window), move(axes.inputs), move(axes.outputs))


def _parameters(layer: Any) -> dict[str, Read]:
    for cls in type(layer).__mro__:
        if cls.__module__.startswith("equinox.nn.") and cls.__name__ in TYPES:
            return TYPES[cls.__name__]
    return {}
