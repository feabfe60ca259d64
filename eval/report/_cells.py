"""What tables are made of: cells, pills, swatches."""

from collections.abc import Iterable, Sequence
from typing import Any

from ._colours import style_of
from ._format import escape, faster, label, misses, span

Report = dict[str, Any]


def swatch(name: str) -> str:
    """A piece of the optimizer's line, as in the figures."""
    style = style_of(name)
    dash = f' stroke-dasharray="{" ".join(f"{2 * d:g}" for d in style.dash)}"' if style.dash else ""
    dot = f'<circle cx="12" cy="5" r="3.2" fill="{style.colour}"/>' if style.marker else ""
    return (
        f'<svg class="key" viewBox="0 0 24 10" aria-hidden="true"><path d="M1 5H23" '
        f'stroke="{style.colour}" stroke-width="3"{dash}/>{dot}</svg>'
    )


def named(report: Report, name: str) -> str:
    """Swatch and name."""
    return f'<span class="opt">{swatch(name)}{escape(label(report, name))}</span>'


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
    left, last = {0, *text}, None
    body = ""

    def cells(kind: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{kind} class="text">{cell}</{kind}>' if i in left else f"<{kind}>{cell}</{kind}>"
            for i, cell in enumerate(row)
        )

    for row in rows:  # what the first column repeats is said once
        same = bool(row[0]) and row[0] == last
        again = "" if same else row[0]
        mark = ' class="again"' if same else ""
        body += f"<tr{mark}>{cells('td', [again, *row[1:]])}</tr>"
        last = row[0]
    return (
        f'<div class="scroll" tabindex="0"><table{kind}><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def tag(word: str) -> str:
    """A pill: better, worse or undecided."""
    return f'<span class="tag {word}">{word}</span>'


def speed(found: Report | None, why: bool = True) -> str:
    """A speed-up with its interval, or, if asked, with what it is unknown for."""
    text, interval, both = escape(faster(found)), span(found), misses(found)
    if interval:
        return f"{text} <small>{escape(interval)}</small>"
    return f'{text} <small class="why">{escape(both)}</small>' if why and both else text


def estimate(text: str) -> str:
    """An estimate with its interval in small letters."""
    value, _, interval = text.partition(" ")
    return f"{value} <small>{interval}</small>" if interval else value
