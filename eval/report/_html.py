"""Pieces of a page: the frame, figures, tables, parts that unfold, pills, swatches, cards."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..statistics import Speedup
from ._numbers import escape, misses, span
from ._report import Report
from .figures import style_of

CSS = Path(__file__).with_name("page.css")


def document(name: str, body: str, data: Any, optimizers: Sequence[str]) -> str:
    """A complete page around `body`, with `data` inside."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    hide = "".join(
        f"body:has(#show{i}:not(:checked)) .lines svg .o{i}{{display:none}}"
        for i in range(len(optimizers))
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}</title>
<style>{CSS.read_text()}{hide}</style>
</head>
<body><main>
{body}
</main>
<script type="application/json" id="report">{text}</script>
</body></html>
"""


def figure(caption: str, drawing: str | None) -> str:
    """A figure with its title above; nothing if there is no drawing."""
    if not drawing:
        return ""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}</figure>"


def paragraphs(parts: Sequence[Sequence[str]]) -> str:
    """Sentences, a paragraph a part; the first one is bold."""
    (first, *rest), *others = parts
    said = f"<p><b>{escape(first)}</b> {escape(' '.join(rest))}</p>"
    return said + "".join(f"<p>{escape(' '.join(more))}</p>" for more in others)


def part(key: str, heading: str, body: str, note: str = "") -> str:
    """A part to be unfolded; nothing if it is empty."""
    if not body:
        return ""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<details id="{key}"><summary>{escape(heading)}</summary>{body}{below}</details>'


def pairs(*figures: str) -> str:
    """Two beside each other, and so on."""
    return f'<div class="pair">{"".join(figures)}</div>' if any(figures) else ""


def swatch(name: str) -> str:
    """A piece of the optimizer's line, as in the figures."""
    style = style_of(name)
    dash = f' stroke-dasharray="{" ".join(f"{2 * d:g}" for d in style.dash)}"' if style.dash else ""
    dot = f'<circle cx="12" cy="5" r="3.2" fill="{style.colour}"/>' if style.marker else ""
    return (
        f'<svg class="key" viewBox="0 0 24 10" aria-hidden="true"><path d="M1 5H23" '
        f'stroke="{style.colour}" stroke-width="3"{dash}/>{dot}</svg>'
    )


def swatched(name: str, label: str) -> str:
    """An optimizer's swatch and what it is called."""
    return f'<span class="opt">{swatch(name)}{escape(label)}</span>'


def named(report: Report, name: str) -> str:
    """Swatch and name of an optimizer of the report."""
    return swatched(name, report.label(name))


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text: Sequence[int] = (),
    stacked: bool = False,
) -> str:
    """Rows of cells that are HTML; the first column and those in `text` are left-aligned.

    `stacked`: intervals stand below their estimates, for tables of many columns.
    """
    kind = ' class="stacked"' if stacked else ""
    left, last, body = {0, *text}, None, []

    def cells(kind: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{kind} class="text">{cell}</{kind}>' if i in left else f"<{kind}>{cell}</{kind}>"
            for i, cell in enumerate(row)
        )

    for row in rows:  # what the first column repeats is said once
        same = bool(row[0]) and row[0] == last
        mark = ' class="again"' if same else ""
        body.append(f"<tr{mark}>{cells('td', ['' if same else row[0], *row[1:]])}</tr>")
        last = row[0]
    return (
        f'<div class="scroll" tabindex="0"><table{kind}><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def tag(word: str) -> str:
    """A pill: better, worse or undecided."""
    return f'<span class="tag {word}">{word}</span>'


def card(word: str, big: str, beside: str, below: str, last: str) -> str:
    """A card: pill, large number, what it is."""
    return (
        f'<div class="card">{tag(word)}<b>{escape(big)} <span>{escape(beside)}</span></b>'
        f"<p>{escape(below)}</p><p>{escape(last)}</p></div>"
    )


def speed(found: Speedup, why: bool = True) -> str:
    """A speed-up with its interval, or, if asked, with what it is unknown for."""
    text, interval, both = escape(found.text), span(found), misses(found)
    if interval:
        return f"{text} <small>{escape(interval)}</small>"
    return f'{text} <small class="why">{escape(both)}</small>' if why and both else text


def estimate(text: str) -> str:
    """An estimate with its interval in small letters."""
    value, _, interval = text.partition(" ")
    return f"{value} <small>{interval}</small>" if interval else value
