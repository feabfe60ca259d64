"""Ctrl-C and SIGTERM end a command at once: what it has made is on disk."""

import contextlib
import functools
import os
import signal
import sys
import types
from collections.abc import Iterator

SHOW_CURSOR = "\x1b[?25h"
"""A progress bar hides it."""


GOES_ON = "goes on where it stopped"
ANEW = "begins anew: nothing was written"


@contextlib.contextmanager
def end_on_signals(go_on: str = GOES_ON) -> Iterator[None]:
    """Within, SIGINT and SIGTERM end the process with one line and the status 130 or 143.

    `go_on`: what the line says of the same command.

    Nothing is waited for, neither a compilation nor runs in other threads: every file is whole or
    heals when it is read. In a thread that is not the main one nothing changes.
    """
    try:
        end = functools.partial(_end, go_on)
        before = {n: signal.signal(n, end) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us sees to signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(go_on: str, number: int, frame: types.FrameType | None) -> None:
    del frame
    # A stream of Python's may be in use by what was interrupted.
    for stream, text in (
        (sys.stdout, SHOW_CURSOR if os.isatty(1) else ""),
        (sys.stderr, f"stopped; the same command {go_on}\n"),
    ):
        with contextlib.suppress(OSError, ValueError):
            os.write(stream.fileno(), text.encode())
    os._exit(128 + number)
