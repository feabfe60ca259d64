"""python -m research.character_lm ARTIFACT [ARTIFACT ...]: 1,000 steps of a small language model.

A transformer of two blocks of 64 features on bytes of Tiny Shakespeare, windows of 64, batch 32,
one seed: artifacts untuned; AdamW and Muon by a cosine, at each of the learning rates --adamw and
--muon, without decay. "train": mean minibatch loss over the last tenth of the run, nats a byte.
"""

import argparse

import jax

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.devices import use_all_cores
from learned_opt.eval import BASELINES, Hyper, Runner, Trial
from learned_opt.eval.running import Curve
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import Transformer
from research.valid import make_learned

NETWORK = Transformer(64, 2, 256, (2, 2), (256, 256), heads=4)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.character_lm", description=__doc__)
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT", help="name or path")
    parser.add_argument("--adamw", type=float, nargs="*", default=[3e-3, 1e-2, 3e-2])
    parser.add_argument("--muon", type=float, nargs="*", default=[1e-2, 3e-2, 1e-1])
    parser.add_argument("--data", default="tfds:tiny_shakespeare/64")
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    use_all_cores()
    task = EvalTask("character-lm", FamilySpec(NETWORK, args.data, 32), (), args.steps)
    params = jax.eval_shape(task.member.init, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(
        f"{count:,} parameters, {args.data}, {args.steps:,} steps, {describe_device()}, jax "
        f"{jax.__version__}\n\n{'optimizer':<24} {'train':>7} {'valid':>7}"
    )
    for name in args.artifacts:
        (curve,) = Runner(make_learned(learned_opt.load(name)))(
            [Trial(task, Hyper(1.0), 0)], curves=True
        )
        _show(f"{name}, untuned", curve)
    for name, rates in (("adamw", args.adamw), ("muon", args.muon)):
        baseline = next(b for b in BASELINES if b.name == name)
        # The third number is Muon's alone: its AdamW part has the same learning rate.
        trials = [Trial(task, Hyper(rate, cosine=1.0, extra=1.0), 0) for rate in rates]
        for rate, curve in zip(rates, Runner(baseline.transform)(trials, curves=True), strict=True):
            _show(f"{name}, {rate:g}", curve)


def _show(name: str, curve: Curve) -> None:
    print(f"{name:<24} {curve.train[-1]:>7.3f} {curve.final['valid_loss']:>7.3f}", flush=True)


if __name__ == "__main__":
    main()
