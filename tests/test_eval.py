"""Statistics on closed forms, the tuning protocol, runs, and the report."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from eval import BASELINES, Baseline, Hyper, Runner, Trial, tune
from eval._baselines import warmup_cosine
from eval._evaluate import REPORT_SEEDS
from eval._run import eval_steps, final_losses
from eval._stats import (
    bootstrap,
    geometric_ratio,
    interquartile_mean,
    speedup,
    steps_to_target,
)
from eval._tune import TUNE_SEEDS
from tasks import EvalTask, FamilySpec, inner_init, inner_step, load_suite
from tasks.families import MLP

INF = np.inf


def test_geometric_ratio_of_constant_ratios_is_exact():
    theirs = np.random.default_rng(0).uniform(0.1, 1, (3, 10))
    mid, low, high = geometric_ratio(0.8 * theirs, theirs)
    np.testing.assert_allclose([mid, low, high], 0.8, rtol=1e-12)


def test_geometric_ratio_counts_diverged_runs():
    ones = np.ones((1, 4))
    assert geometric_ratio(np.full((1, 4), INF), ones).mid == pytest.approx(1000)
    assert geometric_ratio(ones, np.full((1, 4), INF)).mid == pytest.approx(1e-3)
    assert geometric_ratio(np.full((1, 4), INF), np.full((1, 4), INF)).mid == 1.0


def test_interquartile_mean():
    assert interquartile_mean(np.arange(8.0).reshape(2, 4)) == pytest.approx(3.5)
    # n = 5: the middle half is [1.25, 3.75] of [0, 5]: weights .75, 1, .75 of 2.5.
    x = np.array([[0.0, 1.0, 10.0, 100.0, 1000.0]])
    assert interquartile_mean(x) == pytest.approx((0.75 * 1 + 10 + 0.75 * 100) / 2.5)


def test_speedup_of_known_times():
    ours, theirs = np.full((2, 6), 100.0), np.full((2, 6), 150.0)
    assert speedup(ours, theirs).mid == pytest.approx(1.5)
    assert speedup(ours, np.full((2, 6), INF)).mid == pytest.approx(4.0)
    assert speedup(np.full((2, 6), INF), theirs).mid == pytest.approx(0.25)
    assert speedup(np.full((2, 6), INF), np.full((2, 6), INF)).mid == pytest.approx(1.0)


def test_bootstrap_interval_covers_the_truth_in_95_percent_of_experiments():
    """400 experiments of 3 tasks x 10 seeds: coverage within 3 standard errors of 93 %.

    The percentile bootstrap of ten seeds is known to be a little narrow.
    """
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        _, low, high = bootstrap(rng.normal(size=(3, 10)), lambda x: x.mean((-2, -1)))
        hits += low <= 0 <= high
    assert abs(hits / 400 - 0.93) < 3 * np.sqrt(0.93 * 0.07 / 400)


def test_bootstrap_is_stratified():
    """Tasks that differ by far but never within themselves have an interval of zero width."""
    x = np.array([[0.0] * 10, [100.0] * 10])
    np.testing.assert_array_equal(bootstrap(x, lambda x: x.mean((-2, -1))), [50, 50, 50])


def test_steps_to_target():
    steps = np.array([1, 10, 100])
    losses = np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [3.0, 3.0, INF]])
    np.testing.assert_array_equal(steps_to_target(steps, losses, 2.0), [10, 10, INF])


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
