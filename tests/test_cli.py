"""The two commands as a newcomer meets them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFIG = "meta_train/configs/quickstart.toml"


def run(*args):
    return subprocess.run(
        [sys.executable, "-m", *args], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (
            "meta_train",
            ["CONFIG", "--set SECTION.KEY=VALUE", "--out", "--resume", "quickstart.toml"],
        ),
        ("eval", ["ARTIFACT_OR_NAME", "--suite", "--out", "report.html"]),
    ],
)
def test_help(room, words):
    done = run(room, "--help")
    assert done.returncode == 0
    for word in words:
        assert word.lower() in done.stdout.lower()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["meta_train", "nowhere.toml"], "cannot read the configuration nowhere.toml"),
        (["meta_train", CONFIG, "--set", "run.sed=1"], "did you mean run.seed?"),
        (
            ["meta_train", CONFIG, "--out", "tests"],
            "tests already holds files that are not a meta-",
        ),
        (["eval", "nonsense", "--out", "runs/none"], "no pretrained optimizer is named 'nonsense'"),
        (
            ["eval", "quickstart", "--suite", "x", "--out", "runs/none"],
            "suite must be one of quick",
        ),
        (
            ["eval", "quickstart", "--out", "tests"],
            "tests already holds files that are not an evalu",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_cost_nothing(args, message):
    done = run(*args)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (ROOT / "runs" / "none").exists()
