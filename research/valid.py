"""python -m research.valid ARTIFACT [ARTIFACT ...]: rules side by side, task by task of a suite.

Validation loss at the horizon, the geometric mean over the seeds, of the optimizer of the first
artifact as it was at initialisation with its steps times constants, and of every artifact as it
ships. Below them, over tasks, geometric means of the losses over those of the first column, and
over the best of the untrained ones: what learning is worth over choosing, task by task, the step
size of the rule that it began as. --adamw adds AdamW with cosine, the best of twelve settings for
each task, chosen by the runs that are shown, and the ratios over it: what could be reached there.
"""

import argparse
import dataclasses
import itertools

import jax
import numpy as np

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.eval import Hyper, Runner, Trial
from learned_opt.eval.baselines import ADAMW
from learned_opt.eval.running import MakeTx
from learned_opt.tasks import EvalTask, load_suite

SETTINGS = [
    Hyper(lr, wd, cosine=1.0)
    for lr, wd in itertools.product((1e-3, 3e-3, 1e-2, 3e-2), (0.0, 0.1, 1.0))
]
"""Of AdamW, for --adamw."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.valid", description=__doc__)
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT", help="name or path")
    parser.add_argument("--suite", nargs="+", default=["META_VALID_V1"], help="one or several")
    parser.add_argument("--seeds", type=int, default=12, help="runs a task (12)")
    parser.add_argument("--horizon", type=int, default=1000, help="steps at most (1000)")
    parser.add_argument(
        "--times", type=float, nargs="+", default=[1.0, 0.3, 3.0], help="of the untrained steps"
    )
    parser.add_argument("--adamw", action="store_true", help="AdamW tuned per task beside them")
    args = parser.parse_args()
    use_all_cores()
    artifacts = [learned_opt.load(name) for name in args.artifacts]
    first = artifacts[0].optimizer
    untrained = dataclasses.replace(artifacts[0], theta=first.init(jax.random.key(0)))
    print(
        f"{' '.join(args.suite)}, {args.horizon} steps at most, validation loss, geometric mean of "
        f"{args.seeds} seeds, {describe_device()}, jax {jax.__version__}\n"
    )
    names = [f"untrained x {times:g}" for times in args.times] + args.artifacts
    names += ["AdamW"] * args.adamw
    print(f"{'task':<20}", *(f"{name[-15:]:>16}" for name in names))
    rules = [(Runner(make_learned(untrained)), [Hyper(x) for x in args.times])]
    rules += [(Runner(make_learned(artifact)), [Hyper(1.0)]) for artifact in artifacts]
    adamw = Runner(ADAMW.transform, ADAMW.eval_params)
    found = []
    for task in (task for suite in args.suite for task in load_suite(suite)):
        short = dataclasses.replace(task, horizon=min(task.horizon, args.horizon))
        means = [m for runner, every in rules for m in mean_logs(runner, every, short, args.seeds)]
        if args.adamw:
            means.append(np.nanmin(mean_logs(adamw, SETTINGS, short, args.seeds)))
        print(f"{task.name:<20}", *(f"{loss:>16.5f}" for loss in np.exp(means)), flush=True)
        found.append(means)
    logs = np.array(found)
    bases = {"over the first": logs[:, 0], "over the best": logs[:, : len(args.times)].min(1)}
    if args.adamw:
        bases["over AdamW"] = logs[:, -1]
    for what, base in bases.items():
        ratios = np.exp(np.mean(logs - base[:, None], axis=0))
        print(f"{what:<20}", *(f"{ratio:>16.3f}" for ratio in ratios))


def mean_logs(runner: Runner, every: list[Hyper], task: EvalTask, seeds: int) -> list[float]:
    """Means over seeds of the logarithm of the validation loss, one for each of `every`."""
    trials = [Trial(task, hyper, seed) for hyper in every for seed in range(seeds)]
    losses = [curve.final["valid_loss"] for curve in runner(trials)]
    return list(np.mean(np.reshape(np.log(losses), (len(every), -1)), axis=1))


def make_learned(artifact: learned_opt.Artifact) -> MakeTx:
    """What a `Runner` runs: the artifact with its steps times `Hyper.lr`."""
    return lambda hyper, num_steps: learned_opt.learned(
        artifact, num_steps=num_steps, learning_rate=hyper.lr
    )


if __name__ == "__main__":
    main()
