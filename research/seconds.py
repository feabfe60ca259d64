"""python -m research.seconds ARTIFACT [ARTIFACT ...]: seconds to a target loss, over AdamW's.

The network of a million parameters that `eval` times, 64-960-960-10 on digits, at a batch of 128.
AdamW with cosine takes the best of twelve settings, by three other seeds; tuning is not counted.
Targets are eval's, set by AdamW: shares of the way, in log loss, from the first evaluation to the
median over seeds of its best validation loss. "steps": the median over seeds of the first
evaluation at the target or below. "step": milliseconds of a training step, timed side by side.
"seconds": their product, without compiling, and behind it over AdamW's; "missed" where most seeds
never get there.
"""

import argparse

import jax
import numpy as np

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.eval import Hyper, Runner, Trial
from learned_opt.eval.baselines import ADAMW
from learned_opt.eval.cost import measure_step
from learned_opt.eval.statistics import SHARES, ladder, steps_to_target, target
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP
from research.valid import SETTINGS, make_learned, mean_logs

SEEDS = range(100, 105)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.seconds", description=__doc__)
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT", help="name or path")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--data", default="digits")
    args = parser.parse_args()
    use_all_cores()
    width = 960
    spec = FamilySpec(MLP(max_width=width, widths=(width, width)), args.data, 128)
    numbers = (("width", width), ("depth", 2), ("activation", 0), ("gain", 1.0))
    task = EvalTask("1M", spec, numbers, args.steps)
    print(f"{args.data}, {args.steps} steps, {describe_device()}, jax {jax.__version__}")

    # One run at a time: batched products of large matrices are slow on CPU.
    runner = Runner(ADAMW.transform, ADAMW.eval_params, most=1)
    chosen = SETTINGS[int(np.nanargmin(mean_logs(runner, SETTINGS, task, 3)))]
    print(f"AdamW tuned: learning rate {chosen.lr:g}, decay {chosen.wd:g}\n")
    made = {"AdamW": (runner, chosen, ADAMW.transform(chosen, args.steps))}
    for name in args.artifacts:
        artifact = learned_opt.load(name)
        tx = learned_opt.learned(artifact, num_steps=args.steps)
        made[name] = (Runner(make_learned(artifact), most=1), Hyper(1.0), tx)
    curves = {}
    for name, (run, hyper, _) in made.items():
        curves[name] = run([Trial(task, hyper, seed) for seed in SEEDS], curves=True)
    losses = {name: np.array([c.valid for c in every]) for name, every in curves.items()}
    milliseconds = {
        name: time / 1000
        for name, time in measure_step(task, {n: tx for n, (_, _, tx) in made.items()}).items()
    }
    best = target(losses["AdamW"].min(axis=1)[None])
    print(f"{'target':>16} {'optimizer':<24} {'steps':>7} {'step':>8} {'seconds':>8} {'ratio':>6}")
    for share, loss in zip(SHARES, ladder(losses["AdamW"][:, 0], best), strict=True):
        first = None
        for name, curve in losses.items():
            steps = float(np.median(steps_to_target(curves[name][0].steps, curve, loss)))
            seconds = steps * milliseconds[name] / 1000
            first = first or seconds
            time = f"{seconds:>8.2f} {seconds / first:>6.2f}" if np.isfinite(steps) else "  missed"
            print(
                f"{f'{share:.0%}, {loss:.4g}':>16} {name:<24} {steps:>7.0f} "
                f"{milliseconds[name]:>5.1f} ms {time}"
            )


if __name__ == "__main__":
    main()
