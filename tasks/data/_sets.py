"""Sets of points in the plane, made here; the shape that they are drawn from is to be told.

The kind of question of Zaheer et al. 2017, "Deep sets": the answer does not depend on an order.
"""

import math

import numpy as np

from ._dataset import Dataset, split_dataset

SHAPES = ("cloud", "square", "disc", "ring", "line", "cross", "two clusters", "three clusters")
COUNT, POINTS = 1250, 16
"""Sets of each shape, points of a set."""


def sets() -> Dataset:
    """10,000 sets of 16 points of SHAPES, each turned, stretched, shifted, noisy; label: shape."""
    rng = np.random.default_rng(4)
    y = np.repeat(np.arange(len(SHAPES)), COUNT)
    x = np.stack([_moved(rng, _points(rng, SHAPES[label])) for label in y])
    return split_dataset("sets", x, y)


def _moved(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    turn, zoom = rng.uniform(0, 2 * math.pi), rng.uniform(0.7, 1.4, 2)
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    points = (points / np.sqrt(np.mean(points**2)) * zoom) @ turned
    return points + rng.normal(scale=0.3, size=2) + rng.normal(scale=0.1, size=points.shape)


def _points(rng: np.random.Generator, shape: str) -> np.ndarray:
    """(POINTS, 2), around 0."""
    even, normal = rng.uniform(-1, 1, (POINTS, 2)), rng.normal(size=(POINTS, 2))
    angle = rng.uniform(0, 2 * math.pi, POINTS)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    match shape:
        case "cloud":
            return normal
        case "square":
            return even
        case "disc":
            return circle * np.sqrt(rng.random((POINTS, 1)))
        case "ring":
            return circle
        case "line":
            return even * [1, 0]
        case "cross":
            return even * np.eye(2)[rng.integers(2, size=POINTS)]
        case _:
            number = 2 if shape == "two clusters" else 3
            angle = 2 * math.pi / number * rng.integers(number, size=POINTS)
            return np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.2 * normal
