"""What computes an update: XLA's own loops, or kernels written in Pallas."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

PATHS = {"cpu": "xla", "cuda": "xla", "tpu": "xla"}
"""Platform -> path, where none is asked for.

XLA everywhere. On an NVIDIA H200 (jax 0.11.2, 2026-11-27, XLA_FLAGS=--xla_gpu_autotune_level=0,
`python -m benchmarks.step_time --pallas --only nominal`) an update of 10 and of 100 million
parameters takes 2.72 and 2.34 times Adam's by XLA's loops, 2.67 and 2.13 by the kernels; but a
whole training step 1.37 and 1.20 by the loops, 1.39 and 1.22 by the kernels. Nobody has timed them
on a TPU, where by what compilers tell XLA moves 18 floats a parameter, and kernels 21. On CPU they
are interpreted, which is for tests.
"""

_asked: ContextVar[str | None] = ContextVar("update_path", default=None)


@contextlib.contextmanager
def update_path(path: str) -> Iterator[None]:
    """Computes updates by `path`, "xla" or "pallas", whatever the platform.

    It counts where a transformation is built, not where it is used, and only for optimizers and
    tensors that have kernels (large ones of `Nominal`); states are the same either way. A kernel
    knows nothing of sharding: call it on parameters of one device, or under `jax.shard_map` with
    check_vma=False.

    Raises:
      ValueError: another `path`.

    Example:
      >>> import learned_opt
      >>> from learned_opt.parts import update_path
      >>> with update_path("pallas"):
      ...     tx = learned_opt.learned("quickstart", num_steps=1000)
    """
    if path not in ("xla", "pallas"):
        raise ValueError(f'path must be "xla" or "pallas", got {path!r}')
    token = _asked.set(path)
    try:
        yield
    finally:
        _asked.reset(token)


def kernel_platforms() -> tuple[str, ...]:
    """The platforms on which an update that is built now runs kernels."""
    return tuple(name for name, path in PATHS.items() if (_asked.get() or path) == "pallas")
