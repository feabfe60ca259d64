"""python -m benchmarks.step_time: what a step of a learned optimizer costs over Adam's.

First the artifact on a small and a large network. Then every optimizer at its untrained theta on a
million parameters (a GPU: 10 and 100 million), batch 128, the goals being an update of 5 times
Adam's (GPU: 3) and a training step of 1.5 times (GPU: 1.1); and the cheaper ones at batch 1,024,
the goal being 1.1 times.

"memory": what the update would take if it only read gradients, parameters and state and wrote the
last two, each once, at the speed at which this machine adds two arrays of the network's size.
"arithmetic": the operations that XLA counts, at the speed of its matrix products. With --pallas
also Nominal by its kernels, which needs a GPU or TPU: on CPU kernels are interpreted.
"""

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

import learned_opt
from benchmarks import seconds_per_call
from checkpoints import describe_device
from eval._cost import NETWORKS, CostRow, measure_costs
from learned_opt import OPTIMIZERS, Nominal
from learned_opt.parts import update_path

LARGE = {"1M": NETWORKS["1M"]}
GPU = {"10M": 3124, "100M": 9962}

REPEATS = 100

SLOW = ("rnn_mlp", "celo2", "open")
"""Timed apart, in fewer steps."""

CHEAP = ("nominal", "nominal, lean", "hyper_adam", "nn_adam", "per_param_mlp", "celo", "celo_adam")
LEAN = Nominal(momenta="bfloat16", factored=True)


@dataclasses.dataclass(frozen=True)
class Floors:
    """Of this machine: `bytes` moved and `flops` done in a second."""

    bytes: float
    flops: float

    @classmethod
    def measure(cls, parameters: int) -> "Floors":
        """With arrays of so many float32s, and products of square matrices of 2,048."""
        x, y = jnp.zeros(parameters), jnp.ones(parameters)
        a = jnp.ones((2048, 2048))
        # In place and in one call: neither new memory nor the call itself is to count.
        many = jax.jit(lambda x, y: jax.lax.fori_loop(0, REPEATS, lambda _, x: x + y, x))
        add = many.lower(x, y).compile()
        product = jax.jit(lambda a: a @ a).lower(a).compile()
        return cls(
            12 * parameters * REPEATS / seconds_per_call(add, x, y, rounds=5),
            2 * 2048**3 / seconds_per_call(product, a, rounds=5),
        )

    def of(self, tx: optax.GradientTransformation, parameters: int) -> tuple[float, float]:
        """Microseconds that an update of one square matrix cannot beat, by memory, arithmetic."""
        full = optax.with_extra_args_support(tx)
        params = jax.ShapeDtypeStruct((math.isqrt(parameters),) * 2, jnp.float32)
        state = jax.eval_shape(full.init, params)
        update = jax.jit(lambda g, s, p: full.update(g, s, p, value=jnp.zeros(())))
        counted: Any = update.lower(params, state, params).cost_analysis()
        held = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
        moved = 12 * parameters + 2 * held
        return 1e6 * moved / self.bytes, 1e6 * counted["flops"] / self.flops


def table(rows: Sequence[CostRow], optimizers: Mapping[str, optax.GradientTransformation]) -> None:
    """One table a network and batch size, one line an optimizer."""
    for row in rows:
        floors, adam = Floors.measure(row.parameters), row.costs["optax.adam"]
        print(
            f"\n{row.parameters:,} parameters (64-w-w-10 MLP on digits), batch {row.batch_size}, "
            f"{describe_device()}, jax {jax.__version__};\n"
            f"{floors.bytes / 1e9:.0f} GB/s, {floors.flops / 1e9:,.0f} GFLOP/s; medians of "
            f"alternating rounds\n\n{'optimizer':>14} {'training step':>14} {'/ Adam':>6} "
            f"{'update':>11} {'/ Adam':>6} {'memory':>9} {'arithmetic':>10} {'state':>6} "
            f"{'compile':>8} {'steps':>5}"
        )
        for name, cost in row.costs.items():
            memory, arithmetic = floors.of(optimizers[name], row.parameters)
            print(
                f"{name:>14} {cost.step:>11,.0f} us {cost.step / adam.step:>6.2f} "
                f"{cost.update:>8,.0f} us {cost.update / adam.update:>6.2f} {memory:>6,.0f} us "
                f"{arithmetic:>7,.0f} us {cost.state:>6.2f} {cost.compile:>6.1f} s {cost.steps:>5}",
                flush=True,
            )


def untrained(names: Sequence[str] | None = None) -> dict[str, optax.GradientTransformation]:
    """Every optimizer, or those named, at its untrained theta; and Adam."""
    every = {cls.name: cls() for cls in OPTIMIZERS} | {"nominal, lean": LEAN}
    found: dict[str, optax.GradientTransformation] = {"optax.adam": optax.adam(1e-3)}
    for name, optimizer in every.items():
        if names is None or name in names:
            # Small random rules may ascend: the time is the same, but not with infinities.
            theta = optimizer.init(jax.random.key(0))
            tx = optimizer.transform(theta, num_steps=10_000)
            found[name] = optax.chain(tx, optax.scale(-1e-3))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", default="quickstart", help="name or path")
    parser.add_argument("--pallas", action="store_true", help="also the kernels of Nominal")
    args = parser.parse_args()
    large = LARGE if jax.default_backend() == "cpu" else GPU
    quick = [cls.name for cls in OPTIMIZERS if cls.name not in SLOW]
    learned = learned_opt.learned(args.artifact, num_steps=10_000)
    artifact = {args.artifact: learned, "optax.adam": optax.adam(1e-3)}
    every = untrained([*quick, "nominal, lean"])
    if args.pallas:
        with update_path("pallas"):
            every["nominal pallas"] = untrained(["nominal"])["nominal"]
    for optimizers, networks, batch_size in (
        (artifact, {"10k": NETWORKS["10k"]} | LARGE, 64),
        (every, large, 128),
        (untrained(SLOW), large, 128),
        (untrained(CHEAP), large, 1024),
    ):
        table(measure_costs(optimizers, networks, batch_sizes=(batch_size,)), optimizers)


if __name__ == "__main__":
    main()
