"""MomentumMLP: a small network that sees each element's gradient, its momenta and the time.

Metz, Maheswaranathan, Nixon, Freeman, Sohl-Dickstein 2019, "Understanding and correcting
pathologies in the training of learned optimizers" (arXiv 1810.10180).
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import rsqrt

from .._base import Theta, check_free_num_steps, zeros_for
from .._checks import DEPTH, STEP, WIDTH, check_fields
from .._guard import skip_nonfinite
from ..parts._elements import TIME_SCALES, dense, times_since_start, update_averages
from ..parts._leaves import group_leaves
from ..parts._lstm import init_layers

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
NUM_ELEMENT, NORM_EPS = 2 + len(DECAYS), 1e-5


class MomentumMLPState(NamedTuple):
    """`steps`: taken so far (int32 scalar); `momenta`: of every group of leaves, float32.

    Six EMAs of g on an axis of their own before the tensor's, see `group_leaves`.
    """

    steps: jax.Array
    momenta: tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True)
class MomentumMLP:
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
    hidden: int = 32
    layers: int = 2
    step_multiplier: float = 0.001
    magnitude: float = 0.001

    def __post_init__(self) -> None:
        check_fields(self, hidden=WIDTH, layers=DEPTH, step_multiplier=STEP, magnitude=(0.0, 1.0))

    def init(self, key: jax.Array) -> Theta:
        """Truncated normal weights over sqrt(fan-in), zero biases."""
        widths = [NUM_ELEMENT + len(TIME_SCALES), *[self.hidden] * self.layers, 2]
        return {"net": init_layers(jax.random.split(key, self.layers + 1), widths)}

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """`step_multiplier`, at any time."""
        check_free_num_steps(num_steps)
        return lambda count: jnp.asarray(self.step_multiplier)

    def transform(
        self, theta: Theta, *, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is None, a positive integer or traced."""
        check_free_num_steps(num_steps)

        def init(params: optax.Params) -> MomentumMLPState:
            leaves = [zeros_for(p, len(DECAYS)) for p in jax.tree.leaves(params)]
            return MomentumMLPState(
                jnp.zeros((), jnp.int32), tuple(group_leaves(params).stack(leaves))
            )

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            *,
            accepted: Any = True,
            **extra_args,
        ) -> tuple[optax.Updates, MomentumMLPState]:
            del extra_args
            assert isinstance(state, MomentumMLPState)
            times = times_since_start(state.steps)
            net = theta["net"]
            bias = net["b1"] + times @ net["w1"][NUM_ELEMENT:]
            update_tensor = functools.partial(_update_tensor, self, net, bias, accepted)
            steps, momenta = group_leaves(params).update(
                update_tensor, updates, params, state.momenta
            )
            return steps, MomentumMLPState(state.steps + jnp.where(accepted, 1, 0), momenta)

        guarded = optax.GradientTransformationExtraArgs(init, update)
        return skip_nonfinite(guarded, keeps_state=True)


# Compiled by itself only where the caller compiles nothing: then one call instead of dozens.
@functools.partial(jax.jit, static_argnums=0, inline=True)
def _update_tensor(
    optimizer: MomentumMLP,
    net: Theta,
    bias: jax.Array,
    accepted: Any,
    grad: jax.Array,
    p: jax.Array,
    old: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The normaliser scales the weights, not the features."""
    g, p = grad.astype(jnp.float32), p.astype(jnp.float32)
    momenta = jnp.where(accepted, update_averages(DECAYS, old, g), old)
    x = jnp.concatenate([jnp.stack([g, p]), momenta])
    scale = rsqrt(NORM_EPS + jnp.mean(x * x, tuple(range(1, x.ndim))))
    units = dense(net["w1"][:NUM_ELEMENT] * scale[:, None], bias, x)
    for i in range(2, optimizer.layers + 2):
        units = dense(net[f"w{i}"], net[f"b{i}"], jax.nn.relu(units))
    direction, mu = units
    step = optimizer.step_multiplier * direction * jnp.exp(optimizer.magnitude * mu)
    return step.astype(grad.dtype), momenta
