"""The report's sentence: ratios, how fast in words, how many runs diverged."""

import dataclasses

import numpy as np
import pytest
from summaries import SEEDS, VARIANT, report, rows

from learned_opt.eval import BASELINES
from learned_opt.eval.report._sentence import diverged_runs, speed
from learned_opt.eval.statistics import Score, speedup_of

pytestmark = pytest.mark.usefixtures("few_resamples")


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
