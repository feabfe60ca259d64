"""python -m research.objectives [--seeds 2] [--outer 40] [--pairs 16]: which meta-loss learns more.

Two cheap families of MLPs, the rule `Spectral`, FullES. Both objectives get the same inner steps:
`Gain`, whose pairs have a third run, makes two outer steps where `Objective` makes three. Judged by
the same held-out runs, as the difference to the untrained rule run by run: of the logarithm of the
final validation loss, as it is and clipped to a factor of two. Each with half of its 95 % interval
over the runs of one seed; the last rows are means over seeds.
"""

import argparse
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.meta_train import Config, Gain, Judge, Objective, Programs, build
from learned_opt.meta_train.run._scores import score_row

FAMILIES = [
    {"problem": "mlp", "data": data, "batch_size": 32,
     "options": {"widths": [8, 16], "max_width": 16, "depths": [1, 2], "gains": [0.5, 2.0]},
     "augment": {"reparametrise": {"scales": [0.3, 3.0]}}}
    for data in ("digits", "teacher_values")
]  # fmt: skip
JUDGED = (Objective(mean=0.0), Gain(mean=0.0))
"""What is shown: the first's difference to the untrained rule is not clipped, the second's is."""


def configured(name: str, outer: int, args: argparse.Namespace, seed: int) -> Config:
    """Both of the same inner steps, and of a log line at the same of them."""
    every = outer // args.lines
    return Config.from_dict({
        "run": {"name": name, "outer_steps": every * args.lines, "log_every": every, "seed": seed},
        "families": FAMILIES,
        "optimizer": {"name": "spectral"},
        "estimator": {"pairs": args.pairs // 2, "sigma": args.sigma, "horizon": args.horizon},
        "objective": {"name": name},
        "outer": {"learning_rate": args.rate},
        "valid": {"tasks": 2 * args.runs, "horizon": args.horizon[1]},
    })  # fmt: skip


def judges(problems: Any, untrained: Any, args: argparse.Namespace) -> list[Judge]:
    """For each of JUDGED one a family, on the same runs whatever the seed of the training."""
    key = jax.random.key(2026)
    return [
        Judge(dataclasses.replace(problem, objective=objective, untrained=untrained), None,
              jnp.int32(args.horizon[1]), jax.random.fold_in(key, i), args.runs)
        for objective in JUDGED for i, problem in enumerate(problems)
    ]  # fmt: skip


def learn(config: Config, args: argparse.Namespace) -> list[list[float]]:
    """A row a log line: outer steps, inner steps, and the two differences with their intervals."""
    trainer, problems, _ = build(config)
    judged = judges(problems, trainer.theta, args)
    programs, count = Programs(trainer, problems, judged, config.run.log_every), len(problems)
    programs.compile()
    first, state, rows = programs.first_scores(), programs.start, []
    for _ in range(args.lines):
        state, _ = programs.steps(state)
        scores = jax.device_get(programs.scores(state.theta))
        found: list[float] = [int(state.step), float(state.inner_steps)]
        for part in (slice(0, count), slice(count, None)):
            row = score_row(scores[part], first[part], [""] * count)
            found += [row["valid_gain"], row["valid_gain_error"]]
        rows.append(found)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.objectives", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--outer", type=int, default=40, help="outer steps of `gain`")
    parser.add_argument("--lines", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--runs", type=int, default=64, help="held-out runs of each family")
    parser.add_argument("--sigma", type=float, default=0.08)
    parser.add_argument("--rate", type=float, default=0.02, help="of Adam on theta")
    parser.add_argument("--horizon", type=int, nargs=2, default=[100, 200])
    args = parser.parse_args()
    use_all_cores()
    print(f"{vars(args)}\n{describe_device()}, jax {jax.__version__}\n")
    print("| objective | seed | outer steps | inner steps | log loss - untrained | clipped |")
    print("|---|---|---|---|---|---|")
    for name, outer in (("loss", args.outer * 3 // 2), ("gain", args.outer)):
        found = []
        for seed in range(args.seeds):
            found.append(learn(configured(name, outer, args, seed), args))
            for row in found[-1]:
                show(name, str(seed), row)
        for row in np.mean(found, 0):
            row[[3, 5]] /= args.seeds**0.5  # independent but for the runs they share
            show(name, "mean", row)


def show(name: str, seed: str, row: Any) -> None:
    outer, inner, plain, error, clipped, other = row
    print(f"| {name} | {seed} | {outer:.0f} | {inner:,.0f} | {plain:+.4f} ± {error:.4f} | "
          f"{clipped:+.4f} ± {other:.4f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
