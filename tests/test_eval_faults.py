"""What `learned-opt eval` says when something it is given is wrong: one sentence."""

import io
import os
import re
from pathlib import Path

import pytest
import rich.console

import learned_opt
import learned_opt.eval._evaluate
import learned_opt.eval.cost._measurements
import learned_opt.eval.tuning._calibrated
from learned_opt.checkpoints import FolderError
from learned_opt.eval.running import Archive

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "reports" / "META_TEST_V2" / "report.html"
SILENT = rich.console.Console(file=io.StringIO(), width=200)
CALIBRATED = (
    '{"settings": {'
    + ", ".join(
        f'"{row}": {{"hyper": {{"lr": 3e-2, "wd": 0}}, "trials": 35}}'
        for row in ("adamw", "nadamw", "muon", "lion")
    )
    + "}}"
)
"""What is read, before it is damaged."""


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
        (["calibrate", "--out", "\t"], r"--out must name a folder in printable text, got '\t'"),
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
    for words in (["small", "--out", out], ["calibrate", "--out", out]):
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


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", "\\", '{"settings": []}', '{"settings": {}}', None,
             '{"settings": {"adamw": {"hyper": {"lr": 1, "wd": 0}, "trials": 35}}}',
             *(CALIBRATED.replace("3e-2", x) for x in ('"x"', "NaN", "[]")),
             CALIBRATED.replace("35", "true")],
)  # fmt: skip
def test_calibrated_settings_that_are_damaged(said, monkeypatch, tmp_path, text):
    file = tmp_path / "calibrated.json"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(learned_opt.eval.tuning._calibrated, "FILE", file)
    status, sentence = said("small", "--out", tmp_path / "out")
    assert status == 2
    assert re.fullmatch(
        re.escape(f"{file} cannot be used (") + ".*" + re.escape(
            "); fetch it again, or choose the settings anew: learned-opt eval calibrate --out DIR"
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
