"""The axes of the parameters of Flax's and Haiku's layers, by their names and shapes.

Neither is imported. A layer is a path that leads to leaves. Whether it is stacked, for a scan over
layers say, its own shapes show where it has a kernel and a bias; otherwise its neighbours' do.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.tree_util import FlattenedIndexKey, GetAttrKey

from ._layout import Axes, Layout

Path = tuple[str, ...]
Shape = tuple[int, ...]
Leaf = tuple[Path, Shape]
Layers = Mapping[Path, Mapping[str, Shape]]


class Names(NamedTuple):
    """What a framework calls its parameters.

    `kernels`: (*window, in, out); `biases`: of kernels, beside them; `norms`: other vectors;
    `embeddings`: of which rows are looked up.
    """

    kernels: Path
    biases: Path
    norms: Path
    embeddings: Path


FLAX = Names(("kernel",), ("bias",), ("scale", "bias"), ("embedding",))
HAIKU = Names(("w", "w_i", "w_h"), ("b",), ("scale", "offset"), ("embeddings",))
BOTH = Names(*(a + b for a, b in zip(FLAX, HAIKU, strict=True)))

LAYER_STACK = "__layer_stack"
"""How the names of Haiku's `layer_stack` begin."""
PROJECTIONS = ("query", "key", "value")
"""Flax's layers that make heads, each with a kernel (in, heads, size); "out" takes them back."""


class _Kind(NamedTuple):
    """Of a layer: how many leading axes are a stack; how many outputs a kernel of it has.

    `transposed`: (*window, out, in), as some transposed convolutions are.
    """

    stacked: int
    outputs: int = 1
    transposed: bool = False


def path_of(path: Any) -> Path:
    """Names on the way to a leaf: those of Haiku's modules in parts, boxes of Flax left out."""
    return tuple(jax.tree_util.keystr(unboxed(path), simple=True, separator="/").split("/"))


def unboxed(path: Any) -> Any:
    """The path to a leaf, or to the box of Flax that holds it alone."""
    if len(path) > 1 and (path[-1] == GetAttrKey("value") or type(path[-1]) is FlattenedIndexKey):
        return path[:-1]
    return path


def read_names(leaves: Sequence[Leaf], names: Names, *, sure: bool) -> list[Axes | None]:
    """The axes of every leaf; None where its name says nothing.

    Args:
      leaves: paths and shapes.
      names: those of one framework, or of several.
      sure: None also where names leave a doubt; otherwise what such a leaf usually is.
    """
    layers: dict[Path, dict[str, Shape]] = {}
    for path, shape in leaves:
        layers.setdefault(path[:-1], {})[path[-1]] = shape
    kinds = {path: list(dict.fromkeys(_alone(path, layers, names))) for path in layers}
    kinds |= _blocks_of_norms(layers, kinds, names)
    stacks = _under(layers, lambda path: _stacks(layers[path], kinds[path]))
    chosen = {path: _chosen(path, layers[path], kinds[path], stacks) for path in layers}
    return [
        _leaf_axes(path, shape, chosen[path[:-1]], layers, names, sure) for path, shape in leaves
    ]


def _alone(path: Path, layers: Layers, names: Names) -> Iterator[_Kind]:
    """What a layer can be by what it holds: nothing if it does not show."""
    layer, kernel = layers[path], _kernel(layers[path], names)
    stacks = sum(part.startswith(LAYER_STACK) for part in path)
    bias = next((layer[name] for name in names.biases if name in layer), None)
    if kernel is None:
        ranks = {len(layer[x]) for x in names.norms if x in layer}
        ranks |= {len(layer[x]) - 1 for x in names.embeddings if x in layer}
        if ranks == {1}:
            yield _Kind(0)
        elif stacks:
            yield _Kind(stacks)
        return
    found = [] if bias is None else _fits(kernel, bias) or _fits(kernel, _channels(bias))
    if _makes_heads(path, layers):
        found = [_Kind(len(kernel) - 3, 2)]
    elif _takes_heads(path, layers):
        found = [_Kind(len(kernel) - 3)]
    elif bias is None and (len(kernel) < 3 or stacks):
        found = [_Kind(stacks)]
    elif stacks:
        found = [x for x in found if x.stacked == stacks]
    # Haiku's are (*window, out, in).
    back = "w" in layer and "transpose" in "".join(path[-1:])
    for x in found:
        yield x._replace(transposed=True) if back and len(kernel) - x.stacked > 2 else x


def _kernel(layer: Mapping[str, Shape], names: Names) -> Shape | None:
    return next((layer[name] for name in names.kernels if name in layer), None)


def _fits(kernel: Shape, bias: Shape) -> list[_Kind]:
    """The layers that have a kernel and a bias of these shapes."""
    found = []
    for stacked in range(len(bias)):
        outputs, sides = len(bias) - stacked, len(kernel) - stacked
        if kernel[:stacked] != bias[:stacked] or sides <= outputs:
            continue
        if kernel[-outputs:] == bias[stacked:]:
            found.append(_Kind(stacked, outputs))
        elif outputs == 1 and sides > 2 and kernel[-2] == bias[stacked]:
            found.append(_Kind(stacked, 1, transposed=True))
    return found


def _channels(bias: Shape) -> Shape:
    """Without the window, where channels come first: (out, 1, 1)."""
    while len(bias) > 1 and bias[-1] == 1:
        bias = bias[:-1]
    return bias


def _makes_heads(path: Path, layers: Layers) -> bool:
    """Whether it is a query, key or value with a kernel (..., in, heads, size)."""
    if not path or path[-1] not in PROJECTIONS:
        return False
    layer, out = layers[path], layers.get((*path[:-1], "out"), {})
    kernel, back, bias = layer.get("kernel", ()), out.get("kernel"), layer.get("bias")
    if len(kernel) < 3 or (bias is not None and bias[-2:] != kernel[-2:]):
        return False
    return back is None or (len(back) == len(kernel) and back[-3:-1] == kernel[-2:])


def _takes_heads(path: Path, layers: Layers) -> bool:
    """Whether it is the "out", with a kernel (..., heads, size, out), of three such."""
    beside = [(*path[:-1], name) for name in PROJECTIONS]
    back = path[-1:] == ("out",) and len(layers[path].get("kernel", ())) > 2
    return back and all(x in layers and _makes_heads(x, layers) for x in beside)


def _under(layers: Layers, tell: Callable[[Path], set[Any]]) -> dict[Path, set[Any]]:
    """For every part of the tree what its layers tell."""
    found = defaultdict(set)
    for path in layers:
        told = tell(path)
        for end in range(len(path) + 1):
            found[path[:end]] |= told
    return found


def _blocks_of_norms(
    layers: Layers, kinds: Mapping[Path, list[_Kind]], names: Names
) -> dict[Path, list[_Kind]]:
    """Norms of rank 2 beside kernels of rank 3 or more, all of the same first side: a stack.

    For blocks without biases, of which nothing else shows it.
    """
    ranks = _under(
        layers, lambda path: {len(x) for name, x in layers[path].items() if name in names.kernels}
    )
    firsts = _under(
        layers, lambda path: {x[0] if len(x) > 1 else None for x in layers[path].values()}
    )
    found = {}
    for path, layer in layers.items():
        flat = all(len(shape) == 2 for shape in layer.values())
        if kinds[path] or not flat or not any(name in names.norms for name in layer):
            continue
        parts = [path[:end] for end in range(len(path) - 1, -1, -1)]
        block = next((part for part in parts if ranks[part]), ())
        same = len(firsts[block]) == 1 and None not in firsts[block]
        if same and min(ranks[block], default=0) > 2:
            found[path] = [_Kind(1)]
    return found


def _chosen(
    path: Path, layer: Mapping[str, Shape], kinds: list[_Kind], stacks: Mapping[Path, set[Shape]]
) -> _Kind | None:
    """The only kind that a layer can be, alone or else as its nearest neighbours are stacked."""
    if len(kinds) == 1:
        return kinds[0]
    near = next(
        (stacks[path[:end]] for end in range(len(path), -1, -1) if stacks[path[:end]]), set()
    )
    if len(near) != 1:
        return None
    (stack,) = near
    if any(shape[: len(stack)] != stack for shape in layer.values()):
        return None
    if not kinds:
        return _Kind(len(stack)) if stack else None
    left = [x for x in kinds if x.stacked == len(stack)]
    return left[0] if len(left) == 1 else None


def _stacks(layer: Mapping[str, Shape], kinds: list[_Kind]) -> set[Shape]:
    """The sizes of the stack that a layer is, where that is clear."""
    return {next(iter(layer.values()))[: kinds[0].stacked]} if len(kinds) == 1 else set()


def _leaf_axes(
    path: Path, shape: Shape, kind: _Kind | None, layers: Layers, names: Names, sure: bool
) -> Axes | None:
    name, layer, stacked = path[-1], layers[path[:-1]], kind.stacked if kind else 0
    if name in names.kernels:
        if kind is None and (sure or any(x in layer for x in names.biases)):
            return None
        return _kernel_axes(len(shape), kind or _Kind(0), _takes_heads(path[:-1], layers))
    beside = name in names.biases and _kernel(layer, names) is not None
    alone = name in (*names.norms, *names.embeddings) or (name in names.biases and not sure)
    if not beside and not alone:
        return _of_a_stack(shape, stacked) if stacked else None
    if sure and not beside and not stacked and Layout(shape).axes is None:
        return None
    axes = tuple(range(len(shape)))
    return Axes(batch=axes[:stacked], outputs=axes[stacked:])


def _kernel_axes(rank: int, kind: _Kind, takes_heads: bool) -> Axes | None:
    axes = tuple(range(rank))
    batch, last = axes[: kind.stacked], axes[-kind.outputs :]
    first = axes[kind.stacked : -kind.outputs]
    if not first:
        return None
    if kind.transposed:
        return Axes(batch, first[:-1], last, first[-1:])
    if takes_heads or kind.outputs > 1:
        return Axes(batch, (), first, last)
    return Axes(batch, first[:-1], first[-1:], last)


def _of_a_stack(shape: Shape, stacked: int) -> Axes:
    """A leaf of a name of its own in a stacked layer."""
    move = lambda axes: tuple(i + stacked for i in axes)  # noqa: E731
    one = Layout(shape[stacked:]).axes or Axes(outputs=tuple(range(len(shape) - stacked)))
    return Axes(tuple(range(stacked)), move(one.window), move(one.inputs), move(one.outputs))
