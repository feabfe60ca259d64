"""Meshes with explicit axis types, whose shardings are part of an array's type.

Where JAX cannot tell the type of a result it is said here; other arrays pass through as they are.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import auto_axes, reshard


def sharded_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """x with the sharding of `other`, an array of its shape."""
    return reshard(x, jax.typeof(other).sharding) if _explicit_axes(other) else x


def untyped(fun: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """fun(x), an array sharded like x; how it is sharded in between is the compiler's choice."""
    axes = _explicit_axes(x)
    if not axes:
        return fun(x)
    run: Any = auto_axes(fun, axes=axes, out_sharding=jax.typeof(x).sharding)
    return run(x)


def has_explicit_axes(x: jax.Array) -> bool:
    """Whether the sharding of x is part of its type."""
    return bool(_explicit_axes(x))


def typed(x: jax.Array) -> Hashable:
    """What arrays must agree in to be stacked: sharding and variation, as far as types tell."""
    return (jax.typeof(x).sharding.spec if has_explicit_axes(x) else None), _varying(x)


def varying_like(tree: Any, others: Sequence[jax.Array]) -> Any:
    """The arrays of `tree`, typed as differing between the devices between which `others` do.

    That is inside `jax.shard_map`.
    """
    axes = frozenset().union(*(_varying(x) for x in others))
    return jax.tree.map(lambda x: _vary(x, axes), tree)


def reduced_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """x typed as `other`: where only x differs between devices, its mean over them.

    Of integers and booleans the largest, and so of numbers that must not be averaged away: NaN.
    """
    have, want = _varying(x), _varying(other)
    extra = tuple(have - want)
    if extra:
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        x = jax.lax.pmean(x, extra) if floating else jax.lax.pmax(x, extra)
    return _vary(x, want)


def _vary(x: jax.Array, axes: frozenset[str]) -> jax.Array:
    missing = tuple(axes - _varying(x))
    return jax.lax.pcast(x, missing, to="varying") if missing else x


def _varying(x: jax.Array) -> frozenset[str]:
    """The axes of a mesh along which devices hold different values of x, as far as types tell."""
    kind: Any = jax.typeof(x)
    # As it is called in jax 0.10, and before.
    return kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma


def _explicit_axes(x: jax.Array) -> tuple[str, ...]:
    return jax.typeof(x).sharding.mesh.explicit_axes
