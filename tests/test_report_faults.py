"""Reports and cards that are damaged, or full of names that are none."""

import io
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import rich.console
from markdown_it import MarkdownIt

import learned_opt
import learned_opt.eval._evaluate
import learned_opt.eval.cost._measurements
from learned_opt.eval.__main__ import main
from learned_opt.eval.report import (
    ReportError,
    compare_reports,
    comparison_markdown,
    read_report,
    report_from_json,
    to_html,
    to_markdown,
)

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "reports" / "META_TEST_V2" / "report.html"
SILENT = rich.console.Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def report():
    text = re.search(r'id="report">(.*?)</script>', EXAMPLE.read_text(), re.S)
    return json.loads(text[1])


def without(report, *path):
    """The report without an entry."""
    return changed(report, *path, drop=True)


def changed(report, *path, value=None, drop=False):
    made = json.loads(json.dumps(report))
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    if drop:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made


ADAMW = ("tasks", 0, "results", "adamw")
OURS = ("tasks", 0, "results", "learned")
NONE = (
    "{path} holds no report, or one that is cut short; give a report.json or report.html of "
    "learned-opt eval"
)
BROKEN = {
    "list": (lambda report: [], NONE),
    "object": (lambda report: {}, NONE),
    "null": (lambda report: None, NONE),
    "number": (lambda report: 3, NONE),
    "bytes": (lambda report: b"\xff\xfe{}", NONE),
    "cut": (lambda report: json.dumps(report)[:1000].encode(), NONE),
    "deep": (lambda report: b"[" * 10**5, NONE),
    "older": (lambda report: report | {"schema": 1},
              "{path} must have schema 2 or 3, got 1; evaluate again"),
    "newer": (lambda report: report | {"schema": "4"},
              "{path} must have schema 2 or 3, got '4'; evaluate again"),
    "subject": (lambda report: without(report, "subject"),
                "{path} is damaged: subject is missing; evaluate again"),
    "tasks": (lambda report: report | {"tasks": []},
              "{path} is damaged: tasks must be a list of objects, got []; evaluate again"),
    "seeds": (lambda report: report | {"seeds": True},
              "{path} is damaged: seeds must be a positive integer, got True; evaluate again"),
    "result": (lambda report: changed(report, *ADAMW, value=[]),
               "{path} is damaged: tasks.{task}.results.adamw must be an object, got []; evaluate "
               "again"),
    "learned": (lambda report: without(report, *OURS),
                "{path} is damaged: tasks.{task}.results.learned is missing; evaluate again"),
    "loss": (lambda report: changed(report, *ADAMW, "valid_loss", value=True),
             "{path} is damaged: tasks.{task}.results.adamw.valid_loss must be a finite number or "
             "null, got True; evaluate again"),
    "seed": (lambda report: changed(report, *OURS, "seed_losses", "valid", 3, value="1"),
             "{path} is damaged: tasks.{task}.results.learned.seed_losses.valid must be a list of "
             "finite numbers and nulls, got"),
    "curve": (lambda report: changed(report, *OURS, "curves", "valid", 1, value=[1.0]),
              "{path} is damaged: tasks.{task}.results.learned.curves.valid must have a value for "
              "each of"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_report_that_is_none(said, report, tmp_path, name):
    make, message = BROKEN[name]
    path, out = tmp_path / "report.json", tmp_path / "out"
    made = make(report)
    path.write_bytes(made if isinstance(made, bytes) else json.dumps(made).encode())
    message = message.format(path=path, task=report["tasks"][0]["name"])
    artifact = copied("small", tmp_path)
    for words in (
        ["compare", EXAMPLE, path, "--out", out],
        ["compare", path, EXAMPLE, "--out", out],
        ["render", path, "--out", out],
        ["card", artifact, path],
    ):
        status, sentence = said(*words)
        assert status == 2
        assert sentence.startswith(message)
    assert not out.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"report.json", "small.safetensors"}


def entries(value, *place):
    """The places of all entries of nested objects, and of the first in each list of them."""
    inner = value.items() if isinstance(value, dict) else []
    if isinstance(value, list) and value and isinstance(value[0], dict):
        inner = [(0, value[0])]
    for key, item in inner:
        yield (*place, key)
        yield from entries(item, *place, key)


def drawn(report, path, draw):
    """Whether it is read, and then drawn; if not, one sentence must say so and name the file."""
    path.write_text(json.dumps(report))
    said = ""
    try:
        found = read_report(path)
    except ReportError as error:
        found, said = None, str(error)
    assert (found is None) == said.startswith(str(path))
    assert "\n" not in said
    if found:
        draw(found)
    return found is not None


def check_some(report, path, draw, count):
    """So many entries of other types, or missing: drawn, or one sentence."""
    whole = report | {"tasks": report["tasks"][:1], "traces": {}, "grid": report["grid"][:2]}
    names = {task["name"] for task in whole["tasks"]}
    whole["groups"] = [
        group | {"tasks": [task for task in group["tasks"] if task in names]}
        for group in report["groups"]
        if names & set(group["tasks"])
    ]
    assert drawn(whole, path, draw)
    places = list(entries(whole))
    places = places[:: len(places) // count]
    values = [None, [], {}, "x", -1, True, [[]], 1e308]
    for lost in (False, True):
        found = [
            drawn(changed(whole, *place, value=values[i % len(values)], drop=lost), path, draw)
            for i, place in enumerate(places)
        ]
        assert 0 < sum(found) < len(found)


def both(report):
    to_markdown(report)
    comparison_markdown(compare_reports(report, report))


def test_whatever_a_page_needs_and_a_report_lacks_is_one_sentence(report, tmp_path):
    check_some(report, tmp_path / "report.json", both, 60)


@pytest.mark.slow
def test_whatever_any_page_needs_and_a_report_lacks_is_one_sentence(report, tmp_path):
    check_some(report, tmp_path / "report.json", both, 300)
    check_some(report, tmp_path / "report.json", to_html, 30)


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing", "long"])
def test_what_is_no_file_is_not_waited_for(said, tmp_path, kind):
    path = tmp_path / ("report.json" if kind != "long" else "x" * 300)
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    why = {"missing": "No such file or directory", "long": "File name too long"}.get(kind)
    message = f"cannot read {path} ({why or 'it is no file'}); give a report.json"
    artifact = copied("small", tmp_path)
    for words in (
        ["compare", EXAMPLE, path, "--out", tmp_path / "out"],
        ["render", path, "--out", tmp_path / "out"],
        ["card", artifact, path],
    ):
        assert said(*words) == (2, message)


def copied(name, folder):
    path = folder / f"{name}.safetensors"
    shutil.copy(ROOT / "checkpoints" / "zoo" / path.name, path)
    return path


def test_results_are_kept_in_a_file(said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    zoo = learned_opt.artifacts._artifact.ZOO
    assert said("card", "quickstart", EXAMPLE) == (
        2,
        "results are kept in a file, and 'quickstart' is a name: give the file, such as a copy of "
        f"{zoo}/quickstart.safetensors",
    )
    assert said("card", "quickstart.md", EXAMPLE) == (
        2, "results are kept in a file NAME.safetensors, got 'quickstart.md'"
    )  # fmt: skip
    assert said("card", "none.safetensors", EXAMPLE) == (
        2, "no artifact at none.safetensors: there is no such file"
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_the_artifact_and_its_card_are_written_both_or_neither(said, tmp_path):
    path, card = copied("small", tmp_path), tmp_path / "small.md"
    before = path.read_bytes()
    card.mkdir()
    status, sentence = said("card", path, EXAMPLE)
    assert (status, sentence) == (
        3,
        f"cannot write {path} (Is a directory); it and its card are as they were: put that right, "
        "then give the same command again",
    )
    assert path.read_bytes() == before
    card.rmdir()
    assert main(["card", str(path), str(EXAMPLE)]) == 0
    (row,) = learned_opt.load(path).card["results"]
    assert row["suite"] in card.read_text()
    assert {p.name for p in tmp_path.iterdir()} == {"small.safetensors", "small.md"}


HOSTILE = (
    "> quote", "- list", "# heading", "1. item", "<script>alert(1)</script>", "**bold**", "a | b",
    "[x](javascript:y)", "![x](http://y)", "&lt;b&gt;", "~~gone~~", "`code`", "a\n\n# b",
    "```\n<b>", "[x]: http://y",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text_in_markdown(report, name):
    made = report | {
        "subject": report["subject"] | {"name": name},
        "optimizers": {
            key: facts | {"label": f"{name}, {key}"} for key, facts in report["optimizers"].items()
        },
        "sentence": f"{name} is better",
        "arguments": [name, "--suite", "X"],
    }
    task = " ".join(name.split())  # of two lines it would be refused
    made["tasks"] = [report["tasks"][0] | {"name": task}]
    made["groups"] = [report["groups"][0] | {"tasks": [task]}]
    made = report_from_json(made)
    pages = [to_markdown(made), comparison_markdown(compare_reports(made, made))]
    for page in pages:
        parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        tokens = parsed.parse(page)
        inside = [one for token in tokens for one in token.children or ()]
        kinds = {token.type for token in (*tokens, *inside)}
        assert not kinds & {
            "html_block", "html_inline", "link_open", "code_inline", "bullet_list_open",
            "ordered_list_open", "blockquote_open", "s_open", "code_block",
        }  # fmt: skip
        assert [t.tag for t in tokens if t.type == "heading_open"] == ["h1"]
        shown = " ".join(name.split())
        words = ["".join(one.content for one in token.children or ()) for token in tokens]
        assert f"{shown} is better" in " ".join(words) or "is better than" in page
    images = [one for token in MarkdownIt().parse(pages[0]) for one in token.children or ()]
    assert [one.attrs["src"] for one in images if one.type == "image"] == ["report.svg"]
