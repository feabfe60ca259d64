"""The reports in docs are what the code of today makes of the data inside them."""

import dataclasses
import functools
import json
import re
from pathlib import Path

import jax
import matplotlib
import pytest

from learned_opt import Artifact, Celo, CeloAdam, GatedAdam
from learned_opt.eval.__main__ import main
from learned_opt.eval.cost import about
from learned_opt.eval.report import read_report, to_markdown, with_declared
from learned_opt.eval.report._report import OptimizerFacts
from learned_opt.eval.report._sentence import sentence
from learned_opt.eval.report.figures import STYLE, alone, final_losses

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(page.parent for page in (ROOT / "docs").rglob("report.html"))


@functools.cache
def report_of(folder):
    return read_report(folder / "report.html")


def published(optimizer, **card):
    return Artifact(optimizer, optimizer.init(jax.random.key(0)), card)


PUBLISHED = [
    published(Celo(), name="published-celo"),
    published(CeloAdam(), name="published-celo-adam"),
]
"""In place of weights that do not ship: what they are told does not depend on theta."""


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_markdown_is_made_of_the_data_of_the_page(folder):
    assert (folder / "report.md").read_bytes() == to_markdown(report_of(folder)).encode()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_figure_is_made_of_the_data_of_the_page(folder):
    with matplotlib.rc_context(STYLE):
        drawn = alone(final_losses(report_of(folder)))
    assert (folder / "report.svg").read_bytes() == drawn.encode()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_sentence_is_made_of_the_data_of_the_page(folder):
    assert report_of(folder).sentence == sentence(report_of(folder))


@pytest.mark.parametrize("page", ["README.md", "docs/which.md"])
def test_the_loss_ratios_of_a_page_are_those_of_the_reports(page):
    """Rows of a baseline end with the ratios on META_TEST_V2 and on META_TEST_V1."""
    reports = [report_of(ROOT / "docs" / "reports" / f"META_TEST_{v}") for v in ("V2", "V1")]
    assert [report.suite for report in reports] == ["META_TEST_V2", "META_TEST_V1"]
    rows = {
        "AdamW untuned: one setting everywhere": "adamw_frozen",
        "AdamW tuned for each task": "adamw",
        "Muon tuned for each task": "muon",
    }
    text = (ROOT / page).read_text()
    for label, name in rows.items():
        (row,) = re.findall(rf"^\| {label}.*\|$", text, re.M)
        ratios = [report.groups[0].against[name].clipped for report in reports]
        cells = ["{mid:.2f} [{low:.2f}, {high:.2f}]".format(**vars(ratio)) for ratio in ratios]
        assert row.endswith(f"| {cells[0]} | {cells[1]} |")


def test_the_first_page_counts_verdicts_as_the_reports_do():
    found = [
        report_of(ROOT / "docs" / "reports" / f"META_TEST_{v}").verdict["adamw"]
        for v in ("V2", "V1")
    ]
    counts = {word: sum(one[word] for one in found) for word in found[0]}
    said = "It is better on {better} of {} tasks, worse on {worse} and undecided on {undecided}"
    page = " ".join((ROOT / "docs" / "index.md").read_text().split())
    assert said.format(sum(counts.values()), **counts) in page


@pytest.mark.parametrize(
    ("page", "networks"),
    [("README.md", {"1M": "1 million"}),
     ("docs/which.md", {"1M": "1 million", "10M": "10 million"})],
)  # fmt: skip
def test_the_costs_of_a_page_are_those_of_the_report(page, networks):
    """To two digits, in a cell of a row that names a network and a batch."""
    rows = report_of(ROOT / "docs" / "reports" / "META_TEST_V1").cost.rows
    step = {(about(r.parameters), r.batch, r.optimizer): r.step for r in rows if r.kind == "mlp"}
    for network, said in networks.items():
        for batch in (128, 1024):
            ratio = step[network, batch, "learned"] / step[network, batch, "adamw"]
            row = rf"^\| MLP.* {said} .*\b{batch:,} .*\| {ratio:.2g} \|"
            assert re.search(row, (ROOT / page).read_text(), re.M), row


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_who_is_told_the_horizon_is_what_the_artifacts_say(folder):
    report = report_of(folder)
    assert with_declared(report, PUBLISHED) == report


def test_a_report_is_rendered_again_from_its_page(tmp_path):
    """Byte for byte; and with what was said wrongly put right, in all places."""
    page = ROOT / "docs" / "reports" / "quickstart" / "small-free"
    assert main(["render", str(page / "report.html"), "--out", str(tmp_path / "a")]) == 0
    for name in ("report.html", "report.md", "report.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (page / name).read_bytes()
    data = tmp_path / "a" / "report.json"
    report = json.loads(data.read_text())
    report["subject"]["horizon_free"] = report["optimizers"]["learned"]["horizon_free"] = False
    report["tracks"]["known"].append(report["tracks"]["free"].pop(0))
    data.write_text(json.dumps(report))
    assert with_declared(read_report(data)) == report_of(page)


def test_rivals_are_told_what_they_ask_for():
    """By name, untuned; those that are tuned are told by AdamW's schedules."""
    report = report_of(ROOT / "docs" / "reports" / "META_TEST_V2")
    rivals = {"rival:small-free": True, "rival:x": False, "rival:small-free:tuned": False}
    facts = OptimizerFacts(label="a rival", role="rival", horizon_free=False, trials=0)
    others = dict.fromkeys(rivals, facts)
    tasks = [
        dataclasses.replace(
            task,
            results=task.results | dict.fromkeys(rivals, task.results["adamw"]),
            against=task.against | dict.fromkeys(rivals, task.against["adamw"]),
        )
        for task in report.tasks
    ]
    groups = [
        dataclasses.replace(
            group, against=group.against | dict.fromkeys(rivals, group.against["adamw"])
        )
        for group in report.groups
    ]
    wrong = dataclasses.replace(
        report, optimizers=report.optimizers | others, tasks=tasks, groups=groups
    )
    made = with_declared(wrong, [published(GatedAdam(), name="x")])
    found = {name: made.optimizers[name].horizon_free for name in rivals}
    assert found == rivals
    assert "rival:small-free" in made.tracks.free
    with pytest.raises(ValueError, match="needs its rival:x to be rendered again; give its file"):
        with_declared(wrong)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("report.json", "{}", "holds no report, or one that is cut short; give a report.json or"),
        ("report.html", "<html>", "holds no report"),
        ("report.html", None, "No such file"),
        ("changed.html", "", r"needs its subject small \(0000"),
    ],
)
def test_what_cannot_be_rendered_is_one_sentence(tmp_path, capsys, name, text, message):
    path = tmp_path / name
    if name == "changed.html":
        page = (ROOT / "docs" / "reports" / "META_TEST_V2" / "report.html").read_text()
        text = re.sub(r'"digest":"[0-9a-f]{4}', '"digest":"0000', page)
    if text is not None:
        path.write_text(text)
    assert main(["render", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
