"""How many training runs go into one compiled call."""

import math
from collections.abc import Sequence
from typing import Any

import jax

from learned_opt.devices import device_memory

MEMORY_SHARE = 0.25
"""Of the memory of the machine, or of an accelerator, that the runs of one call may fill."""

CACHE = 4e6
"""Bytes that the runs of one CPU device may hold: what overflows its caches is slower a run."""

FEWEST, MOST = 5, 18
"""Runs a CPU device whatever they hold, so that ten seeds are one call on two cores; and at most:
more of them together are no faster."""

MOST_ACCELERATOR = 1024
"""Runs an accelerator at most."""

COMPILE, COMPILE_ACCELERATOR = 1.5e10, 1e12
"""What it takes to compile a program, as bytes of a training step x steps x runs: what running
takes. Within a few times of it on a CPU; that of an accelerator was not measured."""


def runs_per_call(asked: Sequence[tuple[int, int]], most: int, step: int) -> int:
    """Runs a call for the last of the groups of runs that a kind of program was asked for.

    As many as for a group before it, unless another number would save more, by the places that it
    does not leave empty, than its compilation takes. It depends on sizes alone: neither on what is
    compiled already nor on how long that took, or the runs of an evaluation that was interrupted
    would differ, by rounding, from those of one that was not.

    Args:
      asked: of each group its runs, also those that were there and do not run, and their steps.
      most: runs a call that are useful.
      step: bytes that a run holds in a training step.
    """
    compilation = COMPILE if jax.default_backend() == "cpu" else COMPILE_ACCELERATOR
    chosen: set[int] = set()
    width = 1
    for runs, steps in asked:
        prices = {
            width: math.ceil(runs / width) * width * steps * step
            + compilation * (width not in chosen)
            for width in {even_width(runs, most), *chosen}
        }
        width = min(prices, key=lambda width: (prices[width], -width))
        chosen.add(width)
    return width


def even_width(runs: int, most: int) -> int:
    """Runs a call: the fewest calls of at most `most` runs, all alike, whole devices."""
    devices = jax.device_count()
    most = max(1, most // devices * devices or most)
    width = math.ceil(runs / math.ceil(runs / most))
    return min(most, math.ceil(width / devices) * devices)


def useful_width(step: int, evaluation: int) -> int:
    """Runs a call that fit into memory and are still faster together.

    Args:
      step, evaluation: bytes that a run holds in a training step, and in an evaluation.
    """
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
    first, *others = jax.local_devices()
    # Devices on the CPU share its memory.
    count = 1 if first.platform == "cpu" else 1 + len(others)
    return MEMORY_SHARE * count * device_memory(first)
