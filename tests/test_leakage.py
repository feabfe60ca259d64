"""What a card tells of tasks that were seen, and the groups that a report makes of it."""

import pytest
from summaries import CARD, SUBJECT, TASKS, report, summarised

from learned_opt.eval.report._summary import ALL, leakage
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP, Conv

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_all_tasks_are_pooled_first_and_then_by_what_was_seen():
    groups = report().groups
    assert [(g.label, g.tasks) for g in groups] == [
        (ALL, ["a", "b", "c"]),
        ("seen network, seen data", ["a", "b"]),
        ("new network, new data", ["c"]),
    ]


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
