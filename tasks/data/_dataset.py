"""Arrays on the device, cut into four splits, from which minibatches are drawn inside `jit`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._base import SPLITS, STATIC, Batch, Spec, Split

FRACTIONS: dict[str, float] = {
    "train": 0.55, "inner_valid": 0.15, "outer_valid": 0.15, "test": 0.15
}  # fmt: skip
LIMITS: dict[str, int] = {"inner_valid": 2048, "outer_valid": 2048, "test": 8192}
"""Most examples of a split that is evaluated as a whole; what is over goes to `train`."""
SHUFFLE_SEED = 20260101


def split_of(splits: dict[str, Any], split: Split) -> Any:
    """One split, or a ValueError that says what there is."""
    if split not in splits:
        raise ValueError(
            f"split must be one of {', '.join(splits)}, got {split!r}"
            + ("; this copy withholds the test split" if split == "test" else "")
        )
    return splits[split]


class Source:
    """Base of what is one data set, its parts by name of split in the field `splits`."""

    @property
    def sources(self) -> int:
        """Number of data sets in it."""
        return 1

    def without_test(self) -> Any:
        """A copy in which reading `test` raises: what selection and tuning are given."""
        this: Any = self
        kept = {name: part for name, part in this.splits.items() if name != "test"}
        return dataclasses.replace(this, splits=kept)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dataset(Source):
    """Labelled or valued examples held on the device.

    Attributes:
      name: for people and provenance.
      spec: shape of an example, number of outputs.
      splits: for each name in SPLITS a `Batch` of all its examples. Images stay uint8.
      mean, std: scalars that standardise uint8 inputs as they are drawn; 0 and 1 for floats.
    """

    name: str = dataclasses.field(metadata=STATIC)
    spec: Spec = dataclasses.field(metadata=STATIC)
    splits: dict[str, Batch]
    mean: jax.Array
    std: jax.Array

    def full(self, split: Split, source: jax.Array | int = 0) -> Batch:
        """All examples of a split."""
        del source
        return self._standardised(split_of(self.splits, split))

    def batch(self, key: jax.Array, split: Split, size: int, source: jax.Array | int = 0) -> Batch:
        """`size` examples drawn with replacement."""
        del source
        part = split_of(self.splits, split)
        index = jax.random.randint(key, (size,), 0, part.y.shape[0])
        return self._standardised(Batch(part.x[index], part.y[index]))

    def count_of(self, source: jax.Array | int = 0) -> float | jax.Array:
        """Training examples."""
        del source
        return self.splits["train"].y.shape[0]

    def _standardised(self, batch: Batch) -> Batch:
        if batch.x.dtype != jnp.uint8:
            return batch
        return batch._replace(x=(batch.x.astype(jnp.float32) - self.mean) / self.std)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
    """Several data sets of one spec: each task trains on one of them, `source`."""

    name: str = dataclasses.field(metadata=STATIC)
    spec: Spec = dataclasses.field(metadata=STATIC)
    parts: tuple[Any, ...]

    @property
    def sources(self) -> int:
        """Number of data sets in it."""
        return len(self.parts)

    def full(self, split: Split, source: jax.Array | int = 0) -> Batch:
        """The first examples of the split of the source, as many as the smallest source has."""
        whole = [part.full(split) for part in self.parts]
        size = min(batch.x.shape[0] for batch in whole)
        return _choose(source, [jax.tree.map(lambda x: x[:size], batch) for batch in whole])

    def batch(self, key: jax.Array, split: Split, size: int, source: jax.Array | int = 0) -> Batch:
        """`size` examples of the source drawn with replacement."""
        return _choose(source, [part.batch(key, split, size) for part in self.parts])

    def count_of(self, source: jax.Array | int = 0) -> float | jax.Array:
        """Training examples of the source."""
        counts = [part.count_of() for part in self.parts]
        return jnp.asarray(counts, jnp.float32)[source]

    def without_test(self) -> "Mixture":
        """A copy in which reading `test` raises."""
        return dataclasses.replace(self, parts=tuple(part.without_test() for part in self.parts))


def _choose(source: jax.Array | int, batches: list[Batch]) -> Batch:
    return jax.tree.map(lambda *xs: jnp.stack(xs)[source], *batches)


def mixture(parts: tuple[Any, ...]) -> Mixture:
    """Data sets side by side; the number of labels is that of the richest.

    Raises:
      ValueError: their examples differ in kind or shape.
    """
    specs = {(part.spec.kind, part.spec.shape) for part in parts}
    if len(specs) > 1:
        shapes = ", ".join(f"{p.name} is {p.spec.kind} {p.spec.shape}" for p in parts)
        raise ValueError(f"data sets of a mixture must agree in kind and shape: {shapes}")
    outputs = max(part.spec.outputs for part in parts)
    spec = dataclasses.replace(parts[0].spec, outputs=outputs)
    return Mixture("+".join(part.name for part in parts), spec, parts)


def split_dataset(name: str, x: np.ndarray, y: np.ndarray) -> Dataset:
    """Cut into the four splits, shuffled with a fixed seed.

    Integer `y` are labels: cut class by class, so that every split has their shares. Float `y`
    are values to predict, standardised by the training split. Inputs: uint8 are kept as they are
    and standardised as they are drawn, by one mean and one deviation of the training split;
    floats, that is tables, are standardised here, column by column.
    """
    labels = np.issubdtype(y.dtype, np.integer)
    index = split_index(y)
    train = x[index["train"]]
    mean, std = np.float32(0), np.float32(1)
    if x.dtype == np.uint8:
        mean, std = (np.float32(s) for s in (train.mean(), train.std()))
    else:
        x = (x - train.mean(0)) / np.maximum(train.std(0), 1e-6)
        x = x.astype(np.float32)
    if labels:
        y, outputs = y.astype(np.int32), int(y.max()) + 1
    else:
        y = y.reshape(len(y), -1)
        known = y[index["train"]]
        y = ((y - known.mean(0)) / np.maximum(known.std(0), 1e-6)).astype(np.float32)
        outputs = y.shape[1]
    splits = {split: Batch(jnp.asarray(x[i]), jnp.asarray(y[i])) for split, i in index.items()}
    spec = Spec("label" if labels else "value", x.shape[1:], outputs)
    return Dataset(name, spec, splits, jnp.asarray(mean), jnp.asarray(std))


def split_index(y: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of each split, shuffled with a fixed seed; integer `y` class by class."""
    rng = np.random.default_rng(SHUFFLE_SEED)
    labels = np.issubdtype(y.dtype, np.integer)
    groups = [np.flatnonzero(y == v) for v in np.unique(y)] if labels else [np.arange(len(y))]
    members: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for group in groups:
        for split, part in _cut(rng.permutation(group), len(group) / len(y)).items():
            members[split].append(part)
    return {split: rng.permutation(np.concatenate(parts)) for split, parts in members.items()}


def _cut(index: np.ndarray, share: float) -> dict[str, np.ndarray]:
    """By FRACTIONS, evaluated splits at most `share` of LIMITS long."""
    edges = np.cumsum([FRACTIONS[split] for split in SPLITS])[:-1]
    parts = np.split(index, np.round(edges * len(index)).astype(int))
    cut: dict[str, np.ndarray] = dict(zip(SPLITS, parts, strict=True))
    for split, limit in LIMITS.items():
        most = round(share * limit)
        cut["train"] = np.concatenate([cut["train"], cut[split][most:]])
        cut[split] = cut[split][:most]
    return cut
