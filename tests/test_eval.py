"""The tuning protocol, runs, and baselines."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from eval import BASELINES, Baseline, Hyper, Runner, Trial, tune
from eval._baselines import warmup_cosine
from eval._evaluate import REPORT_SEEDS
from eval._run import eval_steps, final_losses
from eval._tune import TUNE_SEEDS
from tasks import EvalTask, FamilySpec, inner_init, inner_step, load_suite
from tasks.families import MLP

INF = np.inf


def test_eval_steps_end_at_the_horizon_and_increase():
    for horizon in (50, 300, 1000):
        steps = eval_steps(horizon)
        assert steps[-1] == horizon
        assert (np.diff(steps) >= 1).all()


def test_warmup_cosine():
    schedule = warmup_cosine(100)
    assert float(schedule(0)) == pytest.approx(0.2)
    assert float(schedule(4)) == pytest.approx(0.5 * (1 + np.cos(0.04 * np.pi)))
    assert float(schedule(50)) == pytest.approx(0.5)
    assert float(schedule(100)) == pytest.approx(0.0, abs=1e-7)


# --- tuning ------------------------------------------------------------------------------------

FAKE = Baseline("fake", "fake", lambda *a: optax.identity(), True, (1e-3, 1e-1), (0.1, 1.0))
TASK = EvalTask("task", FamilySpec(MLP(), "digits"), horizon=10)


def losses_with_optimum(lr, wd, seen):
    def final(trials):
        seen.extend(trials)
        return [
            abs(np.log10(t.hyper.lr / lr)) + abs(t.hyper.wd - wd) + 1e-3 * t.seed for t in trials
        ]

    return final


def test_tuning_finds_the_optimum_of_learning_rate_and_decay():
    seen = []
    found = tune(FAKE, [TASK], losses_with_optimum(1e-2, 0.1, seen))["task"]
    assert found.hyper == Hyper(1e-2, 0.1)
    assert found.trials == 5 + 3 * 2
    assert found.extensions == 0
    assert not found.at_edge
    assert len(seen) == 3 * found.trials


@pytest.mark.parametrize(("best", "extensions"), [(1.0, 2), (10.0, 3), (1e-4, 2)])
def test_an_optimum_at_the_edge_extends_the_grid_at_most_three_times(best, extensions):
    found = tune(FAKE, [TASK], losses_with_optimum(best, 0.0, []))["task"]
    assert found.extensions == extensions
    assert found.at_edge == (best == 10.0)
    if not found.at_edge:
        assert found.hyper.lr == pytest.approx(best)


def test_a_setting_that_diverges_is_not_chosen():
    def final(trials):
        return [INF if t.hyper.lr > 5e-3 else 1 / t.hyper.lr for t in trials]

    assert tune(FAKE, [TASK], final)["task"].hyper.lr == pytest.approx(10**-2.5)


def test_tuning_and_report_seeds_are_disjoint():
    assert not set(TUNE_SEEDS) & set(REPORT_SEEDS)
    assert len(REPORT_SEEDS) == 10
    seen = []
    tune(FAKE, [TASK], losses_with_optimum(1e-2, 0.1, seen))
    assert {t.seed for t in seen} == set(TUNE_SEEDS)


def test_the_untuned_baseline_spends_no_trial():
    default = next(b for b in BASELINES if b.name == "adam_default")
    found = tune(default, [TASK], lambda trials: pytest.fail("ran a trial"))["task"]
    assert found.hyper == Hyper(1e-3, 0.0)
    assert found.trials == 0


# --- runs --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits_task():
    network = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
    return EvalTask("tiny", FamilySpec(network, "digits"), (("activation", 0),), 45)


@pytest.fixture(scope="module")
def runner():
    return Runner(lambda hyper, num_steps: optax.with_extra_args_support(optax.sgd(hyper.lr)))


def test_a_run_is_the_plain_loop(digits_task, runner):
    trials = [Trial(digits_task, Hyper(lr, 0.0), seed) for lr in (0.1, 0.3) for seed in (100, 101)]
    curves = runner(trials)
    family, task = digits_task.family, digits_task.member
    tx = optax.with_extra_args_support(optax.sgd(0.3))
    init_key, step_key = jax.random.split(jax.random.key(101))
    state, losses = inner_init(task, tx, init_key), []
    step = jax.jit(lambda state, key: inner_step(family, tx, state, key))
    for t in range(45):
        state, loss = step(state, jax.random.fold_in(step_key, t))
        losses.append(float(loss))
    got = curves[3]
    np.testing.assert_allclose(got.params["dense"]["w"], state.params["dense"]["w"], atol=1e-5)
    valid, _ = task.loss(state.params, family.full(task, "outer_valid"), jax.random.key(0))
    np.testing.assert_allclose(got.valid[-1], valid, rtol=1e-4)
    start = got.steps[-2]
    np.testing.assert_allclose(got.train[-1], np.mean(losses[start:]), rtol=1e-4)
    final = final_losses(trials[3], got)
    assert final["outer_valid_loss"] == pytest.approx(float(got.valid[-1]), rel=1e-5)
    test, metrics = task.loss(state.params, family.full(task, "test"), jax.random.key(0))
    assert final["test_loss"] == pytest.approx(float(test), rel=1e-4)
    assert final["test_accuracy"] == pytest.approx(float(metrics["accuracy"]))


@pytest.mark.parametrize("name", ["diabetes-mlp", "pendulum"])
def test_tasks_that_are_no_classifiers_run_like_any_other(runner, name):
    """A regression and a control problem: no accuracy, losses on every split."""
    (task,) = (task for task in load_suite("META_TEST_V1") if task.name == name)
    trial = Trial(dataclasses.replace(task, horizon=45), Hyper(0.05, 0.0), 100)
    (curve,) = runner([trial])
    assert np.isfinite(curve.valid).all()
    assert curve.valid[-1] < curve.valid[0]
    final = final_losses(trial, curve)
    assert set(final) == {"train_loss", "outer_valid_loss", "test_loss"}
    assert final["outer_valid_loss"] == pytest.approx(float(curve.valid[-1]), rel=1e-4)


def test_runs_cannot_read_the_test_split(digits_task, monkeypatch):
    """The program that trains and validates is traced on a family whose test split raises."""
    import eval._run

    def peek(family, task, params, split):
        return task.loss(params, family.full(task, "test"), jax.random.key(0))

    monkeypatch.setattr(eval._run, "full_loss", peek)
    nosy = Runner(lambda hyper, num_steps: optax.with_extra_args_support(optax.sgd(hyper.lr)))
    with pytest.raises(ValueError, match="withholds the test split"):
        nosy([Trial(digits_task, Hyper(0.1, 0.0), 0)])


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda b: b.name)
def test_baselines_are_optaxs_own(baseline):
    """Three steps of each row equal the optax optimizer it is named after, decay on matrices."""
    params = {"w": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)}
    grads = {"w": np.full((2, 2), 0.3, np.float32), "b": np.full(2, -0.2, np.float32)}
    mask = {"w": True, "b": False}
    unit = warmup_cosine(100)
    rate = (lambda count: 1e-2 * unit(count)) if baseline.cosine else 1e-2
    want = {
        "adam": optax.adam(rate),
        "adam_default": optax.adam(rate),
        "adamw": optax.adamw(rate, weight_decay=0.1, mask=mask),
        "lion": optax.lion(rate, weight_decay=0.1, mask=mask),
        "adabelief": optax.chain(
            optax.scale_by_belief(),
            optax.masked(optax.add_decayed_weights(0.1), mask),
            optax.scale_by_learning_rate(rate),
        ),
    }[baseline.name]
    got = baseline.transform(Hyper(1e-2, 0.1), 100)
    after = []
    with jax.numpy_dtype_promotion("standard"):  # optax's own code divides floats by integers
        for tx in (got, want):
            state, p = tx.init(params), params
            for _ in range(3):
                updates, state = tx.update(grads, state, p)
                p = optax.apply_updates(p, updates)
            after.append(p)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *after)
