"""A save that fails in one of several processes, while Orbax waits for them all."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from learned_opt.checkpoints import error_code

GRACE = 5.0
"""Seconds in which the error may still be raised where it is handled best."""


@contextlib.contextmanager
def failed_saves(directory: Path, ended: Callable[[OSError], None]) -> Iterator[None]:
    """Within, `ended` is called in a thread with the error of a save that failed.

    The threads of Orbax log an error, then wait for those of the other processes, which wait for
    this save: for ever. So this is called where the block has not ended soon after.

    Args:
      directory: of the checkpoints.
      ended: ends this process.
    """
    over, once = threading.Event(), threading.Lock()

    def see(record: logging.LogRecord) -> bool:
        error, text = (record.exc_info or (None, None))[1], record.getMessage()
        saving = "_SignalingThread" in text or "background save thread" in text
        if saving and (code := error_code(error)) and once.acquire(blocking=False):
            found = OSError(code, os.strerror(code), str(directory))
            threading.Thread(target=end, args=(found,), daemon=True).start()
        return True

    def end(error: OSError) -> None:
        if not over.wait(GRACE):
            ended(error)

    logger = logging.getLogger("absl")
    logger.addFilter(see)
    try:
        yield
    finally:
        over.set()
        logger.removeFilter(see)
