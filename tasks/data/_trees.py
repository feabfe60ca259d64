"""Tables made here, of columns as surveys have them; what is asked comes from decision trees.

Trees, for what people know of tables is that trees fit them (Grinsztajn, Oyallon & Varoquaux 2022,
"Why do tree-based models still outperform deep learning on tabular data?").
"""

import numpy as np

from ._dataset import Dataset, split_dataset

TREES, DEPTH = 24, 3


def trees() -> Dataset:
    """8,000 rows of 10 columns; label 1 with probability sigmoid(2 f - 1), f the sum of trees."""
    rng = np.random.default_rng(7)
    x = _columns(rng, 8000)
    chance = 1 / (1 + np.exp(1 - 2 * _forest(rng, x)))
    return split_dataset("trees", x, (rng.random(len(x)) < chance).astype(np.int64))


def tree_counts() -> Dataset:
    """12,000 rows of 10 columns; value log(1 + n), n Poisson of mean exp(f), f the sum of trees."""
    rng = np.random.default_rng(8)
    x = _columns(rng, 12_000)
    return split_dataset("tree_counts", x, np.log1p(rng.poisson(np.exp(_forest(rng, x)))))


def _columns(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Four that are normal and correlated, two with long tails, four of 2 to 5 values."""
    normal = rng.normal(size=(rows, 4)) @ (np.eye(4) + 0.5 * rng.normal(size=(4, 4)))
    tails = np.exp(normal[:, :2] / 2 + rng.normal(size=(rows, 2)))
    levels = [rng.integers(0, values, rows) for values in (2, 3, 4, 5)]
    return np.column_stack([normal, tails, *levels])


def _forest(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """(rows,), mean 0 and deviation 1: the sum of trees, a level of which asks one question."""
    total = np.zeros(len(x))
    for _ in range(TREES):
        columns = rng.integers(x.shape[1], size=DEPTH)
        asked = x[rng.integers(len(x), size=DEPTH), columns]
        leaf = (x[:, columns] > asked) @ (1 << np.arange(DEPTH))
        total += rng.normal(size=1 << DEPTH)[leaf]
    return (total - total.mean()) / total.std()
