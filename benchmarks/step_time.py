"""python -m benchmarks.step_time: what a step of a learned optimizer costs over Adam's.

First the artifact on a small and a large network. Then every optimizer at its untrained theta on a
million parameters, batch 128, the goals being an update of 5 times Adam's and a training step of
1.5 times; and the cheaper ones at batch 1,024, the goal being 1.1 times. With --pallas also Nominal
by its kernels, beside XLA's loops, which needs a GPU or TPU: on CPU kernels are interpreted.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import jax
import optax

import learned_opt
from eval._cost import NETWORKS, measure_costs
from learned_opt import OPTIMIZERS
from learned_opt.parts import update_path
from meta_train._card import describe_device

LARGE = {"1M": NETWORKS["1M"]}
SLOW = ("rnn_mlp", "celo2", "open")
"""Timed apart, over fewer steps."""

CHEAP = ("nominal", "hyper_adam", "per_param_mlp", "celo", "celo_adam")


def table(title: str, results: Mapping[str, Any]) -> None:
    """One line for every network and optimizer."""
    print(
        f"\n{title}, 64-w-w-10 MLP on digits, {describe_device()}, jax {jax.__version__}; median "
        f"of 5 rounds, alternating\n\n{'network':>22} {'optimizer':>14} {'training step':>15} "
        f"{'over Adam':>10} {'update alone':>14} {'over Adam':>10} {'state':>6} {'compile':>8}"
    )
    for network, entry in results.items():
        adam = entry["costs"]["optax.adam"]
        for name, cost in entry["costs"].items():
            print(
                f"{network + ', ' + format(entry['parameters'], ',') + ' p':>22} {name:>14} "
                f"{cost.step:>12,.0f} us {cost.step / adam.step:>9.2f}x "
                f"{cost.update:>11,.0f} us {cost.update / adam.update:>9.2f}x "
                f"{cost.state:>5.2f}x {cost.compile:>6.1f} s",
                flush=True,
            )


def untrained(names: tuple[str, ...] | None = None) -> dict[str, optax.GradientTransformation]:
    """Every optimizer, or those named, at its untrained theta; and Adam."""
    found: dict[str, optax.GradientTransformation] = {"optax.adam": optax.adam(1e-3)}
    for cls in OPTIMIZERS:
        if names is None or cls.name in names:
            # Small random rules may ascend: the time is the same, but not with infinities.
            theta = cls().init(jax.random.key(0))
            tx = cls().transform(theta, num_steps=10_000)
            found[cls.name] = optax.chain(tx, optax.scale(-1e-3))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", default="quickstart", help="name or path")
    parser.add_argument("--pallas", action="store_true", help="also the kernels of Nominal")
    args = parser.parse_args()
    learned = learned_opt.learned(args.artifact, num_steps=10_000)
    adam = optax.adam(1e-3)
    table("Batch 64", measure_costs({args.artifact: learned, "optax.adam": adam}))
    quick = tuple(cls.name for cls in OPTIMIZERS if cls.name not in SLOW)
    rows = untrained(quick)
    if args.pallas:
        with update_path("pallas"):
            rows["nominal pallas"] = untrained(("nominal",))["nominal"]
    results = measure_costs(rows, LARGE, batch_size=128, steps=25)
    table("Batch 128", results)
    results = measure_costs(untrained(SLOW), LARGE, batch_size=128, steps=5)
    table("Batch 128", results)
    table("Batch 1,024", measure_costs(untrained(CHEAP), LARGE, batch_size=1024, steps=10))


if __name__ == "__main__":
    main()
