"""What weight decay costs a fit without noise: python -m research.heat [ARTIFACT ...]

The heat equation u_t = u_xx / 10 of the family `heat`, two half waves, a tanh network of three
layers of 16 units, 128 new points a step, 1,500 steps, six seeds: geometric mean of the validation
loss. No task of any suite has these numbers, though `small` learns from the family. Artifacts are
of the kind spectral, and run with their steps and their decay times constants.
"""

import argparse
import dataclasses
from typing import Any

import jax
import numpy as np
import optax

import learned_opt
from learned_opt import Spectral
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.eval import Hyper, Runner, Trial
from learned_opt.eval.running import MakeTx
from learned_opt.parts._controlled import LOG_GAIN
from learned_opt.tasks import FamilySpec
from learned_opt.tasks.problems import Heat
from learned_opt.tasks.suites import EvalTask
from research.valid import make_learned

STEPS, SEEDS = 1500, 6
TASK = EvalTask(
    "heat",
    FamilySpec(Heat(max_width=16, widths=(8, 16)), "points/2", 128),
    (("diffusivity", 0.1), ("modes", 2), ("width", 16), ("depth", 3), ("gain", 1.0)),
    STEPS,
)


def final_loss(make: MakeTx, lr: float = 1.0) -> float:
    """After STEPS steps, geometric mean over SEEDS seeds."""
    curves = Runner(make)([Trial(TASK, Hyper(lr), seed) for seed in range(SEEDS)])
    return float(np.exp(np.mean(np.log([curve.final["valid_loss"] for curve in curves]))))


def show(name: str, make: MakeTx, lr: float = 1.0) -> None:
    """Print a name and the final loss."""
    print(f"{name:48}{final_loss(make, lr):.1e}", flush=True)


def with_decay(artifact: learned_opt.Artifact, times: float) -> MakeTx:
    """The artifact with its decay times a constant."""
    log_decay = artifact.theta["log_decay"] + np.log(times) / LOG_GAIN
    return make_learned(
        dataclasses.replace(artifact, theta={**artifact.theta, "log_decay": log_decay})
    )


def untrained(**options: Any) -> MakeTx:
    """`Spectral` as it is before meta-training."""
    optimizer = Spectral(**options)
    theta = optimizer.init(jax.random.key(0))
    return make_learned(learned_opt.Artifact(optimizer, theta, {}))


def cosine(make: Any) -> MakeTx:
    """An optax optimizer under a cosine schedule, without decay."""
    # STEPS: optax wants its decay's length as an int.
    return lambda hyper, num_steps: make(optax.cosine_decay_schedule(hyper.lr, STEPS))


def main() -> None:
    """Steps and decay of artifacts and of the untrained rule, beside Adam and Muon."""
    parser = argparse.ArgumentParser(prog="python -m research.heat", description=__doc__)
    parser.add_argument("artifacts", nargs="*", default=["small"], metavar="ARTIFACT")
    args = parser.parse_args()
    use_all_cores()
    print(f"Heat equation, loss after {STEPS} steps, {describe_device()}, jax {jax.__version__}\n")
    for name in args.artifacts:
        artifact = learned_opt.load(name)
        for times in (0.3, 1.0, 3.0):
            show(f"{name}, steps x {times}", make_learned(artifact), times)
        for times in (0.1, 1e-3):
            show(f"{name}, decay x {times}", with_decay(artifact, times))
    for decay in (0.1, 1e-4):
        what = f"untrained, 0.05, decay {decay}"
        show(what, untrained(learning_rate=0.05, weight_decay=decay))
    for lr in (3e-3, 1e-2, 3e-2):
        show(f"Adam, cosine {lr}, no decay", cosine(optax.adam), lr)
        show(f"Muon, cosine {lr}, no decay", cosine(optax.contrib.muon), lr)


if __name__ == "__main__":
    main()
