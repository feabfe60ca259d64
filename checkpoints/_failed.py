"""Saves that fail: Orbax's many errors as one, and without its threads' tracebacks."""

import contextlib
import errno
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WAIT = 60.0
"""Seconds."""


class SaveError(OSError):
    """A checkpoint could not be written; those before it are good. `filename`: their folder."""


def save_error(error: BaseException, directory: Path) -> SaveError:
    """What Orbax raised, as a `SaveError` with the reason of the operating system.

    Waits for what Orbax's other threads are still writing.
    """
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    for thread in others:
        if type(thread).__module__.startswith("orbax."):
            with contextlib.suppress(Exception):  # what it raises is of the same cause
                thread.join(WAIT)
    code = _code(error)
    reason = os.strerror(code) if code else " ".join(str(error).split())[:200]
    return SaveError(code or errno.EIO, reason or type(error).__name__, str(directory))


def _code(error: BaseException | None) -> int:
    """The operating system's number of what happened; 0 if it is not to be found."""
    while error:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        found = re.search(r"os_error_code='(\d+)'", str(error))
        if found:
            return int(found[1])
        error = error.__cause__ or error.__context__
    return 0


@contextlib.contextmanager
def quiet_saves() -> Iterator[None]:
    """Within, what fails in Orbax's threads is not printed: `Store` raises it.

    Each logs the error anew, and TensorStore prints one for every write that it was still to do,
    some of them late: after an error its lines are kept back for good.
    """
    logger, before = logging.getLogger("absl"), sys.unraisablehook

    def keep(record: logging.LogRecord) -> bool:
        return not (record.exc_info and f"{os.sep}orbax{os.sep}" in record.pathname)

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    logger.addFilter(keep)
    sys.unraisablehook = hook
    try:
        yield
        sys.unraisablehook = before
    finally:
        logger.removeFilter(keep)
