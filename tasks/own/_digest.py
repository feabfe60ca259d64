"""Hashes of what somebody gave as data: of whole arrays, and of each example."""

import contextlib
import hashlib
import mmap
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from learned_opt._files import cache_folder

from .._identity import array_hash


def file_hash(array: np.ndarray) -> str:
    """`array_hash`; of a whole file remembered in the cache folder by its place, size and time.

    Not of one mapped to copy on write, in which what is written never reaches the file.
    """
    if not (isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.filename):
        return array_hash(array)
    if array.mode == "c":
        return array_hash(array)
    path = Path(array.filename).resolve()
    stat = path.stat()
    facts = path, stat.st_size, stat.st_mtime_ns, array.offset, array.dtype.str, array.shape
    name = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
    kept = cache_folder() / "hashes" / name
    with contextlib.suppress(OSError):
        return kept.read_text()
    found = array_hash(array)
    with contextlib.suppress(OSError):  # a folder that may not be written costs time alone
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: whole or not at all.
        aside = kept.with_name(f".{secrets.token_hex(8)}")
        aside.write_text(found)
        aside.replace(kept)
    return found


def content_order(columns: Sequence[np.ndarray]) -> np.ndarray:
    """The order of examples by a hash of each: the same in whatever order they came."""
    rows = [np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8) for x in columns if x.size]
    hashes = [
        hashlib.blake2b(b"".join(parts), digest_size=8).digest()
        for parts in zip(*rows, strict=True)
    ]
    return np.argsort(np.frombuffer(b"".join(hashes), np.uint64), kind="stable")
