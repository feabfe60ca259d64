"""Runs of like lengths side by side: a loop over vectorised runs lasts as long as the longest.

On CPU alone: an accelerator has room for all runs at once, and would do group after group.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from learned_opt.tasks import TaskFamily

LEAST = 2**15
"""Parameters of the runs that are vectorised together, at least: of fewer the calls of kernels
take longer than the kernels (`python -m benchmarks.mix`)."""


def group_size(family: TaskFamily, pairs: int) -> int:
    """Pairs of runs to vectorise together: the fewest that divide `pairs` and hold LEAST.

    All of them where they hold less, and where the device is no CPU.
    """
    if jax.default_backend() != "cpu":
        return pairs
    shapes = jax.eval_shape(lambda key: family.sample(key).init(key), jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(shapes))
    least = min(pairs, -(-LEAST // (2 * parameters)))
    return next(n for n in range(least, pairs + 1) if pairs % n == 0)


def map_by_horizon(
    fn: Callable[[Any, jax.Array], Any], rows: Any, horizons: jax.Array, size: int
) -> Any:
    """fn(row, longest) of every row, in their order; by groups of `size`, one after the other.

    Args:
      fn: from a row and the longest horizon in its group (int32) to a tree of arrays.
      rows: tree of arrays with a row for each of `horizons`.
      horizons: int32, (rows,); their number is a multiple of `size`.
      size: rows that are vectorised together, those of like horizons.

    Example:
      >>> import jax.numpy as jnp
      >>> map_by_horizon(lambda row, most: row + most, jnp.arange(4), jnp.array([9, 1, 8, 2]), 2)
      Array([ 9,  3, 11,  5], dtype=int32)
    """

    def group(rows: Any, horizons: jax.Array) -> Any:
        return jax.vmap(fn, in_axes=(0, None))(rows, horizons.max())

    count = horizons.size // size
    if count == 1:
        return group(rows, horizons)
    order = jnp.argsort(horizons)
    parts = jax.tree.map(lambda x: x[order].reshape(count, size, *x.shape[1:]), (rows, horizons))
    done = jax.lax.map(lambda part: group(*part), parts)
    back = jnp.argsort(order)
    return jax.tree.map(lambda x: x.reshape(count * size, *x.shape[2:])[back], done)
