"""The page on faults says what the code says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "what-can-go-wrong.md").read_text()
ROOMS = ("learned_opt", "tasks", "checkpoints", "meta_train", "eval")

MESSAGES = re.findall(r"`((?:error|note|stopped)[:;] [^`]*)`", PAGE)
# What stands for something else, and what parts of a sentence are joined by.
GAP = re.compile(
    r"\b(?:DIR|FILE|HOST|TIME|PORT|NAME\.\w+|N|why|nan|inf|m:f|got .*|\w+Error)\b"
    r"|[\w./-]*\d[\w./-]*|'[^']*'|\S+\.jsonl\S*|(?:estimator|tasks)\.\S+|…|[;:(),]"
    r"|No space left on device|the untrained theta|a meta-training run"
    r"|\b(?:then|would take|must be)\b"
)


def literals():
    """All text in the sources, with a mark where a value is put in."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "\0"
                        for part in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


SOURCES = "\n".join(literals())


def parts(message):
    """What the sources must have word for word: runs of words between gaps."""
    return [" ".join(part.split()) for part in GAP.split(message) if len(part.split()) > 2]


def known(part):
    """In the sources; the first or last word may be what a value stands for."""
    words = part.split()
    tries = (words, words[1:], words[:-1], words[1:-1])
    return any(" ".join(some) in SOURCES for some in tries if len(some) > 1)


def test_there_are_messages():
    assert len(MESSAGES) > 40
    assert sum(len(parts(message)) for message in MESSAGES) > 80


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_page_is_what_the_code_says(message):
    assert [part for part in parts(message) if not known(part)] == []


def test_what_the_code_does_not_say_is_noticed():
    (part,) = parts("error: DIR was eaten by the dog since TIME")
    assert not known(part)
