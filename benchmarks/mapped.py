"""python -m benchmarks.mapped: what training examples that stay in a file cost a step."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learned_opt.tasks import EvalTask, begin_run, from_functions, run_step

from . import transformer

EXAMPLES, SIZES, STEPS, ROUNDS = 50_000, (3072, 128, 128, 10), 50, 9


def main() -> None:
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    print(
        f"\nAdam, {STEPS} steps a call, {devices}, jax {jax.__version__}; median of {ROUNDS} "
        "rounds, alternating; CPU: of all threads\n\n"
        f"{'':>40} {'in memory':>10} {'in a file':>10} {'ratio':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, make in LOADS.items():
            compare(name, *(make(Path(folder), memory) for memory in (None, 0)))


def mlp(folder: Path, memory: int | None) -> EvalTask:
    """On noise as large as CIFAR-10."""
    rng = np.random.default_rng(0)
    shape = EXAMPLES, SIZES[0]
    pixels = _file(folder / "pixels.npy", lambda: rng.integers(0, 256, shape, np.uint8))

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(SIZES) - 1)
        return [
            jax.random.normal(k, (a, b)) / np.sqrt(a)
            for k, a, b in zip(keys, SIZES[:-1], SIZES[1:], strict=True)
        ]

    def loss(params: Any, batch: Any) -> jax.Array:
        x = batch["x"].astype(jnp.float32) / 255 - 0.5
        for weight in params[:-1]:
            x = jax.nn.relu(x @ weight)
        logits = x @ params[-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    data = {"x": pixels, "y": rng.integers(0, 10, EXAMPLES, np.int32)}
    return from_functions(init, loss, data, batch_size=128, valid=0.02, memory=memory)


def language_model(folder: Path, memory: int | None) -> EvalTask:
    """The transformer of the other benchmarks, 64 tokens a row."""
    rng, shape = np.random.default_rng(0), (EXAMPLES, transformer.LENGTH + 1)
    words = _file(folder / "words.npy", lambda: rng.integers(0, transformer.WORDS, shape, np.int32))
    return from_functions(
        transformer.init,
        transformer.loss,
        words,
        batch_size=transformer.BATCH,
        valid=0.02,
        memory=memory,
    )


LOADS = {
    "MLP 3072-128-128-10, batch 128": mlp,
    "transformer, 1,024 tokens": language_model,
}


def _file(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        np.save(path, make())
    return np.load(path, mmap_mode="r")


def compare(name: str, *tasks: EvalTask) -> None:
    """Seconds of a step of each, round by round in turn."""
    tx = optax.with_extra_args_support(optax.adam(1e-3))

    @jax.jit
    def steps(family: Any, state: Any, key: jax.Array) -> Any:
        def step(t: jax.Array, state: Any) -> Any:
            return run_step(family, tx, state, key, t)[0]

        return jax.lax.fori_loop(0, STEPS, step, state)

    def run(task: EvalTask, key: jax.Array) -> tuple[float, float]:
        state = jax.block_until_ready(begin_run(task.member, tx, key))
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(steps(task.family, state, key))
        return time.perf_counter() - wall, time.process_time() - cpu

    seen = [[run(task, jax.random.key(i)) for task in tasks] for i in range(ROUNDS + 1)]
    times = 1e6 * np.array(seen[1:]) / STEPS
    # Ratios round by round, so that what else the machine does falls on both alike.
    medians, ratios = np.median(times, axis=0), np.median(times[:, 1] / times[:, 0], axis=0)
    for i, what in enumerate(("wall", "CPU")):
        held, mapped = medians[:, i]
        print(f"{name:>34} {what:>5} {held:>7,.0f} us {mapped:>7,.0f} us {ratios[i]:>7.3f}")


if __name__ == "__main__":
    main()
