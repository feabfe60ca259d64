"""How many training runs go into one compiled call."""

import math
import os
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import jax

MEMORY_SHARE = 0.25
"""Of the memory of the machine, or of an accelerator, that the runs of one call may fill."""

CACHE = 4e6
"""Bytes that the runs of one CPU device may hold: what overflows its caches is slower a run."""

FEWEST, MOST = 4, 18
"""Lanes a CPU device whatever they hold, and at most: more of them are no faster a run."""

MOST_ACCELERATOR = 1024
"""Lanes an accelerator at most."""


class Programs:
    """Compiled programs by kind and width, and what they cost.

    `compile_seconds`: spent on compiling so far.

    Args:
      function: jitted; its first arguments are static.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.compile_seconds = 0.0
        self._compiled: dict[Hashable, dict[int, Any]] = {}
        self._one_more: dict[Hashable, float] = {}
        self._lane_seconds: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._compiled.values()))

    def width(self, kind: Hashable, runs: int, most: int) -> int:
        """Lanes of the next call when `runs` are left and at most `most` are useful.

        A width that is compiled already, unless a fitting one would save more time, by the lanes
        that it does not leave empty, than its compilation takes.
        """
        fresh = balanced(runs, most)
        ready = self._compiled.get(kind)
        if not ready:
            return fresh

        def seconds(width: int) -> float:
            lanes = math.ceil(runs / width) * width
            return lanes * self._lane_seconds[kind] + (width not in ready) * self._one_more[kind]

        return min({fresh, *ready}, key=lambda width: (seconds(width), -width))

    def run(self, kind: Hashable, width: int, static: tuple[Any, ...], *arguments: Any) -> Any:
        """The function's results on the host; compiles what is new."""
        programs = self._compiled.setdefault(kind, {})
        if width not in programs:
            tick = time.perf_counter()
            programs[width] = self.function.lower(*static, *arguments).compile()
            self._one_more[kind] = time.perf_counter() - tick
            self.compile_seconds += self._one_more[kind]
        tick = time.perf_counter()
        results = jax.device_get(programs[width](*arguments))
        self._lane_seconds[kind] = (time.perf_counter() - tick) / width
        return results


def balanced(runs: int, most: int) -> int:
    """Lanes a call: the fewest calls of at most `most` lanes, all alike, whole devices."""
    devices = jax.device_count()
    most = max(1, most // devices * devices or most)
    width = math.ceil(runs / math.ceil(runs / most))
    return min(most, math.ceil(width / devices) * devices)


def useful_lanes(one_lane: Callable[..., tuple[Any, Any]], family: Any, task: Any) -> int:
    """Runs a call that fit into memory and are still faster together.

    Args:
      one_lane: (family, task, key) -> what a run holds in a training step, and in an evaluation;
        only its shapes are taken.
      family, task: what it is called with.
    """
    step, evaluation = map(tree_bytes, jax.eval_shape(one_lane, family, task, jax.random.key(0)))
    devices = jax.device_count()
    if jax.default_backend() == "cpu":
        each = min(MOST, max(FEWEST, int(CACHE // step)))
    else:
        each = MOST_ACCELERATOR
    return max(1, min(each * devices, int(memory_budget() // (step + evaluation))))


def tree_bytes(shapes: Any) -> int:
    """Bytes of all arrays of a tree."""
    leaves = [x for x in jax.tree.leaves(shapes) if hasattr(x, "dtype")]
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in leaves)


def memory_budget() -> float:
    """Bytes for the runs of one call: MEMORY_SHARE of what there is."""
    if jax.default_backend() != "cpu":
        stats = jax.local_devices()[0].memory_stats() or {}
        if "bytes_limit" in stats:
            return MEMORY_SHARE * stats["bytes_limit"] * jax.local_device_count()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return MEMORY_SHARE * total
