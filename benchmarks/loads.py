"""python -m benchmarks.loads: a training step over AdamW's, at loads that people have.

An MLP of a million parameters at two batch sizes, and a transformer of 116 thousand at 1,024 and
8,192 tokens a step. Rounds of the optimizers alternate; shown are medians of ten rounds, with the
quartiles of the ratio to AdamW in the same round.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import learned_opt
from benchmarks import transformer
from benchmarks.compile_time import optimizers
from learned_opt.checkpoints import describe_device

ROUNDS, SECONDS = 10, 0.5
SIZES = (64, 960, 960, 10)
"""Of the MLP's layers."""

Load = tuple[Any, Callable[[Any, Any], jax.Array], Any]
"""Parameters, loss of parameters and a batch, and the batch."""


def mlp(batch: int) -> Load:
    """Cross-entropy of random labels."""
    keys = jax.random.split(jax.random.key(0), len(SIZES))
    pairs = list(zip(keys, SIZES[:-1], SIZES[1:], strict=False))
    params = [{"w": jax.random.normal(k, (n, m)) / n**0.5, "b": jnp.zeros(m)} for k, n, m in pairs]
    x = jax.random.normal(keys[-1], (batch, SIZES[0]))

    def loss(params: Any, batch: Any) -> jax.Array:
        x, labels = batch
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"][None])
        logits = x @ params[-1]["w"] + params[-1]["b"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return params, loss, (x, jnp.arange(batch) % SIZES[-1])


def language_model(tokens: int) -> Load:
    """So many tokens a step, in sequences of `transformer.LENGTH`."""
    shape = (tokens // transformer.LENGTH, transformer.LENGTH + 1)
    text = jax.random.randint(jax.random.key(1), shape, 0, transformer.WORDS)
    return transformer.init(jax.random.key(0)), transformer.loss, text


LOADS: dict[str, Load] = {
    "MLP, 1M parameters, batch 128": mlp(128),
    "MLP, 1M parameters, batch 1,024": mlp(1024),
    "transformer, 116k parameters, 1,024 tokens": language_model(1024),
    "transformer, 116k parameters, 8,192 tokens": language_model(8192),
}


class Trainer:
    """Compiled training steps of one optimizer, and how long they take."""

    def __init__(self, load: Load, optimizer: optax.GradientTransformation) -> None:
        params, loss, self.batch = load
        tx = optax.with_extra_args_support(optimizer)

        def step(carry: Any, batch: Any) -> Any:
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, batch)
            updates, state = tx.update(grads, state, params, value=value)
            return optax.apply_updates(params, updates), state

        # A copy, since it is donated.
        self.carry = jax.tree.map(jnp.copy, (params, tx.init(params)))
        self.step = jax.jit(step, donate_argnums=0).lower(self.carry, self.batch).compile()

    def advance(self, steps: int) -> float:
        """Seconds of a step, the mean of so many."""
        tick = time.perf_counter()
        for _ in range(steps):
            self.carry = self.step(self.carry, self.batch)
        jax.block_until_ready(self.carry)
        return (time.perf_counter() - tick) / steps

    def warm_up(self) -> None:
        """A few steps, which set the length of a round."""
        self.advance(1)
        self.steps = max(1, int(SECONDS / self.advance(3)))

    def round(self) -> float:
        """Seconds of a step."""
        return self.advance(self.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifacts", nargs="*", default=list(learned_opt.available()))
    args = parser.parse_args()
    print(f"{describe_device()}, jax {jax.__version__}; training steps, medians of {ROUNDS} rounds")
    for name, load in LOADS.items():
        print(f"\n{name}\n{'':16}{'step':>12}{'over AdamW':>12}{'quartiles':>16}")
        trainers = {key: Trainer(load, tx) for key, tx in optimizers(args.artifacts).items()}
        for trainer in trainers.values():
            trainer.warm_up()
        rounds = [[trainer.round() for trainer in trainers.values()] for _ in range(ROUNDS)]
        found = np.array(rounds)
        ratios = found / found[:, :1]  # AdamW is the first
        for column, key in enumerate(trainers):
            low, mid, high = np.percentile(ratios[:, column], [25, 50, 75])
            step = 1e3 * np.median(found[:, column])
            quartiles = f"{low:.2f} to {high:.2f}"
            print(f"{key:16}{step:>9.2f} ms{mid:>12.2f}{quartiles:>16}", flush=True)
        jax.clear_caches()


if __name__ == "__main__":
    main()
