"""python -m research.told ARTIFACT: what it is worth to be told the loss and the epochs.

Of an optimizer that makes use of both: final validation losses on the tasks of a suite where it is
told both, where one is hidden, and where both are. "over AdamW": told both, over the loss that
tuned AdamW ends with, where the suite has it. The other columns: over the loss of the same seed
where it is told both, so that above 1 is what hiding costs. Ratios are geometric means of ratios
clipped to [1/2, 2]; in the last row over all tasks, with a 95 % interval (of the logarithm; seeds
are the replicates, the tasks are given).
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.eval import Hyper, Runner, Trial
from learned_opt.eval.running import MakeTx
from learned_opt.meta_train._objective import clipped_log_ratio
from learned_opt.meta_train._told import without_loss
from learned_opt.meta_train.run._scores import half_width
from learned_opt.tasks import load_suite, references

WAYS = {
    "both": (True, True), "loss": (True, False), "epochs": (False, True), "neither": (False, False)
}  # fmt: skip
"""What it is told: the loss, the epochs."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.told", description=__doc__)
    parser.add_argument("artifact", metavar="ARTIFACT", help="name or path")
    parser.add_argument("--suite", default="META_VALID_V9")
    parser.add_argument("--seeds", type=int, default=5, help="runs a task (5)")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="of the suite, not all")
    args = parser.parse_args()
    use_all_cores()
    artifact = learned_opt.load(args.artifact)
    if not artifact.optimizer.uses_epochs:
        parser.error(f"ARTIFACT must make use of epochs, got one of {artifact.optimizer.name}")
    every = load_suite(args.suite)
    unknown = sorted(set(args.tasks or []) - {task.name for task in every})
    if unknown:
        names = ", ".join(task.name for task in every)
        parser.error(f"--tasks takes names of {names}; got {', '.join(unknown)}")
    tasks = [task for task in every if not args.tasks or task.name in args.tasks]
    known = references(args.suite) or {}
    print(f"{args.suite}, {args.seeds} seeds, {describe_device()}, jax {jax.__version__}\n")
    print(f"{'task':<24}{'epochs':>9}{'over AdamW':>18}", *(f"{x:>18}" for x in [*WAYS][1:]))
    runners = {way: Runner(told(artifact, *what), epochs=True) for way, what in WAYS.items()}
    columns: list[list[np.ndarray]] = []
    for task in tasks:
        trials = [Trial(task, Hyper(1.0), seed) for seed in range(args.seeds)]
        losses = [
            jnp.asarray([curve.final["valid_loss"] for curve in runner(trials)])
            for runner in runners.values()
        ]
        bases = [known.get(task.name, {}).get("adamw", jnp.nan), *[losses[0]] * 3]
        logs = [np.asarray(clipped_log_ratio(*x)) for x in zip(losses, bases, strict=True)]
        columns.append(logs)
        cells = [f"{np.exp(x.mean()):>18.3f}" for x in logs]
        print(f"{task.name:<24}{trials[0].epochs:>9.3g}{cells[0]}", *cells[1:], flush=True)
    cells = [_pooled(list(column)) for column in zip(*columns, strict=True)]
    print(f"{'all':<33}{cells[0]}", *cells[1:])


def told(artifact: learned_opt.Artifact, loss: bool, epochs: bool) -> MakeTx:
    """What a `Runner` runs that tells epochs: the artifact, told what is true."""

    def make(hyper: Hyper, num_steps: Any, known: Any) -> Any:
        del hyper
        tx = learned_opt.learned(artifact, num_steps=num_steps, epochs=known if epochs else None)
        return tx if loss else without_loss(tx, jnp.array(True))

    return make


def _pooled(tasks: list[np.ndarray]) -> str:
    mean, half = float(np.mean([x.mean() for x in tasks])), half_width(tasks)
    interval = "" if half is None else f" +- {half:.3f}"
    return f"{np.exp(mean):.3f}{interval}".rjust(18)


if __name__ == "__main__":
    main()
