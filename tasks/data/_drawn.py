"""Images made here, by arithmetic alone: strokes in grey, and figures in colour, of any size.

Neither needs a font or a file, so that they are the same on every machine but for rounding.
"""

import math

import numpy as np

from ._dataset import Dataset, split_dataset

STROKES, CHARACTERS = 48_000, 16
"""Images of `strokes`, and the characters they show."""
FIGURES = ("disc", "ring", "square", "frame", "triangle", "cross", "bar", "two dots")
EACH = 1000
"""Images of each figure."""


def strokes(size: int) -> Dataset:
    """48,000 images, `size` x `size` grey, of 16 characters that nobody writes; label: which.

    A character is a curve, c(s) = sum_k a_k cos(k pi s) for s in [0, 1]. Each image bends it,
    turns, stretches and shifts it, and draws it with a pen of its own width, with noise.
    """
    rng = np.random.default_rng(5)
    harmonics, along = np.arange(1, 5), np.linspace(0, 1, 24)
    waves = np.cos(math.pi * harmonics[:, None] * along[None])
    # (characters, harmonics, 2): the wiggles are smaller the shorter they are.
    curves = rng.normal(size=(CHARACTERS, 4, 2)) / harmonics[:, None]
    y = np.repeat(np.arange(CHARACTERS), STROKES // CHARACTERS)
    images, pixels = [], _pixels(size)
    for labels in np.array_split(y, 16):
        bent = curves[labels] + 0.12 * rng.normal(size=(len(labels), 4, 2)) / harmonics[:, None]
        points = np.einsum("ihd,hs->isd", bent, waves)
        points = points / np.abs(points).max((1, 2), keepdims=True)
        points = 0.7 * _moved(rng, points, turn=0.25, zoom=0.2, shift=0.1)
        pen = rng.uniform(0.1, 0.18, (len(labels), 1))
        away = (points**2).sum(2)[..., None] - 2 * points @ pixels.T
        nearest = away.min(1) + (pixels**2).sum(1)[None]
        ink = np.exp(-nearest / (2 * pen**2)) * rng.uniform(0.6, 1, pen.shape)
        images.append(_bytes(ink + 0.08 * rng.normal(size=ink.shape)))
    return split_dataset("strokes", np.concatenate(images).reshape(-1, size, size, 1), y)


def figures(size: int) -> Dataset:
    """8,000 images, `size` x `size` in colour, of FIGURES, each turned; label: which.

    The figure has a light colour of its own, the ground a dark one that fades; with noise.
    """
    rng = np.random.default_rng(6)
    y = np.repeat(np.arange(len(FIGURES)), EACH)
    count, sharp = len(y), size / 2
    where = np.broadcast_to(_pixels(size), (count, size * size, 2))
    placed = _moved(rng, where, turn=math.pi, zoom=0.25, shift=0.2) * 1.4
    depth = np.stack([_outside(name, placed[y == i]) for i, name in enumerate(FIGURES)])
    depth = depth.reshape(count, -1, 1)
    share = 1 / (1 + np.exp(np.clip(sharp * (depth - 1), -30, 30)))
    ground, ink = np.array([0, 0.55])[:, None, None, None] + 0.45 * rng.random((2, count, 1, 3))
    slope = rng.normal(scale=0.15, size=(count, 2, 3))
    ground = ground + where @ slope
    x = ground + share * (ink - ground) + 0.06 * rng.normal(size=ground.shape)
    return split_dataset("figures", _bytes(x).reshape(count, size, size, 3), y)


def _outside(name: str, at: np.ndarray) -> np.ndarray:
    """Below 1 inside of the figure, above it outside, at points (..., 2)."""
    x, y = np.moveaxis(at, -1, 0)
    radius, edge = np.hypot(x, y), np.maximum(np.abs(x), np.abs(y))
    match name:
        case "disc":
            return radius / 0.9
        case "ring":
            return np.abs(radius - 0.75) / 0.25
        case "square":
            return edge / 0.8
        case "frame":
            return np.abs(edge - 0.7) / 0.22
        case "triangle":
            return np.maximum(-y, np.maximum(0.87 * x + 0.5 * y, 0.5 * y - 0.87 * x)) / 0.5
        case "cross":
            return np.minimum(*(np.maximum(np.abs(a), 3 * np.abs(b)) for a, b in ((x, y), (y, x))))
        case "bar":
            return np.maximum(np.abs(x), 3 * np.abs(y))
        case _:
            return np.hypot(np.abs(x) - 0.6, y) / 0.4


def _moved(
    rng: np.random.Generator, points: np.ndarray, *, turn: float, zoom: float, shift: float
) -> np.ndarray:
    """Points (count, n, 2), those of each turned, stretched and shifted by random amounts."""
    angle = rng.uniform(-turn, turn, len(points))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1)
    matrix = matrix * np.exp(rng.uniform(-zoom, zoom, (len(points), 1, 2)))
    return points @ matrix + rng.uniform(-shift, shift, (len(points), 1, 2))


def _pixels(size: int) -> np.ndarray:
    """Middles of the pixels of [-1, 1]^2, (size^2, 2)."""
    middles = (np.arange(size) + 0.5) / size * 2 - 1
    return np.stack(np.meshgrid(middles, middles, indexing="ij"), -1).reshape(-1, 2)


def _bytes(x: np.ndarray) -> np.ndarray:
    return np.clip(255 * x, 0, 255).round().astype(np.uint8)
