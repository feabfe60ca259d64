"""Layers of networks: with a row for every tensor, or with an entry for every element of one.

LSTM with a forget gate that starts open: Jozefowicz, Zaremba, Sutskever 2015. Gated recurrent unit:
Cho et al. 2014. Tensors that see each other through a maximum: Metz et al. 2022, "VeLO".
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta

TIME_SCALES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
"""Steps on which networks without a horizon see the time."""


def times_since_start(steps: jax.Array) -> jax.Array:
    """tanh(t/tau - 1) for tau in TIME_SCALES, (11,), of the number of steps t."""
    return jnp.tanh(steps.astype(jnp.float32) / np.asarray(TIME_SCALES, np.float32) - 1)


class LSTMState(NamedTuple):
    """`hidden`, which is also the output, and `cell`, both (rows, size)."""

    hidden: jax.Array
    cell: jax.Array


def init_linear(key: jax.Array, fan_in: int, fan_out: int, *stack: int) -> Theta:
    """Truncated normal weights (*stack, fan_in, fan_out) over sqrt(fan_in), zero biases."""
    shape = (*stack, fan_in, fan_out)
    normal = jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32)
    scale = np.sqrt(fan_in).astype(np.float32)
    return {"w": normal / scale, "b": jnp.zeros((*stack, fan_out), jnp.float32)}


def init_layers(keys: jax.Array, widths: Sequence[int], *stack: int) -> Theta:
    """Linear layers `w1`, `b1`, ... of those widths, a random key each, or a stack of networks."""
    net = {}
    for i, key in enumerate(keys):
        layer = init_linear(key, widths[i], widths[i + 1], *stack)
        net |= {f"w{i + 1}": layer["w"], f"b{i + 1}": layer["b"]}
    return net


def linear(layer: Theta, x: jax.Array) -> jax.Array:
    """x w + b for rows x."""
    # In full precision, which costs nothing here: what it moves adds up over a whole run.
    return jnp.matmul(x, layer["w"], precision="highest") + layer["b"][None]


def lstm_cell(gates: jax.Array, cell: jax.Array) -> LSTMState:
    """With i, g, f, o four equal parts of `gates`, (rows, 4 size), one step of the memory.

    cell <- sigma(f + 1) cell + sigma(i) tanh(g), hidden <- sigma(o) tanh(cell).
    """
    i, g, f, o = jnp.split(gates, 4, 1)
    cell = jax.nn.sigmoid(f + 1) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return LSTMState(jax.nn.sigmoid(o) * jnp.tanh(cell), cell)


def init_lstm_net(key: jax.Array, inputs: int, size: int) -> Theta:
    """Random weights; the learned state at t = 0, `hidden` and `cell`, starts at zero."""
    key_pool, key_own, key_gates = jax.random.split(key, 3)
    return {
        "pool": init_linear(key_pool, inputs, size),
        "own": init_linear(key_own, inputs, size),
        "gates": init_linear(key_gates, 2 * size, 4 * size),
        "hidden": jnp.zeros(size, jnp.float32),
        "cell": jnp.zeros(size, jnp.float32),
    }


def init_lstm(net: Theta, rows: int) -> LSTMState:
    """The learned initial state, in `rows` rows."""
    # Sums, so that the state has buffers of its own: a training step may donate them.
    hidden, cell = (jnp.zeros((rows, x.size)) + x[None] for x in (net["hidden"], net["cell"]))
    return LSTMState(hidden, cell)


def run_lstm(net: Theta, x: jax.Array, state: LSTMState) -> LSTMState:
    """One step for all rows of x, which see each other through a maximum.

    x' = own(x) + max over rows of relu(pool(x)), then `lstm_cell` of gates(x', hidden).
    """
    pooled = jnp.max(jax.nn.relu(linear(net["pool"], x)), 0, keepdims=True)
    x = linear(net["own"], x) + pooled
    return lstm_cell(linear(net["gates"], jnp.concatenate([x, state.hidden], 1)), state.cell)


def gru_cell(from_inputs: jax.Array, from_memory: jax.Array, memory: jax.Array) -> jax.Array:
    """With r, z, n three equal parts of each of two layers, (3 size, *shape), the new memory.

    z = sigma(z_x + z_h), h <- (1 - z) tanh(n_x + sigma(r_x + r_h) n_h) + z h.
    """
    r_x, z_x, n_x = jnp.split(from_inputs, 3)
    r_h, z_h, n_h = jnp.split(from_memory, 3)
    z = jax.nn.sigmoid(z_x + z_h)
    return (1 - z) * jnp.tanh(n_x + jax.nn.sigmoid(r_x + r_h) * n_h) + z * memory


def dense(w: jax.Array, b: jax.Array, inputs: jax.Array) -> jax.Array:
    """x w + b of every element: (inputs, *shape) -> (outputs, *shape)."""
    return jnp.tensordot(w.T, inputs, 1) + b.reshape(-1, *[1] * (inputs.ndim - 1))
