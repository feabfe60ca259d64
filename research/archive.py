"""python -m research.archive: size of the packed runs of all baselines on one suite, and time.

The runs are made up: losses that fall as a power of the step under 10 % of noise, of six digits.
"""

import io
import json
import lzma
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from learned_opt.eval.running import pack, run_from_json, unpack
from learned_opt.eval.running._trials import POINTS, eval_steps

TASKS, BASELINES, SETTINGS, TUNE_SEEDS, REPORT_SEEDS = 12, 9, 60, 3, 10
CURVES = ("train_curve", "valid_curve", "test_curve")
FINAL = [f"{s}_{w}" for s in ("train", "outer_valid", "test") for w in ("loss", "accuracy")]


def main() -> None:
    rows = made_up_rows()
    print(
        f"{TASKS} tasks x {BASELINES} baselines x ({SETTINGS} settings x {TUNE_SEEDS} seeds + "
        f"{REPORT_SEEDS} seeds x {POINTS} points x {len(CURVES)} curves): {len(rows):,} runs"
    )
    runs = [run_from_json(row) for row in rows]
    tick = time.perf_counter()
    packed = pack(runs)
    tock = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.npz"
        path.write_bytes(packed)
        start = time.perf_counter()
        assert unpack(path) == sorted(runs, key=lambda run: run.key)
        print(f"pack {tock - tick:.1f} s, unpack {time.perf_counter() - start:.1f} s")
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    curves = np.array([row[name] for row in rows if "steps" in row for name in CURVES])
    half = curves.astype(np.float16)
    error = np.abs(half / curves - 1).max()
    saved = _deflated(curves.astype(np.float32)) - _deflated(half)
    for name, size in {
        "as JSON lines": len(lines),
        "as JSON lines, xz": len(lzma.compress(lines)),
        "packed": len(packed),
        f"packed, curves of float16 (wrong by up to {error:.1e})": len(packed) - saved,
    }.items():
        print(f"{size / 1e6:6.2f} MB  {name}")


def made_up_rows() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)

    def number(x: float) -> float:
        return float(f"{x:.6g}")

    def row(stage: str, task: int, optimizer: int, setting: int, seed: int) -> dict[str, Any]:
        return {
            "key": rng.bytes(8).hex(),
            "stage": stage,
            "optimizer": f"optimizer-{optimizer}",
            "task": f"task-{task}",
            "horizon": 1000,
            "lr": float(f"{10 ** (setting % 12 / 2 - 6):.4g}"),
            "weight_decay": (0.0, 1e-3, 1e-2, 1e-1, 1.0)[setting // 12],
            "seed": seed,
            "device": "cpu",
            "jax": "0.10.2",
            "valid_loss": number(rng.lognormal()),
        }

    rows, steps = [], eval_steps(1000)
    for task in range(TASKS):
        for optimizer in range(BASELINES):
            for setting in range(SETTINGS):
                rows += [row("tune", task, optimizer, setting, s) for s in range(TUNE_SEEDS)]
            for seed in range(100, 100 + REPORT_SEEDS):
                made = row("report", task, optimizer, 7, seed) | {"steps": steps.tolist()}
                for name in CURVES:
                    curve = 3 * steps**-0.3 * rng.lognormal(sigma=0.1, size=POINTS)
                    made[name] = [number(x) for x in curve]
                rows.append(made | {name: number(rng.lognormal()) for name in FINAL})
    return rows


def _deflated(array: np.ndarray) -> int:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array)
    return len(buffer.getvalue())


if __name__ == "__main__":
    main()
