"""RNN-MLP: an LSTM for each tensor that steers a network which sees each element.

Metz, Maheswaranathan, Freeman, Poole, Sohl-Dickstein 2020, "Tasks, stability, architecture, and
compute: Training more effective learned optimizers, and using them to train themselves".
"""

import dataclasses
import functools
import math
from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from .._base import Theta
from .._fields import Depth, Scale, Share, Width
from ..parts._averages import ema, gathered
from ..parts._networks import TIME_SCALES, dense, init_layers, init_linear, linear, lstm_cell
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Kept, Now, Tensors
from ..transformation._stacks import facts, gather
from ._rnn_mlp_inputs import (
    LossAverages,
    TensorAverages,
    init_losses,
    init_tensor,
    see_gradient,
    see_losses,
    shape_statistics,
    tensor_statistics,
)

CLIP_DECAY, CLIP_RATIO = 0.99, 10.0
LARGEST = 5.0
"""Bound of the logarithms that the LSTM sees."""

NUM_STATISTICS, NUM_ELEMENT, NUM_CONTEXT = 18, 23, 14
"""Inputs: of the LSTM; of the element network that vary in a tensor, and that do not."""


class Rows(NamedTuple):
    """What is remembered of n tensors: the LSTM's state, and what the element network sent it.

    `hidden`, `cell`: (n, lstm_size); `from_mlp`: (n, from_mlp).
    """

    hidden: jax.Array
    cell: jax.Array
    from_mlp: jax.Array


class Run(NamedTuple):
    """What is remembered of the run.

    `losses`: their averages; `clip`: EMA of the size of the gradient (scalar); `from_lstm`:
    (from_lstm,).
    """

    losses: LossAverages
    clip: jax.Array
    from_lstm: jax.Array


@dataclasses.dataclass(frozen=True)
class RNNMLP(LearnedOptimizer):
    """The published RNN-MLP optimizer, 35,799 meta-parameters at its defaults.

    For tensor j at step t = 0, 1, ..., with L a linear layer each::

        h_j, c_j   = LSTM([statistics_j, losses, from_mlp_j, from_lstm]; h_j, c_j)
        d, mu, y   = MLP([features / rms, context_j, L(h_j)])          for every element
        p_j        <- p_j - step_multiplier d exp(magnitude mu)
        from_mlp_j <- mean of y over the tensor,  from_lstm <- mean of L(h_j) over the tensors

    Gradients are first clipped to +-10 times the mean of their past size, an EMA of decay .99 of
    sqrt(1e-8 + mean over tensors of mean g^2) that starts as if one step of size 1 had been seen.
    m_k and v_k are EMAs of g and g^2 with decays .5, .9, .99, .999, .9999, uncorrected. With
    log'(x) = clip(log(1e-8 + |x|), -5, 5):

    - statistics (18): log' of the means of m, v, p, of their variances, of |p| and |g| (Euclidean
      norms); signs of the three means; 1 for a scalar, else -1; log(n) - 1 of four dimensions;
      the two loss features. m and v count all five decays together.
    - features (23): g, p, log(|p| + 1e-8), m_k, v_k, m_k / sqrt(v_k + 1e-6), 1 / sqrt(v_k + 1e-6);
      rms = sqrt(1e-5 + mean square over the tensor).
    - context (14): sin(t / (pi tau)), tau = 1, 3, 10, ..., 100,000; log(tensors) - 1;
      log(|p| + 1e-8); log(elements).
    - loss features: (l - M) / sqrt(S + 1e-8) in +-5, with l the train loss or the mean of the
      validation losses (decay .95), M and S bias-corrected EMAs of decay .9 of the train loss and
      of (M - loss)^2.

    `update` takes two losses by keyword, scalars: `value`, the train loss of this step, and
    `valid_value`, a validation loss, in the steps that have one. Either may be left out or not
    finite (so that a compiled loop can pass NaN): its average then stays as it was. A loss feature
    is zero, "no news", where `value` is missing, the validation one also before the first
    validation loss. There is no horizon: `num_steps` may be left out and changes nothing.

    The sizes, features and constants are those of the authors' implementation (Google's
    learned_optimization, `rnn_mlp_lopt`). Chosen here: M is corrected in S too (there S is of
    deviations from the uncorrected mean, which for early losses is near zero); the zero features
    above (there a missing train loss is an error, and before a first validation loss that loss
    counts as 0); validation losses do not advance the time; of a tensor of more than four
    dimensions, the fourth and later count as one; lists of features are in the order given here.

    Args:
      hidden: width of the element network's hidden layers.
      layers: their number.
      lstm_size: width of the LSTM.
      from_mlp: numbers that the element network sends to its tensor's LSTM.
      from_lstm: numbers that the LSTMs send to each other.
      to_mlp: numbers that the LSTM sends to the element network.
      step_multiplier: scale of the step.
      magnitude: scale of its logarithm's output.

    Raises:
      ValueError: an argument out of its range; at `update`, a loss that is not a scalar.

    Example:
      >>> import jax, jax.numpy as jnp, learned_opt
      >>> from learned_opt import RNNMLP
      >>> optimizer = RNNMLP()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      35799
      >>> tx, params = optimizer.transform(theta), {"w": jnp.ones((3, 2))}
      >>> steps, state = tx.update(params, tx.init(params), params, value=2.0, valid_value=2.5)
      >>> steps["w"].shape
      (3, 2)
    """

    name: ClassVar[str] = "rnn_mlp"
    use: ClassVar[str] = (
        "A rule that sees training and validation loss, where cost does not matter."
    )
    horizon_free = True
    keywords: ClassVar[tuple[str, ...]] = ("value", "valid_value")
    hidden: Width = 32
    layers: Depth = 2
    lstm_size: Width = 64
    from_mlp: Width = 16
    from_lstm: Width = 18
    to_mlp: Width = 17
    step_multiplier: Scale = 0.001
    magnitude: Share = 0.001

    def init(self, key: jax.Array) -> Theta:
        """Truncated normal weights over sqrt(fan-in), also of messages; zero biases and memory."""
        inputs = NUM_STATISTICS + self.from_mlp + self.from_lstm + self.lstm_size
        widths = [NUM_ELEMENT + NUM_CONTEXT + self.to_mlp, *[self.hidden] * self.layers]
        widths += [2 + self.from_mlp]
        first, keys = jnp.split(jax.random.split(key, self.layers + 6), [self.layers + 1])
        from_mlp, from_lstm, gates, to_lstm, to_mlp = keys
        return {
            "initial": {
                "hidden": jnp.zeros(self.lstm_size, jnp.float32),
                "cell": jnp.zeros(self.lstm_size, jnp.float32),
                "from_mlp": init_linear(from_mlp, self.from_mlp, 1)["w"][:, 0],
                "from_lstm": init_linear(from_lstm, self.from_lstm, 1)["w"][:, 0],
            },
            "lstm": init_linear(gates, inputs, 4 * self.lstm_size),
            "lstm_to_lstm": init_linear(to_lstm, self.lstm_size, self.from_lstm),
            "lstm_to_mlp": init_linear(to_mlp, self.lstm_size, self.to_mlp),
            "mlp": init_layers(first, widths),
        }

    def _peak(self, theta: Theta) -> Any:
        """`step_multiplier`, at any time."""
        return self.step_multiplier

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> TensorAverages:
        return init_tensor(zeros)

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        initial = theta["initial"]
        rows = (
            # A sum, for a buffer of its own: a training step may donate the state.
            jnp.zeros((tensors, 1)) + initial[k][None]
            for k in ("hidden", "cell", "from_mlp")
        )
        from_lstm = jnp.zeros(self.from_lstm) + initial["from_lstm"]
        clip = jnp.asarray(1 - CLIP_DECAY, jnp.float32)
        return Kept(Rows(*rows), Run(init_losses(), clip, from_lstm))

    def _accumulate(
        self, now: Now, kind: Hashable, old: TensorAverages, g: jax.Array
    ) -> TensorAverages:
        return see_gradient(old, _clip(now, g))

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        theta, rows, run = now.theta, now.memory.tensors, now.memory.run
        groups = [x.stack for x in stacks]
        values = [_loss(name, now.told[name]) for name in self.keywords]
        losses, loss_features = see_losses(run.losses, *values)
        gs = [_clip(now, x.g) for x in stacks]
        raw = [
            x.stack.map(tensor_statistics, g, x.p, x.kept) for x, g in zip(stacks, gs, strict=True)
        ]
        squares = [x.map(lambda g: jnp.mean(g * g), g) for x, g in zip(groups, gs, strict=True)]
        raw, squares = gather(groups, raw), gather(groups, squares)
        size = jnp.sqrt(1e-8 + jnp.mean(squares))
        clip = ema(CLIP_DECAY, run.clip, size)
        n = len(raw)
        inputs = [
            jnp.clip(jnp.log(1e-8 + jnp.abs(raw)), -LARGEST, LARGEST),
            jnp.sign(raw[:, :3]),
            facts(groups, lambda x: shape_statistics(x.shape)),
            jnp.broadcast_to(loss_features, (n, 2)),
            rows.from_mlp,
            jnp.broadcast_to(run.from_lstm, (n, self.from_lstm)),
            rows.hidden,
        ]
        hidden, cell = lstm_cell(linear(theta["lstm"], jnp.concatenate(inputs, 1)), rows.cell)
        to_lstm, to_mlp, net = theta["lstm_to_lstm"], theta["lstm_to_mlp"], theta["mlp"]
        from_lstm = jnp.mean(hidden, 0) @ to_lstm["w"] + to_lstm["b"]
        times = jnp.sin(now.t / (np.asarray(TIME_SCALES, np.float32) * np.float32(np.pi)))
        context = [
            jnp.broadcast_to(times, (n, len(TIME_SCALES))),
            jnp.full((n, 1), np.log(n) - 1, jnp.float32),
            jnp.log(raw[:, 6:7] + 1e-8),
            facts(groups, lambda x: (math.log(math.prod(x.shape)),)),
            hidden @ to_mlp["w"] + to_mlp["b"][None],
        ]
        bias = jnp.concatenate(context, 1) @ net["w1"][NUM_ELEMENT:] + net["b1"][None]
        elements = functools.partial(self._elements, net, now.size)
        found = [
            x.stack.map(elements, x.stack.each(bias), g, x.p, x.kept)
            for x, g in zip(stacks, gs, strict=True)
        ]
        last = self.layers + 1
        means = gather(groups, [mean for _, mean in found])
        from_mlp = means @ net[f"w{last}"][:, 2:] + net[f"b{last}"][None, 2:]
        memory = Kept(Rows(hidden, cell, from_mlp), Run(losses, clip, from_lstm))
        return Change([step for step, _ in found], None, memory)

    def _elements(
        self,
        net: Theta,
        size: jax.Array,
        bias: jax.Array,
        g: jax.Array,
        p: jax.Array,
        acc: TensorAverages,
    ) -> tuple[jax.Array, jax.Array]:
        """The step for one tensor, and the mean over it of the last hidden layer.

        The normaliser scales the weights, not the features. The messages to the LSTM are linear in
        the last hidden layer, so they are made from its mean, for all tensors at once.
        """
        axes = tuple(range(1, g.ndim + 1))
        momenta, second = jnp.stack(acc.momenta), jnp.stack(acc.second)
        root = rsqrt(second + 1e-6)
        plain = jnp.stack([g, p, jnp.log(jnp.abs(p) + 1e-8)])
        features = jnp.concatenate([plain, momenta, second, momenta * root, root])
        scale = rsqrt(1e-5 + jnp.mean(features * features, axes))
        units = dense(net["w1"][:NUM_ELEMENT] * scale[:, None], bias, features)
        for i in range(2, self.layers + 1):
            units = dense(net[f"w{i}"], net[f"b{i}"], jax.nn.relu(units))
        units, last = jax.nn.relu(units), self.layers + 1
        direction, mu = dense(net[f"w{last}"][:, :2], net[f"b{last}"][:2], units)
        return size * direction * jnp.exp(self.magnitude * mu), jnp.mean(units, axes)


def _loss(name: str, given: Any) -> jax.Array:
    """A scalar, NaN for None; ValueError that calls it `name` where it is not a scalar."""
    if given is not None and jnp.ndim(given) != 0:
        raise ValueError(
            f"{name} must be a loss, a scalar, got an array of shape {jnp.shape(given)}; "
            "pass its mean"
        )
    return jnp.asarray(jnp.nan if given is None else given).astype(jnp.float32)


def _clip(now: Now, g: jax.Array) -> jax.Array:
    """A gradient, to +-10 times the mean of the past sizes."""
    bound = CLIP_RATIO * now.memory.run.clip / gathered(CLIP_DECAY, now.t + 1)
    return jnp.clip(g, -bound, bound)
