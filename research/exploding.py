"""python -m research.exploding: exact meta-gradients of single runs, by length and as theta moves.

Of `Spectral` on the first family of META_TRAIN_V2, small MLPs on images, which needs MNIST. First
at the untrained theta, runs of several lengths: how many have a gradient that is not finite, and
quartiles of the norms of the others. Then as `Backprop` with clip 1 meta-trains by Adam: each
gradient cut to norm 1, those that are not finite left out. "mean": norm of the mean of what is
left, 1 where all runs agree.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from learned_opt import Spectral
from learned_opt.checkpoints import describe_device
from learned_opt.devices import compiler_options, device_mesh, map_lanes, use_all_cores
from learned_opt.meta_train import MetaProblem, Objective, unroll
from learned_opt.meta_train.estimators._backprop import Segments, checkpointed
from learned_opt.tasks import SUITES

TASKS = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.exploding", description=__doc__)
    parser.add_argument("--horizons", type=int, nargs="+", default=(25, 50, 100, 250))
    parser.add_argument("--estimates", type=int, default=3, help=f"of {TASKS} runs, a horizon")
    parser.add_argument("--steps", type=int, default=40, help="outer steps")
    parser.add_argument("--rate", type=float, default=0.004, help="of Adam")
    args = parser.parse_args()
    use_all_cores()
    print(describe_device())
    entry: Any = SUITES["META_TRAIN_V2"].entries[0]
    optimizer, mesh = Spectral(learning_rate=0.05), device_mesh(TASKS)
    problem = MetaProblem(entry.spec.build().without_test(), optimizer, Objective(), mesh)
    theta, unravel = ravel_pytree(optimizer.init(jax.random.key(0)))
    segments, longest = Segments.of(max(args.horizons)), max(args.horizons)

    def lane(
        index: jax.Array, problem: MetaProblem, theta: jax.Array, key: jax.Array, horizon: jax.Array
    ) -> Any:
        task_key, run_key = jax.random.split(jax.random.fold_in(key, index))
        task = problem.family.sample(task_key)

        def loss(theta: jax.Array) -> jax.Array:
            return unroll(
                problem, task, unravel(theta), run_key, horizon=horizon,
                max_steps=segments.steps, loop=checkpointed(segments.length),
            )[0]  # fmt: skip

        return jax.value_and_grad(loss)(theta)

    def runs(problem: MetaProblem, theta: jax.Array, key: jax.Array, horizon: jax.Array) -> Any:
        return map_lanes(mesh, lane, jnp.arange(TASKS), problem, theta, key, horizon)

    runs = jax.jit(runs, compiler_options=compiler_options())

    def draw(theta: Any, seed: int, horizon: int) -> tuple[np.ndarray, ...]:
        """Losses, gradients, and their norms."""
        found = runs(problem, theta, jax.random.key(seed), jnp.int32(horizon))
        losses, grads = (np.asarray(x, np.float64) for x in found)
        return losses, grads, np.linalg.norm(grads, axis=1)

    print("\nsteps  not finite  quartiles of the norms")
    for horizon in args.horizons:
        norms = np.concatenate([draw(theta, s, horizon)[2] for s in range(args.estimates)])
        print(f"{horizon:>5}  {_row(norms)}", flush=True)

    print("\nouter step   loss  not finite  quartiles of the norms           mean")
    outer = optax.adam(args.rate)
    state, all_losses, all_norms = outer.init(theta), [], []
    for step in range(args.steps):
        losses, grads, norms = draw(theta, 1000 + step, longest)
        cut = np.nan_to_num(grads / np.maximum(norms, 1.0)[:, None], posinf=0.0, neginf=0.0)
        mean = cut.mean(0)
        print(
            f"{step:>10} {losses.mean():>6.2f}  {_row(norms)}  {np.linalg.norm(mean):.2f}",
            flush=True,
        )
        updates, state = outer.update(jnp.asarray(mean, theta.dtype), state)
        theta = optax.apply_updates(theta, updates)
        all_losses.append(losses.mean())
        all_norms.append(norms)
    if args.steps:
        half = args.steps // 2
        first, last = np.mean(all_losses[:half]), np.mean(all_losses[half:])
        print(f"{_row(np.concatenate(all_norms))} of all; loss {first:.2f}, then {last:.2f}")


def _row(norms: np.ndarray) -> str:
    finite = norms[np.isfinite(norms)]
    quartiles = np.quantile(finite, (0.25, 0.5, 0.75)) if finite.size else ()
    text = " ".join(f"{x:.1e}" for x in quartiles)
    return f"{norms.size - finite.size:>4} of {norms.size:<4} {text:<26}"


if __name__ == "__main__":
    main()
