"""Figures measured side by side on this machine; `make bench` prints them."""

import time
from collections.abc import Callable
from typing import Any

import jax


def seconds_per_call(call: Callable[..., Any], *args: Any, rounds: int) -> float:
    """Mean over `rounds` calls, each awaited, after one that is not counted."""
    jax.block_until_ready(call(*args))
    tick = time.perf_counter()
    for _ in range(rounds):
        jax.block_until_ready(call(*args))
    return (time.perf_counter() - tick) / rounds
