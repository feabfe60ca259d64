"""Processes of one run meet at process 0, which lets them begin, or says why not."""

import contextlib
import json
import socket
import threading
import time
from typing import Any

from .._errors import ProcessLostError
from ..settings import ConfigError

BEAT = 2.5
"""Seconds between two signs of life."""
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

    def first(self) -> dict[str, Any]:
        """The first message; an empty one if none comes before the next sign of life is due."""
        end, said = time.monotonic() + BEAT, []
        while said == [] and (left := end - time.monotonic()) > 0:
            said = self.read(left)
        return said[0] if said else {}


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
    found: dict[int, Link] = {}
    misfits: list[Link] = []
    problem = ""
    with server:
        while len(found) < count - 1 and (left := end - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                link = Link(server.accept()[0])
            except TimeoutError:
                break
            hello = link.first()
            which = hello.get("process")
            if not isinstance(which, int) or which < 1:  # a stranger
                link.sock.close()
                continue
            link.name = f"process {which} on {hello.get('host')}"
            link.send(heard=True)
            if which in found and found[which].read(0) is None:  # it was killed and comes again
                found.pop(which).sock.close()
            if wrong := _misfit(mine, hello, found):
                misfits.append(link)
                if not problem:
                    problem, end = wrong, min(end, time.monotonic() + LINGER)
            else:
                found[which] = link
    missing = [i for i in range(1, count) if i not in found]
    if problem or missing:
        named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        text = problem or (
            f"waited {seconds:g} s, and of {count} processes these did not come: {named}; "
            "start them with the same command"
        )
        for link in (*found.values(), *misfits):
            link.send(error=text, mistake=bool(problem))
            link.sock.close()
        raise (ConfigError if problem else ProcessLostError)(text)
    for link in found.values():
        link.send(go=True)
    return list(found.values())


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
            link = Link(socket.create_connection((host, port), timeout=min(left, 10)), "process 0")
            link.send(**mine)
            # Process 0 speaks first of who is missing.
            answer = _answer(link, time.monotonic() + min(left, 10), end + LINGER)
        except OSError as error:
            seen = str(error.strerror or error)
        else:
            if "go" in answer:
                return link
            link.sock.close()
            if "error" in answer:
                kind = ConfigError if answer.get("mistake") else ProcessLostError
                raise kind(f"{answer['error']} (said process 0)")
            seen = "the others did not come" if answer else "what listens there is no process 0"
        time.sleep(min(left, 0.3))
    raise ProcessLostError(
        f"waited {seconds:g} s for process 0 at {host}:{port} ({seen}); start it with the same "
        "command, or correct --coordinator"
    )


def _answer(link: Link, limit: float, last: float) -> dict[str, Any]:
    """What process 0 says at last: `go` or `error`; or `heard` alone, or nothing.

    limit, last: until when it is waited for before process 0 has spoken, and once it has.
    """
    heard: dict[str, Any] = {}
    while (left := limit - time.monotonic()) > 0:
        said = link.read(left)
        for message in said or []:
            if "go" in message or "error" in message:
                return message
            heard, limit = message, last
        if said is None:
            break
    return heard


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
