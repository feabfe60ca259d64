"""Processes of one run watch one another, so that each ends when another is lost."""

import selectors
import threading
import time
from collections.abc import Callable
from typing import Any

from ._meeting import BEAT, Link

LOST = 25.0
"""Seconds without a sign of life after which a process counts as lost. Long enough for an import or
a compilation that lets no other thread run, and for a host that is paused."""


class Watch:
    """Notices, in a thread of its own, that another process was lost or has failed.

    Args:
      links: of process 0, to all others; of another one, to process 0.
      leads: whether this is process 0.
      lost: called with what happened, once; it ends this process.
    """

    def __init__(self, links: list[Link], leads: bool, lost: Callable[[str], None]) -> None:
        self._links, self._leads, self._lost = links, leads, lost
        self._waited, self._over = 0, False
        self.failed = ""
        """Which process has ended with an error, and said so."""
        self._all_done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """This process has done its part; returns once all have."""
        if not self._leads:
            self._tell(end=0)
        self._all_done.wait()
        self._over = True
        if self._leads:  # last, so that it hears of all until all are done
            self._tell(end=0)

    def fail(self, status: int) -> None:
        """Tell the others that this process ends with an error."""
        self._over = True
        self._tell(end=status)

    def _tell(self, **message: Any) -> None:
        for link in self._links:
            link.send(**message)

    def _run(self) -> None:
        with selectors.DefaultSelector() as wait:
            for link in self._links:
                wait.register(link.sock, selectors.EVENT_READ, link)
            beat = time.monotonic() + BEAT
            while not self._over:
                if all(link.ended for link in self._links) and not self.failed:
                    self._all_done.set()
                for key, _ in wait.select(max(0, beat - time.monotonic())):
                    if not self._hear(key.data):
                        wait.unregister(key.data.sock)
                if time.monotonic() < beat:
                    continue
                # Beats of this process are counted, not seconds: it may itself have been paused.
                beat = time.monotonic() + BEAT
                self._tell(beat=True)
                for link in self._links:
                    link.silent += 1
                    if link.silent * BEAT >= LOST and not link.ended:
                        self._lose(f"{link.name} has not been heard of for {LOST:g} s")
                self._waited += bool(self.failed)
                if self._waited * BEAT >= LOST:  # what this process waits for will not come
                    self._lose(self.failed)

    def _hear(self, link: Link) -> bool:
        """Whether there may be more to hear."""
        said, link.silent = link.read(), 0
        for message in said or []:
            if "lost" in message:
                self._lose(message["lost"])
            if "end" in message:
                link.ended = True
                if message["end"]:
                    self.failed = f"{link.name} ended with status {message['end']}"
        if said is None and not link.ended:
            self._lose(f"the connection to {link.name} has closed")
        return said is not None

    def _lose(self, what: str) -> None:
        if not self._over:
            self._over = True
            self._tell(lost=what)
            self._lost(what)
