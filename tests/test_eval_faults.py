"""What an evaluation, and the commands around it, say when something is wrong: one sentence."""

import errno
import io
import json
import os
import re
import shutil
from pathlib import Path

import jax
import pytest
import rich.console
from made_runs import RULE, Recorder, trials
from markdown_it import MarkdownIt

import learned_opt
import learned_opt.eval._evaluate
import learned_opt.eval._frozen
import learned_opt.eval._measured
from learned_opt.checkpoints import FolderError, WriteError, own_folder, write_atomic
from learned_opt.eval import Runner
from learned_opt.eval.__main__ import main
from learned_opt.eval._archive import Archive
from learned_opt.eval._evaluate import evaluate
from learned_opt.eval._measured import _read
from learned_opt.eval._reports import ReportError, read_report, using
from learned_opt.eval._subject import artifact_subject
from learned_opt.eval.report import (
    compare_reports,
    comparison_markdown,
    to_html,
    to_markdown,
)

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "example" / "report.html"
SILENT = rich.console.Console(file=io.StringIO(), width=200)


@pytest.fixture
def said(capsys):
    """Runs a command and gives its status and what it said, which is one line without a trace."""

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert "Traceback" not in error
        return status, error[len("error: ") : -1]

    return run


# --- names and folders -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["small", "--out", ""], "--out must name a folder in printable text, got ''"),
        (["small", "--out", "a\0b"], r"--out must name a folder in printable text, got 'a\x00b'"),
        (["small", "--out", "a\nb"], r"--out must name a folder in printable text, got 'a\nb'"),
        (["", "--out", "x"], "ARTIFACT must name a file in printable text, got ''"),
        (["small", "--rival", "a\n", "--out", "x"],
         r"--rival must name a file in printable text, got 'a\n'"),
        (["--optimizer", "a\n:b", "--out", "x"],
         r"--optimizer must name a function in printable text, got 'a\n:b'"),
        (["baselines", "--out", ""], "--out must name a folder in printable text, got ''"),
        (["frozen", "--out", "\t"], r"--out must name a folder in printable text, got '\t'"),
        (["compare", "", "b", "--out", "x"],
         "REPORT.json must name a file in printable text, got ''"),
        (["render", "a\n", "--out", "x"], r"REPORT must name a file in printable text, got 'a\n'"),
        (["card", "a\n", "b"], r"ARTIFACT must name a file in printable text, got 'a\n'"),
    ],
)  # fmt: skip
def test_a_name_that_nothing_can_have(said, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    assert said(*words) == (2, message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x" * 300, "cannot write {out} (File name too long); choose another folder with --out"),
        ("file", "--out must be a folder, got the file {out}; choose another"),
        ("file/sub", "cannot write {out} (Not a directory); choose another folder with --out"),
        ("/proc/none", "cannot write {out} (No such file or directory); choose another folder with "
                       "--out"),
        ("/sys/none", "cannot write {out} (Operation not permitted); choose another folder with "
                      "--out"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_made(said, monkeypatch, tmp_path, out, message):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    for words in (["small", "--out", out], ["frozen", "--out", out]):
        status, sentence = said(*words)
        assert status == 2
        # A system that is mounted otherwise has another reason.
        reason = r" \((Operation not permitted|Permission denied|Read-only file system)\)"
        sentence = re.sub(reason, " (Operation not permitted)", sentence)
        assert sentence == message.format(out=out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rival", "nobody"], "no pretrained optimizer is named 'nobody'; available: .*"),
        (["--rival", "none.safetensors"], "no artifact at none.safetensors: there is no such file"),
        (["--rival", "small", "--rival", "small"],
         "--rival must be another artifact each time, got small twice; leave one out"),
        (["--tuned-rival", "small", "--tuned-rival", "small"],
         "--tuned-rival must be another artifact each time, got small twice; leave one out"),
        (["--rival", "quickstart"],
         "--rival must be another artifact than what is judged, got quickstart for both; leave it "
         "out"),
    ],
)  # fmt: skip
def test_a_rival_that_is_none(said, tmp_path, words, message):
    status, sentence = said("quickstart", *words, "--out", tmp_path / "out")
    assert status == 2
    assert re.fullmatch(message, sentence)
    assert list(tmp_path.iterdir()) == []


# --- functions of somebody's -------------------------------------------------------------------

TAKES = "it must take the number of steps and return an optax.GradientTransformation"
MODULES = {
    "two": ("def f(a, b): ...", "raised TypeError: f() missing 1 required positional argument: "
                                f"'b', called with 100 steps; {TAKES}"),
    "raises": ("def f(n): raise RuntimeError('no luck\\nand more')",
               f"raised RuntimeError: no luck, called with 100 steps; {TAKES}"),
    "exits": ("def f(n): raise SystemExit(3)",
              f"raised SystemExit: 3, called with 100 steps; {TAKES}"),
    "nothing": ("def f(n): return None", "must return an optax.GradientTransformation for a "
                                         "number of steps, got NoneType"),
    "kind": ("class f:\n  def __init__(self, n): ...", "must return an "
             "optax.GradientTransformation for a number of steps, got f"),
    "syntax": ("def f(:", "cannot be imported: SyntaxError: invalid syntax (syntax.py, line 1)"),
    "leaves": ("import sys\nsys.exit(7)", "cannot be imported: SystemExit: 7"),
    "breaks": ("raise KeyboardInterrupt", "cannot be imported: KeyboardInterrupt"),
    "odd": ("raise ValueError('a\\x1b[2J\\nb')", "cannot be imported: ValueError: a?[2J"),
    "paths": ("import sys\nsys.path.remove('')\n1 / 0",
              "cannot be imported: ZeroDivisionError: division by zero"),
    "empty": ("", "cannot be imported: module 'empty' has no attribute 'f'"),
    "constant": ("f = 3", None),
}  # fmt: skip


@pytest.mark.parametrize("name", [*MODULES, "package"])
def test_an_optimizer_that_is_none(said, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.modules", dict(__import__("sys").modules))
    text, message = MODULES.get(name, ("", "cannot be imported: module 'package' has no attribute"))
    path = Path(f"{name}.py") if name != "package" else Path("package/__init__.py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    status, sentence = said("--optimizer", f"{name}:f", "--out", "out")
    assert status == 2
    if name == "constant":
        assert sentence == (
            "an optimizer's factory must be a function at the top of a file, got 3; define it "
            "there with def"
        )
    else:
        assert sentence.startswith(f"--optimizer {name}:f {message}")
    assert not Path("out").exists()


# --- reports -----------------------------------------------------------------------------------


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
NONE = "{path} holds no report; give a report.json or report.html of learned-opt eval"
BROKEN = {
    "list": (lambda report: [], NONE),
    "object": (lambda report: {}, NONE),
    "null": (lambda report: None, NONE),
    "number": (lambda report: 3, NONE),
    "bytes": (lambda report: b"\xff\xfe{}", NONE),
    "cut": (lambda report: json.dumps(report)[:1000].encode(), NONE),
    "deep": (lambda report: b"[" * 10**5, NONE),
    "older": (lambda report: report | {"schema": 1},
              "{path} must have schema 2, got 1; evaluate again"),
    "newer": (lambda report: report | {"schema": "3"},
              "{path} must have schema 2, got '3'; evaluate again"),
    "subject": (lambda report: without(report, "subject"),
                "{path} is damaged: subject is missing; evaluate again"),
    "tasks": (lambda report: report | {"tasks": []},
              "{path} is damaged: tasks must be a list of objects, got []; evaluate again"),
    "seeds": (lambda report: report | {"seeds": True},
              "{path} is damaged: seeds must be a positive integer, got True; evaluate again"),
    "result": (lambda report: changed(report, *ADAMW, value=[]),
               "{path} is damaged: tasks.{task}.adamw must be an object, got []; evaluate again"),
    "learned": (lambda report: without(report, *OURS),
                "{path} is damaged: tasks.{task}.learned must be an object, got None; evaluate "
                "again"),
    "loss": (lambda report: changed(report, *ADAMW, "valid_loss", value=True),
             "{path} is damaged: tasks.{task}.adamw.valid_loss must be a finite number or null, "
             "got True; evaluate again"),
    "seed": (lambda report: changed(report, *OURS, "seed_losses", "valid", 3, value="1"),
             "{path} is damaged: tasks.{task}.learned.seed_losses.valid must be a list of finite "
             "numbers and nulls, got"),
    "curve": (lambda report: changed(report, *OURS, "curves", "valid", 1, value=[1.0]),
              "{path} is damaged: tasks.{task}.learned.curves.valid must have a value for each of"),
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
    """Whether it is drawn; if not, what went wrong must be one sentence that names the file."""
    path.write_text(json.dumps(report))
    said = ""
    try:
        with using([path]):
            draw(read_report(path))
    except ReportError as error:
        said = str(error)
    assert not said or (str(path) in said and "\n" not in said)
    return not said


def check_some(report, path, draw, count):
    """So many entries of other types: drawn, or one sentence."""
    whole = report | {"tasks": report["tasks"][:1], "traces": {}, "grid": report["grid"][:2]}
    names = {task["name"] for task in whole["tasks"]}
    whole["groups"] = [group for group in report["groups"] if names & set(group["tasks"])]
    assert drawn(whole, path, draw)
    places = list(entries(whole))
    places = places[:: len(places) // count]
    values = [None, [], {}, "x", -1, True, [[]], 1e308]
    found = [
        drawn(changed(whole, *place, value=values[i % len(values)]), path, draw)
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


# --- cards -------------------------------------------------------------------------------------


def copied(name, folder):
    path = folder / f"{name}.safetensors"
    shutil.copy(ROOT / "checkpoints" / "zoo" / path.name, path)
    return path


def test_results_are_kept_in_a_file(said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    zoo = learned_opt._artifact.ZOO
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


# --- files that are read again -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", "\\", '{"hyper": {"lr": "x", "wd": 0}, "settings": 35}',
             '{"hyper": {"lr": 1, "wd": 0}, "settings": true}',
             '{"hyper": {"lr": NaN, "wd": 0}, "settings": 35}', None],
)  # fmt: skip
def test_a_frozen_setting_that_is_damaged(said, monkeypatch, tmp_path, text):
    file = tmp_path / "frozen.json"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(learned_opt.eval._frozen, "FILE", file)
    status, sentence = said("small", "--out", tmp_path / "out")
    assert status == 2
    assert re.fullmatch(
        re.escape(f"{file} cannot be used (") + ".*" + re.escape(
            "); fetch it again, or choose the setting anew: learned-opt eval frozen --out DIR"
        ), sentence,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["[", "smoke = 3", "\xff"])
def test_a_record_that_is_damaged(said, tmp_path, text):
    (tmp_path / "evaluation.toml").write_bytes(text.encode("latin-1"))
    status, sentence = said("small", "--out", tmp_path)
    assert status == 2
    assert sentence.endswith("choose another folder with --out")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
@pytest.mark.parametrize("name", ["runs.jsonl", "runs-other.jsonl"])
def test_runs_that_are_no_file_are_not_waited_for(tmp_path, name, kind):
    path = tmp_path / name
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(FolderError) as raised:
        Archive(tmp_path / "runs.jsonl")
    assert str(raised.value) == (
        f"cannot read {path} (it is no file); move it away, then give the same command again"
    )


# --- an evaluation -----------------------------------------------------------------------------


@pytest.fixture
def made_up(monkeypatch):
    """Evaluations whose runs are made up, and whose measurements take no time."""
    recorder, measured = Recorder(), []

    def measure(*args):
        measured.append(1)
        return {}

    jax.config.update("jax_numpy_dtype_promotion", "standard")
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    monkeypatch.setattr(learned_opt.eval._measured, "_traces", measure)
    monkeypatch.setattr(learned_opt.eval._measured, "_costs", measure)
    yield recorder, measured
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def smoke(out):
    text = io.StringIO()
    console = rich.console.Console(file=text, width=500)
    subject = artifact_subject(learned_opt.load("small"))
    return evaluate(subject, "quickstart", out, smoke=True, console=console), text.getvalue()


def test_measurements_that_are_damaged_are_made_anew(made_up, tmp_path):
    _, measured = made_up
    path = tmp_path / "measured.json"
    smoke(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    assert len(measured) == 2
    _, text = smoke(tmp_path)
    assert f"note: {path} is damaged: what it held is measured again\n" in text
    assert (len(measured), path.read_bytes()) == (4, content)
    notes = []
    assert set(_read(path, notes.append)) == {"key", "traces", "cost", "step_us"}
    assert notes == []
    changed = content.replace(b'"cost": {}', b'"cost": 3')
    for bad in (b"", b"[]", b"3", b"{}", b"\xff", b"[" * 10**5, changed, b'{"hash": NaN}'):
        path.write_bytes(bad)
        assert _read(path, notes.append) == {}
        assert notes.pop() == f"{path} is damaged: what it held is measured again"


@pytest.mark.parametrize(
    ("name", "kept"), [("runs.jsonl", "[0-9]+ runs"), ("measured.json", "[0-9]+ runs"),
                       ("report.json", "[0-9]+ runs"), ("report.html", "[0-9]+ runs"),
                       ("evaluation.toml", "nothing")],
)  # fmt: skip
def test_a_full_disk_says_what_is_saved(made_up, monkeypatch, tmp_path, name, kept):
    out = tmp_path / "out"
    if name == "runs.jsonl":
        whole, appends = Path.open, []

        def full(path, *args, **kind):
            appends.extend([path] if path.name == name and args == ("ab",) else [])
            if len(appends) > 1 and args == ("ab",):
                raise OSError(errno.ENOSPC, "No space left on device")
            return whole(path, *args, **kind)

        monkeypatch.setattr(Path, "open", full)
    else:
        whole_replace = Path.replace

        def full(path, target):
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return whole_replace(path, target)

        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError) as raised:
        smoke(out)
    saved = "nothing is saved yet" if kept == "nothing" else rf"{kept} are kept in {out}/runs.jsonl"
    assert re.fullmatch(
        rf"cannot write {out / name} \(No space left on device\); {saved}: make room, then give "
        "the same command again",
        str(raised.value),
    )
    lines = (out / "runs.jsonl").read_text().splitlines() if kept != "nothing" else []
    assert kept == "nothing" or f"{len(lines)} runs" in str(raised.value)
    monkeypatch.undo()


def test_a_folder_that_is_removed_meanwhile_is_made_anew(tmp_path):
    """With all runs so far, of other machines too, and held again."""
    out, recorder, said = tmp_path / "out", Recorder(), []
    with own_folder(out, "evaluation.toml", {"smoke": True}, what="an evaluation") as watch:
        Archive(out / "runs-other.jsonl").run(RULE, Recorder(), trials(2), "tune")
        archive = Archive(out / "runs.jsonl", watch=watch)
        archive.say = said.append
        archive.run(RULE, recorder, trials(4), "tune")
        shutil.rmtree(out)
        rows = archive.run(RULE, recorder, trials(6), "report")
        assert said == [
            f"{out} was removed while the command ran; the 4 runs so far are written anew"
        ]
        (out / "runs.jsonl").unlink()
        archive.mend()
        archive.mend()
        assert said[1:] == [
            f"{out}/runs.jsonl was removed while the command ran; the 10 runs so far are written "
            "anew"
        ]
        with (
            pytest.raises(FolderError, match="is in use by process"),
            own_folder(out, "evaluation.toml", {"smoke": True}, what="an evaluation"),
        ):
            pass
    assert (out / "evaluation.toml").read_text() == "smoke = true\n"
    again = Archive(out / "runs.jsonl")
    assert again.notes == []
    assert again.run(RULE, recorder, trials(6), "report") == rows
    assert recorder.calls == [2, 6]


def test_a_folder_that_another_has_taken_is_left_to_it(tmp_path):
    out = tmp_path / "out"
    with own_folder(out, "evaluation.toml", {}, what="an evaluation") as watch:
        archive = Archive(out / "runs.jsonl", watch=watch)
        shutil.rmtree(out)
        out.mkdir()
        (out / ".lock").write_text("process 3 on elsewhere\n")
        with pytest.raises(FolderError, match="was taken over by process 3 on elsewhere"):
            archive.run(RULE, Recorder(), trials(1), "tune")
    assert not (out / "runs.jsonl").exists()


def test_what_was_cut_short_stays_the_last_line(monkeypatch, tmp_path):
    """After a write that failed another thread writes nothing behind it."""
    path, whole = tmp_path / "runs.jsonl", Path.open

    class Torn:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            self.file.close()

        def write(self, content):
            self.file.write(content[:50])
            raise OSError(errno.ENOSPC, "No space left on device")

    archive = Archive(path)
    archive.run(RULE, Recorder(), trials(2), "tune")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *args: Torn(whole(path, *args)))
        with pytest.raises(OSError, match="No space left"):
            archive.run(RULE, Recorder(), trials(4), "tune")
    with pytest.raises(OSError, match="No space left"):
        archive.run(RULE, Recorder(), trials(5), "tune")
    again, recorder = Archive(path), Recorder()
    assert (again.notes, len(again.rows)) == ([], 2)
    again.run(RULE, recorder, trials(5), "tune")
    assert [t.seed for t in recorder.asked] == [2, 3, 4]


def test_runs_in_whose_place_a_folder_comes_end_in_one_sentence(made_up, monkeypatch, tmp_path):
    recorder, called = made_up[0], []

    def runner(runner, trials, **kind):
        if recorder.calls and not called:
            called.append(1)
            (tmp_path / "runs.jsonl").unlink()
            (tmp_path / "runs.jsonl").mkdir()
        return recorder(trials, **kind)

    monkeypatch.setattr(Runner, "__call__", runner)
    with pytest.raises(WriteError) as raised:
        smoke(tmp_path)
    assert re.fullmatch(
        rf"cannot write {tmp_path}/runs.jsonl \(Is a directory\); no run is kept yet: put that "
        "right, then give the same command again",
        str(raised.value),
    )


def test_what_cannot_be_written_has_a_status_of_its_own(said, monkeypatch, tmp_path):
    def full(path, content):
        if path.name == "compare.html":
            raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))
        write_atomic(path, content)

    monkeypatch.setattr("learned_opt.eval.report._compare.write_atomic", full)
    assert said("compare", EXAMPLE, EXAMPLE, "--out", tmp_path) == (
        3,
        f"cannot write {tmp_path}/compare.html (Disk quota exceeded); the reports are as they "
        "were: make room, then give the same command again",
    )


# --- names of others in Markdown ---------------------------------------------------------------

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
    made["tasks"] = [task | {"name": name} for task in report["tasks"][:1]]
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
