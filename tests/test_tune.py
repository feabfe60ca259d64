"""The tuning protocol, on losses that are made up so that the optimum is known."""

import math

import numpy as np
import optax
import pytest

from learned_opt.eval import BASELINES, Baseline, Hyper, choose_calibrated, tune, tune_calibrated
from learned_opt.eval.baselines import CONSTANT, COSINE, half_decade
from learned_opt.eval.contestants import REPORT_SEEDS
from learned_opt.eval.tuning import TUNE_SEEDS
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP

INF = math.inf
ROW = Baseline(
    "made-up", "made-up", lambda *numbers: optax.identity(), (1e-3, 1e-1), (0.1, 1.0),
    (CONSTANT, COSINE), (3.0, 5.0),
)  # fmt: skip
ROWS = {row.name: row for row in BASELINES}


def task(name="task"):
    return EvalTask(name, FamilySpec(MLP(), "digits"), horizon=10)


class Losses:
    """How far each setting is from `best`; keeps what was asked, call by call."""

    def __init__(self, *best, **tasks):
        self.best = dict.fromkeys(["task"], Hyper(*best)) | tasks if best else tasks
        self.calls = []

    def __call__(self, trials):
        self.calls.append(list(trials))
        return [self.loss(trial) for trial in trials]

    def loss(self, trial):
        lr, *rest = self.best[trial.task.name]
        far = abs(math.log10(trial.hyper.lr / lr)) + 1e-3 * trial.seed
        return far + sum(abs(a - b) for a, b in zip(trial.hyper[1:], rest, strict=True))

    @property
    def tried(self):
        return [trial.hyper for call in self.calls for trial in call[:: len(TUNE_SEEDS)]]


@pytest.mark.parametrize(
    "best", [Hyper(1e-2, 0.1, COSINE, 3.0), Hyper(1e-2, 0.0, CONSTANT, 5.0)], ids=["wd", "extra"]
)
def test_tuning_finds_the_optimum_of_all_numbers(best):
    losses = Losses(*best)
    found = tune(ROW, [task()], losses)["task"]
    assert found.hyper == best
    assert found.trials == ROW.trials == 5 * 2 + 3 * 3
    assert (found.extensions, found.edge, found.at_edge) == (0, 2, False)
    assert dict(found.table)[best] == pytest.approx(1e-3)  # the median seed's
    assert losses.tried == [hyper for hyper, _ in found.table]
    for (_, median), seeds in zip(found.table, found.losses, strict=True):
        np.testing.assert_allclose(seeds, [median - 1e-3, median, median + 1e-3], atol=1e-12)


def test_first_all_rates_and_schedules_then_one_number_at_a_time():
    losses = Losses(1e-2, 0.1, COSINE, 3.0)
    tune(ROW, [task()], losses)
    first, second = ({trial.hyper for trial in call} for call in losses.calls)
    assert first == {Hyper(lr, 0.0, s, 3.0) for lr in ROW.grid for s in (CONSTANT, COSINE)}
    near = (half_decade(-5), half_decade(-4), half_decade(-3))
    variants = ((0.1, 3.0), (1.0, 3.0), (0.0, 5.0))
    assert second == {Hyper(lr, wd, COSINE, extra) for lr in near for wd, extra in variants}


@pytest.mark.parametrize(
    ("lr", "extensions", "edge"), [(0.3162, 2, 1), (1.0, 3, 1), (10.0, 3, 0), (1e-4, 3, 1)]
)
def test_an_optimum_at_the_edge_extends_the_grid_at_most_three_times(lr, extensions, edge):
    found = tune(ROW, [task()], Losses(lr, 0.0, CONSTANT, 3.0))["task"]
    assert (found.extensions, found.edge, found.at_edge) == (extensions, edge, edge == 0)
    assert found.hyper.lr == (lr if edge else half_decade(1))
    # Both schedules of each new rate; the neighbour beyond the last is not there if at the edge.
    assert found.trials == ROW.trials + 2 * extensions - 3 * (edge == 0)


def test_an_edge_that_decay_moves_the_optimum_to_extends_the_grid():
    """Without decay 0.0316 is best, inside the grid; with it, what lies beyond the grid."""

    class Coupled(Losses):
        def loss(self, trial):
            best = -0.5 if trial.hyper.wd == 1.0 else -1.5
            return abs(math.log10(trial.hyper.lr) - best) + (trial.hyper.wd != 1.0)

    losses = Coupled()
    found = tune(ROW, [task()], losses)["task"]
    assert found.hyper == Hyper(0.3162, 1.0, CONSTANT, 3.0)
    assert (found.extensions, found.edge) == (2, 1)
    assert {hyper.cosine for hyper in losses.tried if hyper.lr > 0.1} == {CONSTANT}


def test_a_loss_that_is_not_finite_is_infinite():
    """One such seed of three leaves the median; two make it infinite, whatever the third."""

    class Diverging(Losses):
        def loss(self, trial):
            lr, seed = trial.hyper.lr, trial.seed
            if lr > 0.02:
                return math.nan if seed < 2 else 0.0
            if lr == 1e-2:
                return -INF if seed == 1 else 0.5
            return 1.0

    found = tune(ROW, [task()], Diverging())["task"]
    assert found.hyper.lr == 1e-2
    table = dict(found.table)
    assert table[found.hyper] == 0.5
    assert found.losses[[*table].index(found.hyper)] == (0.5, INF, 0.5)
    assert table[Hyper(0.1, 0.0, COSINE, 3.0)] == INF


def test_where_everything_diverges_smaller_rates_are_tried():
    class Hopeless(Losses):
        def loss(self, trial):
            return math.nan

    found = tune(ROW, [task()], Hopeless())["task"]
    assert found.extensions == 3
    assert found.hyper.lr == half_decade(-9)


def test_seeds_that_tune_and_seeds_that_report_are_disjoint():
    losses = Losses(1e-2, 0.1, COSINE, 3.0)
    tune(ROW, [task()], losses)
    assert {trial.seed for call in losses.calls for trial in call} == set(TUNE_SEEDS) == {0, 1, 2}
    assert set(REPORT_SEEDS) == set(range(100, 110))


def test_tasks_are_tuned_apart_and_run_together():
    best = {"a": Hyper(1e-2, 0.1, COSINE, 3.0), "b": Hyper(1.0, 0.0, CONSTANT, 3.0)}
    losses = Losses(**best)
    found = tune(ROW, [task("a"), task("b")], losses)
    assert {name: tuned.hyper for name, tuned in found.items()} == best
    assert [found[name].extensions for name in "ab"] == [0, 3]
    assert {trial.task.name for trial in losses.calls[0]} == {"a", "b"}
    assert found["a"] == tune(ROW, [task("a")], Losses(**best))["a"]


def test_equal_trials_on_the_ladder():
    """What is planned is what is spent, where no grid is extended."""
    for row in BASELINES:
        if row.trials:
            middle = row.grid[len(row.grid) // 2]
            losses = Losses(middle, 0.0, row.schedules[0], row.extras[0])
            assert tune(row, [task()], losses)["task"].trials == row.trials


def test_the_untuned_row_spends_no_trial():
    found = tune(ROWS["adam_default"], [task()], lambda trials: pytest.fail("ran"))["task"]
    assert (found.hyper, found.trials, found.at_edge) == (Hyper(1e-3), 0, False)


# --- one setting for all tasks -----------------------------------------------------------------


def test_the_frozen_setting_has_the_least_mean_log_regret():
    a, b, c = (Hyper(lr, 0.0, COSINE) for lr in (1e-3, 1e-2, 1e-1))
    tables = {
        "small losses": {a: 1e-6, b: 2e-6, c: 8e-6},
        "large losses": {a: 800.0, b: 200.0, c: 100.0},
    }
    # Mean log2 regrets: a (0 + 3) / 2, b (1 + 1) / 2, c (3 + 0) / 2.
    assert choose_calibrated(tables) == b


def test_the_frozen_setting_is_tried_everywhere_and_uses_the_schedule():
    constant, own, shared = Hyper(1e-2), Hyper(1e-1, 0.0, COSINE), Hyper(1e-3, 0.0, COSINE)
    tables = {"one": {constant: 0.1, own: 0.2, shared: 0.9}, "two": {constant: 0.1, shared: 0.9}}
    assert choose_calibrated(tables) == shared
    with pytest.raises(ValueError, match="no setting with cosine was tried on all of one, two"):
        choose_calibrated({"one": {own: 1.0}, "two": {shared: 1.0}})


def test_a_frozen_setting_that_diverges_somewhere_is_not_chosen():
    good, bad = Hyper(1e-3, 0.0, COSINE), Hyper(1e-2, 0.0, COSINE)
    tables = {"a": {good: 1.0, bad: 1e-9}, "b": {good: 1.0, bad: INF}, "c": {good: INF, bad: INF}}
    assert choose_calibrated(tables) == good


def test_the_frozen_grid_is_the_same_on_all_tasks():
    losses = Losses(a=Hyper(1e-2, 0.1, COSINE, 3.0), b=Hyper(100.0, 0.1, COSINE, 3.0))
    found = tune_calibrated(ROW, [task("a"), task("b")], losses)
    assert found["a"].hyper == found["b"].hyper == Hyper(1e-2, 0.1, COSINE, 3.0)
    settings = [[hyper for hyper, _ in found[name].table] for name in "ab"]
    assert settings[0] == settings[1]
    assert (found["b"].trials, found["b"].extensions) == (5 * 3, 0)
    np.testing.assert_allclose(dict(found["b"].table)[found["b"].hyper], 4.001)
