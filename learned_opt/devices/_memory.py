"""How much memory there is, and room for compiled programs in it."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says what a container may use."""
MAPS, MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
"""Where Linux says which memory maps this process has, and how many it may have."""
MAPS_EACH = 8192
"""That a program may need: on CPU each of its kernels takes three."""

_CHANGED = threading.Condition()
_AT_WORK: list[int] = []
"""Threads within `room_for_program`."""


def device_memory(device: Any) -> int:
    """Bytes of a device; of the CPU, those of the machine or container."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int(CGROUP.read_text()))
    except (OSError, ValueError):  # no cgroup, or "max"
        return total


@contextlib.contextmanager
def room_for_program() -> Iterator[None]:
    """Within, a program is compiled or loaded, beside no more others than there are maps for.

    XLA would end the process: "LLVM ERROR: Unable to allocate section memory!" Where there is not
    room for all it waits for the others.

    Raises:
      MemoryError: there is no room even for one alone.
    """
    with _CHANGED:
        while _AT_WORK and _lacking(len(_AT_WORK) + 1):
            _CHANGED.wait()
        if fault := _lacking(1):
            raise MemoryError(fault)
        _AT_WORK.append(threading.get_ident())
    try:
        yield
    finally:
        with _CHANGED:
            _AT_WORK.remove(threading.get_ident())
            _CHANGED.notify_all()


def _lacking(programs: int) -> str:
    """What is wrong if so many are made now; "" if nothing is, or where there is no such limit."""
    try:
        used, most = MAPS.read_bytes().count(b"\n"), int(MOST_MAPS.read_text())
    except OSError:  # not Linux
        return ""
    if used + programs * MAPS_EACH <= most:
        return ""
    return (
        f"compiled programs have {used:,} of {most:,} memory maps; "
        f"sysctl vm.max_map_count={4 * most} allows more"
    )
