"""python -m research.estimators --out FOLDER: inner steps to a score, by estimator.

`SpectralGRU`, the rule of `small` under a recurrent controller, learns from META_TRAIN_V3 with each
estimator: runs of 100 to 1,000 steps, gains over the untrained rule, all differences on one scale.
All get the same inner steps, of which the untrained runs are a part, and are scored at the same of
them on META_VALID_V9: the difference to the untrained rule, run by run, of
clip(log(loss / tuned AdamW's)), with half of its 95 % interval. "steps to": inner steps at the
first log line whose score is at least so far below that of the untrained rule; a dash: there is
none. Runs are kept in FOLDER: an interrupted call goes on.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import rich.console

from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.meta_train import Config, meta_train
from learned_opt.meta_train.run._plan import training_steps

HORIZON = [100, 1000]
SETTINGS: dict[str, dict[str, Any]] = {
    "full_es": {},
    "blend": {"exact": 250},
    "pes": {"truncation": 100},
}


def configured(name: str, rate: float, seed: int, args: argparse.Namespace) -> Config:
    """Of about `args.inner` inner steps in `args.lines` log intervals."""
    config = Config.from_dict({
        "run": {"name": f"{name}-{rate:g}-{seed}", "seed": seed},
        "suite": "META_TRAIN_V3",
        "optimizer": {"name": "spectral_gru", "learning_rate": 0.05},
        "estimator": {"name": name, "pairs": args.pairs, "sigma": args.sigma, "scale": "family",
                      "horizon": HORIZON, **SETTINGS[name]},
        "objective": {"name": "gain"},
        "outer": {"learning_rate": rate},
        "valid": {"suite": "META_VALID_V9", "tasks": args.runs, "horizon": 2000},
    })  # fmt: skip
    steps = sum(training_steps(estimator, config) for estimator in config.estimators)
    every = max(1, round(args.inner / args.lines / steps))
    run = dataclasses.replace(config.run, outer_steps=every * args.lines, log_every=every)
    return dataclasses.replace(config, run=run)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Lines of the log with a score."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "valid_gain" in row]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m research.estimators", description=__doc__)
    parser.add_argument("--out", metavar="FOLDER", required=True, type=Path)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01], help="of Adam on theta")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--inner", type=float, default=1.5e6, help="steps of each run, about")
    parser.add_argument("--lines", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=32, help="of all families")
    parser.add_argument("--sigma", type=float, default=0.08)
    parser.add_argument("--runs", type=int, default=4, help="of each task of META_VALID_V9")
    parser.add_argument("--to", type=float, nargs="+", default=[0.02, 0.04, 0.06])
    args = parser.parse_args(argv)
    use_all_cores()
    facts = {k: v for k, v in vars(args).items() if k != "out"}
    print(f"{facts}\n{describe_device()}\n")
    heads = [f"steps to -{x:g}" for x in args.to]
    columns = ["estimator", "rate", "seed", "outer steps", "inner steps", "score - untrained"]
    print(f"| {' | '.join([*columns, *heads])} |\n|{'---|' * (len(columns) + len(heads))}")
    quiet = rich.console.Console(quiet=True)
    for seed in range(args.seeds):
        for name in args.only:
            for rate in args.rates:
                config = configured(name, rate, seed, args)
                folder = args.out / config.run.name
                meta_train(config, folder, resume=True, console=quiet)
                jax.clear_caches()
                show([name, f"{rate:g}", str(seed)], rows_of(folder), args.to)


def show(run: list[str], rows: list[dict[str, Any]], levels: list[float]) -> None:
    """The lines of a run; the last says when it came to each level."""
    steps = [f"{row['inner_steps']:,.0f}" for row in rows]
    gains = [row["valid_gain"] for row in rows]
    first = [
        next((s for s, gain in zip(steps, gains, strict=True) if gain <= -level), "-")
        for level in levels
    ]
    for i, row in enumerate(rows):
        score = f"{gains[i]:+.4f} ± {row['valid_gain_error']:.4f}"
        ends = first if row is rows[-1] else [""] * len(levels)
        print(f"| {' | '.join([*run, str(row['step']), steps[i], score, *ends])} |", flush=True)


if __name__ == "__main__":
    main()
