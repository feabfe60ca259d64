"""Meta-gradients by differentiation, against derivatives in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimates import ALONG, HORIZON, LENGTH, LR, START, STEPS, draw, parts, problem
from jax.flatten_util import ravel_pytree
from problems import FINAL, FLOOR, LearnedSGD

from learned_opt import GatedAdam, PerParamMLP
from learned_opt.meta_train import TBPTT, Backprop, Objective
from learned_opt.meta_train.estimators._backprop import checkpointed
from learned_opt.tasks import PROBLEMS, FamilySpec


@pytest.mark.parametrize("objective", [FINAL, ALONG, Objective(0.5, 0.3, 0.2, 0.1)])
def test_backprop_is_exact(objective):
    """Equal runs: the derivative itself; against a central difference of the unroll in float64."""

    def loss(lr):
        p = START * (1 - lr) ** np.arange(STEPS + 1)
        l = np.log(0.5 * p**2 + 1 + FLOOR)  # noqa: E741
        plain = 0.5 * p[:STEPS] ** 2 + 1
        return (
            objective.valid * l[-1]
            + objective.last * np.log(plain[-1:].mean() + FLOOR)
            + objective.mean * np.log(plain.mean() + FLOOR)
            + objective.steps * l[:STEPS].mean()
        )

    want = (loss(LR + 1e-6) - loss(LR - 1e-6)) / 2e-6
    grads, losses, _ = draw(Backprop(tasks=4, **HORIZON), 2, problem(objective))
    np.testing.assert_allclose(grads[:, 0], want, rtol=1e-5)
    np.testing.assert_allclose(losses, loss(LR), rtol=1e-5)


@pytest.mark.slow  # compiling the backward pass takes a minute or two
@pytest.mark.parametrize("optimizer", [GatedAdam(2, 2), PerParamMLP(2)], ids=lambda o: o.name)
def test_backprop_through_learned_optimizers_is_their_finite_difference(optimizer):
    """On an MLP whose biases start at zero, where square roots have no derivative."""
    family = FamilySpec(PROBLEMS["mlp"](widths=(8, 8), depths=(1, 1), max_width=8), "wine", 8)
    system = problem(Objective(0.0, 0.0, 0.0, 1.0), family.build(), optimizer)
    theta = optimizer.init(jax.random.key(1))
    flat, unravel = ravel_pytree(theta)
    estimator = Backprop(tasks=2, horizon=(4, 4))
    estimate = jax.jit(
        lambda theta: estimator.estimate(system, theta, (), jax.random.key(0), jnp.int32(0))[0]
    )
    grad, _ = ravel_pytree(estimate(theta).grad)
    assert np.isfinite(grad).all()
    along = grad / jnp.linalg.norm(grad)
    step = 0.02 if optimizer.name == "gated_adam" else 0.5
    losses = [float(estimate(unravel(flat + s * step * along)).loss) for s in (1, -1)]
    want = (losses[0] - losses[1]) / (2 * step)
    np.testing.assert_allclose(float(jnp.linalg.norm(grad)), want, rtol=0.03)


@pytest.mark.parametrize(("longest", "steps"), [(None, 12), (12, 12), (9, 12), (8, 8), (3, 4)])
def test_checkpointed_takes_the_segments_that_begin_before_the_longest_run_ends(longest, steps):
    """x -> a x in segments of 4 of 12: x a^n, whose derivative is n x a^(n - 1)."""

    def run(a):
        loop = checkpointed(4, None if longest is None else jnp.int32(longest))
        return loop(0, 12, lambda i, carry: (a * carry[0], carry[1] + 1), (2.0, 0))

    (value, count), slope = jax.value_and_grad(run, has_aux=True)(jnp.float32(1.1))
    assert int(count) == steps
    np.testing.assert_allclose(
        [value, slope], [2 * 1.1**steps, 2 * steps * 1.1 ** (steps - 1)], 1e-5
    )


def test_backprop_clips_each_run_and_leaves_out_what_is_not_finite():
    grads, _, _ = draw(Backprop(tasks=4, **HORIZON, clip=0.25), 1)
    np.testing.assert_allclose(np.abs(grads[0, 0]), 0.25, rtol=1e-5)
    nan = problem(optimizer=LearnedSGD(explode=True))
    theta = {"lr": jnp.asarray(0.45)}
    grads, losses, bad = draw(Backprop(tasks=4, **HORIZON), 1, nan, theta)
    assert grads[0, 0] == 0.0
    assert bad[0] == 4
    assert losses[0] == pytest.approx(np.log(4 + FLOOR))


@pytest.mark.parametrize("objective", [FINAL, ALONG])
def test_tbptt_is_the_derivative_within_truncations(objective):
    """Once the staggered first runs are over, any three estimates in a row of a run sum to it."""
    want = np.trace(parts(objective))
    estimator = TBPTT(tasks=4, **HORIZON, truncation=LENGTH)
    grads = draw(estimator, 9, problem(objective))[0][:, 0]
    np.testing.assert_allclose(grads[3:].reshape(2, 3).mean(1), want, rtol=1e-4)
    assert abs(want / parts(objective).sum() - 1) > 0.3
