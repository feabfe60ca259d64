"""python -m benchmarks.meta_train_speed: how fast meta-training is, and how near to the limit.

The reference work: PES, a 64-32-10 (8x8 images) and a 784-32-10 (28x28) MLP, batch 128, 8 tasks x
2 signs, truncation 20, the per-parameter MLP with 39-4-4-2 units, whole outer steps of the trainer.
Beside it, in the same loop: that rule written plainly (`benchmarks.plain`), plain SGD, which is the
floor that the inner problem sets, and one device instead of all. Then the quickstart's own loop.

google/learned_optimization did 3,500 to 4,000 inner steps a second at 8x8 and 275 at 28x28 on an
idle machine of this kind. It is not installed here: those figures are quoted, not measured.

"limit" is what the counted arithmetic would take at the measured speed of matrix products on all
cores: forward and backward pass 2 x batch x (2 in x 32 + 3 x 32 x 10), the update 350 a parameter.
"""

import dataclasses
import json
import subprocess
import sys
import time
from typing import Any, ClassVar

import jax

from learned_opt.devices import core_count

QUOTED = {"8x8": 3750.0, "28x28": 275.0}
"""Inner steps a second of google/learned_optimization (the middle of what it did at 8x8)."""

SIZES = {"8x8": ("digits", 64), "28x28": ("letters/28", 784)}
TASKS, TRUNCATION, BATCH, WIDTH, CLASSES, CHUNK, ROUNDS = 8, 20, 128, 32, 10, 20, 5
UPDATE_FLOPS = 350.0


def arithmetic(size: str) -> float:
    """Of one inner step, in floating-point operations."""
    inputs = SIZES[size][1]
    parameters = (inputs + 1) * WIDTH + (WIDTH + 1) * CLASSES
    return 2.0 * BATCH * WIDTH * (2 * inputs + 3 * CLASSES) + UPDATE_FLOPS * parameters


def reference_work(size: str, optimizer: str, width: int = WIDTH) -> tuple[Any, Any]:
    """Trainer and problems."""
    import haiku as hk
    import optax

    from benchmarks.plain import PlainMLP
    from learned_opt import PerParamMLP
    from learned_opt.devices import device_mesh
    from learned_opt.meta_train import PES, MetaProblem, Objective, Trainer
    from learned_opt.tasks import Family, load_dataset
    from learned_opt.tasks.problems import MLP

    @dataclasses.dataclass(frozen=True)
    class Network(MLP):
        """The reference network itself, with nothing drawn and nothing masked."""

        name: ClassVar[str] = "reference"

        def sample(self, key: jax.Array) -> dict[str, jax.Array]:
            return {}

        def forward(self, n: Any, spec: Any, x: jax.Array) -> jax.Array:
            return hk.nets.MLP([width, CLASSES])(x.reshape(len(x), -1))

    @dataclasses.dataclass(frozen=True)
    class SGD:
        name: ClassVar[str] = "sgd"
        uses_epochs: ClassVar[bool] = False

        def init(self, key: jax.Array) -> Any:
            return {"lr": jax.numpy.asarray(0.1)}

        def transform(self, theta: Any, *, num_steps: Any = None) -> Any:
            return optax.scale(theta["lr"])

    known = {"fused": PerParamMLP, "plain": PlainMLP, "sgd": SGD}
    family = Family(Network(), load_dataset(SIZES[size][0]), BATCH).without_test()
    estimator = PES(pairs=TASKS, sigma=0.01, truncation=TRUNCATION, horizon=(100, 2000))
    chosen: Any = known[optimizer]()
    problem = MetaProblem(
        family, chosen, Objective(valid=0.0, mean=0.0, steps=1.0), device_mesh(TASKS)
    )
    return Trainer(chosen, (estimator,), (1.0,), optax.adam(1e-4)), (problem,)


def quickstart(size: str, optimizer: str) -> tuple[Any, Any]:
    """The committed configuration, at its longest horizon."""
    from learned_opt.meta_train import build, load_config

    path = "meta_train/configs/quickstart.toml"
    setup = build(load_config(path, ["estimator.horizon=[300, 300]"]))
    return setup.trainer, setup.problems


def measure(devices: int, size: str, optimizer: str) -> dict[str, float]:
    """Runs in a process of its own: the number of devices is fixed when JAX starts."""
    jax.config.update("jax_num_cpu_devices", devices)
    from learned_opt.meta_train import Programs

    make = quickstart if size == "quickstart" else reference_work
    trainer, problems = make(size, optimizer)
    chunk = 2 if size == "quickstart" else CHUNK
    programs = Programs(trainer, problems, (), chunk)
    tick = time.perf_counter()
    programs.compile()
    compile_seconds = time.perf_counter() - tick
    temporary = programs.memory()
    state, _ = jax.block_until_ready(programs.steps(programs.start))
    rates = []
    for _ in range(ROUNDS):
        before, tick = float(state.inner_steps), time.perf_counter()
        state, _ = jax.block_until_ready(programs.steps(state))
        rates.append((float(state.inner_steps) - before) / (time.perf_counter() - tick))
    return {
        "rate": sorted(rates)[len(rates) // 2],
        "compile": compile_seconds,
        "memory": temporary * problems[0].mesh.size / (2 * trainer.estimators[0].pairs),
        "finite": float(
            all(bool(jax.numpy.isfinite(x).all()) for x in jax.tree.leaves(state.theta))
        ),
    }


def matrix_speed(devices: int) -> float:
    """Floating-point operations a second of float32 matrix products, one on each core."""
    jax.config.update("jax_num_cpu_devices", devices)
    import jax.numpy as jnp

    from learned_opt.devices import device_mesh, map_lanes

    n, products = 1024, 10
    mesh = device_mesh(devices)

    @jax.jit
    def run(x: jax.Array) -> jax.Array:
        def lane(x: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(0, products, lambda _, y: x @ y / n, x)

        return map_lanes(mesh, lane, x)

    x = jnp.ones((devices, n, n))
    jax.block_until_ready(run(x))
    best = 0.0
    for _ in range(ROUNDS):
        tick = time.perf_counter()
        jax.block_until_ready(run(x))
        best = max(best, devices * products * 2 * n**3 / (time.perf_counter() - tick))
    return best


def fresh(call: str) -> Any:
    """The result of `call` in a process of its own."""
    code = f"import json; from benchmarks.meta_train_speed import *; print(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print one table; every row is a fresh process."""
    cores = core_count()
    limit = fresh(f"matrix_speed({cores})")
    print(f"\nMeta-training, {cores} cores; matrix products run at {limit / 1e9:.0f} GFLOP/s")
    print(
        f"{'work':>10} {'update':>7} {'devices':>7} {'inner steps/s':>13} {'over plain':>10} "
        f"{'over quoted':>11} {'of limit':>8} {'compile':>8} {'a run':>11}"
    )
    rates: dict[tuple[str, str, int], float] = {}
    rows = [
        (s, *r)
        for s in SIZES
        for r in (("plain", cores), ("fused", cores), ("fused", 1), ("sgd", cores))
    ]
    for size, update, devices in [*rows, ("quickstart", "gated_adam", cores)]:
        found = fresh(f"measure({devices}, {size!r}, {update!r})")
        rate = rates[size, update, devices] = found["rate"]
        plain = rates.get((size, "plain", cores))
        over = f"{rate / plain:.1f}x" if plain else ""
        quoted = f"{rate / QUOTED[size]:.1f}x" if size in QUOTED and update == "fused" else ""
        share = f"{rate * arithmetic(size) / limit:.0%}" if update == "fused" else ""
        print(
            f"{size:>10} {update:>7} {devices:>7} {rate:>13,.0f} {over:>10} {quoted:>11} "
            f"{share:>8} {found['compile']:>6.1f} s {found['memory'] / 1e3:>8,.0f} kB",
            flush=True,
        )
    for size in SIZES:
        fused = rates[size, "fused", cores]
        print(
            f"{size}: all devices over one {fused / rates[size, 'fused', 1]:.2f}x; the learned "
            f"update's share of the time {1 - fused / rates[size, 'sgd', cores]:.0%}"
        )


if __name__ == "__main__":
    main()
