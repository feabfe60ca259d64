"""What a training step costs over AdamW's: from the cheapest load that was timed to the dearest."""

from ..cost import KINDS, about
from ._numbers import over, times
from ._report import Report
from ._report_measured import CostRow

BASE = "adamw"


def ratios(report: Report, optimizer: str = "learned") -> list[tuple[float, CostRow]]:
    """Times AdamW's step, and where that was, for every load at which both were timed."""
    rows = report.cost.rows
    base = {(row.network, row.batch): row.step for row in rows if row.optimizer == BASE}
    found = [
        (over(row.step, base.get((row.network, row.batch))), row)
        for row in rows
        if row.optimizer == optimizer
    ]
    return [(ratio, row) for ratio, row in found if ratio is not None]


def ends(report: Report) -> list[tuple[str, str]]:
    """(times AdamW's step, load) where that is least and where it is most; one, or none, where so
    many loads were timed.
    """
    found = sorted(ratios(report), key=lambda pair: pair[0])
    return [(times(ratio), where(row)) for ratio, row in found[:1] + found[1:][-1:]]


def where(row: CostRow) -> str:
    """A load, for the middle of a sentence."""
    kind = KINDS.get(row.kind, row.kind)
    article = "an" if kind[0] in "aeioM" else "a"
    of = f"batch {row.batch:,}" if row.tokens is None else f"{row.tokens:,} tokens a step"
    return f"{article} {kind} of {about(row.parameters)} parameters at {of}"


def cost_range(report: Report) -> str:
    """ "its training step costs 1.03 times AdamW's on a transformer of 100k parameters at 8,192
    tokens a step to 16 times on an MLP of 1M parameters at batch 128"; empty where none was timed.
    """
    found = ends(report)
    if not found:
        return ""
    (least, low), *most = found
    text = f"its training step costs {least} times AdamW's on {low}"
    return text + "".join(f" to {ratio} times on {high}" for ratio, high in most)
