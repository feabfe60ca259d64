"""Connections between the processes of one run: they meet at process 0, and watch one another."""

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from .._errors import ProcessLostError
from ..settings import ConfigError

BEAT = 2.5
"""Seconds between two signs of life."""
LOST = 25.0
"""Seconds without one after which a process counts as lost. Long enough for an import or a
compilation that lets no other thread run, and for a host that is paused."""
LINGER = 3.0
"""Seconds in which those that are still to come learn why there is no run."""
MOST_BYTES = 1 << 20
"""Of one message: a configuration and some more."""


class Link:
    """Messages, JSON objects, between process 0 and another one."""

    def __init__(self, sock: socket.socket, name: str = "") -> None:
        self.sock, self.name = sock, name
        self.silent, self.ended = 0, False
        self._rest, self._lock = b"", threading.Lock()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(BEAT)

    def send(self, **message: Any) -> None:
        """Where nobody listens any more nothing happens: reading tells."""
        with contextlib.suppress(OSError), self._lock:
            self.sock.sendall(json.dumps(message).encode() + b"\n")

    def read(self, seconds: float = BEAT) -> list[dict[str, Any]] | None:
        """What has come, once something has or the time is over; None once the link is closed.

        None, too, for what is no JSON object.
        """
        try:
            self.sock.settimeout(max(seconds, 0.01))
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            found = [json.loads(line) for line in lines]
        except ValueError:
            return None
        whole = data and len(self._rest) < MOST_BYTES and all(isinstance(m, dict) for m in found)
        return found if whole else None


def gather(server: socket.socket, mine: dict[str, Any], seconds: float) -> list[Link]:
    """Process 0 waits for all others, and tells each that the run begins, or why it does not.

    Args:
      server: where they come; closed afterwards.
      mine: `processes`, how many there are, `facts`, equal in all, and `host`.
      seconds: how long to wait.

    Raises:
      ConfigError: they were not started alike. ProcessLostError: some did not come.
    """
    count, end = mine["processes"], time.monotonic() + seconds
    links: list[Link] = []
    found: dict[int, Link] = {}
    problem = ""
    with selectors.DefaultSelector() as wait, contextlib.ExitStack() as unless_in:
        unless_in.enter_context(server)
        wait.register(server, selectors.EVENT_READ)
        while len(found) < count - 1 and (left := end - time.monotonic()) > 0:
            for key, _ in wait.select(left):
                if key.data is None:
                    link = Link(unless_in.enter_context(server.accept()[0]))
                    wait.register(link.sock, selectors.EVENT_READ, link)
                    continue
                link = key.data
                said = link.read()
                for hello in said or []:
                    which = hello.get("process")
                    if not isinstance(which, int) or which < 1:  # a stranger
                        said = None
                        break
                    links.append(link)
                    link.name = f"process {which} on {hello.get('host')}"
                    link.send(heard=True)
                    wrong = _misfit(mine, hello, found)
                    if wrong and not problem:
                        problem, end = wrong, min(end, time.monotonic() + LINGER)
                    if not wrong:
                        found[which] = link
                if said is None:  # it may come again
                    wait.unregister(link.sock)
                    link.sock.close()
                    links = [one for one in links if one is not link]
                    found = {i: one for i, one in found.items() if one is not link}
        missing = [i for i in range(1, count) if i not in found]
        if problem or missing:
            named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            text = problem or (
                f"waited {seconds:g} s, and of {count} processes these did not come: {named}; "
                "start them with the same command"
            )
            for link in links:
                link.send(error=text, mistake=bool(problem))
            raise (ConfigError if problem else ProcessLostError)(text)
        unless_in.pop_all()
    server.close()
    for link in links:
        link.send(go=True)
    return links


def _misfit(mine: dict[str, Any], other: dict[str, Any], found: dict[int, Link]) -> str:
    """Why a process cannot be one of this run; "" if it can."""
    which = other["process"]
    if other.get("processes") != mine["processes"]:
        return (
            f"process {which} was started with --processes {other.get('processes')}, process 0 "
            f"with --processes {mine['processes']}: give all the same number"
        )
    if which in found:
        return f"two processes were started as --process {which}: give each a number of its own"
    here, there = _flat(mine["facts"]), _flat(other.get("facts"))
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            return (
                f"process {which} and process 0 must be alike: {name} is {there.get(name)!r} and "
                f"{here.get(name)!r}; start the same command, with the same versions, everywhere"
            )
    return ""


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {where: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{where}.{key}" if where else str(key))
    return found


def enter(host: str, port: int, mine: dict[str, Any], seconds: float) -> Link:
    """Another process comes to process 0, and waits until the run begins.

    Args:
      host, port: where process 0 is.
      mine: what it is told: `process`, and what `gather` names.
      seconds: how long to try.

    Raises:
      ConfigError, ProcessLostError: what process 0 says; ProcessLostError: it did not answer.
    """
    end, seen = time.monotonic() + seconds, "nobody listens there"
    while (left := end - time.monotonic()) > 0:
        try:
            sock = socket.create_connection((host, port), timeout=min(left, 10))
        except OSError as error:
            seen = str(error.strerror or error)
            time.sleep(min(left, 0.3))
            continue
        link, heard = Link(sock, "process 0"), False
        with contextlib.ExitStack() as unless_in:
            unless_in.enter_context(sock)
            link.send(**mine)
            # Process 0 speaks first of who is missing.
            limit = time.monotonic() + min(left, 10)
            while time.monotonic() < limit:
                said = link.read(limit - time.monotonic())
                for message in said or []:
                    if "error" in message:
                        kind = ConfigError if message.get("mistake") else ProcessLostError
                        raise kind(f"{message['error']} (said process 0)")
                    if "go" in message:
                        unless_in.pop_all()
                        return link
                    heard, limit = True, end + LINGER
                if said is None:
                    break
        seen = "the others did not come" if heard else "what listens there is no process 0"
        time.sleep(min(left, 0.3))
    raise ProcessLostError(
        f"waited {seconds:g} s for process 0 at {host}:{port} ({seen}); start it with the same "
        "command, or correct --coordinator"
    )


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
