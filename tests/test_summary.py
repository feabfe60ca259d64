"""The numbers of the report, from runs made up so that every one of them is known."""

import dataclasses
import json

import numpy as np
import pytest
from summaries import SUBJECT, TASKS, VARIANT, contestant, report, rows, summarised

from learned_opt.eval import BASELINES, Hyper, Tuned
from learned_opt.eval.contestants import MULTIPLIED, MULTIPLIERS, Results
from learned_opt.eval.report import compare_reports, report_from_json
from learned_opt.eval.report._report import BreakEven
from learned_opt.eval.report._report_tasks import Failure
from learned_opt.eval.report._summary import summarise
from learned_opt.eval.running import eval_steps
from learned_opt.eval.statistics import Estimate, compare, targets

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_known_runs_give_known_numbers():
    made = report()
    task = made.tasks[0]
    against = task.against["adamw"]
    assert against.valid_ratio.mid == pytest.approx(0.5)
    assert against.improvement.mid == 1.0
    assert task.targets["best"] == pytest.approx(2 / 100)
    # The learned curve 1 / t is at 2 / 100 from step 50 on; AdamW's own is there at its end.
    first = next(step for step in task.results["learned"].steps if step >= 50)
    assert task.results["learned"].times["best"] == [first] * 10
    assert task.results["adamw"].times["best"] == [100] * 10
    assert against.ladder["best"].mid == pytest.approx(100 / first, rel=1e-5)
    assert against.ladder["best"].bound == ""
    assert against.score.mid == pytest.approx(100 / first, rel=1e-5)
    assert against.speedup == against.ladder["90"]
    assert task.results["adamw"].valid_loss == pytest.approx(0.02)
    assert made.seeds == 10
    assert made.failures == []
    assert made.verdict["adamw"] == {"better": 3, "worse": 0, "undecided": 0}
    assert made.verdict["adamw_calibrated"]["better"] == 3


def test_speed_ups_in_seconds_weigh_steps_by_what_they_cost():
    """Twice as fast in steps, at 3 us against 2: 4/3 as fast on the clock."""
    step_us = {task.name: {"learned": 3.0, "adamw": 2.0} for task in TASKS}
    made = report(step_us=step_us)
    for found in (made.groups[0], made.tasks[2]):
        both, unit = found.against["adamw"], 2 / 3
        for side in ("low", "mid", "high", "least", "most"):
            steps = getattr(both.speedup, side)
            assert getattr(both.speedup_seconds, side) == pytest.approx(unit * steps, rel=1e-5)
        assert found.against["lion"].speedup_seconds is None
    assert made.tasks[0].results["learned"].step_us == 3.0
    assert made.tasks[0].results["lion"].step_us is None


def test_what_is_judged_moves_no_target():
    """Nor does a rival: two reports that share their baselines have targets in common."""
    fast, slow = report(), report(learned=50.0)
    assert [t.targets for t in fast.tasks] == [t.targets for t in slow.tasks]
    alone = [contestant(b.name, 2.0 if b.name == "adamw" else 4.0) for b in BASELINES]
    rival = contestant("rival:x", 1e-3, "rival")
    assert targets(TASKS, [*alone, rival]) == targets(TASKS, alone)
    first = eval_steps(100)[0]
    # Of eight baselines seven start at 4.
    start, hardest = 4 / first, 2 / 100
    assert targets(TASKS, alone)["a"]["50"] == pytest.approx((start * hardest) ** 0.5)
    both = compare_reports(
        fast,
        dataclasses.replace(slow, subject=dataclasses.replace(slow.subject, name="other")),
    )
    assert both.names == ["made-up", "other"]
    assert both.all.valid_ratio.mid == pytest.approx(1 / 50)


def test_a_target_that_a_baseline_missed_gives_a_bound_and_no_number():
    speedup = report().tasks[0].against["lion"].ladder["best"]
    assert speedup.bound == ">"
    assert speedup.text.startswith(">")
    assert speedup.high is None


def test_what_is_reached_after_the_horizon_is_no_final_loss():
    """The learned optimizer's curve goes on to step 150; losses are those of step 100."""
    result = report().tasks[0].results["learned"]
    assert result.steps[-1] == 150
    assert result.valid_loss == pytest.approx(1 / 100)
    assert result.best_valid_loss == pytest.approx(1 / 100)
    # Three times slower than the target-setter: it gets there on the way to 150.
    late = report(learned=2.5).tasks[0].results["learned"].times["best"]
    assert all(100 < step <= 150 for step in late)


def test_settings_tried_are_those_of_each_optimizer():
    found = {name: o.trials for name, o in report().optimizers.items()}
    assert found["adamw"] == 7
    assert found["learned"] == 0
    assert found["adamw_calibrated"] == 35


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.8, 0.99), "better"),
        ((0.9, 1.0), "undecided"),
        ((1.0, 1.2), "undecided"),
        ((1.01, 2), "worse"),
    ],
)
def test_verdicts_need_an_interval_that_excludes_one(interval, word):
    assert Estimate(mid=0.9, low=interval[0], high=interval[1]).verdict == word


def test_losses_of_zero_do_not_stop_a_report():
    made = report(learned=0.0, adamw=0.0)
    assert made.tasks[0].against["adamw"].valid_ratio.mid == 1.0
    assert made.verdict["lion"]["better"] == 3
    assert made.tasks[0].targets["best"] == 0.0


def test_a_diverged_run_counts_is_listed_and_is_a_miss():
    made = report(diverged=[("a", 103)])
    (failure,) = made.failures
    assert failure == Failure(
        stage="report",
        task="a",
        optimizer="learned",
        lr=0.01,
        weight_decay=0.0,
        cosine=0.0,
        extra=0.0,
        seed=103,
        told=1.0,
    )
    want = np.exp((9 * np.log(0.5) + np.log(1000)) / 10)
    task = made.tasks[0]
    assert task.against["adamw"].valid_ratio.mid == pytest.approx(want, rel=1e-5)
    assert task.results["learned"].diverged == 1
    assert task.results["learned"].times["best"][3] is None


def test_how_settings_were_chosen():
    result = report().tasks[0].results["adamw"]
    assert result.sensitivity == [[1e-3, 0.5], [1e-2, 0.25]]
    # Of the losses .5, .25, .3 one at random, the lower of two, the lowest.
    assert result.best_of == pytest.approx([0.35, 0.8 / 3, 0.25], rel=1e-5)
    assert result.tune_loss == 0.25
    assert result.edge == 0
    assert report().tasks[0].results["learned"].best_of == []


def test_the_oracle_takes_the_best_baseline_of_each_task():
    made = report().oracle
    assert made.choice == dict.fromkeys("abc", "adamw")
    assert made.against.valid_ratio.mid == pytest.approx(0.5)


def test_wrong_horizons():
    rows_of = {told: list(rows("learned", 1.5 if told > 1 else 1.0)) for told in (10.0, 0.5)}
    found = report(misinformed=rows_of).misinformed
    assert [entry.told for entry in found] == [0.5, 10.0]
    assert found[1].against_told_right.mid == pytest.approx(1.5)
    assert found[1].against_headline.mid == pytest.approx(0.75)


def test_a_variant_that_diverges_once_gates_its_task():
    names = ["learned", *(b.name for b in BASELINES), "adamw_calibrated"]
    fine = {name: list(rows(name, 1.0, [VARIANT])) for name in names}
    made = report(variants=(VARIANT,), variant_runs=fine)
    assert made.profile.area["learned"] == 1.0
    assert made.profile.gated["learned"] == 1.0
    once = fine | {"learned": list(rows("learned", 1.0, [VARIANT], [("a~width", 104)]))}
    made = report(variants=(VARIANT,), variant_runs=once)
    assert made.profile.gated["learned"] == pytest.approx(2 / 3)
    assert made.variants[0].results["learned"].missed
    assert not made.variants[0].results["adamw"].missed
    assert [f.stage for f in made.failures] == ["variant"]


def test_break_even_counts_the_steps_that_tuning_takes():
    """7 settings x 3 seeds x 100 steps a task, against 42,000 steps of meta-training."""
    want = BreakEven(meta_steps=42_000, tuning_steps_per_task=2100, tasks=20.0)
    assert report().break_even == want


def test_no_task_decides_the_headline():
    """On one of three tasks the loss goes to nothing; two more are even."""
    near_nothing = [*rows("learned", 2e-4, TASKS[:1], beyond=1.5)]
    near_nothing += rows("learned", 2.0, TASKS[1:], beyond=1.5)
    ours = dataclasses.replace(contestant("learned", 2.0, "learned"), runs=near_nothing)
    theirs = contestant("adamw", 2.0)
    found = compare(ours, theirs, TASKS, targets(TASKS, [theirs]))
    assert found.valid_ratio.mid == pytest.approx(1e-4 ** (1 / 3), rel=1e-5)
    assert found.clipped.mid == found.clipped_test.mid == pytest.approx(0.5 ** (1 / 3), rel=1e-5)
    assert found.median == Estimate(mid=1.0, low=1.0, high=1.0)


def with_tables(c, losses):
    """With the losses of these settings, tuning seed by tuning seed."""
    settings = [Hyper(10.0**-k) for k in range(len(losses))]
    table = tuple((h, float(np.median(row))) for h, row in zip(settings, losses, strict=True))
    tuned = Tuned(settings[0], len(losses), 0, table, losses)
    return dataclasses.replace(c, tuned={task.name: tuned for task in TASKS})


def test_equal_budgets():
    """AdamW tries losses 1 and 2 on every seed; of the multipliers the second halves the loss."""
    adamw = with_tables(contestant("adamw", 2.0), ((2.0,) * 3, (1.0,) * 3))
    ours = contestant("learned", 2.0, "learned")
    multiplied = with_tables(contestant(MULTIPLIED, 1.0, "rival"), ((1.5,) * 3, (0.75,) * 3))
    suite = {"name": "suite", "hash": "0" * 16, "tier": "cpu", "smoke": False}
    made = summarise(Results(SUBJECT, suite, TASKS, [ours, adamw, multiplied]))
    found = {name: [(p.trials, p.loss.mid) for p in row] for name, row in made.budgets.rows.items()}
    assert found == {
        # One of two at random: sqrt(2) times the loss of both.
        "adamw": [(1, pytest.approx(2**0.5, rel=1e-5)), (2, 1.0)],
        "learned": [(1, 1.5), (2, 0.75)],
    }
    assert made.budgets.settings == {"adamw": [2, 2], "learned": [2, 2]}
    assert made.budgets.multipliers == list(MULTIPLIERS)
    assert report_from_json(json.loads(json.dumps(made.to_json()))) == made
    assert [names for _, names in made.kinds] == [["learned"], [MULTIPLIED, "adamw"]]
    assert MULTIPLIED not in made.profile.names
    without = dataclasses.replace(adamw, tuned=contestant("adamw", 2.0).tuned)
    assert summarise(Results(SUBJECT, suite, TASKS, [ours, without])).budgets is None


def test_equal_runs_give_equal_reports():
    assert summarised() == summarised()
