"""Data that needs no download: it ships with scikit-learn or matplotlib, or is made here."""

import itertools
from typing import Any

import numpy as np

from ._dataset import Dataset, split_dataset

TABLES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Of scikit-learn."""


def table(name: str) -> Dataset:
    """One of TABLES.

    breast_cancer: 569 tumours, 30 measurements, 2 labels (Wolberg et al. 1995); diabetes: 442
    patients, 10 measurements, one value (Efron et al. 2004); digits: 1,797 handwritten digits, 8x8
    grey (Alpaydin & Kaynak 1998); iris: 149 different flowers, 4 measurements, 3 labels (Fisher
    1936); wine: 178 wines, 13 measurements, 3 labels (Aeberhard & Forina 1992).
    """
    import sklearn.datasets

    x, y = map(np.asarray, getattr(sklearn.datasets, f"load_{name}")(return_X_y=True))
    if name == "digits":
        x = x.astype(np.uint8).reshape(-1, 8, 8, 1)
    elif name == "iris":
        # Two flowers have the same measurements, and may not be in two splits.
        _, first = np.unique(x, axis=0, return_index=True)
        x, y = x[first], y[first]
    return split_dataset(name, x, y)


def photos() -> Dataset:
    """8,480 disjoint patches, 8x8 grey, of the two photographs of scikit-learn; label: which."""
    from sklearn.datasets import load_sample_images

    patches, labels = [], []
    for label, image in enumerate(load_sample_images().images):
        grey = np.asarray(image, np.float64).mean(-1).round().astype(np.uint8)
        rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
        tiles = grey[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).swapaxes(1, 2)
        patches.append(tiles.reshape(-1, 8, 8, 1))
        labels.append(np.full(rows * columns, label))
    return split_dataset("photos", np.concatenate(patches), np.concatenate(labels))


def teacher() -> Dataset:
    """8,000 points of a random 16-24-24-8 tanh network, label its largest output, 5 % redrawn."""
    rng = np.random.default_rng(0)
    x, outputs = _teacher(rng, 8000, (16, 24, 24, 8))
    y = outputs.argmax(1)
    noisy = rng.random(len(y)) < 0.05
    return split_dataset("teacher", x, np.where(noisy, rng.integers(0, 8, len(y)), y))


def teacher_values() -> Dataset:
    """4,000 points of a random 12-24-24-2 tanh network, its outputs plus 10 % noise."""
    rng = np.random.default_rng(1)
    x, outputs = _teacher(rng, 4000, (12, 24, 24, 2))
    return split_dataset(
        "teacher_values", x, outputs + 0.1 * outputs.std(0) * rng.normal(size=outputs.shape)
    )


def friedman() -> Dataset:
    """400 points, 10 measurements of which 5 count, one noisy value (Friedman 1991, "MARS").

    10 sin(pi x_1 x_2) + 20 (x_3 - 1/2)^2 + 10 x_4 + 5 x_5 + 2 e, x uniform, e normal.
    """
    rng = np.random.default_rng(3)
    x = rng.random((400, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    return split_dataset(
        "friedman", x, y + 10 * x[:, 3] + 5 * x[:, 4] + 2 * rng.normal(size=len(y))
    )


def _teacher(
    rng: np.random.Generator, count: int, sizes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(count, sizes[0]))
    h = x
    for fan_in, fan_out in itertools.pairwise(sizes):
        h = np.tanh(h @ rng.normal(scale=2.0 / np.sqrt(fan_in), size=(fan_in, fan_out)))
    return x, h


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letters(size: int = 14) -> Dataset:
    """10,400 capitals of 20 fonts that ship with matplotlib, turned, shifted, stretched, noisy.

    Labels: 26 letters. Each is drawn at 4 x `size`, distorted, and averaged down.
    """
    import PIL.Image
    import PIL.ImageDraw

    rng = np.random.default_rng(2)
    fonts = [_font(name, 3 * size) for name in FONTS]
    canvas = 4 * size
    images, labels = [], []
    for label, letter in enumerate(LETTERS):
        for copy in range(400):
            font = fonts[copy % len(fonts)]
            image = PIL.Image.new("L", (canvas, canvas))
            where = canvas / 2 + rng.uniform(-0.08, 0.08, 2) * canvas
            PIL.ImageDraw.Draw(image).text(tuple(where), letter, 255, font, anchor="mm")
            turn, shear, (zoom_x, zoom_y) = (
                rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.3, 2)
            )  # fmt: skip
            matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            matrix = matrix @ np.array([[1, shear], [0, 1]]) @ np.diag([zoom_x, zoom_y])
            shift = canvas / 2 * (1 - matrix.sum(1))
            numbers = [*matrix[0], shift[0], *matrix[1], shift[1]]
            transform, bilinear = PIL.Image.Transform.AFFINE, PIL.Image.Resampling.BILINEAR
            image = image.transform(image.size, transform, numbers, bilinear)
            small = np.asarray(image, np.float64).reshape(size, 4, size, 4).mean((1, 3))
            noise = rng.normal(scale=25.0, size=small.shape)
            images.append(np.clip(small * rng.uniform(0.5, 1) + noise, 0, 255).round())
            labels.append(label)
    return split_dataset("letters", np.stack(images).astype(np.uint8)[..., None], np.array(labels))


FONTS = [
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "STIXGeneralItalic", "cmb10", "cmr10",
    "cmss10", "cmtt10",
]  # fmt: skip


def _font(name: str, size: int) -> Any:
    import matplotlib
    import PIL.ImageFont

    path = f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf"
    return PIL.ImageFont.truetype(path, size, layout_engine=PIL.ImageFont.Layout.BASIC)
