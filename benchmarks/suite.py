"""python -m benchmarks.suite [NAME]: what training all tasks of a suite costs on this machine."""

import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt.devices import compiler_options, device_mesh, map_lanes, use_all_cores
from learned_opt.tasks import EvalTask, full_loss, inner_init, inner_step, load_suite
from learned_opt.tasks._describe import parameter_count

LANES, STEPS, RUNS = 36, 50, 560
"""RUNS a task: 8 optimizers, each tuned in about 60 runs and reported on 10 seeds."""


def main(name: str = "META_TEST_V1") -> None:
    use_all_cores()
    devices = f"{jax.device_count()} x {jax.default_backend()}"
    print(f"{name}: {LANES} runs at once of {STEPS} steps of Adam and one evaluation, {devices}\n")
    print(f"{'task':<22} {'parameters':>10} {'compile':>9} {'inner steps/s':>14} {RUNS:>6} runs")
    total = 0.0
    for task in load_suite(name):
        try:
            task.spec.build()
        except ValueError as error:
            print(f"{task.name:<22} not measured: {error}")
            continue
        compile_seconds, seconds = measure(task)
        rate = LANES * STEPS / seconds
        minutes = RUNS * task.horizon / rate / 60
        total += minutes
        print(
            f"{task.name:<22} {parameter_count(task.member):>10,} {compile_seconds:>7.1f} s "
            f"{rate:>14,.0f} {minutes:>7.1f} min",
            flush=True,
        )
    print(f"\nin all {total:.0f} min")


def measure(task: EvalTask) -> tuple[float, float]:
    """Seconds to compile, and of one call."""
    mesh, tx = device_mesh(LANES), optax.with_extra_args_support(optax.adam(1e-2))

    def lane(seed: jax.Array, family: Any, member: Any) -> jax.Array:
        key = jax.random.key(seed)

        def body(t: jax.Array, state: Any) -> Any:
            return inner_step(family, tx, state, jax.random.fold_in(key, t))[0]

        state = jax.lax.fori_loop(0, STEPS, body, inner_init(member, tx, key))
        return full_loss(family, member, state.params, "outer_valid")[0]

    program = jax.jit(
        lambda seeds, family, member: map_lanes(mesh, lane, seeds, family, member),
        compiler_options=compiler_options(),
    )
    arguments = jnp.asarray(np.arange(LANES)), task.family, task.member
    tick = time.perf_counter()
    compiled = program.lower(*arguments).compile()
    tock = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    return tock - tick, time.perf_counter() - start


if __name__ == "__main__":
    main(*sys.argv[1:])
