"""MomentumMLP: a small network that sees each element's gradient, its momenta and the time.

Metz, Maheswaranathan, Nixon, Freeman, Sohl-Dickstein 2019, "Understanding and correcting
pathologies in the training of learned optimizers" (arXiv 1810.10180).
"""

import dataclasses
import functools
from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import Theta, zeros_for
from .._fields import Depth, Scale, Share, Width
from ..parts._averages import ema
from ..parts._networks import TIME_SCALES, dense, init_layers, times_since_start
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Now, Tensors

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
NUM_ELEMENT, NORM_EPS = 2 + len(DECAYS), 1e-5


class Momenta(NamedTuple):
    """Six EMAs of g, of the tensor's shape, float32."""

    momenta: tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True)
class MomentumMLP(LearnedOptimizer):
    """The small predecessor of `PerParamMLP`, 1,762 meta-parameters at its defaults.

    For every element, from 8 features of its tensor and 11 of the time t = 0, 1, ...::

        m_k <- b_k m_k + (1 - b_k) g,   b = .1, .5, .9, .99, .999, .9999
        d, mu = MLP([g, p, m_k] / sqrt(1e-5 + mean square), tanh(t/tau - 1))
        p <- p - step_multiplier d exp(magnitude mu)

    m_k start at zero and are not corrected; means are over the tensor; tau = 1, 3, 10, ...,
    100,000. The network is 19-32-32-2 with ReLU. There is no horizon: `num_steps` may be left out
    and changes nothing. At initialisation the network is random and need not descend.

    Args:
      hidden: width of the hidden layers.
      layers: number of hidden layers.
      step_multiplier: scale of the step.
      magnitude: scale of its logarithm's second output.

    Raises:
      ValueError: an argument out of its range.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.MomentumMLP()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      1762
      >>> tx = optimizer.transform(theta)
    """

    name: ClassVar[str] = "momentum_mlp"
    use: ClassVar[str] = "The simplest of the literature, an ablation of the second moments."
    horizon_free = True
    hidden: Width = 32
    layers: Depth = 2
    step_multiplier: Scale = 0.001
    magnitude: Share = 0.001

    def init(self, key: jax.Array) -> Theta:
        """Truncated normal weights over sqrt(fan-in), zero biases."""
        widths = [NUM_ELEMENT + len(TIME_SCALES), *[self.hidden] * self.layers, 2]
        return {"net": init_layers(jax.random.split(key, self.layers + 1), widths)}

    def _peak(self, theta: Theta) -> Any:
        """`step_multiplier`, at any time."""
        return self.step_multiplier

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> Momenta:
        return Momenta(tuple(zeros_for(zeros) for _ in DECAYS))

    def _accumulate(self, now: Now, kind: Hashable, old: Momenta, g: jax.Array) -> Momenta:
        pairs = zip(DECAYS, old.momenta, strict=True)
        return Momenta(tuple(ema(b, m, g) for b, m in pairs))

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        net = now.theta["net"]
        bias = net["b1"] + times_since_start(now.count) @ net["w1"][NUM_ELEMENT:]
        one = functools.partial(self._step, net, bias, now.size)
        return Change(
            [x.stack.map(one, x.g, x.p, x.kept.momenta) for x in stacks], None, now.memory
        )

    def _step(
        self,
        net: Theta,
        bias: jax.Array,
        size: jax.Array,
        g: jax.Array,
        p: jax.Array,
        momenta: tuple[jax.Array, ...],
    ) -> jax.Array:
        """The normaliser scales the weights, not the features."""
        x = jnp.stack([g, p, *momenta])
        scale = rsqrt(NORM_EPS + jnp.mean(x * x, tuple(range(1, x.ndim))))
        units = dense(net["w1"][:NUM_ELEMENT] * scale[:, None], bias, x)
        for i in range(2, self.layers + 2):
            units = dense(net[f"w{i}"], net[f"b{i}"], jax.nn.relu(units))
        direction, mu = units
        return size * direction * jnp.exp(self.magnitude * mu)
