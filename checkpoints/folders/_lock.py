"""A folder that one process at a time may write."""

import contextlib
import datetime
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ._claim import FolderError

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


class Hold:
    """A folder that this process holds, see `hold_folder`."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self._file: IO[str] | None = None
        self._text = ""
        self.take()

    def take(self) -> None:
        """Take the folder, which exists; again, after it was removed."""
        self.release()
        path = self.folder / LOCK
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("a+"))
                _lock(file)
            except HELD as error:
                raise FolderError(
                    f"{self.folder} is in use by {_owner(path)}; wait until it ends, or choose "
                    "another folder with --out"
                ) from error
            except OSError as error:
                raise FolderError(
                    f"cannot lock {path} ({error.strerror or error}); remove what is in its place, "
                    "or choose a folder with --out that can be written, on a file system with locks"
                ) from error
            since = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
            self._text = f"process {os.getpid()} on {socket.gethostname()} since {since}"
            try:
                file.seek(0)
                file.truncate()
                file.write(self._text + "\n")
                file.flush()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
            self._file = file
            stack.pop_all()

    def release(self) -> None:
        """Let go, if it is held."""
        if self._file:
            self._file.close()
        self._file = None

    def check(self) -> bool:
        """Whether the folder is still there.

        Raises:
          FolderError: another process has taken it: it was removed and made anew, or lies on a file
            system whose locks hold for one host only.
        """
        found = _read(self.folder / LOCK)
        if found and found != self._text:
            raise FolderError(
                f"{self.folder} was taken over by {found}: this process stops, for two would mix "
                "their files; what is saved there is the other's from now on"
            )
        return bool(found)


@contextlib.contextmanager
def hold_folder(folder: str | os.PathLike) -> Iterator[Hold]:
    """Keep all other processes out of a folder during a `with` block.

    The lock is the operating system's, on a hidden file that stays and names its owner: it ends
    with the process, however that ends, so that a killed one blocks nobody. It holds between hosts
    on NFS, Lustre mounted with `flock`, GPFS and CephFS. Where the file system has locks for one
    host only, such as a mounted bucket, the process that came last has the folder, and `Hold.check`
    tells the other.

    Args:
      folder: exists.

    Raises:
      FolderError: another process holds the folder, or its file system has no locks.
    """
    hold = Hold(folder)
    try:
        yield hold
    finally:
        hold.release()


def _owner(path: Path) -> str:
    """Who holds the folder, for people; who has just taken it writes that down in a moment."""
    for _ in range(10):
        if found := _read(path):
            return found
        time.sleep(0.02)
    return "another process"


def _read(path: Path) -> str:
    """Who holds the folder, as its lock says; "" if there is none."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
