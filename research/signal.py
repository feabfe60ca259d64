"""python -m research.signal CONFIG: how much of a meta-gradient is signal, family by family.

At the first theta of a configuration of meta-training, from independent estimates of the
meta-gradient: "signal", the norm of what they agree on; "noise", of what they do not; and "pairs",
how many of the family's pairs (tasks of an estimator without any) an outer step would need for
both to be as large, with the jackknife's standard error of its logarithm. Where that is a
thousand, an outer step of ten has ten times as much noise as signal: take a larger sigma, fewer
meta-parameters or more pairs. "all" is the weighted mean over families, its pairs those of the
whole outer step.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from learned_opt.checkpoints import describe_device
from learned_opt.devices import compiler_options, use_all_cores
from learned_opt.meta_train import build, load_config


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.signal", description=__doc__)
    parser.add_argument("config", help="a TOML file of meta-training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    parser.add_argument("--estimates", type=int, default=16)
    args = parser.parse_args()
    use_all_cores()
    config = load_config(args.config, args.sets)
    trainer, problems, _ = build(config)
    state = trainer.init(problems)
    print(f"{describe_device()}, jax {jax.__version__}, {args.estimates} estimates")
    print(f"{'family':<32} {'signal':>8} {'noise':>8} {'pairs':>9}")
    estimators: tuple[Any, ...] = trainer.estimators
    rows = zip(config.sources, estimators, trainer.weights, problems, strict=True)
    total, spent = np.zeros(()), 0
    for i, (source, estimator, weight, problem) in enumerate(rows):

        def estimate(problem: Any, state: Any, i: int = i) -> jax.Array:
            return ravel_pytree(trainer.estimate(i, problem, state)[0].grad)[0]

        run = jax.jit(estimate, compiler_options=compiler_options())
        steps = [state._replace(step=jnp.int32(n)) for n in range(args.estimates)]
        grads = np.asarray([run(problem, step) for step in steps], np.float64)
        lanes = estimator.lanes
        print(_row(source.name, grads, lanes), flush=True)
        total, spent = total + weight * grads, spent + lanes
    print(_row("all", total, spent))


def split(grads: np.ndarray) -> tuple[float, float]:
    """Squared norms of the mean and of a deviation from it, unbiased, from (n, size).

    >>> split(np.array([[2.0, 0.0], [2.0, 0.0]])), split(np.array([[1.0, 0.0], [0.0, 1.0]]))
    ((4.0, 0.0), (0.0, 1.0))
    """
    products = grads @ grads.T
    n = len(products)
    signal = (products.sum() - np.trace(products)) / (n * (n - 1))
    return float(signal), float(np.trace(products) / n - signal)


def _row(name: str, grads: np.ndarray, lanes: int) -> str:
    signal, noise = split(grads)
    head = f"{name:<32} {np.sqrt(max(signal, 0)):>8.3f} {np.sqrt(noise):>8.2f}"
    if signal <= 0:
        return f"{head} {'none seen':>9}"
    parts = [split(np.delete(grads, i, 0)) for i in range(len(grads))]
    logs = np.log([part[1] / max(part[0], 1e-12) for part in parts])
    error = np.sqrt((len(logs) - 1) * np.var(logs))
    return f"{head} {lanes * noise / signal:>9,.0f} (x/ {np.exp(error):.1f})"


if __name__ == "__main__":
    main()
