"""Saves and loads that fail: Orbax's many errors as one, without its threads' tracebacks."""

import contextlib
import errno
import inspect
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WAIT = 60.0
"""Seconds."""


class SaveError(OSError):
    """A checkpoint could not be written; those before it are good. `filename`: their folder."""


@contextlib.contextmanager
def as_save_error(directory: Path) -> Iterator[None]:
    """What Orbax and TensorStore raise within, of many types, becomes a `SaveError`.

    Waits for what their other threads are still writing.
    """
    found = None
    try:
        yield
    except Exception as error:
        found = _save_error(error, directory)
        if found.errno == errno.EIO:
            raise found from error
    # Not chained: their errors hold on to all that was to be written.
    if found:
        raise found


def _save_error(error: Exception, directory: Path) -> SaveError:
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    for thread in others:
        if type(thread).__module__.startswith("orbax."):
            with contextlib.suppress(Exception):  # what it raises is of the same cause
                thread.join(WAIT)
    code = error_code(error)
    reason = os.strerror(code) if code else " ".join(str(error).split())[:200]
    return SaveError(code or errno.EIO, reason or type(error).__name__, str(directory))


def error_code(error: BaseException | None) -> int:
    """The operating system's number of what happened; 0 if it is not to be found."""
    while error:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        found = re.search(r"os_error_code='(\d+)'", str(error))
        if found:
            return int(found[1])
        if re.search("NOT_FOUND|does not exist", str(error)):
            return errno.ENOENT
        error = error.__cause__ or error.__context__
    return 0


@contextlib.contextmanager
def quiet_saves() -> Iterator[None]:
    """Within, what Orbax and its threads say is not printed: what fails `Store` raises.

    Each of them logs the error anew, TensorStore prints one for every write that it was still to
    do, and asyncio what nobody asked for, some of it as the process ends: where an `OSError`
    leaves the block, all this is kept back for good.
    """
    with _quiet() as undo:
        try:
            yield
        except OSError:
            undo.pop_all()
            warnings.filterwarnings("ignore", "coroutine 'async_serialize_.* was never awaited")
            raise


@contextlib.contextmanager
def quiet_loads() -> Iterator[None]:
    """Within, nothing is printed of a checkpoint that does not read back: `Store` says so."""
    with _quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited")
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[contextlib.ExitStack]:
    orbax, before = f"{os.sep}orbax{os.sep}", sys.unraisablehook

    # A new one at each call: a logger takes one filter once, and these blocks lie in each other.
    def keep(record: logging.LogRecord) -> bool:
        return orbax not in (record.getMessage() if record.name == "asyncio" else record.pathname)

    def hook(unraisable: Any) -> None:
        left = inspect.iscoroutine(unraisable.object)
        if not left and str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    with contextlib.ExitStack() as undo:
        for logger in (logging.getLogger("absl"), logging.getLogger("asyncio")):
            logger.addFilter(keep)
            undo.callback(logger.removeFilter, keep)
        sys.unraisablehook = hook
        undo.callback(setattr, sys, "unraisablehook", before)
        yield undo
