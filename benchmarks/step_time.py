"""python -m benchmarks.step_time: what a step of a learned optimizer costs over Adam's."""

import argparse

import jax
import optax

import learned_opt
from eval._cost import measure_costs
from meta_train._card import describe_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", default="quickstart", help="name or path")
    args = parser.parse_args()
    learned = learned_opt.learned(args.artifact, num_steps=10_000)
    results = measure_costs({args.artifact: learned, "optax.adam": optax.adam(1e-3)})
    print(
        f"\nStep time, 64-w-w-10 MLP on digits, batch 64, {describe_device()}, "
        f"jax {jax.__version__}; median of 5 x 100 steps, rounds alternating\n"
    )
    print(
        f"{'network':>22} {'optimizer':>14} {'training step':>15} {'over Adam':>10} "
        f"{'update alone':>14} {'over Adam':>10} {'state':>6} {'compile':>8}"
    )
    for network, entry in results.items():
        adam = entry["costs"]["optax.adam"]
        for name, cost in entry["costs"].items():
            print(
                f"{network + ', ' + format(entry['parameters'], ',') + ' p':>22} {name:>14} "
                f"{cost.step:>12,.0f} us {cost.step / adam.step:>9.2f}x "
                f"{cost.update:>11,.0f} us {cost.update / adam.update:>9.2f}x "
                f"{cost.state:>5.2f}x {cost.compile:>6.1f} s"
            )


if __name__ == "__main__":
    main()
