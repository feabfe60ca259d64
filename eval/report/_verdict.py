"""What a report says first: of a suite, or to the owner of tasks."""

from ._report import Report
from ._sentence import sentences
from .owner import owner_sentences


def said_of(report: Report) -> list[list[str]]:
    """In parts, each a paragraph of sentences."""
    return owner_sentences(report) if report.own else sentences(report)


def verdict_of(report: Report) -> str:
    """All of it in one line."""
    return " ".join(said for part in said_of(report) for said in part)
