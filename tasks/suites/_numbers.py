"""Numbers of tasks as suites write them."""

RELU, TANH, SILU = 0, 1, 2
"""Places in `ACTIVATIONS`."""


def blocks(depth: int, hidden: int, activation: int) -> tuple[tuple[str, float], ...]:
    """Of a network of residual blocks: transformer, ViT, Mixer."""
    return (("depth", depth), ("hidden", hidden), ("activation", activation), ("gain", 0.7))


def mlp(
    width: int, depth: int, activation: int, gain: float = 1.0
) -> tuple[tuple[str, float], ...]:
    """Of an MLP."""
    return (("width", width), ("depth", depth), ("activation", activation), ("gain", gain))
