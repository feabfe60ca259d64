"""python -m benchmarks.variance: what a meta-gradient costs, by estimator.

On MLPs of the quickstart, runs of 200 steps, at the untrained theta of a small `GatedAdam`.
"steps x noise" is inner steps spent, times the variance of the estimate (trace of its covariance)
over the squared norm of the true gradient: the inner steps after which the noise is as large as
the gradient. Halve it and meta-training needs half the steps. Variances are of means over whole
runs, so that what is correlated within a run counts as such. "slope" is the projection of the
estimator's mean on the gradient of full ES, relative to that gradient, with its standard error:
1 for an unbiased estimator. "lost": runs whose gradient or loss was not finite.
"""

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
    ESSingle,
    FullES,
    MetaProblem,
    Objective,
    TruncatedES,
)
from learned_opt.tasks import PROBLEMS, FamilySpec

HORIZON, LENGTH, PAIRS, SIGMA = 200, 20, 16, 0.03
BLOCKS = 24
OBJECTIVES = {
    "mean log loss": Objective(valid=0.0, mean=0.0, steps=1.0),
    "final validation loss": Objective(valid=1.0, mean=0.0),
}


def estimators() -> dict[str, Any]:
    runs: dict[str, Any] = {"horizon": (HORIZON, HORIZON)}
    pairs = {**runs, "pairs": PAIRS, "sigma": SIGMA}
    cut = {**pairs, "truncation": LENGTH}
    return {
        "FullES": FullES(**pairs, shortest=1.0),
        "PES": PES(**cut),
        "GPES (period 5)": NRES(**cut, period=5),
        "NRES": NRES(**cut),
        "ESSingle": ESSingle(**cut),
        "TruncatedES": TruncatedES(**cut),
        "Backprop": Backprop(**runs, tasks=2 * PAIRS),
        "TBPTT": TBPTT(**runs, tasks=2 * PAIRS, truncation=LENGTH),
    }


def draw(
    problem: MetaProblem, estimator: Any, theta: Any, seed: int
) -> tuple[np.ndarray, float, float, float]:
    """Means of the gradient, (BLOCKS, size); inner steps a block; seconds a step; runs lost."""
    size = 1 if not hasattr(estimator, "truncation") else HORIZON // LENGTH

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
        return jax.lax.scan(block, carry, length=BLOCKS)

    carry = start(theta)
    program = jax.jit(run, compiler_options=compiler_options()).lower(carry).compile()
    if size > 1:  # the staggered runs are short at first
        carry, _ = jax.block_until_ready(program(carry))
    tick = time.perf_counter()
    _, (grads, steps, lost) = jax.block_until_ready(program(carry))
    seconds = (time.perf_counter() - tick) / float(steps.sum())
    return np.asarray(grads, np.float64), float(steps.mean()), seconds, float(lost.sum())


def main() -> None:
    use_all_cores()
    network: Any = PROBLEMS["mlp"]
    spec = FamilySpec(network(widths=(16, 16), depths=(1, 1)), "digits", 64)
    optimizer = GatedAdam(hidden=4, controller_hidden=8, learning_rate=0.01)
    theta = optimizer.init(jax.random.key(0))
    for title, objective in OBJECTIVES.items():
        problem = MetaProblem(spec.build(), optimizer, objective, device_mesh(PAIRS))
        print(f"\n{title}: runs of {HORIZON} steps, truncation {LENGTH}, {PAIRS} pairs")
        print(
            f"{'estimator':<16} {'steps x noise':>14} {'slope':>15} {'us a step':>10} {'lost':>5}"
        )
        whole: Any = FullES(pairs=4 * PAIRS, sigma=SIGMA, horizon=(HORIZON, HORIZON), shortest=1.0)
        truth, *_ = draw(problem, whole, theta, seed=1)
        # Of independent halves: unbiased for the squared norm.
        norm = float(truth[::2].mean(0) @ truth[1::2].mean(0))
        for name, estimator in estimators().items():
            grads, steps, seconds, lost = draw(problem, estimator, theta, seed=2)
            noise = grads.var(0, ddof=1).sum()
            slopes = grads @ truth.mean(0) / norm
            error = slopes.std(ddof=1) / np.sqrt(BLOCKS)
            print(
                f"{name:<16} {steps * noise / norm:>14,.0f} {slopes.mean():>8.2f} +-{error:>5.2f} "
                f"{1e6 * seconds:>10.1f} {lost:>5.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
