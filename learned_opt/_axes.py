"""Meshes with explicit axis types, whose shardings are part of an array's type.

Where JAX cannot tell the type of a result it is said here; other arrays pass through as they are.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec, auto_axes, reshard


def sharded_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """x with the sharding of `other`, an array of its shape."""
    return reshard(x, jax.typeof(other).sharding) if _explicit_axes(other) else x


def replicated(x: jax.Array) -> jax.Array:
    """x whole on every device."""
    mesh = jax.typeof(x).sharding.mesh
    return reshard(x, NamedSharding(mesh, PartitionSpec())) if _explicit_axes(x) else x


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


def _explicit_axes(x: jax.Array) -> tuple[str, ...]:
    return jax.typeof(x).sharding.mesh.explicit_axes
