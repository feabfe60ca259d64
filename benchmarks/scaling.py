"""python -m benchmarks.scaling: meta-training against runs, parameters, processes, saves.

The 8x8 reference work of `benchmarks.meta_train_speed` (PES, truncation 20, batch 128, fused
per-parameter MLP), first with more runs, then with a wider network. Then on one process that
is pinned to one core against two, each pinned to its own, that share one mesh (gloo): efficiency
is the rate of two over twice that of one; beside it two processes that share nothing, because two
cores of one machine are not twice one. Then what a checkpoint costs.
"""

import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np

from benchmarks.meta_train_speed import reference_work
from learned_opt.devices import core_count, device_mesh, use_all_cores

PAIRS = (1, 4, 16, 64, 128)
WIDTHS = (13, 134, 1_340, 13_400)


def programs(pairs: int, width: int = 32, chunk: int = 5) -> Any:
    """The reference work with that many pairs and hidden units, compiled."""
    from learned_opt.meta_train import Programs

    trainer, (problem,) = reference_work("8x8", "fused", width)
    estimator: Any = dataclasses.replace(trainer.estimators[0], pairs=pairs)  # type: ignore[type-var]
    problem = dataclasses.replace(problem, mesh=device_mesh(pairs))
    trainer = dataclasses.replace(trainer, estimators=(estimator,))
    found = Programs(trainer, (problem,), (), chunk)
    found.compile()
    return found


def rates(program: Any, rounds: int = 3) -> tuple[float, float]:
    """Median of (outer, inner) steps a second."""
    state, _ = jax.block_until_ready(program.steps(program.start))
    seen = []
    for _ in range(rounds):
        before, tick = float(state.inner_steps), time.perf_counter()
        state, _ = jax.block_until_ready(program.steps(state))
        seconds = time.perf_counter() - tick
        seen.append((program.length / seconds, (float(state.inner_steps) - before) / seconds))
    return sorted(seen)[rounds // 2]


def size_tables() -> None:
    """Runs side by side and parameters."""
    print(f"\n{'runs':>10} {'parameters':>10} {'outer/s':>9} {'inner/s':>9} {'a run':>11}")
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


def worker(rank: int, pairs: int, port: int) -> None:
    """On core number `rank`; prints inner steps a second. `port` if two share the work, else 0."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    jax.config.update("jax_num_cpu_devices", 1)
    if port:
        jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    print(rates(programs(pairs, chunk=20), rounds=5)[1])


def workers(cores: tuple[int, ...], pairs: int, together: bool) -> float:
    """Inner steps a second of one process a core, together or each by itself."""
    port = 0
    if together:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
    children = [
        subprocess.Popen(
            [sys.executable, "-c",
             f"from benchmarks.scaling import worker; worker({core}, {pairs}, {port})"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for core in cores
    ]  # fmt: skip
    outputs = [child.communicate() for child in children]
    for child, (_, errors) in zip(children, outputs, strict=True):
        if child.returncode:
            sys.exit(errors)
    found = [float(output.splitlines()[-1]) for output, _ in outputs]
    # Together each counts the steps of both.
    return found[0] if together else sum(found)


def process_table() -> None:
    """Two processes that share the work against one; two strangers show what the cores allow."""
    print(f"\n{'processes, each on a core':<30} {'inner/s':>9} {'over one':>9} {'efficiency':>11}")
    for pairs in (8, 32):
        cases = {
            f"one, {pairs} pairs": ((0,), pairs, False),
            f"two strangers, {pairs} pairs each": ((0, 1), pairs, False),
            f"two that share {2 * pairs} pairs": ((0, 1), 2 * pairs, True),
        }
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(3):
            for name, case in cases.items():
                found[name].append(workers(*case))
        medians = {name: sorted(values)[1] for name, values in found.items()}
        for name, rate in medians.items():
            ratio = rate / next(iter(medians.values()))
            efficiency = ratio / len(cases[name][0])
            print(f"{name:<30} {rate:>9,.0f} {ratio:>8.2f}x {efficiency:>11.2f}", flush=True)


def save_table(rounds: int = 30) -> None:
    """The quickstart's own chunks with and without a save before them, alternating."""
    from learned_opt.checkpoints import Store
    from learned_opt.meta_train import Config, Programs, build, load_config

    setup = build(load_config("meta_train/configs/quickstart.toml"))
    found = Programs(*setup[:2], (), 2)
    found.compile()
    state, _ = jax.block_until_ready(found.steps(found.start))
    spent: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for i in range(rounds):
            for save in (False, True) if i % 2 else (True, False):
                # The same steps with and without: from equal states.
                again = jax.block_until_ready(jax.tree.map(jax.numpy.copy, state))
                tick = time.perf_counter()
                if save:
                    store.save(i, state, {"note": i})
                jax.block_until_ready(found.steps(again))
                spent[save].append(time.perf_counter() - tick)
            store.close()
    extra = np.subtract(spent[True], spent[False])
    error = extra.std(ddof=1) / np.sqrt(rounds)
    every = Config().save.seconds
    print(
        f"\na checkpoint of the quickstart costs {extra.mean():.3f} +- {error:.3f} s: "
        f"{extra.mean() / every:.2%} +- {error / every:.2%} at one in {every:.0f} s, the default"
    )


def main() -> None:
    use_all_cores()
    print(f"Scaling on {core_count()} cores")
    size_tables()
    process_table()
    save_table()


if __name__ == "__main__":
    main()
