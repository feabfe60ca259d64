"""Sets larger than the device: the examples of whole unrolls, read ahead from the host's disk.

Own code, because `grain` (0.2.18) costs Python time for every record and doubles the training step
of a small MLP; one gather from a mapped file adds under 3 % (`python -m benchmarks.stream`).
"""

import dataclasses
import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from .._base import Batch, Spec
from ._dataset import Dataset, split_index

STATISTICS = 10_000
"""Training examples that the mean and the deviation are measured on, at most."""
ALIGNMENT = 64


class Stream:
    """Labelled uint8 examples that stay on disk, given out as a `Dataset` at a time.

    Each `Dataset` has the same held-out splits, those that `split_dataset` cuts, and as `train`
    one *window*: the examples of one whole unroll. Shapes never change, so one compiled program
    takes all windows:

        with Stream("cifar10", *decoded("cifar10"), window=unroll * batch_size) as stream:
            for step in range(steps):
                state = program(dataclasses.replace(family, data=stream.next_dataset()), state)

    Windows are cut from an endless row of epochs: every training example once, in an order that
    depends on (`seed`, epoch) alone. Of n processes, process i has the examples i, i + n, i + 2n,
    ... of the row, so that they share each epoch without overlap and stay level. Within a window
    examples lie in the order of the file, which is read in one sweep.

    A window depends on (`seed`, `process_index`, `process_count`, `position`) alone, where
    `position` counts the windows given out. It is all there is to save: a stream made with it, or
    sent there by `seek`, goes on bit for bit.

    A background thread reads and transfers `ahead` windows ahead. An error in it is raised by
    `next_dataset`, which may be called again. The thread ends with `close`, the end of a `with`
    block, the stream itself or the program.

    Args:
      name: for people and provenance.
      x: (n, ...) uint8, as a rule mapped from disk (`np.load(path, mmap_mode="r")`).
      y: (n,) labels, of any integer type; kept in memory as int32.
      window: examples of an unroll: its steps x the batch size.
      seed: of the order.
      position: windows already consumed.
      ahead: windows to hold ready, on the device.
      process_index, process_count: which share of how many; those of JAX by default.
      sharding: of windows and held-out splits; None is JAX's default device.

    Attributes:
      held_out: the `Dataset` without `train`, for what needs no window.

    Raises:
      ValueError: an argument is not as said above.

    Example:
      >>> pixels = np.arange(120, dtype=np.uint8).reshape(120, 1)
      >>> with Stream("ramp", pixels, np.arange(120) % 2, window=10) as stream:
      ...     data = stream.next_dataset()
      >>> data.splits["train"].x.shape, stream.position
      ((10, 1), 1)
    """

    def __init__(
        self,
        name: str,
        x: np.ndarray,
        y: np.ndarray,
        *,
        window: int,
        seed: int = 0,
        position: int = 0,
        ahead: int = 2,
        process_index: int | None = None,
        process_count: int | None = None,
        sharding: jax.sharding.Sharding | None = None,
    ) -> None:
        self.name, self.window, self.seed, self.ahead = name, window, seed, ahead
        self.process_index = jax.process_index() if process_index is None else process_index
        self.process_count = jax.process_count() if process_count is None else process_count
        _at_least(1, window=window, ahead=ahead, process_count=self.process_count)
        _at_least(0, seed=seed, position=position, process_index=self.process_index)
        if self.process_index >= self.process_count:
            raise ValueError(
                f"process_index must be below process_count, {self.process_count}, got "
                f"{self.process_index}; processes are counted from 0"
            )
        _check_arrays(name, x, y)
        self._x, self._y, self._sharding = x, np.asarray(y).astype(np.int32), sharding
        index = split_index(self._y)
        self._train = index.pop("train")
        known = np.asarray(x[np.sort(self._train[:STATISTICS])])
        splits = {split: self._gather(rows) for split, rows in index.items()}
        spec = Spec("label", tuple(x.shape[1:]), int(self._y.max()) + 1)
        mean, std = (jax.device_put(np.float32(s), sharding) for s in (known.mean(), known.std()))
        self.held_out = Dataset(name, spec, splits, mean, std)
        self._order: tuple[int, np.ndarray] = (-1, self._train)
        self._position = int(position)
        self._ready: dict[int, Future[Batch]] = {}
        # One thread, so that windows are read in turn and `_order` needs no lock.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"stream {name}")
        # Started here: a pool interrupted as it starts its thread forgets it.
        self._thread.submit(int).result()
        self._closed = False

    @property
    def position(self) -> int:
        """Windows consumed."""
        return self._position

    def seek(self, position: int) -> None:
        """Make `position` the next window.

        Raises:
          ValueError: it is not an integer of at least 0.
        """
        _at_least(0, position=position)
        for window in self._ready.values():
            window.cancel()
        self._ready = {}
        self._position = int(position)

    def next_dataset(self) -> Dataset:
        """The next window as `train`, beside the held-out splits; waits until it is there.

        Raises:
          RuntimeError: the stream is closed.
          Exception: what reading the window raised; `position` is as before.
        """
        if self._closed:
            raise RuntimeError(
                f"the stream of {self.name} is closed; make another with position={self.position}"
            )
        self._read_ahead()
        try:
            window = self._ready[self._position].result()
        except Exception:
            self.seek(self._position)  # so that the next call reads anew
            raise
        self._ready.pop(self._position)
        self._position += 1
        self._read_ahead()
        splits = {"train": window, **self.held_out.splits}
        return dataclasses.replace(self.held_out, splits=splits)

    def close(self) -> None:
        """End the background thread and let go of what it has read."""
        self._closed = True
        self.seek(self._position)
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_ahead(self) -> None:
        for position in range(self._position, self._position + self.ahead):
            if position not in self._ready:
                self._ready[position] = self._thread.submit(self._read, position)

    def _read(self, position: int) -> Batch:
        return jax.block_until_ready(self._gather(self._rows(position)))

    def _gather(self, rows: np.ndarray) -> Batch:
        pixels = _aligned((len(rows), *self._x.shape[1:]))
        # mode="raise" would gather into a buffer first; the rows are known to be there.
        np.take(self._x, rows, axis=0, out=pixels, mode="clip")
        return Batch(*jax.device_put((pixels, self._y[rows]), self._sharding))

    def _rows(self, position: int) -> np.ndarray:
        """Rows of the file in the window at `position`: (window,) ascending."""
        dealt = np.arange(position * self.window, (position + 1) * self.window)
        epochs, places = np.divmod(
            self.process_index + self.process_count * dealt, len(self._train)
        )
        parts = [self._epoch(int(e))[places[epochs == e]] for e in np.unique(epochs)]
        return np.sort(np.concatenate(parts))

    def _epoch(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            seeds = np.random.SeedSequence(self.seed, spawn_key=(epoch,))
            self._order = epoch, np.random.default_rng(seeds).permutation(self._train)
        return self._order[1]


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Empty uint8 at an address from which JAX on CPU takes arrays over without a copy."""
    size = math.prod(shape)
    room = np.empty(size + ALIGNMENT, np.uint8)
    return room[-room.ctypes.data % ALIGNMENT :][:size].reshape(shape)


def _check_arrays(name: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.dtype != np.uint8:
        raise ValueError(
            f"the examples x of {name} must be uint8, got {x.dtype}; a table of floats fits on the "
            "device: use split_dataset"
        )
    if not len(x):
        raise ValueError(f"the array x of {name} must hold an example, got shape {x.shape}")
    if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"the labels y of {name} must be integers of shape {tuple(x.shape[:1])}, one an "
            f"example, got {y.dtype} of shape {tuple(y.shape)}"
        )


def _at_least(least: int, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
