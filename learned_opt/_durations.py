"""Durations as people write them: 90s, 30m, 2h."""

import math
import re

from ._checks import shown

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(text: str) -> float:
    """The seconds of a duration.

    >>> seconds_of("90s"), seconds_of("30m"), seconds_of("1.5h")
    (90.0, 1800.0, 5400.0)

    Raises:
      ValueError: it is none, or not above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not found or float(found[1]) <= 0:
        raise ValueError(
            f"--budget must be a time such as 90s, 30m or 2h, got {shown(text)}; give a number "
            "and s, m or h"
        )
    return float(found[1]) * UNITS[found[2]]


def budget_of(seconds: float) -> str:
    """A round budget with some room above so many seconds.

    >>> budget_of(12), budget_of(95), budget_of(1500), budget_of(8000)
    ('20s', '2m', '28m', '2.5h')
    """
    wanted = 1.1 * seconds
    if wanted <= 60:
        return f"{10 * math.ceil(wanted / 10)}s"
    if wanted <= 3600:
        return f"{math.ceil(wanted / 60)}m"
    return f"{math.ceil(2 * wanted / 3600) / 2:g}h"
