"""python -m benchmarks.scaling: meta-training against particles, parameters, processes, saves.

The 8x8 reference work of `benchmarks.meta_train_speed` (PES, truncation 20, batch 128, fused
per-parameter MLP), first with more particles, then with a wider network. Then on one process that
is pinned to one core against two, each pinned to its own, that share one mesh (gloo): efficiency
is the rate of two over twice that of one. Then what a checkpoint of every chunk costs.
"""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax

from benchmarks.meta_train_speed import reference_work
from tasks import core_count, device_mesh, use_all_cores

PAIRS = (1, 4, 16, 64, 128)
WIDTHS = (13, 134, 1_340, 13_400)


def programs(pairs: int, width: int = 32, chunk: int = 5) -> Any:
    """The reference work with that many pairs and hidden units, compiled."""
    from meta_train import Programs

    trainer, (problem,) = reference_work("8x8", "fused", width)
    estimator: Any = dataclasses.replace(trainer.estimators[0], pairs=pairs)  # type: ignore[type-var]
    problem = dataclasses.replace(problem, mesh=device_mesh(pairs))
    trainer = dataclasses.replace(trainer, estimators=(estimator,))
    found = Programs(trainer, (problem,), (), chunk)
    found.compile()
    return found


def rates(program: Any, rounds: int = 3) -> tuple[float, float]:
    """Median of (outer, inner) steps a second."""
    state, _ = jax.block_until_ready(program.chunk(program.start))
    seen = []
    for _ in range(rounds):
        before, tick = float(state.inner_steps), time.perf_counter()
        state, _ = jax.block_until_ready(program.chunk(state))
        seconds = time.perf_counter() - tick
        seen.append((program.length / seconds, (float(state.inner_steps) - before) / seconds))
    return sorted(seen)[rounds // 2]


def size_tables() -> None:
    """Particles and parameters."""
    print(
        f"\n{'particles':>10} {'parameters':>10} {'outer/s':>9} {'inner/s':>9} {'a particle':>11}"
    )
    for pairs, width in [(p, 32) for p in PAIRS] + [(8, w) for w in WIDTHS]:
        found = programs(pairs, width)
        outer, inner = rates(found)
        lanes = 2 * pairs / found.mesh.size
        print(
            f"{2 * pairs:>10} {75 * width + 10:>10,} {outer:>9.3g} {inner:>9,.0f} "
            f"{found.memory() / lanes / 1e3:>8,.0f} kB",
            flush=True,
        )
        jax.clear_caches()


def worker(rank: int, count: int, port: int) -> None:
    """One of `count` processes on a core of its own; prints inner steps a second of all."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    jax.config.update("jax_num_cpu_devices", 1)
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)
    rate = rates(programs(16, chunk=20), rounds=5)[1]
    print(json.dumps(rate))


def process_table() -> None:
    """Two processes against one, alternating."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(2):
        for count in (1, 2):
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                port = s.getsockname()[1]
            call = "from benchmarks.scaling import worker; worker({}, {}, {})"
            children = [
                subprocess.Popen(
                    [sys.executable, "-c", call.format(rank, count, port)],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
                for rank in range(count)
            ]  # fmt: skip
            outputs = [child.communicate() for child in children]
            if any(child.returncode for child in children):
                sys.exit(outputs[0][1])
            found[count].append(float(json.loads(outputs[0][0].splitlines()[-1])))
    one, two = max(found[1]), max(found[2])
    print(
        f"\none process on one core {one:,.0f} inner steps/s, two on one each {two:,.0f}: "
        f"efficiency {two / (2 * one):.2f}"
    )


def save_table() -> None:
    """The quickstart's own loop with and without a save of every chunk, alternating."""
    from checkpoints import Store
    from meta_train import Programs, load_config

    setup = load_config("meta_train/configs/quickstart.toml").build()
    found = Programs(*setup[:2], (), 20)
    found.compile()
    state, _ = jax.block_until_ready(found.chunk(found.start))
    spent = {True: 0.0, False: 0.0}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for i in range(6):
            for save in (False, True) if i % 2 else (True, False):
                tick = time.perf_counter()
                if save:
                    store.save(i, state, {"note": i})
                # The same steps with and without: from equal states.
                again = jax.tree.map(jax.numpy.copy, state)
                jax.block_until_ready(found.chunk(again))
                spent[save] += time.perf_counter() - tick
        store.close()
    cost = spent[True] / spent[False] - 1
    print(
        f"a checkpoint every {found.length} outer steps of the quickstart "
        f"({spent[False] / 6:.1f} s): {cost:.1%} of the time"
    )


def main() -> None:
    use_all_cores()
    print(f"Scaling on {core_count()} cores")
    size_tables()
    process_table()
    save_table()


if __name__ == "__main__":
    main()
