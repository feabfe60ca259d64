"""How much memory there is, and room for compiled programs in it."""

import contextlib
import os
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says what a container may use."""
MAPS, MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
"""Where Linux says which memory maps this process has, and how many it may have."""
MAPS_LEFT = 4096
"""For one more program: on CPU each of its kernels takes three, and large ones have a thousand."""


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


def check_maps() -> None:
    """MemoryError where a program may need more memory maps than are left.

    XLA would end the process: "LLVM ERROR: Unable to allocate section memory!"
    """
    with contextlib.suppress(OSError):  # not Linux
        used, most = MAPS.read_bytes().count(b"\n"), int(MOST_MAPS.read_text())
        if used + MAPS_LEFT > most:
            raise MemoryError(
                f"compiled programs have {used:,} of {most:,} memory maps; "
                f"sysctl vm.max_map_count={4 * most} allows more"
            )
