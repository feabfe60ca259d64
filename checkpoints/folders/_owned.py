"""Output folders: one command's own, watched, and what is said where they cannot be written."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tomli_w

from learned_opt._files import cannot_write, write_atomic

from ._claim import FolderError, claim_folder
from ._lock import hold_folder


class WriteError(RuntimeError):
    """A file could not be written; the message says which, why, what is saved, how to go on."""


@contextlib.contextmanager
def own_folder(
    folder: str | os.PathLike,
    record: str,
    facts: dict[str, Any],
    *,
    what: str,
    resume: bool = True,
    renew: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Iterator[Callable[[], bool]]:
    """Claim a folder, see `claim_folder`, and hold it, see `hold_folder`, during a `with` block.

    Yields a function to be called before something is written. It says whether the folder is still
    there; where it or its record was removed, they are made anew.

    Raises:
      FolderError: it holds something else, is in use, or cannot be made. The function raises it
        where another process has taken the folder.
      OSError: the disk is full.
    """
    path = Path(folder)
    with _claiming(path):
        claim_folder(path, record, facts, what=what, resume=resume, renew=renew)
    with hold_folder(path) as hold:

        def watch() -> bool:
            if hold.check():
                if not os.path.lexists(path / record):
                    write_atomic(path / record, tomli_w.dumps(facts))
                return True
            path.mkdir(parents=True, exist_ok=True)
            hold.take()
            write_atomic(path / record, tomli_w.dumps(facts))
            return False

        yield watch


@contextlib.contextmanager
def _claiming(folder: Path) -> Iterator[None]:
    """A folder that cannot be made or looked at is a FolderError of one sentence."""
    try:
        yield
    except OSError as error:
        if disk_full(error):
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
    with _claiming(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


AGAIN = "give the same command again"


@contextlib.contextmanager
def writing(
    where: str | os.PathLike, kept: Callable[[], str], go_on: str = AGAIN
) -> Iterator[None]:
    """An OSError inside is a WriteError; arguments as of `unwritten`."""
    try:
        yield
    except OSError as error:
        raise WriteError(unwritten(error, where, kept, go_on)) from error


def unwritten(
    error: OSError, where: str | os.PathLike, kept: Callable[[], str], go_on: str = AGAIN
) -> str:
    """What could not be written and why, what is saved, and how to go on.

    Args:
      error: what was raised.
      where: what is written, if the error says nothing.
      kept: what is saved, in a few words, when it is asked.
      go_on: what to do afterwards.
    """
    cure = "make room" if disk_full(error) else "put that right"
    return f"{cannot_write(error, where)}; {kept()}: {cure}, then {go_on}"


def disk_full(error: OSError) -> bool:
    """Whether there is no room for a file, or for one as large."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
