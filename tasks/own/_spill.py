"""Batches joined as they come: in memory, or in a file once they are too many."""

import secrets
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np

from learned_opt._checks import shown
from learned_opt._files import cache_folder

from .._identity import array_hash
from ._digest import content_order


class Spill:
    """Joins batches; a `with` block, at whose end the files of a join that failed are gone.

    The files of one that went well are kept in the cache folder under the hash of their contents,
    so that data read again is not kept twice.

    Args:
      what: is joined, for messages.
      memory: bytes that are held in memory.
    """

    def __init__(self, what: str, memory: int) -> None:
        self._what, self._memory = what, memory
        self._parts: list[list[np.ndarray]] = []
        self._bytes, self._count = 0, 0
        self._kinds: Any = None
        self._structure: Any = None
        self._folder = cache_folder() / "own" / f".{secrets.token_hex(8)}"
        self._files: list[BinaryIO] = []

    def __enter__(self) -> "Spill":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files:
            file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def filling(self) -> bool:
        """Whether half of what was free on the disk, or more, is taken by it."""
        return bool(self._files) and self._bytes > shutil.disk_usage(self._folder).free

    def add(self, tree: Any, kinds: Any) -> None:
        """The next batch, a tree of arrays."""
        leaves, structure = jax.tree.flatten(tree)
        if self._kinds is None:
            self._kinds, self._structure = kinds, structure
        if kinds != self._kinds:
            raise ValueError(
                f"all batches of {self._what} must have one structure, shape of an example and "
                f"dtype, got {shown(self._kinds)} and then {shown(kinds)}"
            )
        if not self._parts:
            self._dtypes = [jax.dtypes.canonicalize_dtype(leaf.dtype) for leaf in leaves]
        # A copy: a loader may use the memory of a batch for the next one.
        part = [np.array(x, dtype) for x, dtype in zip(leaves, self._dtypes, strict=True)]
        self._bytes += sum(x.nbytes for x in part)
        self._count += len(part[0])
        self._parts.append(part)
        if self._bytes > self._memory:
            self._write()

    def joined(self) -> Any:
        """All batches as one tree of arrays, mapped from files where they were too many.

        In memory in an order of their own, so that a loader that shuffles gives the same data every
        time.
        """
        if not self._files:
            columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
            order = content_order(columns)
            return self._structure.unflatten([column[order] for column in columns])
        self._write()
        shapes = [(self._count, *part.shape[1:]) for part in self._last]
        for file in self._files:
            file.close()
        folder, self._files = self._keep(shapes), []
        return self._structure.unflatten(self._mapped(folder, shapes))

    def _write(self) -> None:
        if not self._files:
            self._folder.mkdir(parents=True, exist_ok=True)
            count = len(self._parts[0])
            self._files = [(self._folder / f"{i}.bin").open("wb") for i in range(count)]
        for part in self._parts:
            for file, x in zip(self._files, part, strict=True):
                file.write(np.ascontiguousarray(x).data)
            self._last = part
        self._parts = []

    def _mapped(self, folder: Path, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        return [
            np.memmap(folder / f"{i}.bin", dtype, "r", shape=shape)
            for i, (dtype, shape) in enumerate(zip(self._dtypes, shapes, strict=True))
        ]

    def _keep(self, shapes: list[tuple[int, ...]]) -> Path:
        hashes = [array_hash(leaf) for leaf in self._mapped(self._folder, shapes)]
        folder = self._folder.with_name("-".join(h[:16] for h in hashes))
        try:
            self._folder.rename(folder)
        except OSError:
            if not folder.exists():  # else it was read before
                raise
        return folder
