"""The report, from runs made up so that every number of it is known."""

import json
import re
from xml.etree import ElementTree

import jax
import numpy as np
import pytest

from eval import BASELINES, Hyper
from eval._cost import Cost
from eval._evaluate import Contestant, write_report
from eval._figures import COLOURS, draw
from eval._html import to_html
from eval._run import eval_steps
from eval._summary import leakage, summarise, verdict
from eval._tune import Tuned
from learned_opt import Artifact, Nominal
from tasks import EvalTask, FamilySpec
from tasks.families import MLP, Conv

CARD = {"name": "made-up</script>", "trained_on": {"networks": ["mlp"], "datasets": ["digits"]}}
TASKS = (
    EvalTask("a", FamilySpec(MLP(), "digits"), horizon=100),
    EvalTask("b", FamilySpec(MLP(), "digits"), horizon=100),
    EvalTask("c", FamilySpec(Conv(), "wine"), horizon=100),
)
SEEDS = range(100, 110)
STEPS = eval_steps(100).tolist()


def rows(optimizer, factor, diverged=()):
    """Validation loss factor / step on every task: known ends and known times to any target."""
    for task in TASKS:
        for seed in SEEDS:
            ok = (task.name, seed) not in diverged
            curve = [factor / step if ok else None for step in STEPS]
            yield {
                "task": task.name, "optimizer": optimizer, "seed": seed, "lr": 1.0,
                "weight_decay": 0.0, "cosine": 1.0, "extra": 0.0, "horizon": 100, "steps": STEPS,
                "valid_curve": curve, "train_curve": curve, "test_curve": curve,
                "valid_loss": curve[-1], "train_loss": curve[-1], "test_loss": curve[-1],
                "test_accuracy": 0.5 if ok else None,
            }  # fmt: skip


def contestant(name, factor, diverged=()):
    tuned = {task.name: Tuned(Hyper(1.0, 0.0), 7, 1, ()) for task in TASKS}
    return Contestant(name, f"{name} label", tuned, list(rows(name, factor, diverged)))


def report(learned=1.0, adamw=2.0, diverged=()):
    contestants = [contestant("learned", learned, diverged)]
    contestants += [contestant(b.name, adamw if b.name == "adamw" else 4.0) for b in BASELINES]
    cost = {
        name: Cost(step, 1.0, 1.0, 4.0, 1.0) for name, step in (("learned", 30.0), ("adam", 20.0))
    }
    costs = {"small": {"parameters": 10, "costs": cost}, "1M": {"parameters": 20, "costs": cost}}
    optimizer = Nominal()
    artifact = Artifact(optimizer, optimizer.init(jax.random.key(0)), CARD)
    return summarise(artifact, "suite", TASKS, contestants, costs)


def test_known_runs_give_known_numbers():
    made = report()
    against = made["tasks"][0]["against"]["adamw"]
    assert against["valid_ratio"]["mid"] == pytest.approx(0.5)
    assert made["tasks"][0]["target"] == pytest.approx(2 / 100)
    # The learned curve 1 / t is at 2 / 100 from step 50 on: the first evaluated step >= 50.
    first = next(step for step in STEPS if step >= 50)
    assert against["speedup"]["mid"] == pytest.approx(100 / first)
    assert made["tasks"][0]["results"]["adamw"]["valid_loss"] == pytest.approx(0.02)
    assert made["seeds"] == 10
    assert made["failures"] == []


def test_the_sentence_is_made_of_the_intervals():
    sentence = report()["sentence"]
    assert (
        "better on seen network, seen data (a, b): final validation loss 0.50 [0.50, 0.50]"
        in sentence
    )
    assert "better on new network, new data (c)" in sentence
    assert "costs 1.5 times Adam's" in sentence
    assert (
        "worse on seen network, seen data (a, b): final validation loss 2.00"
        in report(4.0)["sentence"]
    )
    assert "undecided on seen" in report(2.0)["sentence"]


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
    assert verdict({"low": interval[0], "high": interval[1]}) == word


def test_a_diverged_run_counts_and_is_listed():
    made = report(diverged=[("a", 103)])
    assert made["failures"] == [
        {
            "optimizer": "learned",
            "task": "a",
            "lr": 1.0,
            "weight_decay": 0.0,
            "cosine": 1.0,
            "extra": 0.0,
            "seed": 103,
        }
    ]
    want = np.exp((9 * np.log(0.5) + np.log(1000)) / 10)
    assert made["tasks"][0]["against"]["adamw"]["valid_ratio"]["mid"] == pytest.approx(want)
    page = to_html(made, draw(made))
    assert "Failures (1)" in page
    assert "NaN" not in page
    assert "Infinity" not in page


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
    assert leakage({}, TASKS[0]) == "new network, new data"


def test_equal_reports_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(report(), tmp_path / name)
    for file in ("report.json", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_page_fetches_nothing_runs_nothing_and_holds_its_data():
    made = report()
    page = to_html(made, draw(made))
    assert not re.search(
        r"""(?:src|href)\s*=\s*["']?(?!#)""", re.sub(r"xlink:href=\"#[^\"]*\"", "", page)
    )
    assert not re.search(r"url\((?!#)|@import", page)
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.S)
    assert [attributes for attributes, _ in scripts] == [' type="application/json" id="report"']
    assert json.loads(scripts[0][1]) == json.loads(json.dumps(made))
    for figure in draw(made).values():
        ElementTree.fromstring(figure)


def test_every_optimizer_has_a_colour_of_its_own():
    names = ["learned", *(b.name for b in BASELINES)]
    assert len({COLOURS[name] for name in names}) == len(names)
