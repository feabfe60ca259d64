"""How much memory there is."""

import os
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says what a container may use."""


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
