"""How much memory a run needs at least, known from shapes before anything is allocated."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from learned_opt.tasks import inner_init

from ._parse import ConfigError
from ._trainer import Judge, Trainer
from ._unroll import MetaProblem

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says what a container may use."""
UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def check_memory(
    trainer: Trainer, problems: Sequence[MetaProblem], judges: Sequence[Judge]
) -> None:
    """ConfigError if theta, what is kept with it, or the runs side by side cannot fit.

    A lower bound, by `jax.eval_shape`: activations are not counted.
    """
    mesh = problems[0].mesh
    here = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    memory, shared = device_memory(here[0]), here[0].platform == "cpu"

    def check(one: int, spread: int, what: str) -> None:
        """`one`: bytes that every device holds; `spread`: of what the devices share."""
        need = (one + spread // mesh.size) * (len(here) if shared else 1)
        if need > memory:
            raise ConfigError(
                f"{what} would take at least {_size(need)} of memory, "
                f"{'this machine' if shared else 'a device'} has {_size(memory)}: choose smaller "
                "sizes in [optimizer] and [family], or fewer runs in [estimator] and [valid]"
            )

    # Bit by bit: what comes next may itself make arrays of the sizes before.
    key = jax.random.key(0)
    theta = _shapes("optimizer", trainer.optimizer.init, key)
    check(2 * _bytes(theta), 0, "[optimizer]: theta")
    state = _shapes("estimator", trainer.init, tuple(problems))
    rows = sum(
        _bytes(part)
        for one, part in zip(trainer.estimators, state.estimator_states, strict=True)
        if one.row_state
    )
    whole = _bytes(state) - rows + _bytes(tuple(problems))
    check(whole, rows, "the state of meta-training")
    for estimator, problem in zip(trainer.estimators, problems, strict=True):
        run, batch = _run(problem, theta)
        if estimator.row_state:  # counted with the state
            run = 0
        # The two runs of a pair, and the members of a population, see the same minibatches.
        batches = getattr(estimator, "tasks", getattr(estimator, estimator.rows))
        spread = rows + estimator.runs * run + batches * batch
        check(whole, spread, "[estimator]: the runs of an outer step")
    for judge in judges:
        spread = rows + judge.runs * sum(_run(judge.problem, theta))
        check(whole, spread, "[valid]: its runs")


def device_memory(device: Any) -> int:
    """Bytes of a device; of the CPU, those of the machine or container."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int(CGROUP.read_text()))
    except (OSError, ValueError):  # no cgroup, or "max"
        return total


def _run(problem: MetaProblem, theta: Any) -> tuple[int, int]:
    """Bytes of one training run: task, parameters, optimizer; and of a minibatch."""

    def shapes(theta: Any, family: Any, key: jax.Array) -> Any:
        task = family.sample(key)
        tx = problem.transform(theta, jnp.int32(1), None)
        return inner_init(task, tx, key), family.batch(task, key, "train")

    run, batch = _shapes("family", shapes, theta, problem.family, jax.random.key(0))
    return _bytes(run), _bytes(batch)


def _shapes(where: str, fn: Callable[..., Any], *args: Any) -> Any:
    try:
        return jax.eval_shape(fn, *args)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"[{where}] cannot be built from these settings ({reason})") from error


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _size(count: int) -> str:
    power = min((len(str(count)) - 1) // 3, len(UNITS) - 1)
    return f"{count / 1000**power:.3g} {UNITS[power]}"
