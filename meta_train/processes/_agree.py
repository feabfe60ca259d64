"""Several processes as one: who leads, what all agree on, and being told to stop."""

import contextlib
import signal
import socket
import threading
import types
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

MESSAGE_BYTES = 4096


def leads() -> bool:
    """Whether this process writes the files and talks to the user."""
    return jax.process_index() == 0


def idle_devices(used: int, unit: str) -> str:
    """What to say of devices that a run leaves out; "" if it uses all.

    Only where there is one process: several are refused, see `devices.device_mesh`.
    """
    count = jax.device_count()
    if used == count:
        return ""
    return (
        f"note: this run uses {used} of {count} devices; for all of them estimator.{unit} and "
        f"valid.tasks must be multiples of {count}"
    )


def leader_does(work: Callable[[], None], errors: tuple[type[Exception], ...]) -> None:
    """Let the leader do what is to be done once; its error is raised in every process."""
    problem: Exception | None = None
    if leads():
        try:
            work()
        except errors as error:
            problem = error
    if jax.process_count() == 1:
        if problem:
            raise problem
        return
    text = str(problem or "").encode()[:MESSAGE_BYTES]
    buffer = np.zeros(MESSAGE_BYTES, np.uint8)
    buffer[: len(text)] = np.frombuffer(text, np.uint8)
    said = multihost_utils.broadcast_one_to_all(buffer)
    message = bytes(np.asarray(said)).rstrip(b"\0").decode(errors="replace")
    if message:
        raise problem or errors[0](message)


def agree(value: int) -> int:
    """The largest of all processes' values, in every process; all must call it together."""
    if jax.process_count() == 1:
        return int(value)
    return int(np.max(multihost_utils.process_allgather(np.int32(value))))


class Stop:
    """Whether any process was asked to stop, by SIGTERM or SIGINT.

    `asked`: which signal this process has had, 0 if none; `signal`: which one all have agreed on.
    """

    def __init__(self) -> None:
        self.asked = self.signal = 0

    def agreed(self) -> bool:
        """Whether to stop, the same answer in every process; all must call it together."""
        self.signal = agree(self.asked)
        return self.signal != 0


@contextlib.contextmanager
def stop_on_signals(heard: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Within, SIGTERM and the first SIGINT only set the flag; a second SIGINT interrupts.

    `heard`: called once, from another thread, at the first: what is set waits for compiled code.
    """
    stop = Stop()

    def handle(number: int, frame: types.FrameType | None) -> None:
        del frame
        if number == signal.SIGINT and stop.asked:
            raise KeyboardInterrupt
        stop.asked = number

    try:
        before = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: whoever runs us sees to signals
        yield stop
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    earlier = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=lambda: ours.recv(1) and heard(), daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(earlier)
        theirs.close()
        listener.join()
        ours.close()
        for number, handler in before.items():
            signal.signal(number, handler)
