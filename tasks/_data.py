"""Data sets as device arrays, cut into four splits.

scikit-learn's sets ship with it; any image set of tensorflow-datasets is read, once prepared,
without TensorFlow.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._base import SPLITS, Batch, Split

FRACTIONS: dict[str, float] = {
    "train": 0.55, "inner_valid": 0.15, "outer_valid": 0.15, "test": 0.15
}  # fmt: skip
SHUFFLE_SEED = 20260101


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["splits"],
    meta_fields=["name", "classes"],
)
@dataclasses.dataclass(frozen=True)
class Dataset:
    """A classification data set held on the device.

    Attributes:
      name: for people and provenance.
      classes: number of labels.
      splits: for each name in SPLITS a `Batch` of all its examples, float32 (n, ...) and int32.
    """

    name: str
    classes: int
    splits: dict[str, Batch]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.splits["train"].x.shape[1:]

    def full(self, split: Split) -> Batch:
        """All examples of a split."""
        if split not in self.splits:
            raise ValueError(
                f"split must be one of {', '.join(self.splits)}, got {split!r}"
                + ("; this copy withholds the test split" if split == "test" else "")
            )
        return self.splits[split]

    def batch(self, key: jax.Array, split: Split, size: int) -> Batch:
        """`size` examples drawn with replacement."""
        data = self.full(split)
        index = jax.random.randint(key, (size,), 0, data.y.shape[0])
        return Batch(data.x[index], data.y[index])

    def without_test(self) -> "Dataset":
        """A copy in which reading `test` raises: what selection and tuning are given."""
        kept = {name: part for name, part in self.splits.items() if name != "test"}
        return dataclasses.replace(self, splits=kept)


def split_dataset(name: str, x: np.ndarray, y: np.ndarray) -> Dataset:
    """Cut into the four splits class by class (equal label shares), shuffled with a fixed seed.

    Inputs are standardised by the mean and the standard deviation of the training split: one of
    each per feature for tables, one in all for images.
    """
    rng = np.random.default_rng(SHUFFLE_SEED)
    members: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    edges = np.cumsum([FRACTIONS[split] for split in SPLITS])[:-1]
    for label in np.unique(y):
        index = rng.permutation(np.flatnonzero(y == label))
        cuts = np.round(edges * len(index)).astype(int)
        for split, part in zip(SPLITS, np.split(index, cuts), strict=True):
            members[split].append(part)
    index = {split: rng.permutation(np.concatenate(parts)) for split, parts in members.items()}
    axis = 0 if x.ndim == 2 else None
    mean, std = x[index["train"]].mean(axis), x[index["train"]].std(axis)
    x = (x - mean) / np.maximum(std, 1e-6)
    splits = {
        split: Batch(jnp.asarray(x[i], jnp.float32), jnp.asarray(y[i], jnp.int32))
        for split, i in index.items()
    }
    return Dataset(name, int(y.max()) + 1, splits)


def _digits() -> Dataset:
    """1,797 handwritten digits, 8x8 grey (Alpaydin & Kaynak 1998), ships with scikit-learn."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return split_dataset("digits", np.asarray(x).reshape(-1, 8, 8, 1), np.asarray(y))


def _breast_cancer() -> Dataset:
    """569 tumours, 30 measurements, 2 classes (Wolberg et al. 1995), ships with scikit-learn."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return split_dataset("breast_cancer", x, y)


EMBEDDED: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
}


@functools.cache
def load_dataset(name: str) -> Dataset:
    """A data set by name: one that ships with scikit-learn, or `tfds:NAME` once prepared.

    Raises:
      ValueError: unknown name, or a tensorflow-datasets set that is not on this machine (never a
        silent fallback to another).
    """
    if name.startswith("tfds:"):
        return _from_tfds(name.removeprefix("tfds:"))
    if name not in EMBEDDED:
        raise ValueError(
            f"data set must be one of {', '.join(EMBEDDED)} or tfds:NAME, got {name!r}"
        )
    return EMBEDDED[name]()


def _from_tfds(name: str, size: int = 8, limit: int = 20_000) -> Dataset:
    """Images of a prepared tensorflow-datasets set, box-averaged to grey `size` x `size`."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name)
        prepared = builder.is_prepared()
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(f"tensorflow-datasets has no data set named {name!r}") from error
    if not prepared:
        raise ValueError(
            f"the data set {name!r} is not prepared in {builder.data_dir}; set TFDS_DATA_DIR to a "
            f"folder that holds it, or fetch it once (needs TensorFlow and a network) with: "
            f"python -c \"import tensorflow_datasets as t; t.builder('{name}')"
            ".download_and_prepare(file_format='array_record')\""
        )
    source = typing.cast(Any, builder).as_data_source("train")
    rows = source.__getitems__(range(min(limit, len(source))))
    images = np.stack([row["image"] for row in rows]).astype(np.float32).mean(-1)
    labels = np.asarray([row["label"] for row in rows])
    return split_dataset(name, _shrink(images, size)[..., None], labels)


def _shrink(images: np.ndarray, size: int) -> np.ndarray:
    """Crop (n, h, w) to the nearest multiple of `size` around the centre, then average boxes."""
    _, h, w = images.shape
    bh, bw = h // size, w // size
    top, left = (h - bh * size) // 2, (w - bw * size) // 2
    cut = images[:, top : top + bh * size, left : left + bw * size]
    return cut.reshape(len(cut), size, bh, size, bw).mean((2, 4))
