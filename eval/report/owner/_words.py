"""How an owner is told names, ratios of losses and speed-ups."""

from ...statistics import Estimate, Speedup
from .._numbers import times
from .._report import Report

DIGITS = 6
"""Of estimates in a report."""


def called(report: Report, name: str) -> str:
    """An optimizer in the middle of a sentence."""
    facts = report.optimizers[name]
    tuned = "tuned " if facts.role == "baseline" and facts.trials else ""
    return f"{tuned}{facts.label.split(',')[0]}"


def ratio(found: Estimate) -> str:
    """Estimate and interval, with so many digits that no end prints as 1 that is another number.

    >>> ratio(Estimate(mid=0.996, low=0.99, high=0.998))
    '0.996 [0.990, 0.998]'
    """
    values = (found.mid, found.low, found.high)
    digits = 2
    while digits < DIGITS and any(
        x not in (None, 1) and f"{x:.{digits}f}" == f"{1:.{digits}f}" for x in values[1:]
    ):
        digits += 1
    if digits == 2:
        mid, low, high = (times(x) for x in values)
    else:
        mid, low, high = (times(x) if x is None else f"{x:.{digits}f}" for x in values)
    return f"{mid} [{low}, {high}]"


def judged(found: Estimate, whose: str) -> str:
    """A ratio of losses, and that it decides nothing where it does not."""
    open_ = " (undecided)" if found.verdict == "undecided" else ""
    return f"{ratio(found)} times the loss of {whose}{open_}"


def amount(found: Speedup) -> str:
    """The number of a speed-up; what is only a bound says so.

    >>> amount(Speedup(low=1, least=2, most=None, high=None, mid=2, bound=">", text=">2.00x"))
    'more than 2.00 times'
    """
    if found.mid is not None and not found.bound:
        return f"{times(found.mid)} times"
    text = found.text.replace("x", "").replace(">", "more than ").replace("<", "less than ")
    return f"{text} times"


def ends(found: Speedup) -> str:
    """The interval of a speed-up, in brackets or as the one end that the runs tell."""
    low = None if found.bound == "<" else found.low
    high = None if found.bound == ">" else found.high
    if low is not None and high is not None:
        return f" [{times(low)}, {times(high)}]"
    if low is not None:
        return f" (at least {times(low)})"
    return "" if high is None else f" (at most {times(high)})"


def misses(found: Speedup) -> str:
    """In how many pairs of runs nobody got there; nothing if in none."""
    return f"in {found.both_missed} of {found.pairs} pairs of runs both missed it"
