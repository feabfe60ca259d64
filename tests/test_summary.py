"""The numbers of the report, from runs made up so that every one of them is known."""

import dataclasses
import functools
import json

import numpy as np
import pytest

import learned_opt.eval.statistics._bootstrap
from learned_opt.eval import BASELINES, Hyper, Tuned
from learned_opt.eval.baselines._defaults import DEFAULTS
from learned_opt.eval.contestants import MULTIPLIED, MULTIPLIERS, Contestant, Results
from learned_opt.eval.report import compare_reports, report_from_json
from learned_opt.eval.report._report import BreakEven
from learned_opt.eval.report._report_tasks import Failure
from learned_opt.eval.report._sentence import diverged_runs, speed
from learned_opt.eval.report._summary import ALL, leakage, summarise
from learned_opt.eval.running import Run, eval_steps
from learned_opt.eval.statistics import Estimate, Score, compare, speedup_of, targets
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP, Conv

CARD = {
    "name": "made-up",
    "trained_on": {"networks": ["mlp"], "datasets": ["digits"]},
    "budget": {"inner_steps": 42_000},
}
SUBJECT = {"name": "made-up", "kind": "artifact", "card": CARD, "trials": 0, "horizon_free": False}
TASKS = (
    EvalTask("a", FamilySpec(MLP(), "digits"), horizon=100),
    EvalTask("b", FamilySpec(MLP(), "digits"), horizon=100),
    EvalTask("c", FamilySpec(Conv(), "letters/8"), horizon=100),
)
VARIANT = dataclasses.replace(TASKS[0], name="a~width", variant_of="a")
SEEDS = range(100, 110)
TABLE = ((Hyper(1e-3), 0.5), (Hyper(1e-2), 0.25), (Hyper(1e-2, 0.1), 0.3))


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """What is resampled here does not vary."""
    monkeypatch.setattr(learned_opt.eval.statistics._bootstrap, "RESAMPLES", 100)


def rows(name, factor, tasks=TASKS, diverged=(), beyond=1.0):
    """Losses factor / step on every task: known ends and known times to any target."""
    steps = tuple(eval_steps(100, beyond).tolist())
    for task in tasks:
        for seed in SEEDS:
            ok = (task.name, seed) not in diverged
            curve = tuple(factor / step if ok else np.inf for step in steps)
            end = factor / 100 if ok else np.inf
            yield Run(
                key="0" * 16, task=task.name, optimizer=name, seed=seed, lr=0.01, horizon=100,
                device="cpu", jax="0.10.2", steps=steps,
                train_curve=curve, valid_curve=curve, test_curve=curve,
                final={"valid_loss": end, "train_loss": end, "test_loss": end,
                       "test_accuracy": 0.5 if ok else np.inf},
            )  # fmt: skip


def contestant(name, factor, role="baseline", **options):
    role = "default" if name in [row.name for row in DEFAULTS] else role
    tuned = Tuned(Hyper(1e-2), 7, 1, TABLE) if role == "baseline" else Tuned(Hyper(1.0), 0, 0, ())
    if role == "calibrated":
        tuned = Tuned(Hyper(1e-2), 35, 0, ())
    choices = {task.name: tuned for task in TASKS}
    free = name in ("adam_default", "adam", "schedule_free")
    found = list(rows(name, factor, **options))
    return Contestant(name, f"{name} label", role, free, choices, found)


def report(*args, **parts):
    """What `summarised` makes; with nothing changed, the same one for all tests."""
    return summarised(*args, **parts) if args or parts else standard()


def summarised(learned=1.0, adamw=2.0, diverged=(), variant_runs=None, misinformed=None, **parts):
    contestants = [contestant("learned", learned, "learned", diverged=diverged, beyond=1.5)]
    contestants += [contestant(b.name, adamw if b.name == "adamw" else 4.0) for b in BASELINES]
    contestants += [contestant("adamw_calibrated", 3.0, "calibrated")]
    contestants = [
        dataclasses.replace(c, variant_runs=(variant_runs or {}).get(c.name, ()))
        for c in contestants
    ]
    contestants[0] = dataclasses.replace(contestants[0], misinformed=misinformed or {})
    suite = {"name": "suite", "hash": "0" * 16, "tier": "cpu", "smoke": False}
    return summarise(Results(SUBJECT, suite, TASKS, contestants, **parts))


standard = functools.cache(summarised)


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


def test_a_report_is_written_and_read_back_as_it_was():
    names = ["learned", *(b.name for b in BASELINES), "adamw_calibrated"]
    made = report(
        diverged=[("a", 104)],
        variants=(VARIANT,),
        variant_runs={name: list(rows(name, 1.0, [VARIANT])) for name in names},
        misinformed={2.0: list(rows("learned", 1.0))},
        step_us={task.name: dict.fromkeys(names, 1.0) for task in TASKS},
    )
    written = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert report_from_json(written) == made
    assert written["tasks"][0]["against"]["adamw"].keys() == {
        "clipped", "median", "valid_ratio", "clipped_test", "test_ratio", "improvement", "score",
        "speedup", "ladder", "speedup_seconds",
    }  # fmt: skip
    assert written["seconds"] is None


def test_all_tasks_are_pooled_first_and_then_by_what_was_seen():
    groups = report().groups
    assert [(g.label, g.tasks) for g in groups] == [
        (ALL, ["a", "b", "c"]),
        ("seen network, seen data", ["a", "b"]),
        ("new network, new data", ["c"]),
    ]


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


def test_the_sentence_is_made_of_the_intervals():
    made = report()
    sentence = made.sentence
    assert sentence.startswith(
        "made-up, untuned and told the number of steps, ends at 0.50 [0.50, 0.50] times the loss "
        "of adamw_calibrated label at one setting, the best of 11 optimizers that nobody tuned "
        "(better on 3 of 3 tasks; median task 0.50). Over the one that is not told it, "
        "adam_default label at its defaults, 0.50 [0.50, 0.50]. Over optimizers tuned for each "
        "task: adamw label 0.50 [0.50, 0.50] (better on 3 of 3 tasks; median task 0.50), "
        "muon label 0.50 [0.50, 0.50], lion label"
    )
    # To (4 / 1)^0.1 (2 / 100)^0.9 from 1 / t and from 2 / t.
    speedup = made.groups[0].against["adamw"].speedup
    assert 1.5 < speedup.mid < 2.5
    text = "{mid:.2f} [{low:.2f}, {high:.2f}]".format(**vars(speedup))
    assert f"adamw label, 90 % target reached {text} times as fast." in sentence
    assert (
        "On the 1 task with new network and data it is 0.50 [0.50, 0.50] over "
        "adamw_calibrated label at one setting and 0.50 [0.50, 0.50] over tuned adamw label."
    ) in sentence
    assert "Not one of its 30 runs diverged; on no task was it found to be worse than" in sentence
    assert sentence.endswith("a factor of 2; 95 % intervals over 10 fresh seeds.")
    worse = report(3.0).sentence
    assert "adamw label 1.50 [1.50, 1.50] (worse on 3 of 3 tasks; median task 1.50)" in worse
    assert "its worst task against tuned adamw label is a with 1.50" in worse
    assert "undecided on 3 of 3" in report(2.0).sentence
    assert (
        "1 of its 30 runs diverged: 1 reported; on no task"
        in report(diverged=[("a", 103)]).sentence
    )


def test_the_sentence_names_no_speed_that_was_not_measured():
    """Both miss; the score, which counts that as even, is there and says how often it did."""
    made = report(learned=20.0, adamw=20.0)
    found = made.groups[0].against["adamw"]
    assert found.score == Score(mid=1.0, low=1.0, high=1.0, pairs=30, even=30)
    assert "unknown how fast: in 30 of 30 pairs of runs both missed the 90 % target." in (
        made.sentence
    )
    assert "times as fast" not in made.sentence


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (40.0, 60.0, "90 % target reached 1.50 [1.50, 1.50] times as fast"),
        (40.0, np.inf, "90 % target reached more than 2.50 [2.50, …] times as fast"),
        (np.inf, 90.0, "90 % target reached less than 0.60 […, 0.60] times as fast"),
        (np.inf, np.inf, "unknown how fast: in 10 of 10 pairs of runs both missed the 90 % target"),
    ],
)
def test_how_fast_in_words(ours, theirs, text):
    a, b = np.full((1, 10), ours), np.full((1, 10), theirs)
    assert speed(speedup_of(a, b, np.array([150.0]), np.array([100.0]))) == text


def test_two_misses_among_hits_are_told_beside_the_speed():
    a, b = np.full((1, 10), 40.0), np.full((1, 10), 60.0)
    a[0, :2] = b[0, :2] = np.inf
    found = speedup_of(a, b, np.array([150.0]), np.array([100.0]))
    assert (found.pairs, found.missed, found.both_missed) == (10, 0, 2)
    assert speed(found).endswith(" times as fast (both missed it in 2 of 10 pairs of runs)")


def test_runs_of_every_stage_count_as_diverged_and_are_failures():
    names = ["learned", *(b.name for b in BASELINES), "adamw_calibrated"]
    variant = {name: list(rows(name, 1.0, [VARIANT])) for name in names}
    variant["learned"] = list(rows("learned", 1.0, [VARIANT], [("a~width", 104)]))
    wrong = {2.0: list(rows("learned", 1.0, diverged=[("b", s) for s in SEEDS]))}
    nothing = {"learned": None, "retuned": None, "transferred": None}
    cell = nothing | {
        "axis": "init", "value": 10.0, "task": "grid~init", "told": 1.0, "seeds": 10,
        "diverged": 3, "diverged_retuned": 0, "diverged_transferred": 2, "lr_transferred": 0.01,
    }  # fmt: skip
    parts = {"variants": (VARIANT,), "variant_runs": variant, "misinformed": wrong}
    kept = [
        dataclasses.replace(row, task="grid~init")
        for row in rows("adamw", 1.0, diverged=[("a", 105)])
    ]
    made = report(**parts, extra={"grid": [cell]}, grid_rows=kept)
    assert diverged_runs(made) == {
        "reported": (0, 30), "on variants": (1, 10), "told a wrong number of steps": (10, 30),
        "in the grid": (3, 10),
    }  # fmt: skip
    assert "14 of its 80 runs diverged: 1 on variants, 10 told a wrong number" in made.sentence
    stages = [f.stage for f in made.failures]
    assert stages == ["misinformed"] * 10 + ["variant", "grid"]
    last = made.failures[-1]
    assert (last.optimizer, last.task, last.seed) == ("adamw", "grid~init", 105)


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


def test_leakage_labels():
    labels = [
        leakage(CARD, EvalTask("t", FamilySpec(n, d)))
        for n in (MLP(), Conv())
        for d in ("digits", "wine")
    ]
    assert labels == [
        "seen network, seen data", "seen network, new data",
        "new network, seen data", "new network, new data",
    ]  # fmt: skip


NULLS = {"networks": None, "datasets": None}


@pytest.mark.parametrize(
    "seen", ["nothing", None, "digits", {}, {"networks": ["mlp"]}, NULLS, NULLS | {"datasets": []}]
)
def test_what_a_card_does_not_tell_is_unknown_and_not_unseen(seen, monkeypatch):
    card = {} if seen == "nothing" else {"trained_on": seen, "budget": None}
    assert leakage(card, TASKS[0]) == "unknown"
    monkeypatch.setitem(SUBJECT, "card", card)
    made = summarised()
    assert [g.label for g in made.groups] == [ALL, "unknown"]
    assert "with new network and data" not in made.sentence


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


def test_a_report_of_schema_2_is_read_with_what_its_runs_tell():
    made = report(diverged=[("a", 103)])
    old = json.loads(json.dumps(made.to_json())) | {"schema": 2, "sentence": "of its time"}
    comparisons = [part["against"] for part in (*old["tasks"], *old["groups"])]
    for found in (*(c for one in comparisons for c in one.values()), old["oracle"]["against"]):
        for name in ("clipped", "median", "clipped_test"):
            del found[name]
    old["optimizers"]["adamw_calibrated"]["role"] = "frozen"
    old["optimizers"]["adam_default"] |= {"role": "baseline", "trials": 0}
    read = report_from_json(old)
    assert read.optimizers["adamw_calibrated"].role == "calibrated"
    assert read.optimizers["adam_default"].role == "default"
    assert dataclasses.replace(read, optimizers=made.optimizers) == made
    del old["tasks"][1]["results"]["adamw"]["seed_losses"]
    with pytest.raises(ValueError, match=r"tasks\.b\.results\.adamw\.seed_losses is missing"):
        report_from_json(old)


def test_equal_runs_give_equal_reports():
    assert summarised() == summarised()
