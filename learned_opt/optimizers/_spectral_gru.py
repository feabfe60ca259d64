"""SpectralGRU: the steps of `Spectral` under a controller that remembers and sees the loss.

Recurrent control tensor by tensor: Metz et al. 2022, "VeLO". Memory on many scales of time: Tallec
and Ollivier 2018, "Can recurrent neural networks warp time?".
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta
from .._fields import Width
from ..parts._accumulators import TINY, corrections
from ..parts._control import NUM_STATISTICS, Summary, safe_log, statistics, summarise
from ..parts._controlled import Controlled, seen_times
from ..parts._lengths import (
    NUM_FEEDBACK,
    Memory,
    bracket,
    feel,
    init_lengths,
    init_memory,
    lengths,
    logarithms,
)
from ..parts._loss import NUM_PROGRESS, init_loss, loss_progress
from ..parts._networks import gru_cell, init_linear, linear
from ..parts._orthogonal import equalised
from ..transformation._rule import Change, Kept, Now, Tensors

NUM_INPUTS = NUM_STATISTICS + NUM_FEEDBACK + 1 + NUM_PROGRESS + 2
"""What `Spectral` sees, in its order, then the last step, the loss and the epochs."""

NUM_OUTPUTS = 5
LONGEST_MEAN = 10_000.0
"""Steps of the longest mean of the loss where there is no horizon."""
LONGEST_MEMORY = 1_000.0
"""Steps for which the last unit remembers, at initialisation."""


class Remembered(NamedTuple):
    """Of every tensor a row.

    `felt`: as `Spectral` has it; `last`: a exp(c) of the last step, (tensors,); `hidden`: of the
    GRU, (tensors, hidden).
    """

    felt: Memory
    last: jax.Array
    hidden: jax.Array


@dataclasses.dataclass(frozen=True)
class SpectralGRU(Controlled):
    """`Spectral` whose controller is recurrent, and may see the loss and the number of epochs.

    For a tensor p at step t of T, with a, c, c', w, D, s and O as in `Spectral`::

        p <- p - a(t) [ exp(c) ((1 - b) O(g + 9 n) + b n / sqrt(v)) + min(w exp(c'), 1 / (2 a)) p ]
        n = q (q - 1) / 2 m_.5 + (1 - q^2) m_.9 + q (q + 1) / 2 m_.99

    The second term is that of matrices alone; a vector steps by n / sqrt(v). n: of three momenta
    the one at q, from fast at -1 to slow at 1. For each tensor the controller gives::

        h <- GRU([x, mean of h over all tensors, mean of h over all of its kind], h)
        o = x K + h W + d,   clipped to [-5, 5]

    The first three of o are what the controller of `Spectral` gives: log step, log decay and the
    change of s; q = tanh(o_4), b = max(0, tanh(o_5)). Kinds are matrices and vectors.

    x (25), cut at 20 in size: the 17 statistics of `Spectral`; the last a exp(c) over itself plus
    rms(p), as log(. + 1e-4) / 2 + 2; five features of the loss, see `loss_progress`; 1 and
    log(1 + E) / 2 - 1, with E how often the run will see each example. The loss is `value` of
    `update`, E is `epochs` of `transform` and of `learned`. Each may be left out: its features are
    then zero, as where it is not finite, or a traced E is not above zero.

    At initialisation K, W and d are zero and the steps are those of `Spectral`, while the weights
    of the GRU are random and its units remember for 2 to 1,000 steps. Every |h| < 1: long runs do
    not drift. The rule does not change under g -> k g with loss -> k loss.

    Args:
      learning_rate: step size a at its peak, at initialisation.
      weight_decay: decoupled decay w in units of the step size, at initialisation.
      warmup: fraction of the run with linearly growing step size.
      momenta: dtype in which the three momenta are stored, "float32" or "bfloat16".
      factored: keep the second moment of matrices as means over rows and over columns.
      horizon_free: `num_steps` may be left out and changes nothing, as of `Spectral`.
      hidden: units of the GRU; 8 to 32 are worth a trial.

    Raises:
      ValueError: an argument out of its range; at `update` a `value` that is not a scalar.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.SpectralGRU(learning_rate=0.05)
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      1379
      >>> tx = optimizer.transform(theta, num_steps=100, epochs=3)
      >>> params = {"w": jax.numpy.ones((3, 2))}
      >>> steps, state = tx.update(params, tx.init(params), params, value=0.7)
    """

    name: ClassVar[str] = "spectral_gru"
    use: ClassVar[str] = "Long meta-training: its controller can learn most; pass loss and epochs."
    keywords: ClassVar[tuple[str, ...]] = ("value",)
    uses_epochs: ClassVar[bool] = True
    hidden: Width = 8

    def init(self, key: jax.Array) -> Theta:
        """Random weights of the GRU, zeros elsewhere."""
        size, (key_inputs, key_memory) = self.hidden, jax.random.split(key)
        inputs = init_linear(key_inputs, NUM_INPUTS + 2 * size, 3 * size)
        keep = np.log(np.geomspace(2, LONGEST_MEMORY, size) - 1)
        inputs["b"] = inputs["b"].at[size : 2 * size].set(keep.astype(np.float32))
        zero = lambda *shape: jnp.zeros(shape, jnp.float32)  # noqa: E731
        controller = {
            "skip": zero(NUM_INPUTS, NUM_OUTPUTS),
            "inputs": inputs,
            "memory": {"w": init_linear(key_memory, size, 3 * size)["w"]},
            "head": {"w": zero(size, NUM_OUTPUTS), "b": zero(NUM_OUTPUTS)},
        }
        return {**self._init_scalars(), "controller": controller, **init_lengths()}

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        rows = jnp.zeros(tensors), jnp.zeros((tensors, self.hidden))
        return Kept(Remembered(init_memory(tensors), *rows), init_loss())

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        every, x = summarise(stacks, now.t)
        theta, old = now.theta, now.memory.tensors
        *felt, feedback = feel(x, old.felt)
        total = jnp.asarray(LONGEST_MEAN) if now.total is None else now.total
        progress, losses = loss_progress(now.memory.run, now.told["value"], total)
        common = jnp.concatenate([progress, _epochs(now.epochs)])
        columns = [
            statistics(x, seen_times(now)),
            feedback,
            _relative(old.last, x.p)[:, None],
            jnp.broadcast_to(common, (len(x.p), len(common))),
        ]
        inputs = jnp.clip(jnp.concatenate(columns, 1), -20.0, 20.0)
        outputs, hidden = _control(theta["controller"], inputs, old.hidden, x)
        *logs, new = logarithms(theta, now.t, x, old.felt, felt, outputs[:3])
        scales = lengths(theta, now.size, self._peak(theta), self._decay(theta), *logs)
        parts = _weights(jnp.tanh(outputs[3]), corrections(now.t + 1)[1])
        share = jnp.maximum(0.0, jnp.tanh(outputs[4]))
        steps = []
        for tensors, seen in zip(stacks, every, strict=True):
            stack = tensors.stack
            momentum = stack.map(_mixed, stack.each(parts), seen.momenta)
            direction = momentum * seen.estimate.inverse
            if stack.layout.is_matrix:
                equal = equalised(0.1 * tensors.g + 0.9 * momentum, stack.shape)
                direction = stack.map(_between, stack.each(share), equal, direction)
            step = stack.map(bracket, stack.each(scales), direction, tensors.p)
            steps.append(now.size * step)
        return Change(steps, None, Kept(Remembered(new, now.size * scales[0], hidden), losses))


def _epochs(epochs: jax.Array | None) -> jax.Array:
    """What the controller sees of it, (2,)."""
    if epochs is None:
        return jnp.zeros(2)
    told = jnp.isfinite(epochs) & (epochs > 0)
    seen = jnp.log1p(jnp.where(told, epochs, 0.0)) / 2 - 1
    return jnp.where(told, jnp.stack([jnp.ones(()), seen]), 0.0)


def _relative(last: jax.Array, squares: jax.Array) -> jax.Array:
    """The length of the last steps beside parameters of those mean squares, (tensors,)."""
    return safe_log(last / (last + jnp.sqrt(squares + TINY))) / 2 + 2


def _control(
    net: Theta, inputs: jax.Array, hidden: jax.Array, x: Summary
) -> tuple[jax.Array, jax.Array]:
    """o, (outputs, tensors), and h, (tensors, hidden)."""
    matrix = x.matrix[:, None] > 0
    matrices, vectors = (_mean_of(rows, hidden) for rows in (x.matrix, 1 - x.matrix))
    means = [jnp.broadcast_to(jnp.mean(hidden, 0), hidden.shape)]
    means.append(jnp.where(matrix, matrices, vectors))
    from_inputs = linear(net["inputs"], jnp.concatenate([inputs, *means], 1))
    from_memory = jnp.matmul(hidden, net["memory"]["w"], precision="highest")
    hidden = gru_cell(from_inputs.T, from_memory.T, hidden.T).T
    outputs = inputs @ net["skip"] + linear(net["head"], hidden)
    return jnp.clip(outputs, -5.0, 5.0).T, hidden


def _mean_of(rows: np.ndarray, x: jax.Array) -> jax.Array:
    """Of the rows that are 1, not 0, (1, columns)."""
    return jnp.sum((rows / max(1.0, rows.sum()))[:, None] * x, 0, keepdims=True)


def _weights(q: jax.Array, hats: list[jax.Array]) -> Any:
    """What to multiply the three momenta with to have the one at q, (tensors,) each."""
    parts = q * (q - 1) / 2, 1 - q * q, q * (q + 1) / 2
    return [part * hat for part, hat in zip(parts, hats, strict=True)]


def _mixed(weights: list[jax.Array], momenta: list[jax.Array]) -> jax.Array:
    first, second, third = (w * m for w, m in zip(weights, momenta, strict=True))
    return first + second + third


def _between(share: jax.Array, equal: jax.Array, adam: jax.Array) -> jax.Array:
    return equal + share * (adam - equal)
