"""Trees that must be alike: parameters, gradients and what a state holds of them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

Shape = tuple[int, ...]


def check_params(params: Any) -> None:
    """A ValueError that names the first leaf of `params` a learned optimizer cannot update."""
    if params is None:
        raise ValueError(
            "params must be passed to a learned optimizer, got None; "
            "call update(grads, state, params)"
        )
    for path, leaf in jax.tree.leaves_with_path(params):
        name = path_name(path)
        if not _is_number(leaf):
            raise ValueError(
                f"every parameter must be an array, got {type(leaf).__name__} at {name}; "
                "pass arrays alone, of an Equinox module eqx.filter(model, eqx.is_inexact_array)"
            )
        dtype = leaf_dtype(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"every parameter must be floating point, got {dtype} at {name}; "
                "exclude it with optax.masked or optax.partition"
            )
        if 0 in leaf_shape(leaf):
            raise ValueError(
                f"every parameter must hold at least one number, got shape {leaf_shape(leaf)} "
                f"at {name}; remove it or exclude it with optax.masked"
            )


def match_gradients(params: Any, updates: Any) -> list[Any]:
    """The gradient of every leaf of `params`, None where it is None.

    Raises:
      ValueError: another structure, or a gradient of another shape or not floating point; it
        names the first.
    """
    grads = _leaves_like("updates", params, updates)
    for (path, p), g in zip(jax.tree.leaves_with_path(params), grads, strict=True):
        if g is None:
            continue
        if not _is_number(g) or not jnp.issubdtype(leaf_dtype(g), jnp.floating):
            got = leaf_dtype(g) if _is_number(g) else type(g).__name__
            raise ValueError(
                f"every gradient must be a floating point array, got {got} at {path_name(path)}; "
                "pass the gradients of the loss, None for a frozen parameter"
            )
        if leaf_shape(g) != leaf_shape(p):
            raise ValueError(
                f"updates must have the shapes of params, got {leaf_shape(g)} for "
                f"{leaf_shape(p)} at {path_name(path)}; pass the gradients of these parameters"
            )
    return grads


def split_state(like: Any, elements: Any) -> list[Any]:
    """The trees in `elements`, in the places of the leaves of `like`; ValueError for others."""
    try:
        return like.flatten_up_to(elements)
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"state must be that of this optimizer, got averages {_outline(elements)} for "
            f"{_outline(like.unflatten(['*'] * like.num_leaves))}; {_CURES['state']}"
        ) from None


def match_state(
    params: Any, fields: Sequence[Any], wanted: Sequence[Sequence[jax.ShapeDtypeStruct]]
) -> list[list[Any]]:
    """For every leaf of `params` what each tree of `fields` has in its place, checked.

    Args:
      params: whose structure each tree must have.
      fields: trees.
      wanted: for every leaf the shapes and dtypes, one for each tree.

    Raises:
      ValueError: it names the first difference, its path, shape or dtype.
    """
    columns = [_leaves_like("state", params, tree) for tree in fields]
    rows = [[column[i] for column in columns] for i in range(len(wanted))]
    paths = jax.tree.leaves_with_path(params)
    for (path, _), row, likes in zip(paths, rows, wanted, strict=True):
        for x, like in zip(row, likes, strict=True):
            got, expected = leaf_type(x), leaf_type(like)
            if got != expected:
                raise ValueError(
                    f"state must belong to these params, got {got} for {expected} at "
                    f"{path_name(path)}; {_CURES['state']}"
                )
    return rows


def match_memory(state: Any, wanted: Any) -> None:
    """ValueError that names the first array of `state` that is not as in `wanted`."""
    have, want = (jax.tree.leaves_with_path(tree) for tree in (state, wanted))
    for (path, x), (other, like) in zip(have, want, strict=False):
        got, expected = leaf_type(x), leaf_type(like)
        if path != other or got != expected:
            raise ValueError(
                f"state must be that of this optimizer for these params, got {got} at "
                f"{path_name(path)} for {expected} at {path_name(other)}; {_CURES['state']}"
            )
    if jax.tree.structure(state) != jax.tree.structure(wanted):
        raise ValueError(
            "state must be that of this optimizer, got "
            f"{len(have)} arrays beside the averages for {len(want)}; {_CURES['state']}"
        )


def path_name(path: Any) -> str:
    """As an expression after the name of the tree."""
    return jax.tree_util.keystr(path) or "the only leaf"


def leaf_shape(leaf: Any) -> Shape:
    """Of an array, a number, or anything that tells its shape."""
    return tuple(leaf.shape) if hasattr(leaf, "shape") else jnp.shape(leaf)


def leaf_dtype(leaf: Any) -> Any:
    """Of an array, a number, or anything that tells its dtype."""
    return jnp.dtype(leaf.dtype) if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def leaf_type(leaf: Any) -> str:
    """Dtype and shape of what may be None, for messages: float32[3, 4]."""
    return "nothing" if leaf is None else f"{leaf_dtype(leaf)}{list(leaf_shape(leaf))}"


def _is_number(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") or isinstance(leaf, bool | int | float | complex)


def _leaves_like(name: str, params: Any, tree: Any) -> list[Any]:
    """What `tree` has in the places of the leaves of `params`; ValueError for the first extra."""
    treedef = jax.tree.structure(params)
    try:
        found = treedef.flatten_up_to(tree)
    except (ValueError, TypeError, KeyError):
        raise ValueError(_difference(name, params, tree, treedef)) from None
    for (path, _), x in zip(jax.tree.leaves_with_path(params), found, strict=True):
        if x is not None and not jax.tree_util.all_leaves([x]):
            raise ValueError(
                f"{name} must have the structure of params, got a {type(x).__name__} for one array "
                f"at {path_name(path)}; {_CURES[name]}"
            )
    return found


def _outline(elements: Any) -> str:
    """A named tuple by its name and fields."""
    fields = getattr(elements, "_fields", None)
    return type(elements).__name__ + (f"({', '.join(fields)})" if fields else "")


_CURES = {
    "updates": "pass the gradients of these parameters",
    "state": "call init on these params, or restore the state that was saved with them",
}


def _difference(name: str, params: Any, tree: Any, treedef: Any) -> str:
    """The first path that one of them has alone, in a sentence."""
    ours, theirs = (
        {path_name(path): leaf_shape(x) for path, x in jax.tree.leaves_with_path(t)}
        for t in (params, tree)
    )
    for path, shape in ours.items():
        if path not in theirs:
            others = [p for p in theirs if p not in ours]
            got = f"{others[0]} of shape {theirs[others[0]]}" if others else "nothing"
            what = f"got {got} in place of {path} of shape {shape}"
            break
    else:
        others = [p for p in theirs if p not in ours]
        if others:
            what = f"got {others[0]} of shape {theirs[others[0]]}, which params have not"
        else:
            what = f"got {jax.tree.structure(tree)} for {treedef}"
    return f"{name} must have the structure of params, {what}; {_CURES[name]}"
