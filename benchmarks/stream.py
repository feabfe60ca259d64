"""python -m benchmarks.stream: what reading the training examples from disk costs a step."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from learned_opt.tasks import Batch, Family, inner_init, inner_step
from learned_opt.tasks.data import Dataset, Stream, decoded, split_dataset
from learned_opt.tasks.problems import MLP

BATCH, UNROLL, CALLS, ROUNDS = 128, 50, 4, 15
Source = Callable[[], Dataset]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        name, x, y = examples(Path(folder))
        resident = split_dataset("resident", x, y)
        with Stream("stream", x, y, window=UNROLL * BATCH) as stream:
            first = stream.next_dataset()
            megabytes = first.splits["train"].x.nbytes / 1e6
            print(
                f"\n{name}: MLP 3072-128-128-10, batch {BATCH}, Adam, {UNROLL} steps a call, "
                f"{jax.device_count()} x {jax.devices()[0].device_kind}, jax {jax.__version__}; "
                f"a window: {stream.window:,} examples, {megabytes:.1f} MB\n"
                f"median of {ROUNDS} rounds of {CALLS} calls, alternating; CPU: of all threads\n\n"
                f"{'training examples':>20} {'step':>9} {'over resident':>14} {'CPU, step':>10} "
                f"{'over resident':>14} {'read a window':>14}"
            )
            sources = {"resident": lambda: resident, "one window, kept": lambda: first}
            compare({**sources, "Stream": stream.next_dataset}, {"Stream": stream._read})
            compare_grain(stream, resident)


def examples(folder: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """CIFAR-10, or if it is not prepared a file of noise of the same size."""
    try:
        return "CIFAR-10", *decoded("cifar10")
    except ValueError:
        pixels = np.lib.format.open_memmap(folder / "x.npy", "w+", np.uint8, (50_000, 32, 32, 3))
        rng = np.random.default_rng(0)
        for start in range(0, len(pixels), 1000):
            pixels[start : start + 1000] = rng.integers(0, 256, (1000, 32, 32, 3))
        return "Noise as large as CIFAR-10", pixels, rng.integers(0, 10, len(pixels))


def compare(sources: dict[str, Source], reads: dict[str, Callable[[int], Any]]) -> None:
    """Rounds with each source in turn; the first source is what others are compared with."""
    mlp = MLP(max_width=128, max_depth=2, widths=(128, 128), depths=(2, 2))
    tx = optax.with_extra_args_support(optax.adam(1e-3))

    @jax.jit
    def unroll(family: Family, state: Any, key: jax.Array) -> Any:
        def step(state: Any, key: jax.Array) -> Any:
            return inner_step(family, tx, state, key)

        return jax.lax.scan(step, state, jax.random.split(key, UNROLL))

    def run(source: Source) -> tuple[float, float]:
        family = Family(mlp, source(), BATCH)
        state = inner_init(family.member(activation=0), tx, jax.random.key(0))
        jax.block_until_ready(unroll(family, state, jax.random.key(0)))
        wall, cpu = time.perf_counter(), time.process_time()
        for call in range(CALLS):
            family = dataclasses.replace(family, data=source())
            state, _ = jax.block_until_ready(unroll(family, state, jax.random.key(call)))
        return time.perf_counter() - wall, time.process_time() - cpu

    times = {label: [run(source)] for label, source in sources.items()}
    for _ in range(ROUNDS):
        for label, source in sources.items():
            times[label].append(run(source))
    base = np.array(next(iter(times.values()))[1:])
    for label, seen in times.items():
        wall, cpu = 1e6 * np.median(np.array(seen[1:]), axis=0) / (CALLS * UNROLL)
        # Round by round, so that what else the machine does falls on both alike.
        over_wall, over_cpu = 100 * np.median(np.array(seen[1:]) / base - 1, axis=0)
        read = f"{host_seconds(reads[label]) * 1e3:>11.1f} ms" if label in reads else ""
        print(
            f"{label:>20} {wall:>6,.0f} us {over_wall:>12.1f} % {cpu:>7,.0f} us "
            f"{over_cpu:>12.1f} % {read}"
        )


def host_seconds(read: Callable[[int], Any]) -> float:
    """Median over windows that were not read before."""
    seen = []
    for position in range(1000, 1011):
        tick = time.perf_counter()
        read(position)
        seen.append(time.perf_counter() - tick)
    return statistics.median(seen)


def compare_grain(stream: Stream, resident: Dataset) -> None:
    """The same windows from `grain`: shuffled by it record by record; ours as its records."""
    try:
        from grain import MapDataset, ReadOptions
    except ImportError:
        return

    class Records:
        def __len__(self) -> int:
            return len(stream._train)

        def __getitem__(self, index: int) -> Any:
            row = stream._train[index]
            return {"x": stream._x[row], "y": stream._y[row]}

    class Windows:
        def __len__(self) -> int:
            return 2**40

        def __getitem__(self, index: int) -> Any:
            rows = stream._rows(index)
            return {"x": stream._x[rows], "y": stream._y[rows]}

    def as_dataset(window: dict[str, np.ndarray]) -> Dataset:
        train = Batch(*jax.device_put((window["x"], window["y"])))
        splits = {"train": train, **stream.held_out.splits}
        return dataclasses.replace(stream.held_out, splits=splits)

    records = MapDataset.source(Records()).seed(0).shuffle().repeat()[0::1].batch(stream.window)
    for label, source in {
        "grain": records,
        "grain, our windows": MapDataset.source(Windows()),
    }.items():
        options = ReadOptions(num_threads=1, prefetch_buffer_size=stream.ahead)
        windows: Any = iter(source.to_iter_dataset(options))
        sources = {
            "resident": lambda: resident,
            label: lambda windows=windows: as_dataset(next(windows)),
        }
        compare(sources, {label: source.__getitem__})
        windows.close()


if __name__ == "__main__":
    main()
