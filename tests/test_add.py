"""The pages on adding and making something, followed word by word in a copy of the package."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from quick import QUICK

ROOT = Path(__file__).parent.parent
ROOMS = ("tasks", "checkpoints", "meta_train", "eval")
PAGES = (
    "add-an-optimizer", "add-an-estimator", "add-a-task", "add-a-baseline", "meta-training",
    "tasks",
)  # fmt: skip
FENCE = re.compile(
    r'^(<!-- minutes -->\n)?```(\w+)(?: title="(.*?)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL
)


def blocks(page):
    """Whether it takes minutes, language, title and text of each block of a page."""
    return FENCE.findall((ROOT / "docs" / f"{page}.md").read_text())


def copy(clone):
    """The sources and tests, and the package as it is installed, whose folder is returned."""
    ignored = shutil.ignore_patterns("__pycache__", "archive", "zoo")
    for folder in ("learned_opt", "tests", *ROOMS):
        shutil.copytree(ROOT / folder, clone / folder, ignore=ignored)
    for name in ("conftest.py", "pyproject.toml", "eval/archive", "checkpoints/zoo"):
        (clone / name).symlink_to(ROOT / name)
    installed = clone / "build" / "typing"
    (installed / "learned_opt").mkdir(parents=True)
    parts = [*(clone / "learned_opt").iterdir(), *(clone / room for room in ROOMS)]
    for part in parts:
        (installed / "learned_opt" / part.name).symlink_to(part)
    return installed


def add(file, diff):
    """Apply the hunks of a diff: lines that are there, each once, and lines that come."""
    text = file.read_text()
    for hunk in diff.strip("\n").split("\n\n"):
        lines = [line + "\n" for line in hunk.split("\n")]
        there = "".join(line[1:] for line in lines if line[0] == " ")
        assert text.count(there) == 1, f"{file} has not, or not once: {there}"
        text = text.replace(there, "".join(line[1:] for line in lines))
    file.write_text(text)


def commands(page, slow):
    """What the page runs, as words for this Python; its scripts go before."""
    for is_slow, language, title, text in blocks(page):
        if bool(is_slow) != slow or title:
            continue
        if language == "python":
            yield ["-c", text]
        elif language == "console":
            for line in text.replace("\\\n", " ").splitlines():
                word, *words = shlex.split(line.removeprefix("$ "))
                yield {"learned-opt": ["-m", "learned_opt"], "python": []}[word] + words


@pytest.fixture(scope="module", params=PAGES)
def followed(request, tmp_path_factory):
    """A page, and the call that runs words in a copy where its files and lines are added."""
    clone = tmp_path_factory.mktemp(request.param)
    installed = copy(clone)
    for _, language, title, text in blocks(request.param):
        if title and language == "diff":
            add(clone / title, text)
        elif title:
            assert not (clone / title).exists()
            (clone / title).write_text(text)
    # The package as it is installed, and not the folder of that name where a command is run.
    paths = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    env = os.environ | paths | {"XLA_FLAGS": QUICK}

    def run(words):
        if "pytest" in words:
            words = [*words, "-n", "0", "-o", "pythonpath=tests"]
        done = subprocess.run(
            [sys.executable, *words],
            cwd=clone,
            env=env,
            text=True,
            capture_output=True,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return request.param, run


def test_a_page_is_followed(followed):
    page, run = followed
    for words in commands(page, slow=False):
        assert run(words).strip()


@pytest.mark.slow
def test_what_takes_minutes_is_followed(followed):
    page, run = followed
    every = list(commands(page, slow=True))
    assert every
    for words in every:
        assert run(words).strip()
