"""Per-parameter MLP: a small network that sees each element's accumulators and gives its step.

Metz, Freeman, Harrison, Maheswaranathan, Sohl-Dickstein 2022, "Practical tradeoffs between memory,
compute, and performance in learned optimizers" (there: "Adafac-MLP", "small_fc_lopt").
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .._base import Theta
from .._fields import Depth, Momenta, Scale, Share, Width
from ..parts._networks import TIME_SCALES, init_layers, times_since_start
from ..parts._per_param import Decays, PerParamFeatures, TensorState, accumulate
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Now, Tensors

MOMENTUM_DECAYS = (0.9, 0.99, 0.999)
SECOND_DECAY = 0.999
FACTORED_DECAYS = (0.9, 0.99, 0.999)
FEATURES = PerParamFeatures()
LOG_GAIN = 10.0
"""Decays are stored as shifts of log(1 - decay) over this."""


@dataclasses.dataclass(frozen=True)
class PerParamMLP(LearnedOptimizer):
    """The published per-parameter MLP optimizer, 197 meta-parameters at its defaults.

    For every element, from 28 features of its tensor and 11 of the time t = 0, 1, ...::

        d, mu = MLP(features / sqrt(1e-5 + mean features^2), tanh(t/tau - 1))
        p <- p - step_multiplier d exp(magnitude mu)

    The features are those of `PerParamFeatures`, means are over the tensor, tau = 1, 3, 10, ...,
    100,000.

    The meta-parameters are the 190 of a 39-4-4-2 ReLU network and a shift of each of the seven
    decays: 1 - (1 - decay) exp(10 shift), kept in [0, 1]. There is no horizon: `num_steps` may be
    left out and changes nothing. At initialisation the network is random and need not descend.

    Args:
      hidden: width of the hidden layers.
      layers: number of hidden layers.
      step_multiplier: scale of the step.
      magnitude: scale of its logarithm's second output.
      momenta: dtype of the first two momenta, see `PerParamFeatures`.

    Raises:
      ValueError: an argument out of its range.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.PerParamMLP()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      197
      >>> tx = optimizer.transform(theta)
    """

    name: ClassVar[str] = "per_param_mlp"
    use: ClassVar[str] = "The reference of the literature; no horizon needed."
    horizon_free = True
    hidden: Width = 4
    layers: Depth = 2
    step_multiplier: Scale = 0.001
    magnitude: Share = 0.001
    momenta: Momenta = "float32"

    def init(self, key: jax.Array) -> Theta:
        """Published decays; truncated normal weights over sqrt(fan-in), zero biases."""
        widths = [FEATURES.count + len(TIME_SCALES), *[self.hidden] * self.layers, 2]
        return {
            "momentum_decays": jnp.zeros(len(MOMENTUM_DECAYS), jnp.float32),
            "second_decay": jnp.zeros((), jnp.float32),
            "factored_decays": jnp.zeros(len(FACTORED_DECAYS), jnp.float32),
            "net": init_layers(jax.random.split(key, self.layers + 1), widths),
        }

    def _peak(self, theta: Theta) -> Any:
        """`step_multiplier`, at any time."""
        return self.step_multiplier

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> TensorState:
        return FEATURES.init(zeros, dtype=jnp.dtype(self.momenta))

    def _accumulate(self, now: Now, kind: Hashable, old: TensorState, g: jax.Array) -> TensorState:
        decays = Decays(
            _moved(MOMENTUM_DECAYS, now.theta["momentum_decays"]),
            _moved(SECOND_DECAY, now.theta["second_decay"]),
            _moved(FACTORED_DECAYS, now.theta["factored_decays"]),
        )
        return accumulate(decays, old, g)

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        net = now.theta["net"]
        bias = net["b1"] + times_since_start(now.count) @ net["w1"][FEATURES.count :]

        def combine(outputs: list[jax.Array], p: jax.Array) -> jax.Array:
            del p
            direction, magnitude = outputs
            return now.size * direction * jnp.exp(self.magnitude * magnitude)

        def step(g: jax.Array, p: jax.Array, kept: TensorState) -> jax.Array:
            return FEATURES.step(net, bias, g, p, kept, combine)

        return Change([x.stack.map(step, x.g, x.p, x.kept) for x in stacks], None, now.memory)


def _moved(initial: float | Sequence[float], shift: jax.Array) -> jax.Array:
    """Decays moved by what was learned: 1 - (1 - decay) exp(10 shift) in [0, 1]."""
    room = 1 - np.asarray(initial, np.float32)
    return jnp.maximum(0.0, 1 - room * jnp.exp(LOG_GAIN * shift))
