"""Commands that are interrupted, or whose output nobody reads, end without a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from learned_opt import __main__ as cli

ROOT = Path(__file__).parent.parent
WORDS = {
    "list": ["list"],
    "show": ["show", "small"],
    "meta-train": ["meta-train", "quickstart", "--out", "none"],
    "eval": ["eval", "small", "--out", "none"],
    "tasks": ["tasks", "list"],
}

SIGNAL = """import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
except KeyboardInterrupt:
    raise ImportError("Encountered an error while initializing the extension.")
"""
"""As an extension of JAX does."""


@pytest.fixture(autouse=True)
def _interrupts():
    """A shell may have started us deaf to interrupts, in its background; what we start would be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def call(place, *words):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (place, ROOT)))}
    return subprocess.run(
        [sys.executable, "-m", "learned_opt", *words],
        cwd=place, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("text", [SIGNAL, "raise KeyboardInterrupt"], ids=["signal", "raised"])
@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_command_stopped_while_jax_loads_says_nothing(words, text, tmp_path):
    (tmp_path / "jax.py").write_text(text)
    done = call(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_help_and_a_wrong_command_need_no_jax(tmp_path):
    (tmp_path / "jax.py").write_text("raise SystemError")
    done = call(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "learned-opt meta-train quickstart" in done.stdout
    assert call(tmp_path, "lost").returncode == 2


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_command_stopped_at_its_work_says_nothing(command, monkeypatch, capsys):
    from learned_opt import _listing

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_listing, f"_{command}", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert cli.main(WORDS[command]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_leaves_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "learned_opt", "show", "small"],
        cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
