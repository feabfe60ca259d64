"""Numbers to text. A number that is not there never prints as one."""

import html
import json
import math
from typing import Any, TypeGuard

MISSING = "–"

Interval = dict[str, Any]
"""{"mid", "low", "high"}, of a speed-up also "bound" and "text"; null where open."""


def escape(value: Any) -> str:
    """Text for HTML, also inside quotes."""
    return html.escape(str(value), quote=True)


def known(x: Any) -> TypeGuard[float]:
    """Whether x is a finite number."""
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def number(x: Any, digits: int = 3) -> str:
    """Significant digits, a dash where missing.

    >>> number(0.00123456), number(None), number(1234567.0)
    ('0.00123', '–', '1,234,567')
    """
    if not known(x):
        return MISSING
    if abs(x) >= 10**digits:
        return f"{x:,.0f}"
    return f"{x:.{digits}g}"


def fixed(x: Any, digits: int = 3) -> str:
    """So many digits after the point, a dash where missing."""
    return f"{x:.{digits}f}" if known(x) else MISSING


def loss(x: Any) -> str:
    """A loss with four significant digits; "diverged" where it is not finite.

    >>> loss(0.1), loss(None)
    ('0.1000', 'diverged')
    """
    if not known(x):
        return "diverged"
    return f"{x:#.4g}" if 1e-3 <= abs(x) < 1e4 else f"{x:.3g}"


def times(x: Any) -> str:
    """A factor, with two digits after the point, fewer where large."""
    if not known(x):
        return MISSING
    if x >= 99.5:
        return f"{x:,.0f}"
    return f"{x:.2f}" if 0.095 <= x < 9.95 else (f"{x:.1f}" if x >= 9.95 else f"{x:.2g}")


def mid(found: Interval | None) -> str:
    """The point estimate of a ratio."""
    return times(found["mid"]) if found else MISSING


def span(found: Interval | None) -> str:
    """The interval, "…" at an open end; nothing if nothing at all is known.

    >>> span({"mid": 1.0, "low": 0.9, "high": None})
    '[0.90, …]'
    """
    sides = ("low", "least", "mid", "most", "high")
    if not found or not any(known(found.get(side)) for side in sides):
        return ""
    ends = [times(found[side]) if known(found[side]) else "…" for side in ("low", "high")]
    bound = found.get("bound")
    if bound == ">":
        ends[1] = "…"
    if bound == "<":
        ends[0] = "…"
    return f"[{ends[0]}, {ends[1]}]"


def ratio(found: Interval | None) -> str:
    """Estimate and interval as plain text."""
    return f"{mid(found)} {span(found)}".strip()


def faster(found: Interval | None) -> str:
    """A speed-up; one that the runs only bound says so: never a number alone."""
    return found["text"] if found else "unknown"


def misses(found: Interval | None) -> str:
    """In how many pairs of runs neither reached the target; nothing if in none.

    >>> misses({"both_missed": 3, "pairs": 10})
    'both missed in 3 of 10 pairs'
    """
    both = found.get("both_missed") if found else None
    return f"both missed in {both} of {found['pairs']} pairs" if found and both else ""


def percent(x: Any, digits: int = 0) -> str:
    """A share in [0, 1] as a percentage."""
    return f"{100 * x:.{digits}f} %" if known(x) else MISSING


def short(x: float) -> str:
    """For axes.

    >>> short(1000), short(2.5e6), short(0.03)
    ('1,000', '2.5M', '0.03')
    """
    if abs(x) >= 1e6:
        return f"{x / 1e6:g}M"
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:g}"


def size(count: Any) -> str:
    """Bytes for people.

    >>> size(2048)
    '2.0 KiB'
    """
    if not known(count):
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return MISSING


def duration(seconds: Any) -> str:
    """Seconds for people.

    >>> duration(167), duration(4.2)
    ('2 min 47 s', '4.2 s')
    """
    if not known(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def plain(value: Any) -> str:
    """Any JSON value as short text."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return short(value) if isinstance(value, int) else f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(plain(x) for x in value) or MISSING
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(x)}" for key, x in value.items()) or MISSING
    return json.dumps(value)


def verdict(found: Interval | None) -> str:
    """better, worse or undecided: whether the interval of a loss ratio excludes 1."""
    if found and known(found["high"]) and found["high"] < 1:
        return "better"
    return "worse" if found and known(found["low"]) and found["low"] > 1 else "undecided"


def label(report: dict[str, Any], name: str) -> str:
    """What people call an optimizer."""
    if name == "oracle":
        return "best baseline of each task"
    return str(report["optimizers"].get(name, {}).get("label") or name)


def title(report: dict[str, Any]) -> str:
    """The name of what was evaluated."""
    return str(report.get("subject", {}).get("name") or "learned optimizer")


def rival(report: dict[str, Any]) -> str:
    """The headline baseline, for the middle of a sentence."""
    return label(report, report["headline"]).split(",")[0]
