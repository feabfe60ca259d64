"""Statistics on closed forms, and runs on disk."""

import dataclasses
import json

import numpy as np
import optax
import pytest

from eval import Hyper, Runner, Trial
from eval._archive import Archive
from eval._stats import (
    bootstrap,
    geometric_ratio,
    interquartile_mean,
    speedup,
    steps_to_target,
)
from tasks import EvalTask, FamilySpec
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


# --- runs --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits_task():
    network = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
    return EvalTask("tiny", FamilySpec(network, "digits"), (("activation", 0),), 45)


@pytest.fixture(scope="module")
def runner():
    return Runner(lambda hyper, num_steps: optax.with_extra_args_support(optax.sgd(hyper.lr)))


def test_runs_on_disk_are_never_repeated(digits_task, runner, tmp_path):
    trials = [Trial(digits_task, Hyper(0.1, 0.0), seed) for seed in range(4)]
    path = tmp_path / "runs.jsonl"
    first = Archive(path, "suite").run("sgd", runner, trials[:3], "report")
    with path.open("a") as file:
        file.write('{"key": "cut sh')  # a kill in the middle of a line

    def refuse(trials, report):
        assert [t.seed for t in trials] == [3]
        return runner(trials, report=report)

    again = Archive(path, "suite")
    rows = again.run("sgd", refuse, trials, "report")
    assert rows[:3] == first
    assert len(path.read_text().splitlines()) == 4
    assert all(json.loads(line)["key"] for line in path.read_text().splitlines())
    changed = [trials[0], *trials[3:]]
    changed += [
        dataclasses.replace(trials[0], told=2.0),
        dataclasses.replace(trials[0], beyond=1.5),
    ]
    changed += [
        dataclasses.replace(trials[0], hyper=trials[0].hyper._replace(**{name: 0.5}))
        for name in Hyper._fields
    ]
    keys = {again._key("sgd", trial, "report") for trial in changed}
    keys |= {again._key("sgd", trials[0], "tune"), again._key("sgd:2", trials[0], "report")}
    keys |= {Archive(path, "other")._key("sgd", trials[0], "report")}
    assert len(keys) == len(changed) + 3


def test_a_diverged_run_is_a_row(digits_task, tmp_path):
    bad = Runner(lambda hyper, num_steps: optax.with_extra_args_support(optax.sgd(hyper.lr)))
    trials = [Trial(digits_task, Hyper(1e30, 0.0), 0)]
    (row,) = Archive(tmp_path / "runs.jsonl", "suite").run("sgd", bad, trials, "tune")
    assert row["valid_loss"] is None
    assert "NaN" not in (tmp_path / "runs.jsonl").read_text()
