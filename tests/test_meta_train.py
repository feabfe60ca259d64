"""The unroll, its meta-loss, the outer loop's mathematics, and what one program costs nothing."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import FINAL, FLOOR, LearnedSGD, Quadratics, mesh

from learned_opt import OPTIMIZERS, GatedAdam, meta_train
from learned_opt.devices import device_mesh
from learned_opt.meta_train import (
    Config,
    FullES,
    Judge,
    MetaProblem,
    Objective,
    Outer,
    Programs,
    Teacher,
    Trainer,
    build,
    load_config,
    unroll,
)

FAMILY = Quadratics(jnp.asarray(2.0))
STEPS = 5
KEY = jax.random.key(0)


def problem(objective=FINAL, optimizer=None, family=FAMILY):
    return MetaProblem(family, optimizer or LearnedSGD(), objective, mesh())


def meta_loss(lr, start=2.0, steps=STEPS):
    """Meta-loss of `steps` gradient steps, in float64; the reference loss is 1."""
    return np.log(np.minimum(0.5 * (start * (1 - lr) ** steps) ** 2 + 1, 4) + FLOOR)


def run(objective, horizon, max_steps=None, optimizer=None, lr=0.3):
    system = problem(objective, optimizer)

    @jax.jit
    def earned(horizon, max_steps):
        task, theta = FAMILY.sample(KEY), {"lr": jnp.asarray(lr)}
        return unroll(system, task, theta, KEY, horizon=horizon, max_steps=max_steps)[0]

    return earned(jnp.asarray(horizon), jnp.asarray(max_steps or horizon))


def test_unroll_earns_the_meta_loss_of_its_definition():
    p = 2.0 * 0.7 ** np.arange(21)
    losses = 0.5 * p**2 + 1
    objective = Objective(valid=1.0, last=0.5, mean=0.25, steps=2.0)
    want = (
        np.log(losses[20] + FLOOR)
        + 2.0 * np.log(losses[:20] + FLOOR).mean()
        + 0.5 * np.log(losses[18:20].mean() + FLOOR)
        + 0.25 * np.log(losses[:20].mean() + FLOOR)
    )
    np.testing.assert_allclose(run(objective, 20), want, rtol=1e-5)
    plain = dataclasses.replace(objective, log=False)
    want = losses[20] + 2.25 * losses[:20].mean() + 0.5 * losses[18:20].mean()
    np.testing.assert_allclose(run(plain, 20), want, rtol=1e-5)


def test_steps_past_the_horizon_change_nothing():
    objective = Objective(1.0, 1.0, 1.0)
    assert run(objective, 7, max_steps=7) == run(objective, 7, max_steps=30)


def test_losses_that_explode_or_are_not_numbers_count_as_the_cap():
    assert float(run(FINAL, 30, lr=5.0)) == pytest.approx(np.log(4.0 + FLOOR))
    nan = run(Objective(1.0, 1.0, 1.0), 3, optimizer=LearnedSGD(explode=True), lr=0.5)
    # The first loss, 3, is still a number: 3, 4, 4.
    want = 2 * np.log(4 + FLOOR) + np.log(11 / 3 + FLOOR)
    assert float(nan) == pytest.approx(want, rel=1e-5)


def trainer(outer=None, families=1, **settings):
    es = FullES(pairs=16, sigma=0.05, horizon=(STEPS, STEPS))
    weights = (0.75, 0.25)[:families] if families > 1 else (1.0,)
    return Trainer(LearnedSGD(), (es,) * families, weights, outer or optax.sgd(0.02), 3, **settings)


def score(problem, theta, runs=4):
    judge = Judge(problem, None, jnp.int32(STEPS), KEY, runs)
    return jax.jit(judge.score)(theta)


def test_meta_training_finds_a_step_size_that_solves_the_quadratic():
    """From lr = 0.3, meta-loss 0.055, to one that leaves under a thousandth."""
    t, problems = trainer(), (problem(),)
    state = t.init(problems)
    before = score(problems[0], state.theta)
    state = t.select(state, before)
    state, metrics = jax.jit(lambda s: t.steps(problems, s, 150))(state)
    after = score(problems[0], state.theta)
    state = t.select(state, after)
    assert float(before) > 0.05
    assert float(after) < 1e-3
    np.testing.assert_allclose(before, meta_loss(0.3), rtol=1e-5)
    np.testing.assert_allclose(after, meta_loss(float(state.theta["lr"])), atol=1e-5)
    assert int(state.step) == int(state.best_step) == 150
    assert float(state.first_score) == float(before)
    assert float(metrics.nonfinite) == 0


def test_steps_are_the_same_however_they_are_cut():
    t, problems = trainer(), (problem(),)
    state = t.init(problems)
    steps = jax.jit(lambda state, length: t.steps(problems, state, length), static_argnums=1)
    whole, _ = steps(state, 4)
    parts, _ = steps(steps(state, 2)[0], 2)
    assert float(whole.theta["lr"]) == float(parts.theta["lr"])
    assert float(whole.inner_steps) == float(parts.inner_steps)


def test_several_families_step_theta_by_the_weighted_mean_of_their_gradients():
    """Starts 2 and 1 with weights 3 and 1: plain SGD moves by the mean of both estimates."""
    t = trainer(families=2)
    problems = (problem(), problem(family=Quadratics(jnp.asarray(1.0))))
    state = t.init(problems)
    estimate = jax.jit(t.estimate, static_argnums=0)
    (one, _), (two, _) = (estimate(i, p, state) for i, p in enumerate(problems))
    assert float(one.grad["lr"]) != float(two.grad["lr"])
    after, metrics = jax.jit(t.step)(problems, state)
    grad = 0.75 * one.grad["lr"] + 0.25 * two.grad["lr"]
    np.testing.assert_allclose(after.theta["lr"], 0.3 - 0.02 * grad, rtol=1e-6)
    np.testing.assert_allclose(metrics.losses, [one.loss, two.loss], rtol=1e-6)
    np.testing.assert_allclose(metrics.loss, 0.75 * one.loss + 0.25 * two.loss, rtol=1e-6)
    assert float(after.inner_steps) == float(one.inner_steps + two.inner_steps)


def test_selection_keeps_the_best_theta():
    t = trainer()
    state = t.init((problem(),))
    good = t.select(state._replace(theta={"lr": jnp.asarray(0.9)}), jnp.asarray(0.5))
    worse = t.select(good._replace(theta={"lr": jnp.asarray(0.1)}), jnp.asarray(0.6))
    assert float(worse.best_theta["lr"]) == pytest.approx(0.9)
    assert float(worse.best_score) == 0.5
    nan = t.select(good._replace(theta={"lr": jnp.asarray(jnp.nan)}), jnp.asarray(jnp.nan))
    assert float(nan.best_theta["lr"]) == pytest.approx(0.9)


def test_a_mesh_takes_the_devices_that_divide_the_lanes():
    assert device_mesh(3).size == 1
    assert device_mesh(4).size == 2


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_teachers_share_decays_from_one_to_nothing(name):
    """At outer step 0 its own steps, at 10 the learned ones, at 5 the mean of both."""
    teacher = Teacher(name, learning_rate=0.1, share=1.0, outer_steps=10)
    learned = LearnedSGD().transform({"lr": jnp.asarray(0.3)})
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    grads = {"w": jnp.arange(1.0, 7.0).reshape(3, 2), "b": jnp.asarray([0.5, -0.5])}
    make = {"adamw": optax.adamw, "muon": optax.contrib.muon}[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        # T = 100: 5 % warm-up, so that the first step has a fifth of the learning rate.
        alone = make(0.1 / 5)
        theirs, _ = alone.update(grads, alone.init(params), params)

        def at(step):
            tx = teacher.assist(learned, jnp.int32(100), step)
            return tx.update(grads, tx.init(params), params)[0]

        found = [jax.jit(at)(jnp.int32(step)) for step in (0, 5, 10, 15)]
    for leaf in "wb":
        ours, taught = 0.3 * grads[leaf], -theirs[leaf]
        np.testing.assert_allclose(found[0][leaf], taught, rtol=1e-4)
        np.testing.assert_allclose(found[1][leaf], (ours + taught) / 2, rtol=1e-4)
        np.testing.assert_allclose(found[2][leaf], ours, rtol=1e-6)
        np.testing.assert_allclose(found[3][leaf], ours, rtol=1e-6)


def test_outer_optimizers_follow_their_schedules():
    """SGD without momentum shows the step size itself."""

    def sizes(**settings):
        outer = Outer("sgd", learning_rate=2.0, b1=0.0, clip=0.0, **settings)
        tx = outer.build(10)

        def body(state, _):
            step, state = tx.update(jnp.asarray(1.0), state)
            return state, -step

        with jax.numpy_dtype_promotion("standard"):
            return jax.lax.scan(body, tx.init(jnp.zeros(())), length=10)[1]

    np.testing.assert_allclose(sizes(schedule="constant"), [2.0] * 10)
    ramp = sizes(schedule="linear", warmup=2, final=0.5)
    np.testing.assert_allclose(ramp, [0, 1, *(2 - np.arange(8) / 8)], rtol=1e-6)
    cosine = 1 + np.cos(np.pi * np.arange(10) / 10)
    np.testing.assert_allclose(sizes(schedule="cosine"), cosine, rtol=1e-5)
    clipped = Outer("sgd", learning_rate=1.0, b1=0.0, schedule="constant", clip=0.3).build(10)
    step, _ = clipped.update(jnp.asarray([3.0, 4.0]), clipped.init(jnp.zeros(2)))
    np.testing.assert_allclose(step, [-0.18, -0.24], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [cls.name for cls in OPTIMIZERS])
def test_every_optimizer_learns_in_50_outer_steps(optimizer):
    """On the quickstart's family, judged on the same 32 runs before and after."""
    small = {"lstm": 16, "bank": 8} if optimizer == "hypernet" else {}
    table = {
        "run": {"outer_steps": 50, "log_every": 50},
        "family": {
            "problem": "mlp",
            "data": "digits",
            "batch_size": 32,
            "options": {"widths": [8, 32], "depths": [1, 2], "gains": [0.5, 2.0]},
        },
        "optimizer": {"name": optimizer, **small},
        "estimator": {"pairs": 8, "sigma": 0.03, "horizon": [30, 60]},
        "objective": {"valid": 1.0, "mean": 0.1},
        "outer": {"learning_rate": 0.02},
        "valid": {"tasks": 32, "horizon": 60},
    }
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules divide floats by integers
        programs = Programs(*build(Config.from_dict(table)), 50)
        state, before = programs.validate(programs.start)
        state, metrics = programs.steps(state)
        _, after = programs.validate(state)
    assert float(metrics.nonfinite) == 0
    assert after[0].mean() < before[0].mean() - 0.03


@pytest.mark.slow
def test_the_quickstart_learns_in_50_outer_steps():
    """The configuration as it ships, shorter; judged on the same 32 runs before and after."""
    path = Path(meta_train.__file__).parent / "configs" / "quickstart.toml"
    overrides = ["run.outer_steps=50", "run.log_every=50", "estimator.pairs=8"]
    overrides += ["estimator.horizon=[30, 60]", "valid.tasks=32", "valid.horizon=60"]
    config = load_config(path, overrides)
    assert isinstance(config.optimizer, GatedAdam)
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules divide floats by integers
        programs = Programs(*build(config), 50)
        state, before = programs.validate(programs.start)
        state, metrics = programs.steps(state)
        _, after = programs.validate(state)
    assert float(metrics.nonfinite) == 0
    assert after[0].mean() < before[0].mean() - 0.03
