"""Hypernet: an LSTM for every tensor mixes, from a bank, the network that gives its step.

Metz, Harrison, Freeman, Merchant, Beyer, Bradbury, Agrawal, Poole, Mordatch, Roberts,
Sohl-Dickstein 2022, "VeLO: Training Versatile Learned Optimizers by Scaling Up" ("HyperV2").
"""

import dataclasses
import functools
from collections.abc import Hashable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta
from .._fields import Momenta, Width
from ..parts._loss import (
    NUM_LOSS_FEATURES,
    TIMES,
    init_loss,
    loss_features,
    time_features,
)
from ..parts._networks import init_lstm, init_lstm_net, linear, run_lstm
from ..parts._per_param import TensorState
from ..parts._published import (
    FEATURES,
    FLOOR,
    clip_gradient,
    init_mlp,
    see_gradient,
    tensor_scale,
)
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Kept, Now, Tensors
from ..transformation._stacks import gather

BANK_SCALE = 100.0
STEP, MAGNITUDE = 0.001, 0.001
NUM_RANKS = 5
NUM_INPUTS = len(TIMES) + NUM_LOSS_FEATURES + NUM_RANKS + 7


@dataclasses.dataclass(frozen=True)
class Hypernet(LearnedOptimizer):
    """The hypernetwork optimizer VeLO, 2.3 million meta-parameters at its defaults.

    For tensor j, at step t of T, from 30 features x_j of time, loss and the tensor's statistics::

        x'_j = own(x_j) + max_i relu(pool(x_i));   h_j = LSTM(x'_j);   c_j, a_j = linear(h_j)
        d, mu = MLP(features; weights 100 mean_k c_jk W_k)
        p <- p - 0.001 a_j d exp(0.001 mu) max(0.01, rms p)

    W_k: a bank of MLPs 30-`hidden`-`hidden`-3, third output unused; `features` of every element:
    `PerParamFeatures(velo=True)`, but below rank 2 m_k / sqrt(R_k) in place of
    m_k / sqrt(R_k + 1e-6). Gradients are clipped to +-1000 first.

    x_j: tanh(10 (t/T - s)) for nine s; nine features of the loss; then, of the averages before
    this gradient and with r = max(0.01, rms p) and q(x) = 0.5 clip(log(1e-8 + |10 x|), -5, 5),
    q(mean v / r); one-hot of the number of axes longer than 1, of 0 to 4; q(mean (m_k - mean
    m_k)^2 / r^2), k = 1, 2, 3; and three times q(mean (v - mean v)^2 / r^2).

    The training loss comes as optax's keyword `value`. Without it, or where it is not finite, its
    features are zero, as they are for the first two losses.

    `init` gives the heads c and a zero weights: every tensor starts with the same random MLP,
    which need not descend, and neither time nor loss matters until meta-training makes them.

    Args:
      lstm: width of the LSTM.
      bank: number of MLPs in the bank.
      hidden: width of their hidden layers.
      as_published: with the three faults of the published code. Steps are scaled by
        sqrt(mean p^2 + 1e-9) and features by r = sqrt(max(mean p^2, 1e-9)): a tensor that starts
        at zero then has scale 3e-5 and hardly moves, which the floor of 0.01 cures. The last
        three inputs are q(mean (v - mean m_k)^2 / r^2). And the cap of the loss, see
        `loss_features`.
      momenta: dtype of the first two momenta, see `PerParamFeatures`.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.Hypernet(lstm=16, bank=8)
      >>> theta = optimizer.init(jax.random.key(0))
      >>> tx = optimizer.transform(theta, num_steps=100)
      >>> params = {"w": jax.numpy.ones((3, 2))}
      >>> state = tx.init(params)
      >>> steps, state = tx.update(params, state, params, value=0.7)
    """

    name: ClassVar[str] = "hypernet"
    use: ClassVar[str] = "Large meta-training budgets; small sizes as a rival."
    keywords: ClassVar[tuple[str, ...]] = ("value",)
    lstm: Width = 512
    bank: Width = 256
    hidden: Width = 4
    as_published: bool = False
    momenta: Momenta = "float32"

    def init(self, key: jax.Array) -> Theta:
        """Random bank and LSTM; constant heads, such that weights have the scale of the bank's."""
        key_bank, key_lstm = jax.random.split(key)
        even = np.sqrt(self.bank) / BANK_SCALE
        return {
            "bank": init_mlp(key_bank, self.hidden, self.bank),
            "lstm": init_lstm_net(key_lstm, NUM_INPUTS, self.lstm),
            "mixture": {
                "w": jnp.zeros((self.lstm, self.bank), jnp.float32),
                "b": jnp.full(self.bank, even, jnp.float32),
            },
            "step_size": {
                "w": jnp.zeros((self.lstm, 1), jnp.float32),
                "b": jnp.ones(1, jnp.float32),
            },
        }

    def _peak(self, theta: Theta) -> Any:
        """0.001 at any time: what changes it is the tensor's own a_j."""
        return STEP

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> TensorState:
        return FEATURES.init(zeros, dtype=jnp.dtype(self.momenta))

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        return Kept(init_lstm(theta["lstm"], tensors), init_loss())

    def _accumulate(self, now: Now, kind: Hashable, old: TensorState, g: jax.Array) -> TensorState:
        return see_gradient(old, g)

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        assert now.total is not None
        theta, memory = now.theta, now.memory
        groups = [x.stack for x in stacks]
        features, loss = loss_features(memory.run, now.told["value"], now.total, self.as_published)
        common = jnp.concatenate([time_features(now.count, now.total), features])
        every = functools.partial(self._inputs, common)
        inputs = gather(groups, [x.stack.map(every, x.p, x.before()) for x in stacks])
        lstm = run_lstm(theta["lstm"], inputs, memory.tensors)
        mixture = BANK_SCALE / theta["mixture"]["b"].size * linear(theta["mixture"], lstm.hidden)
        nets = jax.tree.map(lambda w: jnp.tensordot(mixture, w, 1), theta["bank"])
        own = nets, now.size * linear(theta["step_size"], lstm.hidden)[:, 0]
        steps = [x.stack.map(self._step, x.g, x.p, x.kept, *x.stack.each(own)) for x in stacks]
        return Change(steps, None, Kept(lstm, loss))

    def _step(
        self, g: jax.Array, p: jax.Array, kept: TensorState, net: Theta, scale: jax.Array
    ) -> jax.Array:
        """Of one tensor with the network `net`; `scale`: 0.001 a_j."""

        def combine(outputs: list[jax.Array], p: jax.Array) -> jax.Array:
            direction, magnitude, _ = outputs
            size = tensor_scale(p, self.as_published)
            return scale * size * direction * jnp.exp(MAGNITUDE * magnitude)

        return FEATURES.step(net, net["b1"], clip_gradient(g), p, kept, combine)

    def _inputs(self, common: jax.Array, p: jax.Array, old: TensorState) -> jax.Array:
        """What the LSTM sees of one tensor, (30,); `old`: averages before this gradient."""
        least = 1e-9 if self.as_published else FLOOR**2
        size = jnp.maximum(least, jnp.mean(p * p))
        averages = [*(m.astype(jnp.float32) for m in old.momenta), old.second]
        means = jnp.stack([jnp.mean(x) for x in averages])
        centred = [x - mean for x, mean in zip(averages, means, strict=True)]
        variances = jnp.stack([jnp.mean(x * x) for x in centred])
        of_second = jnp.broadcast_to(variances[3], 3)
        if self.as_published:
            # mean (v - mean m)^2 = var v + (mean v - mean m)^2.
            of_second += (means[3] - means[:3]) ** 2
        rank = np.arange(NUM_RANKS) == sum(n > 1 for n in p.shape)
        return jnp.concatenate(
            [
                common,
                _squashed(means[3:] / jnp.sqrt(size)),
                jnp.asarray(rank, jnp.float32),
                _squashed(variances[:3] / size),
                _squashed(of_second / size),
            ]
        )


def _squashed(x: jax.Array) -> jax.Array:
    return 0.5 * jnp.clip(jnp.log(1e-8 + jnp.abs(10 * x)), -5, 5)
