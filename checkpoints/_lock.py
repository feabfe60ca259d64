"""A folder that one process at a time may write."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ._folder import FolderError

LOCK = ".lock"

if sys.platform == "win32":
    import msvcrt

    HELD = PermissionError

    def _lock(file: IO[str]) -> None:
        # What is locked cannot be read by others, and they shall read who holds it.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    HELD = BlockingIOError

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def hold_folder(folder: str | os.PathLike) -> Iterator[None]:
    """Keep all other processes out of a folder during a `with` block.

    The lock is the operating system's, on a hidden file that stays: it ends with the process,
    however that ends, so that a killed one blocks nobody.

    Args:
      folder: exists.

    Raises:
      FolderError: another process holds the folder, or its file system has no locks.
    """
    path = Path(folder) / LOCK
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("a+"))
        except OSError as error:
            raise FolderError(_cannot(path, error)) from error
        try:
            _lock(file)
        except HELD as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise FolderError(
                f"{folder} is in use by {holder}; wait until it ends, or choose another folder "
                "with --out"
            ) from error
        except OSError as error:
            raise FolderError(_cannot(path, error)) from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def _cannot(path: Path, error: OSError) -> str:
    return (
        f"cannot lock {path} ({error.strerror}); choose a folder with --out that can be written, "
        "on a file system with locks"
    )
