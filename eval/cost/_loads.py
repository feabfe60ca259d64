"""The loads that steps are timed at: networks and batches that people have."""

from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP, Conv, Transformer

LENGTH = 64
"""Bytes of a sequence."""


def mlp(name: str, width: int, batch_size: int) -> EvalTask:
    """A 64-w-w-10 network on digits: w^2 + 76 w + 10 parameters."""
    spec = FamilySpec(MLP(width, widths=(width, width)), "digits", batch_size)
    numbers = {"width": width, "depth": 2, "activation": 0, "gain": 1.0}
    return EvalTask(name, spec, tuple(numbers.items()))


def conv(name: str, channels: tuple[int, ...], batch_size: int) -> EvalTask:
    """3x3 convolutions on letters of 14 x 14 pixels."""
    spec = FamilySpec(Conv(channels), "letters", batch_size)
    return EvalTask(name, spec, (("width", 8), ("activation", 0), ("gain", 1.0)))


def transformer(name: str, size: int, depth: int, tokens: int) -> EvalTask:
    """Blocks of `size` features and 4 `size` hidden units; so many tokens a step."""
    hidden = 4 * size
    problem = Transformer(size, depth, hidden, (depth, depth), (hidden, hidden), heads=4)
    numbers = {"depth": depth, "hidden": hidden, "activation": 0, "gain": 0.7}
    return EvalTask(
        name, FamilySpec(problem, f"prose/{LENGTH}", tokens // LENGTH), tuple(numbers.items())
    )


LOADS = (
    mlp("mlp-100k-128", 280, 128),
    mlp("mlp-100k-1024", 280, 1024),
    mlp("mlp-1M-128", 960, 128),
    mlp("mlp-1M-1024", 960, 1024),
    conv("conv-100k-128", (32, 64, 128), 128),
    conv("conv-1M-128", (64, 128, 256, 256), 128),
    transformer("transformer-100k-1024", 64, 2, 1024),
    transformer("transformer-100k-8192", 64, 2, 8192),
    transformer("transformer-1M-1024", 128, 5, 1024),
    transformer("transformer-1M-8192", 128, 5, 8192),
)
"""From 1 hundred thousand to 1 million parameters; names: network, parameters, batch or tokens."""

ENDS = tuple(load for load in LOADS if load.name in ("mlp-1M-128", "transformer-100k-8192"))
"""About the dearest and the cheapest of them: what a quick evaluation times."""

TINY = (mlp("mlp-1k-32", 16, 32),)
"""What a smoke test times."""

KINDS = {"mlp": "MLP", "conv": "convolutional net"}
"""What people call a kind of network, where it is not its name."""


def load_name(kind: str, parameters: int, batch: int, tokens: int | None) -> str:
    """A load for people.

    >>> load_name("mlp", 994_570, 1024, None), load_name("transformer", 116_511, 128, 8192)
    ('MLP, 1M parameters, batch 1,024', 'transformer, 100k parameters, 8,192 tokens')
    """
    of = f"batch {batch:,}" if tokens is None else f"{tokens:,} tokens"
    return f"{KINDS.get(kind, kind)}, {about(parameters)} parameters, {of}"


def about(count: int) -> str:
    """One digit of a count.

    >>> about(99_690), about(966_426), about(12_345_678), about(2_400)
    ('100k', '1M', '10M', '2k')
    """
    digit = float(f"{count:.1g}")
    if digit >= 1e6:
        return f"{digit / 1e6:.0f}M"
    return f"{digit / 1e3:.0f}k" if digit >= 1e3 else f"{digit:.0f}"
