"""python -m benchmarks.step_time: what a step of a learned optimizer costs over Adam's.

First the artifact on a small and a large network. Then every optimizer at its untrained theta on a
million parameters (a GPU: 10 and 100 million), batch 128, the goals being an update of 5 times
Adam's (GPU: 3) and a training step of 1.5 times (GPU: 1.1); and the cheaper ones at batch 1,024,
the goal being 1.1 times. Below each of these tables stands who reached the goals.

"memory": what the update would take if it only read gradients, parameters and state and wrote the
last two, each once, at the speed at which this machine adds two arrays of the network's size.
"arithmetic": the operations that XLA counts, at the speed of its matrix products. "least": the
training step over Adam's if the update took only the longer of these two. With --only
just the tables with the goals, of these optimizers: a GPU compiles the others for minutes.
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
from learned_opt import OPTIMIZERS, Spectral
from learned_opt.checkpoints import describe_device
from learned_opt.eval.cost import Cost, CostRow, measure_costs, mlp

LARGE = {"1M": 960}
GPU = {"10M": 3124, "100M": 9962}
"""Widths of the networks."""

REPEATS = 100

SLOW = ("rnn_mlp", "celo2", "open")
"""Timed apart, in fewer steps."""

VARIANTS = {
    "spectral, lean": Spectral(momenta="bfloat16", factored=True),
}
CHEAP = (
    "gated_adam",
    "spectral",
    "spectral_gru",
    *VARIANTS,
    "hyper_adam",
    "nn_adam",
    "per_param_mlp",
    "celo",
    "celo_adam",
)


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
        # XLA for GPU counts nothing before it has compiled.
        counted: Any = update.lower(params, state, params).cost_analysis() or {"flops": math.nan}
        held = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
        moved = 12 * parameters + 2 * held
        return 1e6 * moved / self.bytes, 1e6 * counted["flops"] / self.flops


@dataclasses.dataclass(frozen=True)
class Goals:
    """Most that a training step, and the update alone if not None, may take over Adam's."""

    step: float
    update: float | None = None

    def verdict(self, step: float, update: float) -> str:
        """These ratios beside the goals: met, or missed by how much.

        >>> Goals(step=1.5, update=5.0).verdict(1.52, 4.04)
        'update 4.04x (goal 5: met), step 1.52x (goal 1.5: missed by 0.02)'
        """
        pairs = [("update", update, self.update), ("step", step, self.step)]
        return ", ".join(_beside(*pair) for pair in pairs if pair[2] is not None)


def _beside(name: str, ratio: float, goal: Any) -> str:
    # Of what is printed, so that no goal is missed by 0.00.
    over = round(ratio, 2) - goal
    return f"{name} {ratio:.2f}x (goal {goal:g}: {f'missed by {over:.2f}' if over > 0 else 'met'})"


def table(
    rows: Sequence[CostRow],
    optimizers: Mapping[str, optax.GradientTransformation],
    goals: Goals | None = None,
) -> None:
    """One table a network and batch size, one line an optimizer; then a verdict for each."""
    for row in rows:
        floors, adam = Floors.measure(row.parameters), row.costs["optax.adam"]
        print(
            f"\n{row.parameters:,} parameters (64-w-w-10 MLP on digits), batch {row.batch_size}, "
            f"{describe_device()}, jax {jax.__version__};\n"
            f"{floors.bytes / 1e9:.0f} GB/s, {floors.flops / 1e9:,.0f} GFLOP/s; medians of "
            f"alternating rounds\n\n{'optimizer':>20} {'training step':>14} {'/ Adam':>6} "
            f"{'least':>6} {'update':>11} {'/ Adam':>6} {'memory':>9} {'arithmetic':>10} "
            f"{'state':>6} {'compile':>8} {'steps':>5}"
        )
        for name, cost in row.costs.items():
            memory, arithmetic = floors.of(optimizers[name], row.parameters)
            least = (adam.step - update_of(adam) + max(memory, arithmetic)) / adam.step
            print(
                f"{name:>20} {cost.step:>11,.0f} us {cost.step / adam.step:>6.2f} "
                f"{least:>6.2f} {update_of(cost):>8,.0f} us "
                f"{update_of(cost) / update_of(adam):>6.2f} "
                f"{memory:>6,.0f} us {_micros(arithmetic):>10} {cost.state:>6.2f} "
                f"{cost.compile:>6.1f} s {cost.steps:>5}",
                flush=True,
            )
        if goals is not None:
            print()
            for name, cost in row.costs.items():
                if cost is not adam:
                    update = update_of(cost) / update_of(adam)
                    found = goals.verdict(cost.step / adam.step, update)
                    print(f"{name:>20}: {found}", flush=True)


def update_of(cost: Cost) -> float:
    """Microseconds of the update alone; not a number where it was not timed."""
    return math.nan if cost.update is None else cost.update


def _micros(time: float) -> str:
    return "-" if math.isnan(time) else f"{time:,.0f} us"


def untrained(names: Sequence[str] | None = None) -> dict[str, optax.GradientTransformation]:
    """Every optimizer, or those named, at its untrained theta; and Adam."""
    every = {cls.name: cls() for cls in OPTIMIZERS} | VARIANTS
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
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone, with the goals")
    args = parser.parse_args()
    cpu = jax.default_backend() == "cpu"
    large, goals = (LARGE, Goals(1.5, 5.0)) if cpu else (GPU, Goals(1.1, 3.0))
    quick = [cls.name for cls in OPTIMIZERS if cls.name not in SLOW]
    every = untrained(args.only or [*quick, *VARIANTS])
    device = jax.devices()[:1]
    if args.only:
        for name, width in large.items():
            loads = (mlp(name, width, 128),)
            rows = measure_costs(every, loads, devices=device, updates=True)
            table(rows, every, goals)
        return
    learned = learned_opt.learned(args.artifact, num_steps=10_000)
    artifact = {args.artifact: learned, "optax.adam": optax.adam(1e-3)}
    for optimizers, networks, batch_size, wanted in (
        (artifact, {"10k": 69} | LARGE, 64, None),
        (every, large, 128, goals),
        (untrained(SLOW), large, 128, goals),
        (untrained(CHEAP), large, 1024, Goals(1.1)),
    ):
        loads = [mlp(name, width, batch_size) for name, width in networks.items()]
        rows = measure_costs(optimizers, loads, devices=device, updates=True)
        table(rows, optimizers, wanted)


if __name__ == "__main__":
    main()
