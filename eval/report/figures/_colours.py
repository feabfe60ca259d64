"""One optimizer, one colour, everywhere: Okabe & Ito's palette, safe for colour-blind readers."""

import hashlib
from typing import NamedTuple

INK, SOFT = "#1b1f24", "#5b6570"
BETTER, WORSE = "#0072B2", "#D55E00"
"""For the learned optimizer, and against it."""

COLOURS = {
    "learned": "#0072B2",
    "learned:multiplied": "#0072B2",
    "adamw": "#D55E00",
    "adam": "#E69F00",
    "adam_default": "#8C8C8C",
    "lion": "#009E73",
    "adabelief": "#CC79A7",
    "muon": "#56B4E9",
    "sgdm": "#333333",
    "schedule_free": "#A39200",  # the palette's yellow, dark enough for white paper
    "adamw_frozen": "#D55E00",
    "oracle": INK,
}

_OTHERS = ("#CC79A7", "#009E73", "#E69F00", "#56B4E9")
_OTHER_DASHES = ((6.0, 1.5, 1.2, 1.5), (1.2, 1.4), (3.0, 1.4, 3.0, 3.0))
_OTHER_MARKERS = ("s", "^", "D", "v", "P")
_MARKED = (
    "nadamw", "adan", "laprop", "adafactor", "prodigy", "dadapt_adamw", "mechanic_adamw",
    "momo_adam", "ademamix", "adopt", "dowg", "cocob",
)  # fmt: skip
"""Rows that share the four colours: solid lines, a marker for every four of them."""

# Who cannot tell red from green sees these by their dashes.
_DASHES = {
    "learned:multiplied": (2.0, 1.2),
    "adamw_frozen": (4.0, 2.0),
    "schedule_free": (5.0, 1.3, 1.3, 1.3),
    "adam_default": (1.4, 1.2),
}

LEAKAGE_COLOURS = {
    "seen network, seen data": "#A593D6",
    "seen network, new data": "#8A63C0",
    "new network, seen data": "#6C3AA0",
    "new network, new data": "#401070",
    "unknown": "#8B6B4A",
    "yours": "#2F6B6B",
}
"""The less meta-training saw of a task, the darker; no optimizer has any of these colours."""


class Style(NamedTuple):
    """How an optimizer is drawn.

    `dash`: lengths of dashes and gaps in line widths, () for a solid line; `marker`: Matplotlib's
    letter, "" for a line without markers.
    """

    colour: str
    dash: tuple[float, ...]
    marker: str


_SETTINGS = {"_calibrated": (4.0, 2.0), "_default": (1.4, 1.2)}
"""Dashes of a row that is another one at one setting, by the end of its name."""


def colour_of(name: str) -> str:
    """The colour of an optimizer, at one setting too; of an unknown name, one by the name alone.

    >>> colour_of("learned")
    '#0072B2'
    """
    for end in _SETTINGS:
        if name not in COLOURS:
            name = name.removesuffix(end)
    return COLOURS.get(name) or _OTHERS[_place(name) % len(_OTHERS)]


def style_of(name: str) -> Style:
    """Colour, dashes and marker; unknown names have dashes and markers to be told apart by."""
    if name in COLOURS:
        return Style(COLOURS[name], _DASHES.get(name, ()), "")
    for end, lengths in _SETTINGS.items():
        if name.endswith(end):
            return style_of(name.removesuffix(end))._replace(dash=lengths)
    if name in _MARKED:
        return Style(colour_of(name), (), _OTHER_MARKERS[_MARKED.index(name) // len(_OTHERS)])
    dash = _OTHER_DASHES[_digest(name, 1) % len(_OTHER_DASHES)]
    return Style(colour_of(name), dash, _OTHER_MARKERS[_digest(name, 2) % len(_OTHER_MARKERS)])


def _place(name: str) -> int:
    return _MARKED.index(name) if name in _MARKED else _digest(name, 0)


def _digest(name: str, index: int) -> int:
    return hashlib.sha256(name.encode()).digest()[index]
