"""The command and its sub-commands as a newcomer meets them."""

import subprocess
import sys
from pathlib import Path

import pytest

import learned_opt
from learned_opt.__main__ import COMMANDS, main

ROOT = Path(__file__).parent.parent
HELP = {
    "": [*COMMANDS, "learned-opt meta-train quickstart", "pip install 'learned-opt[train]'"],
    "list": ["meta-parameters", "pretrained"],
    "show": ["NAME_OR_PATH", "learned-opt list"],
    "import": ["celo2", "--out FILE.safetensors", "other authors"],
    "meta-train": [
        "CONFIG", "--set SECTION.KEY=VALUE", "--out", "--resume", "such as quickstart",
        "--start NAME", "--task MODULE:NAME",
    ],
    "eval": [
        "ARTIFACT_OR_NAME", "--out", "report.html", "eval baselines", "exit status: 0 done",
        "--task MODULE:NAME", "--budget TIME", "--plan",
    ],
    "eval baselines": ["--suite", "--tier", "--only", "--out", "FILE.d"],
    "tasks": ["list", "show", "prepare", "measure"],
    "tasks prepare": ["tfds:mnist"],
}  # fmt: skip


def test_help_is_asked_of_every_command():
    assert {words.split()[0] for words in HELP if words} == set(COMMANDS)


@pytest.mark.parametrize("words", HELP)
def test_help(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*words.split(), "--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.lower().split())
    assert text.startswith(f"usage: learned-opt {words}".rstrip() + " [-h]")
    for word in HELP[words]:
        assert word.lower() in text


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"learned-opt {learned_opt.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["lost"], ["--resume", "eval"]])
def test_the_wrong_command_shows_the_usage(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: learned-opt [-h] [--version] COMMAND ...")
    if argv == ["lost"]:
        assert "invalid choice: 'lost'" in error
        assert all(name in error for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("meta-train nowhere.toml", "cannot read the configuration nowhere.toml"),
        ("meta-train quickstrt", "did you mean 'quickstart'? shipped: celo, celo2, elo, mulo, qui"),
        ("meta-train quickstart --set run.sed=1", "did you mean run.seed?"),
        ("meta-train quickstart --out tests", "tests already holds files that are not a meta-"),
        ("eval nonsense --out runs/none", "no pretrained optimizer is named 'nonsense'"),
        ("eval quickstart --suite x --out runs/none", "suite must be one of quick"),
        ("eval quickstart --out tests", "tests already holds files that are not an evalu"),
    ],
)
def test_mistakes_are_one_sentence_and_cost_nothing(words, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (ROOT / "runs" / "none").exists()


def test_as_a_module_it_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "learned_opt", "meta-train", "nowhere"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no configuration 'nowhere', neither a file nor")
