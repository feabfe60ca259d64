"""Text as bytes: windows of a fixed length, each predicting its next bytes."""

import dataclasses
import sys
import sysconfig
import unicodedata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from .._base import SPLITS, STATIC, Batch, Spec, Split
from ._dataset import FRACTIONS, SHUFFLE_SEED, Source, split_of

BLOCK = 4096
"""Bytes that stay together when a text is cut into splits."""
WINDOWS = 128
"""Windows of a split that are evaluated as a whole."""

MODULES = [
    "argparse", "ast", "bdb", "calendar", "cmd", "codecs", "configparser", "contextlib", "copy",
    "csv", "dataclasses", "difflib", "dis", "doctest", "enum", "fractions", "ftplib", "functools",
    "gettext", "gzip", "heapq", "imaplib", "inspect", "locale", "mailbox", "mimetypes", "optparse",
    "os", "pdb", "pickle", "pickletools", "platform", "plistlib", "poplib", "posixpath", "pprint",
    "pydoc", "random", "reprlib", "sched", "selectors", "shelve", "shlex", "shutil", "smtplib",
    "socket", "socketserver", "ssl", "statistics", "stringprep", "subprocess", "symtable",
    "tarfile", "tempfile", "textwrap", "threading", "timeit", "tokenize", "trace", "traceback",
    "tracemalloc", "types", "typing", "uuid", "warnings", "weakref", "webbrowser", "zipapp",
]  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Text(Source):
    """Bytes held on the device.

    Bytes are numbered densely: those of the training split in increasing order, and one number
    for all others.

    Attributes:
      name: for people and provenance.
      spec: `shape` is (length,) of a window, `outputs` the number of distinct bytes.
      splits: for each name in SPLITS its bytes, uint8 (n,).
    """

    name: str = dataclasses.field(metadata=STATIC)
    spec: Spec = dataclasses.field(metadata=STATIC)
    splits: dict[str, jax.Array]

    def full(self, split: Split, source: jax.Array | int = 0) -> Batch:
        """At most WINDOWS windows, evenly spaced over the split and disjoint."""
        del source
        (length,), size = self.spec.shape, split_of(self.splits, split).shape[0]
        count = min(WINDOWS, (size - 1) // length)
        starts = np.linspace(0, size - 1 - length, count).astype(np.int32)
        return self._windows(split, jnp.asarray(starts))

    def batch(self, key: jax.Array, split: Split, size: int, source: jax.Array | int = 0) -> Batch:
        """`size` windows from uniformly random places."""
        del source
        places = split_of(self.splits, split).shape[0] - self.spec.shape[0]
        return self._windows(split, jax.random.randint(key, (size,), 0, places))

    def count_of(self, source: jax.Array | int = 0) -> float | jax.Array:
        """Windows side by side: after an epoch a byte has been predicted once, in the mean."""
        del source
        return self.splits["train"].shape[0] / self.spec.shape[0]

    def _windows(self, split: Split, starts: jax.Array) -> Batch:
        index = starts[:, None] + jnp.arange(self.spec.shape[0] + 1)[None]
        window = split_of(self.splits, split)[index].astype(jnp.int32)
        return Batch(window[:, :-1], window[:, 1:])


def split_text(name: str, text: bytes, length: int) -> Text:
    """Cut into blocks, deal the blocks to the four splits with a fixed seed, number the bytes.

    Raises:
      ValueError: too short for one window of `length` bytes in each split.
    """
    raw = np.frombuffer(text, np.uint8)
    blocks = len(raw) // BLOCK
    order = np.random.default_rng(SHUFFLE_SEED).permutation(blocks)
    edges = np.round(np.cumsum([FRACTIONS[split] for split in SPLITS])[:-1] * blocks).astype(int)
    cut = {
        split: raw[: blocks * BLOCK].reshape(blocks, BLOCK)[np.sort(index)].reshape(-1)
        for split, index in zip(SPLITS, np.split(order, edges), strict=True)
    }
    shortest = min(len(part) for part in cut.values())
    if length < 1 or shortest < length + 1:
        raise ValueError(
            f"the window must be 1 to {shortest - 1} bytes long for {name}, got {length}"
        )
    present = np.unique(cut["train"])
    number = np.full(256, len(present), np.uint8)
    number[present] = np.arange(len(present))
    splits = {split: jnp.asarray(number[part]) for split, part in cut.items()}
    return Text(name, Spec("text", (length,), len(present) + 1), splits)


def stdlib_sources() -> bytes:
    """Sources of modules of Python's standard library, one after the other: 2.9 MB of code.

    They come with every interpreter and differ a little from version to version; a "?" stands for
    what is not ASCII, so that the number of distinct bytes does not.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    return _ascii(b"".join(_read(folder / f"{name}.py") for name in MODULES))


def stdlib_prose() -> bytes:
    """The language reference that `help()` shows (pydoc_data/topics.py): 0.5 MB of English."""
    _read(Path(sysconfig.get_paths()["stdlib"]) / "pydoc_data" / "topics.py")
    from pydoc_data.topics import topics

    return _ascii("\n".join(topics[name] for name in sorted(topics)).encode())


def unicode_names() -> bytes:
    """Names of the characters of Unicode 3.2, a line each, shuffled: 355 kB.

    Less ideographs and Hangul syllables, whose names follow from their numbers. Python knows that
    version besides its own, and a name never changes: the same under every interpreter.
    """
    found = (unicodedata.ucd_3_2_0.name(chr(i), "") for i in range(sys.maxunicode + 1))
    names = [name for name in found if name and not name.startswith(BY_NUMBER)]
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(names))
    return "\n".join(names[i] for i in order).encode()


BY_NUMBER = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HANGUL SYLLABLE")


def _ascii(text: bytes) -> bytes:
    return text.decode().encode("ascii", "replace")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"the data set needs {path}, which this Python does not have ({error.strerror}); "
            "use an interpreter installed with its standard library as files"
        ) from error
