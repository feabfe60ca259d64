"""Sets of tensorflow-datasets, read through its own code without TensorFlow, decoded once.

What needs TensorFlow, and a network, is `prepare`: TFDS's official builders use it to write the
record files. Files prepared elsewhere are read from TFDS_DATA_DIR.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import secrets
import shutil
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from learned_opt._extras import needs_extra
from learned_opt._files import cache_folder

from ._dataset import SHUFFLE_SEED, Dataset, split_dataset
from ._text import Text, split_text

TEXT_LIMIT = 20_000_000
"""Bytes read of a text set."""
ROWS = 2_000
"""Examples decoded at once."""


def tfds_builder(name: str) -> Any:
    """The builder of a set, in TFDS_DATA_DIR or TFDS's own default folder.

    Raises:
      ValueError: tensorflow-datasets does not know the name, or the folder is somewhere that it
        cannot read.
      MissingExtraError: it is not installed.
    """
    with needs_extra(f"the data set tfds:{name}"):
        import tensorflow_datasets as tfds
    # TFDS reads TFDS_DATA_DIR when it is imported; say it again, in case it changed since.
    where = os.environ.get("TFDS_DATA_DIR") or None
    try:
        with _quiet():
            return tfds.builder(name, data_dir=where)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(f"tensorflow-datasets has no data set named {name!r}") from error
    except Exception as error:
        # Of a library that gs:// needs, or of the network; TFDS puts words of its own before it.
        reason = str(error.__cause__ or error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(
            f"the data set {name!r} cannot be read from {where or 'the default folder of TFDS'}: "
            f"{reason}; or set TFDS_DATA_DIR to a folder of this machine that holds it"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back TFDS's warnings on folders that are not there and on faster image libraries."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _prepared(name: str) -> Any:
    where = os.environ.get("TFDS_DATA_DIR")
    if where and "://" not in where and not Path(where).expanduser().is_dir():
        raise ValueError(
            f"TFDS_DATA_DIR is {where!r}, and there is no such folder; set it to one that holds "
            f"{name!r}, or unset it"
        )
    builder = tfds_builder(name)
    with _quiet():
        prepared = builder.is_prepared()
    if not prepared:
        raise ValueError(
            f"the data set {name!r} is not prepared in {builder.data_dir}; fetch it once (needs a "
            f"network and TensorFlow) with: learned-opt tasks prepare tfds:{name}; or set "
            "TFDS_DATA_DIR to a folder that holds it"
        )
    return builder


def prepare_tfds(name: str) -> None:
    """Download and prepare a set as array_record, with TFDS's progress bars.

    Raises:
      ValueError: unknown name, no network, or no TensorFlow.
    """
    builder = tfds_builder(name)
    import tensorflow_datasets as tfds

    with _quiet():
        if builder.is_prepared():
            return
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"preparing {name!r} needs TensorFlow: pip install tensorflow (reading it later does "
            "not); or copy a prepared folder and set TFDS_DATA_DIR"
        )
    tfds.enable_progress_bar()
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:
        # TFDS lets every library's own network errors through.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"could not fetch {name!r} into {builder.data_dir} ({reason}); where there is no "
            "network, copy a prepared folder and set TFDS_DATA_DIR"
        ) from error


def images(name: str, size: int, colour: bool) -> Dataset:
    """Labelled images, box-averaged to `size` x `size`, grey unless `colour`."""
    pixels, labels = decoded(name)
    small = np.concatenate(
        [
            _shrink(pixels[i : i + ROWS], size, colour)
            for i in range(0, len(pixels), ROWS)
        ]
    )  # fmt: skip
    label = f"{name}/{size}{'c' if colour else ''}"
    return split_dataset(f"tfds:{label}", small, np.asarray(labels, np.int64))


def text(name: str, length: int) -> Text:
    """The first TEXT_LIMIT bytes of the training texts, in windows of `length` bytes."""
    source = typing.cast(Any, _prepared(name)).as_data_source("train")
    parts, total = [], 0
    for row in source:
        parts.append(bytes(row["text"]) + b"\n")
        total += len(parts[-1])
        if total >= TEXT_LIMIT:
            break
    return split_text(f"tfds:{name}/{length}", b"".join(parts)[:TEXT_LIMIT], length)


def is_text(name: str) -> bool:
    """Whether the examples of a set are texts; otherwise they are labelled images."""
    features = set(tfds_builder(name).info.features)
    if "text" in features:
        return True
    if {"image", "label"} <= features:
        return False
    raise ValueError(
        f"{name!r} must have the features image and label, or text; it has: "
        f"{', '.join(sorted(features))}"
    )


def decoded(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Training images (n, h, w, c) uint8 and labels, mapped from disk, in a fixed random order.

    Decoding takes seconds to minutes, so it is done once for all record files of one content; the
    arrays are kept in `cache_folder()`, where other users can read them as far as the umask says.

    Raises:
      ValueError: the set is not on this machine, or the cache cannot be read or written.
    """
    builder = _prepared(name)
    title = f"{name.replace('/', '-')}-{builder.version}-{_content(builder)}"
    folder = cache_folder() / title
    try:
        if not folder.exists():
            _decode(builder.as_data_source("train"), folder)
        return tuple(np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("image", "label"))
    except OSError as error:
        raise ValueError(
            f"the decoded images of {name!r} cannot be kept in {folder}: "
            f"{error.strerror or error}; set LEARNED_OPT_CACHE to a folder that you may read and "
            "write"
        ) from error


def _content(builder: Any) -> str:
    """16 hex digits over what training images are decoded from: 0.5 s for those of CIFAR-10.

    The bytes of the record files in the order of their shards, how many examples of each count, and
    the features. Names, sizes and times of files would be those of other pixels too.
    """
    split = builder.info.splits["train"]

    def digest(path: Any) -> bytes:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()

    try:
        with ThreadPoolExecutor() as pool:
            shards = list(pool.map(digest, split.filepaths))
    except OSError as error:
        raise ValueError(
            f"the data set {builder.name!r} cannot be read from {builder.data_dir}: "
            f"{error.strerror or error}; make its files readable, or set TFDS_DATA_DIR to another "
            "folder that holds it"
        ) from error
    facts = f"{list(split.shard_lengths)} {builder.info.features}".encode()
    return hashlib.blake2b(b"".join([facts, *shards]), digest_size=8).hexdigest()


def _decode(source: Any, folder: Path) -> None:
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(source))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed: a kill leaves no half-decoded set behind.
    aside = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}")
    aside.mkdir()
    try:
        first = source[0]["image"]
        shape = (len(source), *first.shape)
        pixels = np.lib.format.open_memmap(aside / "image.npy", "w+", first.dtype, shape)
        labels = np.zeros(len(source), np.int64)
        for start in range(0, len(source), ROWS):
            where = order[start : start + ROWS]
            with _quiet():
                rows = source.__getitems__(where.tolist())
            pixels[start : start + ROWS] = np.stack([row["image"] for row in rows])
            labels[start : start + ROWS] = [row["label"] for row in rows]
        pixels.flush()
        np.save(aside / "label.npy", labels)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _shrink(pixels: np.ndarray, size: int, colour: bool) -> np.ndarray:
    """Crop (n, h, w, c) to a multiple of `size` around the centre, average boxes; uint8."""
    n, h, w, c = pixels.shape
    if not 1 <= size <= min(h, w):
        raise ValueError(f"the image size must be 1 to {min(h, w)}, got {size}")
    bh, bw = h // size, w // size
    top, left = (h - bh * size) // 2, (w - bw * size) // 2
    cut = pixels[:, top : top + bh * size, left : left + bw * size].astype(np.float32)
    boxes = cut.reshape(n, size, bh, size, bw, c).mean((2, 4))
    if not colour:
        boxes = boxes.mean(-1, keepdims=True)
    return boxes.round().astype(np.uint8)
