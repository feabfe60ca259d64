"""Colours of the report, as they look and as those see them who lack red or green cones.

Machado, Oliveira & Fernandes 2009, "A physiologically-based model for simulation of color vision
deficiency": linear RGB times a matrix. Distances: CIE 1976 L*a*b*.
"""

import itertools

import numpy as np
import pytest

from learned_opt.eval.baselines import BASELINES
from learned_opt.eval.report.figures import COLOURS, LEAKAGE_COLOURS, colour_of, style_of

EYES = {
    "all": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
}  # fmt: skip
XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip
"""From linear sRGB, white D65."""


def lab(colour, eyes="all"):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(EYES[eyes] @ linear, 0, 1) / XYZ.sum(1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a, b, eyes="all"):
    return float(np.linalg.norm(lab(a, eyes) - lab(b, eyes)))


def test_distances_of_known_colours():
    assert distance("#000000", "#ffffff") == pytest.approx(100, abs=0.1)
    assert distance("#ff0000", "#ff0000", "protanopia") == 0
    # Red against green: three times as near without green cones.
    assert distance("#ff0000", "#00ff00") == pytest.approx(170.6, abs=0.5)
    assert distance("#ff0000", "#00ff00", "deuteranopia") < 60


@pytest.mark.parametrize("eyes", EYES)
def test_optimizers_are_told_apart_by_colour_or_by_their_dashes(eyes):
    """2 is a difference that one just sees; two lines apart on one panel take more."""
    for a, b in itertools.combinations(COLOURS, 2):
        one, two = style_of(a), style_of(b)
        if (one.dash, one.marker) == (two.dash, two.marker):
            assert {a, b} == {"sgdm", "oracle"} or distance(one.colour, two.colour, eyes) > 14


def test_no_two_optimizers_are_drawn_alike():
    assert len({style_of(name) for name in COLOURS}) == len(COLOURS)


def test_unknown_names_get_a_style_of_their_own_for_good():
    assert colour_of("rival:celo") == colour_of("rival:celo") != colour_of("learned")
    made = {style_of(f"rival:{name}") for name in ("celo", "celo2", "velo", "open")}
    assert len(made) == 4
    assert made.isdisjoint(style_of(name) for name in COLOURS)
    assert all(style.dash and style.marker for style in made)


def test_no_two_rows_of_the_ladder_are_drawn_alike():
    """A row at one setting has the colour of the one that is tuned."""
    names = [row.name for row in BASELINES]
    settings = ["adamw_calibrated", "muon_calibrated", "nadamw_calibrated", "lion_calibrated"]
    everyone = ["learned", "learned:multiplied", *names, *settings]
    assert len({style_of(name) for name in everyone}) == len(everyone)
    for name in settings:
        tuned = name.removesuffix("_calibrated")
        assert colour_of(name) == style_of(name).colour == colour_of(tuned)
    assert colour_of("schedule_free_default") == colour_of("schedule_free")


@pytest.mark.parametrize("eyes", EYES)
def test_shades_of_leakage_are_apart(eyes):
    for a, b in itertools.combinations(LEAKAGE_COLOURS.values(), 2):
        assert distance(a, b, eyes) > 14, (a, b)


def test_shades_of_leakage_are_no_optimizers_and_darken_with_what_is_new():
    for shade, colour in itertools.product(LEAKAGE_COLOURS.values(), COLOURS.values()):
        assert distance(shade, colour) > 20, (shade, colour)
    seen = [shade for label, shade in LEAKAGE_COLOURS.items() if label not in ("unknown", "yours")]
    lightness = [lab(shade)[0] for shade in seen]
    assert lightness == sorted(lightness, reverse=True)
