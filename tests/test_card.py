"""Results of reports in the card of an artifact."""

import json
from pathlib import Path

import pytest
from reports import make

import learned_opt
from learned_opt.checkpoints import card_markdown
from learned_opt.eval.__main__ import main

SHIPPED = Path(__file__).parent.parent / "checkpoints" / "zoo" / "quickstart.safetensors"
QUICKSTART = learned_opt.load(SHIPPED)
REPORT = make(1, ("adamw",), ()) | {
    "suite": "SOME_SUITE", "suite_hash": "abc123", "sentence": "quickstart is better on 2 tasks.",
    "code": "c0de", "device": "2 x cpu", "date": "2026-11-28", "tier": "cpu",
    "arguments": ["quickstart", "--suite", "SOME_SUITE"],
    "subject": {"name": "quickstart", "kind": "artifact", "digest": QUICKSTART.sha256},
}  # fmt: skip


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / SHIPPED.name
    path.write_bytes(SHIPPED.read_bytes())
    return path


def report_file(folder, **other):
    path = folder / "report.json"
    path.write_text(json.dumps(REPORT | other))
    return str(path)


def test_results_are_kept_and_the_artifact_stays_the_same(artifact, tmp_path, capsys):
    assert "## On" not in card_markdown(QUICKSTART)
    assert "learned-opt eval quickstart --suite quickstart --out DIR" in card_markdown(QUICKSTART)
    words = ["card", str(artifact), report_file(tmp_path), "--limits", "Not for small tables."]
    assert main(words) == 0
    assert "Kept in " in capsys.readouterr().out
    kept = learned_opt.load(artifact)
    assert kept.sha256 == QUICKSTART.sha256
    added = {"results", "limits"}
    assert {k: v for k, v in kept.card.items() if k not in added} == dict(QUICKSTART.card)
    assert [row["suite_hash"] for row in kept.card["results"]] == ["abc123"]
    page = (tmp_path / "quickstart.md").read_text()
    assert page == card_markdown(kept)
    assert (
        "it has not been trained. Not for small tables.\n\n## On SOME_SUITE\n\nquickstart is"
        in page
    )
    assert "`learned-opt eval quickstart --suite SOME_SUITE --out OUT`" in page
    # A later report takes the place of the first one; limits stay.
    assert main(["card", str(artifact), report_file(tmp_path, suite="OTHER")]) == 0
    again = learned_opt.load(artifact).card
    assert [row["suite"] for row in again["results"]] == ["OTHER"]
    assert again["limits"] == "Not for small tables."


def test_a_report_of_another_artifact_is_refused_and_nothing_is_written(artifact, tmp_path, capsys):
    other = {"name": "small", "kind": "artifact", "digest": "f" * 64}
    assert main(["card", str(artifact), report_file(tmp_path, subject=other)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "the report on SOME_SUITE is of small (ffffffffffff), the artifact is" in error
    assert artifact.read_bytes() == SHIPPED.read_bytes()
    assert not (tmp_path / "quickstart.md").exists()
