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
            f"state must be that of this optimizer, got averages of another: {type(elements)}; "
            "call init, or restore the state that was saved with this optimizer"
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
            have = None if x is None else (leaf_shape(x), leaf_dtype(x))
            if have != (like.shape, like.dtype):
                got = "nothing" if have is None else f"{have[1]}{list(have[0])}"
                raise ValueError(
                    f"state must belong to these params, got {got} for "
                    f"{like.dtype}{list(like.shape)} at {path_name(path)}; {_CURES['state']}"
                )
    return rows


def match_rows(tree: Any, wanted: Any) -> None:
    """ValueError unless the arrays of `tree` have the shapes of those of `wanted`."""
    have = jax.tree.map(leaf_shape, tree)
    want = jax.tree.map(leaf_shape, wanted)
    if have != want:
        raise ValueError(
            f"state must belong to these params, got rows of tensors {have} for {want}; "
            f"{_CURES['state']}"
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
