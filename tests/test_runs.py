"""Training runs side by side: each equals the plain loop, whatever runs beside it and after it."""

import dataclasses
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import learned_opt.eval.running._batching
import learned_opt.eval.running._programs
from learned_opt.eval import BASELINES, Baseline, Hyper, Runner, Trial, tune
from learned_opt.eval.baselines import COSINE, warmup_cosine
from learned_opt.eval.running._batching import (
    even_width,
    memory_budget,
    runs_per_call,
    useful_width,
)
from learned_opt.eval.running._trials import POINTS, eval_steps
from learned_opt.tasks import EvalTask, FamilySpec, inner_init, inner_step, load_suite
from learned_opt.tasks.problems import MLP

T = 45
NETWORK = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
TASK = EvalTask("tiny", FamilySpec(NETWORK, "digits"), (("activation", 0),), T)


def sgd(hyper, num_steps):
    """SGD whose rate falls to 0 at the horizon that it is told."""
    unit = warmup_cosine(num_steps)
    return optax.with_extra_args_support(optax.sgd(lambda count: hyper.lr * unit(count)))


@pytest.fixture(scope="module")
def runner():
    return Runner(sgd)


@pytest.fixture(scope="module")
def reported(runner):
    """Two seeds of two rates."""
    trials = [Trial(TASK, Hyper(lr), seed) for lr in (0.1, 0.3) for seed in (100, 101)]
    return trials, runner(trials, curves=True)


def plain_loop(trial, tx, steps):
    """(state, losses) after `steps` of the one training step."""
    family, task = trial.task.family, trial.task.member
    init_key, step_key = jax.random.split(jax.random.key(trial.seed))
    state, losses = inner_init(task, tx, init_key), []
    step = jax.jit(lambda state, key: inner_step(family, tx, state, key))
    for t in range(steps):
        state, loss = step(state, jax.random.fold_in(step_key, t))
        losses.append(float(loss))
    return state, losses


def loss_of(params, split, task=TASK):
    return task.member.loss(params, task.family.full(task.member, split), jax.random.key(0))


def test_a_reported_run_is_the_plain_loop(reported):
    trials, curves = reported
    state, losses = plain_loop(trials[3], sgd(Hyper(0.3), T), T)
    got = curves[3]
    np.testing.assert_array_equal(got.steps, eval_steps(T))
    cuts = np.split(losses, got.steps[:-1])
    np.testing.assert_allclose(got.train, [part.mean() for part in cuts], rtol=1e-4)
    for split, curve in (("outer_valid", got.valid), ("test", got.test)):
        loss, metrics = loss_of(state.params, split)
        name = split.removeprefix("outer_")
        np.testing.assert_allclose(curve[-1], loss, rtol=1e-4)
        assert got.final[f"{name}_loss"] == pytest.approx(float(curve[-1]))
        assert got.final[f"{name}_accuracy"] == pytest.approx(float(metrics["accuracy"]))
    loss, _ = loss_of(state.params, "train")
    assert got.final["train_loss"] == pytest.approx(float(loss), rel=1e-4)


def test_a_run_that_tunes_is_evaluated_at_the_horizon_only(runner, reported):
    trials, curves = reported
    for tuning, report in zip(runner(trials), curves, strict=True):
        np.testing.assert_array_equal(tuning.steps, [T])
        np.testing.assert_allclose(tuning.valid, report.valid[-1:], rtol=1e-6)
        assert tuning.test is None
        assert set(tuning.final) == {"valid_loss", "valid_accuracy"}


@pytest.mark.parametrize("name", ["diabetes-mlp", pytest.param("pendulum", marks=pytest.mark.slow)])
def test_tasks_that_are_no_classifiers_run_like_any_other(runner, name):
    """A regression and a control problem: no accuracy, losses on every split."""
    (task,) = (task for task in load_suite("META_TEST_V1") if task.name == name)
    trial = Trial(dataclasses.replace(task, horizon=T), Hyper(0.05), 100)
    (curve,) = runner([trial], curves=True)
    assert np.isfinite(curve.valid).all()
    assert curve.valid[-1] < curve.valid[0]
    assert set(curve.final) == {"train_loss", "valid_loss", "test_loss"}


# --- beyond the horizon, and told another ------------------------------------------------------


def test_a_run_beyond_the_horizon_equals_the_other_up_to_it(runner, reported):
    trials, curves = reported
    longer = runner([dataclasses.replace(t, beyond=1.5) for t in trials], curves=True)
    for long, short in zip(longer, curves, strict=True):
        upto = len(short.steps)
        np.testing.assert_array_equal(long.steps[:upto], short.steps)
        assert long.steps[-1] == 68
        for name in ("train", "valid", "test"):
            np.testing.assert_array_equal(getattr(long, name)[:upto], getattr(short, name))
        assert long.final == short.final
        # The rate is 0 from the horizon on.
        np.testing.assert_array_equal(long.valid[upto:], long.valid[upto - 1])


def test_an_optimizer_acts_on_the_horizon_that_it_is_told(runner):
    """Told half of 40, a run is the first 40 steps of one of 20 that goes on."""
    long, short = (dataclasses.replace(TASK, horizon=n) for n in (40, 20))
    (half,) = runner([Trial(long, Hyper(0.3), 0, told=0.5)], curves=True)
    (double,) = runner([Trial(short, Hyper(0.3), 0, beyond=2.0)], curves=True)
    common = np.intersect1d(half.steps, double.steps)
    assert len(common) > 20
    for name in ("valid", "test"):
        a, b = (getattr(c, name)[np.isin(c.steps, common)] for c in (half, double))
        np.testing.assert_allclose(a, b, rtol=1e-6)
    state, _ = plain_loop(Trial(long, Hyper(0.3), 0), sgd(Hyper(0.3), 400), 40)
    (tenfold,) = runner([Trial(long, Hyper(0.3), 0, told=10.0)])
    assert tenfold.final["valid_loss"] == pytest.approx(
        float(loss_of(state.params, "outer_valid")[0]), rel=1e-4
    )


@pytest.mark.parametrize("horizon", [1, 3, 39, 40, 45, 300, 20_000])
def test_evaluation_steps(horizon):
    steps, longer = eval_steps(horizon), eval_steps(horizon, 1.5)
    assert len(steps) == min(POINTS, horizon)
    for found, end in ((steps, horizon), (longer, round(1.5 * horizon))):
        assert found[0] >= 1
        assert found[-1] == end
        assert (np.diff(found) >= 1).all()
    np.testing.assert_array_equal(longer[: len(steps)], steps)
    if horizon > 1000:  # as dense beyond the horizon as before it
        ratios = longer[1:] / longer[:-1]
        np.testing.assert_allclose(ratios[len(steps) - 1 :], 1.107, atol=0.02)


# --- the test split ----------------------------------------------------------------------------


def test_a_program_that_tunes_cannot_read_the_test_split(monkeypatch):
    def peek(family, task, params, split, model_state=()):
        return task.loss(params, family.full(task, "test"), jax.random.key(0))

    monkeypatch.setattr(learned_opt.eval.running._programs, "full_loss", peek)
    # Of another batch size: what evaluates the others is compiled, and shared.
    task = dataclasses.replace(TASK, spec=dataclasses.replace(TASK.spec, batch_size=7))
    with pytest.raises(ValueError, match="withholds the test split"):
        Runner(sgd)([Trial(task, Hyper(0.1), 0)])


def test_selection_never_reads_the_test_split(monkeypatch):
    """The whole of tuning, on data whose test split raises; a report on it raises."""
    whole = TASK.family
    monkeypatch.setattr(EvalTask, "family", property(lambda task: whole.without_test()))
    fake = Baseline("fake", "", lambda lr, wd, extra: optax.sgd(lr), (0.1, 10.0**0.5))
    runner = Runner(fake.transform)
    short = dataclasses.replace(TASK, horizon=5)
    tuned = tune(fake, [short], lambda ts: [c.final["valid_loss"] for c in runner(ts)])["tiny"]
    assert math.isfinite(dict(tuned.table)[tuned.hyper])
    with pytest.raises(ValueError, match="withholds the test split"):
        runner([Trial(short, tuned.hyper, 100)], curves=True)


# --- what is evaluated -------------------------------------------------------------------------


def test_schedule_free_is_judged_by_its_average():
    (row,) = (row for row in BASELINES if row.name == "schedule_free")
    trial = Trial(dataclasses.replace(TASK, horizon=20), Hyper(0.03, 0.0, 0.0, 0.9), 0)
    with jax.numpy_dtype_promotion("standard"):  # optax's own code divides floats by integers
        (got,) = Runner(row.transform, row.eval_params)([trial])
        state, _ = plain_loop(trial, optax.contrib.schedule_free_adamw(0.03), 20)
        average = optax.contrib.schedule_free_eval_params(state.opt_state, state.params)
    want, other = (float(loss_of(p, "outer_valid")[0]) for p in (average, state.params))
    assert got.final["valid_loss"] == pytest.approx(want, rel=1e-4)
    assert abs(want - other) > 1e-2 * want


def test_a_run_that_diverges_stops_nothing(runner, reported):
    """It is a row to its end, and the runs beside it do not change."""
    trials, curves = reported
    bad = Trial(TASK, Hyper(1e30), 100)
    *same, diverged = runner([*trials[:3], bad], curves=True)
    assert len(diverged.valid) == len(diverged.steps) == POINTS
    assert not np.isfinite(diverged.valid[-1])
    assert not math.isfinite(diverged.final["valid_loss"])
    for got, want in zip(same, curves[:3], strict=True):
        np.testing.assert_array_equal(got.valid, want.valid)


# --- how many at once --------------------------------------------------------------------------


def test_one_program_serves_every_number_of_an_optimizer():
    """Rates, decays, schedules, extras, horizons told, tasks, seeds and lengths are traced."""
    row = Baseline("fake", "", lambda lr, wd, extra: optax.sgd(lr), (1, 1), (), (0.0, COSINE))
    runner = Runner(row.transform, most=2)
    for lr, wd, cosine, extra, told, horizon, seed, kind in (
        (0.1, 0.0, 0.0, 0.0, 1.0, 10, 0, 0),
        (0.2, 0.3, 1.0, 0.5, 2.0, 12, 7, 1),
    ):
        task = dataclasses.replace(TASK, horizon=horizon, numbers=(("activation", kind),))
        runner([Trial(task, Hyper(lr, wd, cosine, extra), seed, told)])
    assert len(runner.programs) == 1


def test_runs_do_not_depend_on_how_many_go_together(reported):
    trials, curves = reported
    for got, want in zip(Runner(sgd, most=1)(trials, curves=True), curves, strict=True):
        np.testing.assert_allclose(got.valid, want.valid, rtol=1e-5)


def test_calls_are_few_alike_and_fill_the_devices():
    """Of two devices here: (runs, most) -> runs a call."""
    assert [even_width(runs, 36) for runs in (1, 2, 7, 36, 37, 42, 126)] == [
        2,
        2,
        8,
        36,
        20,
        22,
        32,
    ]
    assert [even_width(runs, 1) for runs in (1, 5)] == [1, 1]
    assert even_width(10, 5) == 4


MB = 10**6


@pytest.mark.parametrize(
    ("asked", "steps", "width"),
    [
        ([42], 1000, 22),
        # 6 runs in 22 places waste 16 of a GB each: more than to compile another program takes,
        ([42, 6], 1000, 6),
        # and less, if their steps are few.
        ([42, 6], 100, 22),
        # 36 runs in two calls of 22 waste 8 places.
        ([42, 36], 1000, 22),
        ([42, 36], 10_000, 36),
        # What was chosen once is there.
        ([42, 6, 6, 27, 6], 1000, 6),
        ([6, 42], 100, 6),
    ],
)
def test_another_width_is_compiled_only_where_it_saves_more(asked, steps, width):
    assert runs_per_call([(runs, steps) for runs in asked], 36, MB) == width


def test_places_do_not_depend_on_what_is_there_already(monkeypatch):
    """Each run has its place in a call of as many, with the same beside it, in whatever process."""
    calls = []

    def train(runner, trials, width, *rest):
        seeds = [trial.seed for trial in trials]
        calls.append(seeds + seeds[:1] * (width - len(seeds)))
        return seeds

    monkeypatch.setattr(Runner, "_train", train)
    groups = [[Trial(TASK, Hyper(0.1), seed) for seed in range(n)] for n in (42, 6, 9)]

    def calls_of(needed):
        runner, found = Runner(sgd), []
        for group, some in zip(groups, needed, strict=True):
            calls.clear()
            curves = runner(group, needed=some)
            assert len(curves) == len(group if some is None else some)
            found.append([list(call) for call in calls])
        return found

    whole = calls_of([None, None, None])
    assert [list(map(len, calls)) for calls in whole] == [[22, 22], [22], [22]]
    for needed in ([[0], [], [8]], [[41], [5], []], [[], [], [0, 1]], [[3, 30], [0], [2]]):
        for calls_then, calls_now, some in zip(whole, calls_of(needed), needed, strict=True):
            assert calls_now == [call for call in calls_then if not set(call).isdisjoint(some)]


def test_runs_of_a_call_fit_into_the_budget_of_memory(monkeypatch):
    runner = Runner(lambda hyper, num_steps: optax.with_extra_args_support(optax.adam(hyper.lr)))
    family, task = TASK.family, TASK.member
    parameters = 64 * 8 + 8 + 8 * 10 + 10
    params, adam = 4 * parameters, 2 * 4 * parameters + 4
    held = 2 * (params + adam) + 2 * params + 64 * (4 * 64 + 4)
    size, evaluation = runner.run_bytes(family, task)
    # What a backward pass keeps: at least the inputs and the hidden layer, at most 20 layers.
    assert held + 64 * 4 * (64 + 8) <= size <= held + 20 * 64 * 4 * 64
    whole = size + evaluation
    assert useful_width(size, whole - size) == 2 * learned_opt.eval.running._batching.MOST
    monkeypatch.setattr(learned_opt.eval.running._batching, "memory_budget", lambda: 5.5 * whole)
    assert useful_width(size, whole - size) == 5
    monkeypatch.setattr(learned_opt.eval.running._batching, "memory_budget", lambda: 0.0)
    assert useful_width(size, whole - size) == 1


def test_runs_that_overflow_the_caches_go_by_fewer(monkeypatch):
    size = 1000
    monkeypatch.setattr(learned_opt.eval.running._batching, "CACHE", 6.5 * size)
    assert useful_width(size, 0) == 2 * 6
    monkeypatch.setattr(learned_opt.eval.running._batching, "CACHE", 0.0)
    assert useful_width(size, 0) == 2 * learned_opt.eval.running._batching.FEWEST


def test_the_budget_is_a_quarter_of_what_there_is():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1e8 < memory_budget() <= pages / 4
    assert jnp.isfinite(memory_budget())
