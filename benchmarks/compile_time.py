"""python -m benchmarks.compile_time: seconds until the first update of a network of many tensors.

n pairs of a (64, 64) matrix and a (64,) vector; at 1,000 tensors, of four shapes. Then the
training step of a transformer of 112k parameters. AdamW, Muon and pretrained optimizers.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import learned_opt
from benchmarks import seconds_per_call

PAIRS = (12, 48, 150)
FOUR = ((64, 64), (64,), (64, 16), (16,))
THOUSAND = 1000


def optimizers(names: list[str]) -> dict[str, optax.GradientTransformation]:
    hand_made: dict[str, optax.GradientTransformation] = {
        "AdamW": optax.adamw(1e-3),
        "Muon": optax.contrib.muon(1e-2),
    }
    return hand_made | {name: learned_opt.learned(name, num_steps=1000) for name in names}


def network(count: int) -> dict[str, jax.Array]:
    """`count` pairs, or 1,000 tensors of four shapes."""
    if count == THOUSAND:
        return {f"p{i}": jnp.ones(FOUR[i % 4]) for i in range(count)}
    pairs = [{f"w{i}": jnp.ones((64, 64)), f"b{i}": jnp.ones(64)} for i in range(count)]
    return {name: x for pair in pairs for name, x in pair.items()}


def measure(tx: optax.GradientTransformation, params: Any) -> tuple[float, float]:
    """Seconds to trace and compile an update, and seconds of an update."""
    state = tx.init(params)
    start = time.perf_counter()
    update = jax.jit(tx.update).lower(params, state, params).compile()
    compiled = time.perf_counter() - start
    return compiled, seconds_per_call(update, params, state, params, rounds=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifacts", nargs="*", default=list(learned_opt.available()))
    parser.add_argument("--counts", type=int, nargs="*", default=[*PAIRS, THOUSAND])
    args = parser.parse_args()
    print("Seconds to compile an update (and milliseconds that it takes):")
    heads = [f"{n:,} tensors" if n == THOUSAND else f"{n} pairs" for n in args.counts]
    print(f"{'':16}" + "".join(f"{head:>20}" for head in heads), flush=True)
    for name, tx in optimizers(args.artifacts).items():
        print(f"{name:16}", end="", flush=True)
        for count in args.counts:
            compiled, step = measure(tx, network(count))
            print(f"{compiled:10.1f} ({1e3 * step:6.1f})", end=" ", flush=True)
            jax.clear_caches()
        print()


if __name__ == "__main__":
    main()
