"""The way from JAX in one process to its service in process 0."""

import contextlib
import socket
import threading
import time

from ._watch import LOST

HERE = "127.0.0.1"


def relay(host: str, port: int) -> str:
    """An address on this host that leads to JAX's service in process 0.

    JAX aborts the process when its connection closes. This one does not close when process 0 is
    lost, so that there is time to say so.
    """
    server = socket.create_server((HERE, 0))

    def serve() -> None:
        while True:
            near, _ = server.accept()
            threading.Thread(target=connect, args=(near,), daemon=True).start()

    def connect(near: socket.socket) -> None:
        end = time.monotonic() + LOST
        while time.monotonic() < end:
            try:
                far = socket.create_connection((host, port))
                break
            except OSError:  # the service begins in a moment
                time.sleep(0.05)
        else:
            return
        for sock in near, far:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=carry, args=(far, near), daemon=True).start()
        carry(near, far)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)

    threading.Thread(target=serve, name="relay", daemon=True).start()
    return f"{HERE}:{server.getsockname()[1]}"
