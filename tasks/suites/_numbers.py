"""Numbers of tasks as suites write them; a hash of a suite depends on their order."""

Numbers = tuple[tuple[str, float], ...]

RELU, TANH, SILU = 0, 1, 2
"""Places in `ACTIVATIONS`."""


def mlp(width: int, depth: int, activation: int, gain: float = 1.0) -> Numbers:
    """Of an MLP."""
    return (("width", width), ("depth", depth), ("activation", activation), ("gain", gain))


def blocks(depth: int, hidden: int, activation: int) -> Numbers:
    """Of a network of residual blocks: transformer, ViT, Mixer."""
    return (("depth", depth), ("hidden", hidden), ("activation", activation), ("gain", 0.7))


def conv(activation: int) -> Numbers:
    """Of a plain convolutional network, all channels on."""
    return (("width", 8), *norm_conv(activation))


def norm_conv(activation: int) -> Numbers:
    """Of a convolutional network with norms, residual or not."""
    return (("activation", activation), ("gain", 1.0))


def autoencoder(activation: int) -> Numbers:
    """Of an autoencoder, variational or not."""
    return (("hidden", 32), ("code", 8), *norm_conv(activation))


def recurrent(width: int = 32) -> Numbers:
    """Of a recurrent language model."""
    return (("width", width), ("gain", 1.0))
