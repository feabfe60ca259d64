"""Numbers and other values to text. What is None, not there, never prints as a number."""

import html
from typing import Any

from ..statistics import Estimate, Speedup

MISSING = "–"


def escape(value: Any) -> str:
    """Text for HTML, also inside quotes."""
    return html.escape(str(value), quote=True)


def number(x: float | None, digits: int = 3) -> str:
    """Significant digits, a dash where missing.

    >>> number(0.00123456), number(None), number(1234567.0)
    ('0.00123', '–', '1,234,567')
    """
    if x is None:
        return MISSING
    return f"{x:,.0f}" if abs(x) >= 10**digits else f"{x:.{digits}g}"


def fixed(x: float | None) -> str:
    """Three digits after the point, a dash where missing."""
    return MISSING if x is None else f"{x:.3f}"


def loss(x: float | None) -> str:
    """A loss with four significant digits; "diverged" where it is not finite.

    >>> loss(0.1), loss(None)
    ('0.1000', 'diverged')
    """
    if x is None:
        return "diverged"
    return f"{x:#.4g}" if 1e-3 <= abs(x) < 1e4 else f"{x:.3g}"


def times(x: float | None) -> str:
    """A factor, with two digits after the point, fewer where large."""
    if x is None:
        return MISSING
    if x >= 99.5:
        return f"{x:,.0f}"
    return f"{x:.2f}" if 0.095 <= x < 9.95 else (f"{x:.1f}" if x >= 9.95 else f"{x:.2g}")


def over(x: float | None, base: float | None) -> float | None:
    """x / base, None where that is no number."""
    return None if x is None or not base else x / base


def span(found: Estimate | Speedup) -> str:
    """The interval, "…" at an open end; nothing if nothing at all is known.

    >>> span(Estimate(mid=1.0, low=0.9, high=None))
    '[0.90, …]'
    """
    if not found.known:
        return ""
    low = "…" if found.low is None or found.bound == "<" else times(found.low)
    high = "…" if found.high is None or found.bound == ">" else times(found.high)
    return f"[{low}, {high}]"


def ratio(found: Estimate | Speedup) -> str:
    """Estimate and interval as plain text."""
    return f"{times(found.mid)} {span(found)}".strip()


def misses(found: Speedup) -> str:
    """In how many pairs of runs neither reached the target; nothing if in none."""
    both = found.both_missed
    return f"both missed in {both} of {found.pairs} pairs" if both else ""


def as_fast(found: Speedup) -> str:
    """A speed-up in words: never a number alone where the runs only bound it."""
    if found.text != "unknown":
        return f"{found.text} as fast {span(found)}"
    if why := misses(found):
        return f"unknown how fast: {why}"
    return "too few runs reach its target to say how fast"


def percent(x: float | None, digits: int = 0) -> str:
    """A share in [0, 1] as a percentage."""
    return MISSING if x is None else f"{100 * x:.{digits}f} %"


def short(x: float) -> str:
    """For axes.

    >>> short(1000), short(2.5e6), short(0.03)
    ('1,000', '2.5M', '0.03')
    """
    if abs(x) >= 1e6:
        return f"{x / 1e6:g}M"
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:g}"


def size(count: float | None) -> str:
    """Bytes for people.

    >>> size(2048)
    '2.0 KiB'
    """
    if count is None:
        return MISSING
    if count < 1024:
        return f"{count:.0f} B"
    power = 1 if count < 1024**2 else 2 if count < 1024**3 else 3
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def duration(seconds: float | None) -> str:
    """Seconds for people.

    >>> duration(167), duration(4.2)
    ('2 min 47 s', '4.2 s')
    """
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def plain(value: Any) -> str:
    """Any JSON value as short text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return short(value) if isinstance(value, int) else f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or MISSING
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(x)}" for key, x in value.items()) or MISSING
    return MISSING if value in (None, "") else str(value)
