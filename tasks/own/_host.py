"""Which training examples a minibatch has, and how it gets them where they stay on the host."""

import functools
from typing import Any

import jax
import numpy as np

from .._identity import Known, array_hash
from ._digest import file_hash


def draw(seed: Any, size: int, count: int) -> Any:
    """Indices below `count`, (..., size) int32, drawn with replacement from a seed (..., 2) uint32.

    Of a NumPy seed in NumPy, of a JAX seed in JAX, and the same ones: each is a hash of the seed
    and of its own place, 64 bits of it, of which the remainder is taken as `jax.random.randint`
    does. The hash: MurmurHash3's last step (Appleby 2011), twice for each half.
    """
    place = np.arange(size, dtype=np.uint32).reshape([1] * (seed.ndim - 1) + [size])
    most = np.uint32(count)
    low = _mix(_mix(place * np.uint32(0x9E3779B9) + seed[..., :1]) + seed[..., 1:])
    high = _mix(_mix(low ^ seed[..., :1]) + (place ^ seed[..., 1:]))
    # (high 2^32 + low) mod count: exactly up to 2^16, and beyond but for what overflows.
    scale = np.uint32(pow(2, 32, count))
    return ((high % most * scale + low % most) % most).astype(np.int32)


def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


class HostExamples(Known):
    """Examples that stay in files; a program on the device is handed those of its minibatch.

    Which these are is known from a seed, as with examples on the device. So a minibatch depends on
    its random key alone, there is no position to be saved, and a run is that of the same data in
    memory bit for bit. Where many runs go side by side there is one call of the host for all.

    The seed crosses over, and not the indices: on CPU an argument of over 100 kB is copied by the
    very threads that wait for the host, and everything stands still.

    Args:
      tree: arrays whose first axis is that of examples, as a rule mapped from files.
      rows: those that may be drawn; None: all.
    """

    def __init__(self, tree: Any, rows: np.ndarray | None = None) -> None:
        self._leaves, self._structure = jax.tree.flatten(tree)
        self._rows = rows
        self._count = len(self._leaves[0]) if rows is None else len(rows)
        self._dtypes = [jax.dtypes.canonicalize_dtype(leaf.dtype) for leaf in self._leaves]

    @functools.cached_property
    def known_by(self) -> Any:
        """Hashes of the arrays, those of files from the cache folder, and of what may be drawn."""
        rows = None if self._rows is None else array_hash(self._rows)
        return [str(self._structure), [file_hash(leaf) for leaf in self._leaves], rows]

    def take(self, seed: jax.Array, size: int) -> Any:
        """Examples (size, ...) of `draw`, inside `jit` and `vmap`."""
        shapes = [
            jax.ShapeDtypeStruct((size, *leaf.shape[1:]), dtype)
            for leaf, dtype in zip(self._leaves, self._dtypes, strict=True)
        ]

        def gather(seed: Any) -> list[np.ndarray]:
            index = draw(np.asarray(seed), size, self._count)
            rows = index if self._rows is None else self._rows[index]
            return [
                np.asarray(leaf[rows]).astype(dtype, copy=False)
                for leaf, dtype in zip(self._leaves, self._dtypes, strict=True)
            ]

        taken = jax.pure_callback(gather, shapes, seed, vmap_method="expand_dims")
        return self._structure.unflatten(taken)
