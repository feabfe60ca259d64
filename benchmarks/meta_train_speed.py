"""python -m benchmarks.meta_train_speed: inner steps a second of the meta-training loop.

The loop of the quickstart, with one device and with one device a core, and the same unrolls with
plain SGD in place of the learned optimizer: the floor that the inner problem itself sets.
"""

import dataclasses
import json
import subprocess
import sys
import time
from typing import Any

import jax

from tasks import core_count

CONFIG = "meta_train/configs/quickstart.toml"
OUTER_STEPS = 20


def measure(devices: int, optimizer: str) -> dict[str, float]:
    """Runs in a process of its own: the number of devices is fixed when JAX starts."""
    jax.config.update("jax_num_cpu_devices", devices)
    import optax

    from meta_train import load_config
    from tasks import compiler_options

    @dataclasses.dataclass(frozen=True)
    class SGD:
        name = "sgd"

        def transform(self, theta, *, num_steps=None):
            return optax.scale(0.1 + 0.0 * theta["log_lr"])

    config = load_config(CONFIG, ["estimator.horizon=[300, 300]"])
    trainer, family = config.build()
    state = trainer.init(family)
    estimator: Any = trainer.estimator
    if optimizer == "sgd":
        estimator = dataclasses.replace(estimator, optimizer=SGD())

    def steps(family, theta, key):
        def one(_, key):
            # The gradient is returned too: without it XLA would drop the unrolls.
            estimate, _ = estimator.estimate(family, theta, (), key)
            return None, (estimate.inner_steps, estimate.grad)

        return jax.lax.scan(one, None, jax.random.split(key, OUTER_STEPS))[1]

    program = jax.jit(steps, compiler_options=compiler_options())
    tick = time.perf_counter()
    compiled = program.lower(family, state.theta, state.key).compile()
    compile_seconds = time.perf_counter() - tick
    jax.block_until_ready(compiled(family, state.theta, state.key))
    tick = time.perf_counter()
    inner_steps, _ = jax.block_until_ready(compiled(family, state.theta, jax.random.key(1)))
    rate = float(inner_steps.sum()) / (time.perf_counter() - tick)
    return {"rate": rate, "compile": compile_seconds}


def main() -> None:
    """Print one table; every row is a fresh process."""
    cores = core_count()
    print("\nMeta-training, quickstart family: 64-32-32-10 MLPs, batch 64, 16 antithetic pairs")
    print(f"{'devices':>8} {'optimizer':>10} {'inner steps/s':>14} {'compile':>9}")
    rates = {}
    for devices, optimizer in ((1, "nominal"), (cores, "nominal"), (cores, "sgd")):
        code = (
            "import json; from benchmarks.meta_train_speed import measure;"
            f"print(json.dumps(measure({devices}, {optimizer!r})))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        rates[devices, optimizer] = found["rate"]
        print(
            f"{devices:>8} {optimizer:>10} {found['rate']:>14,.0f} {found['compile']:>7.1f} s",
            flush=True,
        )
    ours = rates[cores, "nominal"]
    print(
        f"one device a core over one device: {ours / rates[1, 'nominal']:.2f}x; "
        f"learned update's share of the time: {1 - ours / rates[cores, 'sgd']:.0%}"
    )


if __name__ == "__main__":
    main()
