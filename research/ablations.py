"""python -m research.ablations --out DIR: meta-training with one thing changed at a time.

Every row meta-trains research/configs/ablations.toml, once per seed, with the settings that
the row names, and is judged by the same runs of META_VALID_V2 and V3: means of the logarithm of
relative losses, lower is better. "start": the untrained rule; "end": after the last outer step,
the mean over seeds and behind +- half the distance of the two farthest; "best": of the checkpoint
that a run would ship, the same. Runs are kept in DIR; the same command goes on where it stopped.
"""

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores

CONFIG = Path(__file__).parent / "configs" / "ablations.toml"
UNAUGMENTED = "families without augmentations"
"""No setting of `learned-opt meta-train`: another file."""

PES = '{name="pes", pairs=24, sigma=0.08, truncation=50, horizon=[50, 500], clip=0.5}'
ROWS = (
    ("nothing", "", ()),
    ("augmentation", "none", (UNAUGMENTED,)),
    ("objective", "validation loss alone", ("objective.mean=0.0",)),
    ("objective", "training loss alone", ("objective.valid=0.0", "objective.last=1.0")),
    ("objective", "no logarithm", ("objective.log=false",)),
    ("estimator", "PES, 50 steps, 24 pairs", (f"estimator={PES}",)),
    ("estimator", "signs of differences", ('estimator.scale="sign"',)),
    ("estimator", "differences not clipped", ("estimator.clip=0.0",)),
    ("horizon", "50 to 150", ("estimator.horizon=[50, 150]",)),
    ("horizon", "250", ("estimator.horizon=[250, 250]",)),
    ("sigma", "0.02", ("estimator.sigma=0.02",)),
    ("sigma", "0.3", ("estimator.sigma=0.3",)),
    ("outer", "Lion, 0.003", ('outer.optimizer="lion"', "outer.learning_rate=0.003")),
    ("outer", "SGD with momentum, 0.1", ('outer.optimizer="sgd"', "outer.learning_rate=0.1")),
    ("outer", "Adam, 0.003", ("outer.learning_rate=0.003",)),
    ("outer", "Adam, 0.03", ("outer.learning_rate=0.03",)),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.ablations", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="WHAT", help="rows that change one of these")
    args = parser.parse_args()
    known = sorted({what for what, _, _ in ROWS})
    unknown = sorted(set(args.only or []) - set(known))
    if unknown:
        parser.error(f"--only takes {', '.join(known)}; got {', '.join(unknown)}")
    args.out.mkdir(parents=True, exist_ok=True)
    use_all_cores()  # as a run does, for the line below
    print(f"{describe_device()}, {args.seeds} seeds\n")
    print("| changed | to | start | end | best |\n|---|---|---|---|---|")
    for what, to, settings in ROWS:
        if args.only and what not in args.only:
            continue
        cards = [train(args.out, f"{what} {to}", settings, seed) for seed in range(args.seeds)]
        curves = np.array([card["meta_valid_curve"]["valid_loss"] for card in cards])
        cells = [f"{curves[0, 0]:.3f}", spread(curves[:, -1]), spread(curves.min(axis=1))]
        print("|", " | ".join([what, to, *cells]), "|", flush=True)


def spread(scores: np.ndarray) -> str:
    """Their mean, and half of how far they are apart."""
    return f"{scores.mean():.3f} +- {(scores.max() - scores.min()) / 2:.3f}"


def train(out: Path, row: str, settings: tuple[str, ...], seed: int) -> dict[str, Any]:
    """The card of a run of a row, from `out` if it is there."""
    words = "".join(c if c.isalnum() else " " for c in f"{row} {seed}".lower())
    name = "-".join(words.split())
    folder = out / name
    artifact = folder / f"{name}.safetensors"
    if not artifact.exists():
        config = CONFIG
        if UNAUGMENTED in settings:
            config, settings = out / "unaugmented.toml", ()
            config.write_text(tomli_w.dumps(unaugmented()))
        command = [
            sys.executable,
            "-m",
            "learned_opt",
            "meta-train",
            str(config),
            "--out",
            str(folder),
        ]
        for setting in (f'run.name="{name}"', f"run.seed={seed}", *settings):
            command += ["--set", setting]
        if (folder / "config.toml").exists():
            command.append("--resume")
        with (out / "runs.log").open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    return dict(learned_opt.load(artifact).card)


def unaugmented() -> dict[str, Any]:
    """CONFIG with no augmentations."""
    table = tomllib.loads(CONFIG.read_text())
    for family in table["families"]:
        family.pop("augment", None)
    return table


if __name__ == "__main__":
    main()
