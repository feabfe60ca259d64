"""Output folders: one command's own, watched, and what it says where it cannot be written."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tomli_w

from learned_opt._files import cannot_write
from learned_opt.checkpoints import FolderError, claim_folder, hold_folder, write_atomic

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(RuntimeError):
    """A file could not be written; the message says which, why, what is saved, how to go on."""


@contextlib.contextmanager
def own_folder(
    folder: str | os.PathLike, record: str, facts: dict[str, Any], *, what: str
) -> Iterator[Callable[[], bool]]:
    """Claim a folder, see `claim_folder`, and hold it, see `hold_folder`, during a `with` block.

    Yields a function to be called before something is written. It says whether the folder is still
    there; where it was removed, it is made anew with its record.

    Raises:
      FolderError: it holds something else, is in use, or cannot be made. The function raises it
        where another process has taken the folder.
      OSError: the disk is full.
    """
    path = Path(folder)
    with claiming(path):
        claim_folder(path, record, facts, what=what, resume=True)
    with hold_folder(path) as hold:

        def watch() -> bool:
            if hold.check():
                return True
            path.mkdir(parents=True, exist_ok=True)
            hold.take()
            write_atomic(path / record, tomli_w.dumps(facts))
            return False

        yield watch


@contextlib.contextmanager
def claiming(folder: Path) -> Iterator[None]:
    """A folder that cannot be made or looked at is a FolderError of one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise
        raise FolderError(
            f"{cannot_write(error, folder)}; choose another folder with --out"
        ) from error


def make_folder(folder: str | os.PathLike) -> Path:
    """The folder, made if it is not there.

    Raises:
      FolderError: it cannot be.
    """
    path = Path(folder)
    with claiming(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def writing(where: str | os.PathLike, kept: Callable[[], str]) -> Iterator[None]:
    """An OSError inside is a WriteError.

    Args:
      where: what is written, if the error says nothing.
      kept: what is saved, in a few words, when it is asked.
    """
    try:
        yield
    except OSError as error:
        cure = "make room" if error.errno in FULL else "put that right"
        raise WriteError(
            f"{cannot_write(error, where)}; {kept()}: {cure}, then give the same command again"
        ) from error
