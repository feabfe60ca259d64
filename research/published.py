"""python -m research.published: tuned Adam on our tasks against curves others have published."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from learned_opt.tasks import FamilySpec, full_loss, inner_init, inner_step
from learned_opt.tasks.problems import MLP, Conv

MLP_128 = MLP(max_width=128, max_depth=2, widths=(128, 128), depths=(2, 2))
CONV = Conv(channels=(16, 32, 32), widths=(8, 8))

RELU = {"activation": 0, "gain": 1.0}

ROWS = (
    (
        "tfds:fashion_mnist/28", MLP_128, RELU, (1_000, 10_000), (1e-4, 3e-4, 1e-3),
        "train loss about .34 at 1,000 and .12 at 10,000 steps for a tuned Adam",
    ),
    (
        "tfds:mnist/28", MLP_128, RELU, (1_000, 10_000), (1e-4, 3e-4, 1e-3),
        "test error 3.05 % for 300-100 units (LeCun et al. 1998), 1.6 % for 800 (Simard 2003)",
    ),
    (
        "tfds:mnist/28", CONV, RELU | {"width": 8}, (1_000, 6_000), (3e-3, 1e-2, 3e-2),
        "test error 1.7 % LeNet-1, 0.95 % LeNet-5 (LeCun et al. 1998)",
    ),
)  # fmt: skip


def main() -> None:
    print("Adam, constant learning rate, the best of three by training loss")
    for data, problem, numbers, points, rates, published in ROWS:
        spec = FamilySpec(problem, data, 128)
        try:
            family = spec.build()
        except ValueError as error:
            print(f"\n{problem.name} on {data}: not measured, {error}")
            continue
        task = family.member(**numbers)
        curves = {rate: train(family, task, rate, points) for rate in rates}
        rate = min(curves, key=lambda r: curves[r][-1][0])
        print(
            f"\n{problem.name} on {data}, batch 128, learning rate {rate:g} of "
            f"{', '.join(f'{r:g}' for r in rates)}\n  published: {published}"
        )
        for steps, (loss, test, accuracy) in zip(points, curves[rate], strict=True):
            print(
                f"  {steps:6,} steps  train loss {loss:.3f}  test loss {test:.3f}  "
                f"test error {100 * (1 - accuracy):.2f} %"
            )


def train(family: Any, task: Any, rate: float, points: tuple[int, ...]) -> list[tuple[float, ...]]:
    """(training loss, test loss, test accuracy) at each of the points; loss over all of `train`."""
    tx = optax.with_extra_args_support(optax.adam(rate))

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state: Any, start: int, end: int, family: Any) -> Any:
        def body(t: jax.Array, state: Any) -> Any:
            return inner_step(family, tx, state, jax.random.fold_in(jax.random.key(0), t))[0]

        return jax.lax.fori_loop(start, end, body, state)

    @jax.jit
    def measure(params: Any, family: Any) -> Any:
        loss, _ = full_loss(family, task, params, "train")
        return loss, *full_loss(family, task, params, "test")

    state, start, rows = jax.tree.map(jnp.copy, inner_init(task, tx, jax.random.key(1))), 0, []
    for end in points:
        state, start = run(state, start, end, family), end
        loss, test, metrics = measure(state.params, family)
        rows.append((float(loss), float(test), float(metrics["accuracy"])))
    return rows


if __name__ == "__main__":
    main()
