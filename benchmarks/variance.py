"""python -m benchmarks.variance: what a meta-gradient costs, by estimator and length of the runs.

On MLPs of the quickstart, at the untrained theta of a small `GatedAdam`.
"steps x noise" is inner steps spent, times the variance of the estimate (trace of its covariance)
over the squared norm of the true gradient: the inner steps after which the noise is as large as
the gradient. Halve it and meta-training needs half the steps. Variances are of means over whole
runs, so that what is correlated within a run counts as such. "slope" is the projection of the
estimator's mean on the gradient of full ES, relative to that gradient, with its standard error:
1 for an unbiased estimator. "lost": runs whose gradient or loss was not finite. The standard error
of the noise is that of its mean over blocks; the norm of the true gradient, which all rows of a
table share, has one of its own.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from learned_opt import GatedAdam
from learned_opt.devices import compiler_options, device_mesh, use_all_cores
from learned_opt.meta_train import (
    NRES,
    PES,
    TBPTT,
    Backprop,
    Blend,
    ESSingle,
    FullES,
    MetaProblem,
    Objective,
    TruncatedES,
)
from learned_opt.tasks import PROBLEMS, FamilySpec

HORIZONS, LENGTH, PAIRS, SIGMA = (100, 250, 1000), 10, 16, 0.03
BLOCKS = 24
OBJECTIVES = {  # of the logarithms of all training losses, or the final validation loss alone
    "mean": Objective(valid=0.0, mean=0.0, steps=1.0),
    "final": Objective(valid=1.0, mean=0.0),
}


def estimators(horizon: int, pairs: int) -> dict[str, Any]:
    runs: dict[str, Any] = {"horizon": (horizon, horizon)}
    sides = {**runs, "pairs": pairs, "sigma": SIGMA}
    cut = {**sides, "truncation": horizon // LENGTH}
    return {
        "FullES": FullES(**sides, shortest=1.0),
        "PES": PES(**cut),
        "GPES": NRES(**cut, period=5),
        "NRES": NRES(**cut),
        "ESSingle": ESSingle(**cut),
        "TruncatedES": TruncatedES(**cut),
        "Blend": Blend(**sides, shortest=1.0, exact=horizon),
        "Backprop": Backprop(**runs, tasks=2 * pairs),
        "TBPTT": TBPTT(**runs, tasks=2 * pairs, truncation=horizon // LENGTH),
    }


def draw(
    problem: MetaProblem, estimator: Any, theta: Any, blocks: int, seed: int
) -> tuple[np.ndarray, float, float, float]:
    """Means of the gradient, (blocks, size); inner steps a block; seconds a step; runs lost."""
    size = LENGTH if hasattr(estimator, "truncation") else 1

    def block(carry: tuple[Any, jax.Array], _: None) -> Any:
        def one(carry: tuple[Any, jax.Array], _: None) -> Any:
            state, step = carry
            key = jax.random.fold_in(jax.random.key(seed), step)
            found, state = estimator.estimate(problem, theta, state, key, step)
            numbers = (ravel_pytree(found.grad)[0], found.inner_steps, found.nonfinite)
            return (state, step + 1), numbers

        carry, (grads, steps, lost) = jax.lax.scan(one, carry, length=size)
        return carry, (grads.mean(0), steps.sum(), lost.sum())

    @jax.jit
    def start(theta: Any) -> Any:
        return estimator.init(problem, theta, jax.random.key(1)), jnp.zeros((), jnp.int32)

    def run(carry: Any) -> Any:
        return jax.lax.scan(block, carry, length=blocks)

    carry = start(theta)
    program = jax.jit(run, compiler_options=compiler_options()).lower(carry).compile()
    if jax.tree.leaves(carry[0]):  # staggered runs are short at first, and weights unknown
        carry, _ = jax.block_until_ready(program(carry))
    tick = time.perf_counter()
    _, (grads, steps, lost) = jax.block_until_ready(program(carry))
    seconds = (time.perf_counter() - tick) / float(steps.sum())
    return np.asarray(grads, np.float64), float(steps.mean()), seconds, float(lost.sum())


def table(problem: MetaProblem, theta: Any, horizon: int, args: argparse.Namespace) -> None:
    """The rows of a horizon."""
    whole: Any = FullES(pairs=4 * args.pairs, sigma=SIGMA, horizon=(horizon, horizon), shortest=1.0)
    truth, *_ = draw(problem, whole, theta, args.blocks, seed=1)
    # Of independent halves: unbiased for the squared norm.
    norm = float(truth[::2].mean(0) @ truth[1::2].mean(0))
    for name, estimator in estimators(horizon, args.pairs).items():
        if args.only and name not in args.only:
            continue
        grads, steps, seconds, lost = draw(problem, estimator, theta, args.blocks, seed=2)
        squares = args.blocks / (args.blocks - 1) * ((grads - grads.mean(0)) ** 2).sum(1)
        doubt = squares.std(ddof=1) / np.sqrt(args.blocks) / squares.mean()
        slopes = grads @ truth.mean(0) / norm
        error = slopes.std(ddof=1) / np.sqrt(args.blocks)
        print(
            f"{name:<12} {steps * squares.mean() / norm:>14,.0f} +-{100 * doubt:>3.0f} % "
            f"{slopes.mean():>8.2f} +-{error:>5.2f} {1e6 * seconds:>10.1f} {lost:>5.0f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.variance", description=__doc__)
    parser.add_argument("--horizons", type=int, nargs="+", default=HORIZONS)
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--only", nargs="+", choices=estimators(LENGTH, 1), metavar="ESTIMATOR")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="runs of each estimator")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    args = parser.parse_args()
    use_all_cores()
    network: Any = PROBLEMS["mlp"]
    spec = FamilySpec(network(widths=(16, 16), depths=(1, 1)), "digits", 64)
    optimizer = GatedAdam(hidden=4, controller_hidden=8, learning_rate=0.01)
    theta = optimizer.init(jax.random.key(0))
    for title in args.objectives:
        problem = MetaProblem(spec.build(), optimizer, OBJECTIVES[title], device_mesh(args.pairs))
        for horizon in args.horizons:
            print(
                f"\n{title}, runs of {horizon} steps in {LENGTH} truncations, {args.pairs} pairs\n"
                f"{'estimator':<12} {'steps x noise':>14} {'slope':>24} {'us a step':>10}  lost"
            )
            table(problem, theta, horizon, args)


if __name__ == "__main__":
    main()
