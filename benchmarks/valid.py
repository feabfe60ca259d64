"""python -m benchmarks.valid ARTIFACT: steps too long or too short, task by task of META_VALID_V1.

Validation loss at the horizon, the median over twelve seeds, of the artifact and of its optimizer
at initialisation, each with its steps times a constant. At 1 it is the optimizer as it ships. Last
the geometric mean over tasks of its loss over the best of the three untrained ones: what learning
is worth over choosing, task by task, the step size of the rule that it began as.
"""

import argparse
import dataclasses

import jax
import numpy as np
import optax

import learned_opt
from checkpoints import describe_device
from eval import Hyper, Runner, Trial
from tasks import load_suite, use_all_cores

TIMES, SEEDS, LONGEST = (0.3, 1.0, 3.0), range(12), 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.valid", description=__doc__)
    parser.add_argument("artifact", help="name or path")
    args = parser.parse_args()
    use_all_cores()
    artifact = learned_opt.load(args.artifact)
    untrained = artifact.optimizer.init(jax.random.key(0))
    rules = {"untrained": dataclasses.replace(artifact, theta=untrained), "learned": artifact}
    print(
        f"META_VALID_V1, {LONGEST} steps at most, validation loss, median of {len(SEEDS)} seeds, "
        f"{describe_device()}, jax {jax.__version__}\n"
    )
    columns = [f"{name} x {times:g}" for name in rules for times in TIMES]
    print(f"{'task':<20}", *(f"{column:>15}" for column in columns))
    ratios = []
    runners = [Runner(_maker(rule)) for rule in rules.values()]
    for task in load_suite("META_VALID_V1"):
        short = dataclasses.replace(task, horizon=min(task.horizon, LONGEST))
        trials = [Trial(short, Hyper(times), seed) for times in TIMES for seed in SEEDS]
        losses = [[curve.final["valid_loss"] for curve in runner(trials)] for runner in runners]
        medians = np.median(np.reshape(losses, (-1, len(SEEDS))), axis=1)
        print(f"{task.name:<20}", *(f"{loss:>15.4f}" for loss in medians), flush=True)
        ratios.append(medians[columns.index("learned x 1")] / min(medians[: len(TIMES)]))
    print(f"\nlearned x 1 over the best untrained: {np.exp(np.mean(np.log(ratios))):.3f}")


def _maker(artifact: learned_opt.Artifact):
    def make(hyper: Hyper, num_steps: jax.Array) -> optax.GradientTransformationExtraArgs:
        return learned_opt.learned(artifact, num_steps=num_steps, learning_rate=hyper.lr)

    return make


if __name__ == "__main__":
    main()
