"""The drawing board: small figures in pixels, as inline SVG that is the same for equal input."""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .._numbers import escape, short
from ._colours import INK, SOFT, Style

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "learned-opt",
    "text.parse_math": False,
    # Measured with the font that comes with Matplotlib, so that layouts agree between machines.
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ad",
    "axes.linewidth": 0.8,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 10.5,
    "axes.axisbelow": True,
    "xtick.color": "#9aa3ad",
    "ytick.color": "#9aa3ad",
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "grid.color": "#edf0f3",
    "grid.linewidth": 0.8,
    "hatch.linewidth": 1.0,
    "path.simplify": False,
}

FONT = "system-ui, 'DejaVu Sans', Verdana, sans-serif"

POINTS = 60
"""A curve is thinned to so many points."""


def board(
    width: float, height: float, *, left: float = 50, right: float = 14, top: float = 8,
    bottom: float = 38,
) -> tuple[Figure, Axes]:  # fmt: skip
    """An empty figure of so many pixels, with fixed margins so that panels line up."""
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasSVG(figure)
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    )
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    return figure, axes


def svg(figure: Figure, key: str, says: str) -> str:
    """The figure as SVG. `key`: unique on the page; `says`: for those who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    # "c:name" marks what belongs to an optimizer; no other group needs a name.
    text = re.sub(r'<g id="c:([\w-]+)">', r'<g class="\1">', text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{key}-", text).replace("xlink:href", "href")
    text = text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = re.sub(r"font: (?:(\d+|bold) )?([\d.]+)px [^;\"]*", _font, text)
    text = re.sub(r' d="([^"]*)"', _path, text)
    text = re.sub(r' (x|y|x1|x2|y1|y2)="(-?[\d.]+)"', _coordinate, text)
    text = re.sub(r"(transform=\"[^\"]*\")", lambda m: _round(m[1], 2), text)
    text = re.sub(r"; stroke-linecap: (square|butt)|; stroke-linejoin: miter", "", text)
    text = re.sub(r' style="([^"]*)"', lambda m: m[0].replace(": ", ":").replace("; ", ";"), text)
    text = re.sub(r">\s+<", "><", text).replace("<defs></defs>", "").replace("<defs/>", "")
    text = re.sub(r"\s*\n\s*", " ", text).strip()
    width = figure.get_figwidth() * 72
    head = f'<svg role="img" aria-label="{escape(says)}" style="max-width:{width * 1.25:.0f}px"'
    return re.sub(
        r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>',
        lambda m: f'{head} {m[1]} xmlns="http://www.w3.org/2000/svg">',
        text,
    )


def alone(drawing: str) -> str:
    """What `svg` made, as a file of its own: with a size, a background and a font."""
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)[0]
    head = f'<svg width="{width}" height="{height}" font-family="{FONT}" role="img"'
    drawing = drawing.replace('<svg role="img"', head, 1)
    start, body = drawing.split(">", 1)
    return f'{start}><rect width="100%" height="100%" fill="#ffffff"/>{body}\n'


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight:{match[1]};" if match[1] else ""
    return f"{weight}font-size:{float(match[2]):g}px"


def _path(match: re.Match[str]) -> str:
    text = " ".join(match[1].split())
    text = _round(text, 1 if len(text) > 120 else 2)
    text = re.sub(r" ?([MLQCzZ]) ?", r"\1", text)
    return f' d="{text}"'


def _coordinate(match: re.Match[str]) -> str:
    return f' {match[1]}="{_round(match[2], 1)}"'


def _round(text: str, digits: int) -> str:
    return re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda m: _short(float(m[0]), digits), text)


def _short(x: float, digits: int) -> str:
    return f"{round(x, digits) + 0.0:.{digits}f}".rstrip("0").rstrip(".")


def floats(curve: Sequence[float | None]) -> np.ndarray:
    """NaN where not finite: a gap in the line."""
    return np.array([np.nan if x is None else x for x in curve], float)


def thin(x: Sequence[float], *curves: Sequence[float | None]) -> tuple[np.ndarray, ...]:
    """At most POINTS of each, evenly by index, ends kept."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
    return tuple(floats(curve)[keep] for curve in (x, *curves))


def line(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    style: Style,
    mark: str,
    *,
    width: float = 1.3,
    stairs: bool = False,
) -> None:
    """One optimizer's curve. `mark`: its class on the page."""
    last = np.flatnonzero(np.isfinite(y))
    how = "steps-post" if stairs else "default"
    (drawn,) = axes.plot(x, y, color=style.colour, lw=width, zorder=2 + width, drawstyle=how)
    if style.dash:
        drawn.set_dashes(style.dash)
    if style.marker and last.size:
        drawn.set(marker=style.marker, markersize=4, markevery=max(1, len(x) // 8))
    drawn.set_gid(f"c:{mark}")
    # A run that diverged ends in a cross, not in silence.
    if last.size and last[-1] < len(y) - 1:
        end = axes.plot(x[last[-1]], y[last[-1]], "x", color=style.colour, ms=6, mew=1.6)[0]
        end.set_gid(f"c:{mark}")


def band(
    axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, style: Style, mark: str
) -> None:
    """Quartiles, or an interval, around a curve."""
    ok = np.isfinite(low) & np.isfinite(high)
    if ok.sum() > 1:
        area = axes.fill_between(x[ok], low[ok], high[ok], color=style.colour, alpha=0.18, lw=0)
        area.set_gid(f"c:{mark}")


def log_axis(axes: Axes, which: str, low: float, high: float, most: int = 5) -> None:
    """A logarithmic axis whose ticks can be read."""
    ticks = log_ticks(low, high, most)
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}ticks")(ticks, [short(t) for t in ticks])
    getattr(axes, f"set_{which}lim")(low, high)
    getattr(axes, f"{which}axis").set_minor_locator(matplotlib.ticker.NullLocator())


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two, evenly on a log scale: 3 to `most` where there are so many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    choices = [
        [m * 10.0**k for k in range(first, last + 1) if k % every == 0 for m in subs]
        for every, subs in (
            (4, (1,)), (3, (1,)), (2, (1,)), (1, (1,)), (1, (1, 3)), (1, (1, 2, 5)),
            (1, (1, 1.5, 2, 3, 5, 7)), (1, (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)),
        )
    ]  # fmt: skip
    inside = [[float(f"{t:.3g}") for t in c if low <= t <= high] for c in choices]
    fitting = [ticks for ticks in inside if len(ticks) <= most]
    best = max(fitting, key=len, default=inside[0])
    if len(best) >= 2:
        return best
    ticks = matplotlib.ticker.MaxNLocator(3).tick_values(low, high)
    return [float(f"{t:.4g}") for t in ticks if low <= t <= high]


def limits(values: Sequence[float] | np.ndarray, pad: float = 1.15) -> tuple[float, float] | None:
    """Of a log axis that shows all positive finite values; None if there are none."""
    x = np.asarray(values, float)
    x = x[np.isfinite(x) & (x > 0)]
    return (float(x.min() / pad), float(x.max() * pad)) if x.size else None


def rule(axes: Axes, which: str, at: float, colour: str) -> None:
    """A reference line."""
    getattr(axes, "axvline" if which == "x" else "axhline")(at, color=colour, lw=1, zorder=1.5)


def spread(wanted: list[float], gap: float) -> list[float]:
    """Heights of labels, moved so that none overlap, as near to `wanted` as a sweep gets."""
    order = sorted(range(len(wanted)), key=lambda i: -wanted[i])
    placed, last = [0.0] * len(wanted), math.inf
    for i in order:
        placed[i] = last = min(wanted[i], last - gap)
    # Too low: up again from the bottom, at most by what is needed.
    floor = 0.0
    for i in reversed(order) if min(placed, default=0.0) < 0 else ():
        placed[i] = max(placed[i], floor)
        floor = placed[i] + gap
    return placed
