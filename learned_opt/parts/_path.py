"""What computes an update: XLA's own loops, or kernels written in Pallas."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

PATHS = {"cpu": "xla", "cuda": "xla", "tpu": "xla"}
"""Platform -> path, where none is asked for.

XLA everywhere, for nobody has run or timed the kernels on a GPU or TPU: they agree with XLA's loops
when interpreted, and they compile. A figure of `python -m benchmarks.step_time --pallas` may change
a line here. What compilers tell, of one (4096, 4096) matrix with the update of its parameters:
kernels move 21 floats a parameter; XLA's loops 25 on H100, 6 of them copies, but 18 on TPU v5e,
where kernels have no traffic to save. On CPU they are interpreted, which is for tests.
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
