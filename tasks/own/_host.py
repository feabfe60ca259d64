"""Training examples that stay in files, or in the host's memory, and are drawn from there."""

from typing import Any

import jax
import numpy as np


class HostExamples:
    """Examples of which a program on the device is handed those that it asks for.

    Which it asks for is drawn on the device, as with examples that are there. So a batch depends on
    its random key alone, there is no position to be saved, and a run is that of the same data in
    memory bit for bit. Where many runs go side by side there is one call of the host for all.

    Args:
      tree: arrays whose first axis is that of examples, as a rule mapped from files.
      rows: those that may be drawn; None: all.
    """

    def __init__(self, tree: Any, rows: np.ndarray | None = None) -> None:
        self._leaves, self._structure = jax.tree.flatten(tree)
        self._rows = rows
        self._dtypes = [jax.dtypes.canonicalize_dtype(leaf.dtype) for leaf in self._leaves]

    def take(self, index: jax.Array) -> Any:
        """Examples (..., n) of an index (n,), inside `jit` and `vmap`."""
        shapes = [
            jax.ShapeDtypeStruct((*index.shape, *leaf.shape[1:]), dtype)
            for leaf, dtype in zip(self._leaves, self._dtypes, strict=True)
        ]
        taken = jax.pure_callback(self._gather, shapes, index, vmap_method="expand_dims")
        return self._structure.unflatten(taken)

    def _gather(self, index: Any) -> list[np.ndarray]:
        index = np.asarray(index)
        rows = index if self._rows is None else self._rows[index]
        return [
            np.asarray(leaf[rows]).astype(dtype, copy=False)
            for leaf, dtype in zip(self._leaves, self._dtypes, strict=True)
        ]
