"""Multi-layer perceptrons of random width, depth, activation and scale, in one compiled program.

The standard inner problem of the field (Metz et al. 2020, "Tasks, stability, architecture, and
compute"; Moudgil et al. 2025, "Celo"). Widths are masks and depth is a gate, so a new draw
changes numbers, not shapes.
"""

import dataclasses
import functools
import math
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from ._base import Batch, Params
from ._classify import Classifiers, Range, cross_entropy, log_uniform


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["width", "depth", "activation", "gain", "scale"],
    meta_fields=["max_width", "max_depth", "classes", "features"],
)
@dataclasses.dataclass(frozen=True)
class MLPTask:
    """An MLP with `depth` hidden layers of `width` units, inside arrays of the maximal size.

    Attributes:
      width: hidden units that are on, 1..max_width (float32 scalar).
      depth: hidden layers that act, 1..max_depth; the others pass their input on.
      activation: 0 relu, 1 tanh, 2 silu (int32 scalar).
      gain: standard deviation of the initial weights relative to He et al. 2015.
      scale: parameters are stored as p / scale: another geometry of the same function.
    """

    width: jax.Array
    depth: jax.Array
    activation: jax.Array
    gain: jax.Array
    scale: jax.Array
    max_width: int
    max_depth: int
    classes: int
    features: int

    def init(self, key: jax.Array) -> Params:
        """{"linear_k": {"w", "b"}}: He-normal weights for the fan-in that is on, zero biases."""
        params = _network(self).init(key, jnp.zeros((1, self.features)))
        return jax.tree.map(lambda p: p / self.scale, params)

    def loss(
        self, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Cross-entropy in nats, and accuracy."""
        params = jax.tree.map(lambda p: p * self.scale, params)
        inputs = batch.x.reshape(len(batch.x), -1)
        return cross_entropy(_network(self).apply(params, key, inputs), batch)


def _network(task: MLPTask) -> hk.Transformed:
    mask = (jnp.arange(task.max_width, dtype=jnp.float32) < task.width).astype(jnp.float32)

    def forward(x: jax.Array) -> jax.Array:
        fan_in = jnp.asarray(float(task.features))
        for layer in range(task.max_depth):
            linear = hk.Linear(task.max_width, w_init=_masked_he(fan_in, mask, task.gain))
            h = _activate(linear(x), task.activation) * mask[None]
            x = h if layer == 0 else jnp.where(layer < task.depth, h, x)
            fan_in = task.width
        every = jnp.ones(task.classes)
        return hk.Linear(task.classes, w_init=_masked_he(fan_in, every, task.gain))(x)

    return hk.transform(forward)


def _masked_he(
    fan_in: jax.Array, columns: jax.Array, gain: jax.Array
) -> hk.initializers.Initializer:
    """He-normal on the units that are on, zero elsewhere, so that a mask adds no weight norm."""

    def init(shape, dtype):
        rows = (jnp.arange(shape[0], dtype=dtype) < fan_in).astype(dtype)[:, None]
        normal = jax.random.normal(hk.next_rng_key(), shape, dtype)
        return gain * jnp.sqrt(2.0 / fan_in) * rows * columns[None] * normal

    return init


def _activate(x: jax.Array, kind: jax.Array) -> jax.Array:
    return jnp.where(kind == 0, jax.nn.relu(x), jnp.where(kind == 1, jnp.tanh(x), jax.nn.silu(x)))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["data"],
    meta_fields=["batch_size", "max_width", "max_depth", "widths", "depths", "gains", "scales"],
)
@dataclasses.dataclass(frozen=True)
class MLPFamily(Classifiers):
    """Random MLPs on one data set.

    Args:
      data: the data set.
      batch_size: examples a minibatch.
      max_width, max_depth: array sizes.
      widths: log-uniform range of hidden units.
      depths: uniform range of hidden layers, both ends included.
      gains: log-uniform range of the initial scale (1 is He et al. 2015).
      scales: log-uniform range of the global re-parametrisation (Metz et al. 2022, VeLO).
    """

    max_width: int = 32
    max_depth: int = 2
    widths: Range = (8, 32)
    depths: tuple[int, int] = (1, 2)
    gains: Range = (0.5, 2.0)
    scales: Range = (1.0, 1.0)

    def sample(self, key: jax.Array) -> MLPTask:
        """Draw width, depth, activation, initial scale and re-parametrisation."""
        keys = jax.random.split(key, 5)
        low, high = self.depths
        return self.task(
            width=jnp.round(log_uniform(keys[0], self.widths)),
            depth=jax.random.randint(keys[1], (), low, high + 1),
            activation=jax.random.randint(keys[2], (), 0, 3),
            gain=log_uniform(keys[3], self.gains),
            scale=log_uniform(keys[4], self.scales),
        )

    def task(
        self, width: Any, depth: Any, activation: Any = 0, gain: Any = 1.0, scale: Any = 1.0
    ) -> MLPTask:
        """One member, by its numbers (plain or traced)."""
        return MLPTask(
            width=jnp.asarray(width, jnp.float32),
            depth=jnp.asarray(depth, jnp.int32),
            activation=jnp.asarray(activation, jnp.int32),
            gain=jnp.asarray(gain, jnp.float32),
            scale=jnp.asarray(scale, jnp.float32),
            max_width=self.max_width,
            max_depth=self.max_depth,
            classes=self.data.classes,
            features=math.prod(self.data.shape),
        )
