"""OPEN: a recurrent network for each parameter, for reinforcement learning.

Goldie, Lu, Jackson, Whiteson, Foerster 2024, "Can Learned Optimization Make Reinforcement Learning
Less Difficult?" (Learned Optimization for Plasticity, Exploration and Non-stationarity).
"""

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from .._base import Theta, zeros_for
from .._fields import Scale, Share, Width, Within
from ..layouts._layout import Layout
from ..parts._averages import ema
from ..parts._networks import dense, gru_cell
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Kept, Now, Tensors
from ._open_leaves import for_leaves, layer_fractions
from ._open_network import (
    count_weights,
    from_vector,
    init_network,
    network_outputs,
    network_shapes,
)

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
NUM_NORMALISED, NUM_INPUTS, NUM_OUTPUTS = 15, 19, 3
NORM_EPS, TINY = 1e-5, 1e-13
DORMANCY, BATCH_FRACTION = 0.0, 0.0
"""What the network is told where `update` is not."""

PUBLISHED_SIZES = ((8, 16), (16, 32))
"""(gru, hidden) of the optimizers of one environment and of that of several."""


class OPENTensor(NamedTuple):
    """For one tensor: six EMAs of g, of its shape, and the GRU's state, (*shape, gru), float32."""

    momenta: tuple[Any, ...]
    memory: jax.Array


class Beside(NamedTuple):
    """What else is known of a tensor: dormancy and noise, of its shape, and its layer fraction."""

    dormancy: jax.Array
    actor: jax.Array
    layer: jax.Array


@dataclasses.dataclass(frozen=True)
class OPEN(LearnedOptimizer):
    """The published RL optimizer, 1,211 meta-parameters at its defaults.

    For every parameter, with h its memory and N normal noise (with `stochastic` only)::

        h <- GRU(x, h),  (o1, o2, o3) = Dense3(relu(norm(Dense(relu(norm(Dense(h)))))))
        u = step_multiplier [o1 exp(magnitude o2) + o3 N(0, 1)]
        p <- p - (u - mean u),  the mean over all parameters of the tree

    x (19): p; signs of m_k; log(|m_k| + 1e-13); sign of g; log(|g| + 1e-13), with m_k EMAs of g
    from zero, uncorrected, decays .1, .5, .9, .99, .999, .9999; these 15 over sqrt(1e-5 + their
    mean square over the tensor). Then as they are: training fraction, layer fraction, batch
    fraction, dormancy. norm is LayerNorm with scale and bias. Because of the mean a lone scalar
    never moves.

    Keywords of `update`, each may be left out:

    - `training_fraction`: scalar in [0, 1]; else t / (num_steps - 1), at most 1.
    - `batch_fraction`: scalar, epoch / (epochs - 1) in the passes over one rollout; else 0.
    - `dormancy`: tree like params, or a prefix of it, of arrays that broadcast to the tensors: for
      neuron i of a layer (last axis) |a_i| / mean_j |a_j|, so 1 on average and 0 when dead, with
      |a| the mean size of its activation; else 0 everywhere. Published weights know it: give it.
    - `actor`: tree like params, or a prefix of it, of numbers by which the noise is multiplied,
      e.g. {"actor": 1.0, "critic": 0.0} (only a critic without noise); else 1 everywhere.

    Layer fraction: i / (layers - 1) in the order of the leaves; 0 for a lone layer. Leaves are one
    layer when their parent holds only leaves and is not the root of the tree, else each is one.

    The authors' actor and critic share one tree, so that u - mean u is over both, and their
    gradients are clipped to global norm 0.5 first (`optax.clip_by_global_norm`). Their training
    fraction is that of the rollout, constant over its epochs and minibatches. They meta-train
    from theta = 0. The data of the random key is `state.run`, uint32, and never changes: replace
    it to draw other noise.

    Args:
      gru: width of the GRU.
      hidden: width of the two hidden layers.
      step_multiplier: scale of the step.
      magnitude: scale of its logarithm's output.
      stochastic: whether there is noise.
      seed: of the key in the initial state.

    Raises:
      ValueError: an argument out of its range; at `update`, `dormancy` or `actor` does not fit the
        parameters.

    Example:
      >>> import jax, jax.numpy as jnp, learned_opt
      >>> from learned_opt import OPEN
      >>> optimizer = OPEN(stochastic=True)
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      1211
      >>> params = {"actor": {"w": jnp.ones((3, 2))}, "critic": {"w": jnp.ones((3, 1))}}
      >>> tx = optimizer.transform(theta, num_steps=100)
      >>> noisy = {"actor": 1.0, "critic": 0.0}
      >>> steps, state = tx.update(params, tx.init(params), params, actor=noisy, dormancy=1.0)
    """

    name: ClassVar[str] = "open"
    use: ClassVar[str] = "Reinforcement learning; pass dormancy where you have it."
    keywords: ClassVar[tuple[str, ...]] = (
        "dormancy", "batch_fraction", "training_fraction", "actor",
    )  # fmt: skip
    gru: Width = 8
    hidden: Width = 16
    step_multiplier: Scale = 0.001
    magnitude: Share = 0.001
    stochastic: bool = False
    seed: Annotated[int, Within(0, 2**32 - 1)] = 0

    @classmethod
    def published(cls, *, stochastic: bool = False) -> "OPEN":
        """The optimizer whose weights for several environments are published: 16 and 32 wide."""
        gru, hidden = PUBLISHED_SIZES[-1]
        return cls(gru=gru, hidden=hidden, stochastic=stochastic)

    @classmethod
    def from_published(cls, flat: np.ndarray) -> Theta:
        """Meta-parameters from the flat vector in which the authors publish their weights.

        1,211 numbers (one environment) fit `OPEN()`, 3,571 (several) fit `OPEN.published()`. The
        order is that of flax and evosax: names sorted, so the GRU (hn, hr, hz, in, ir, iz), then
        Dense, LayerNorm, Dense, LayerNorm, Dense, in each the bias before the kernel or scale.

        Args:
          flat: shape (1211,) or (3571,), finite floats.

        Raises:
          ValueError: another shape, or a number that is not finite.

        Example:
          >>> import numpy as np
          >>> from learned_opt import OPEN
          >>> theta = OPEN.from_published(np.zeros(3571, np.float32))
          >>> theta["gru"]["in"]["kernel"].shape
          (19, 16)
        """
        every = (network_shapes(NUM_INPUTS, *sizes, NUM_OUTPUTS) for sizes in PUBLISHED_SIZES)
        layouts = {count_weights(shapes): shapes for shapes in every}
        flat = np.asarray(flat)
        if flat.ndim != 1 or flat.size not in layouts:
            raise ValueError(
                f"the published vectors hold {' or '.join(map(str, layouts))} numbers, got shape "
                f"{flat.shape}; pass what numpy.load gives for one of the published files"
            )
        if not np.isfinite(flat).all():
            raise ValueError(
                "every published number must be finite, got NaN or infinity; fetch the file again"
            )
        return from_vector(flat, layouts[flat.size])

    def init(self, key: jax.Array) -> Theta:
        """Like flax: LeCun normal kernels, orthogonal ones on the memory, zero biases, scales 1."""
        return init_network(key, network_shapes(NUM_INPUTS, self.gru, self.hidden, NUM_OUTPUTS))

    def _peak(self, theta: Theta) -> Any:
        """`step_multiplier`, at any time."""
        return self.step_multiplier

    def _beside(self, params: Any, tensors: Sequence[Layout], told: dict[str, Any]) -> list[Any]:
        dormancy, actor = told.pop("dormancy"), told.pop("actor")
        layers = [
            jnp.asarray(fractions if x.axes is not None and x.axes.batch else fractions[0])
            for x, fractions in zip(
                tensors, layer_fractions(params, [x.count for x in tensors]), strict=True
            )
        ]
        rows = (
            for_leaves("dormancy", DORMANCY if dormancy is None else dormancy, params),
            for_leaves("actor", 1.0 if actor is None else actor, params),
            layers,
        )
        return [Beside(*row) for row in zip(*rows, strict=True)]

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> OPENTensor:
        memory = jnp.stack([zeros_for(zeros) for _ in range(self.gru)], -1)
        return OPENTensor(tuple(zeros_for(zeros) for _ in DECAYS), memory)

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        return Kept((), jax.random.key_data(jax.random.key(self.seed)))

    def _accumulate(self, now: Now, kind: Hashable, old: OPENTensor, g: jax.Array) -> OPENTensor:
        pairs = zip(DECAYS, old.momenta, strict=True)
        return old._replace(momenta=tuple(ema(b, m, g) for b, m in pairs))

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        assert now.total is not None
        trained, batch = now.told["training_fraction"], now.told["batch_fraction"]
        if trained is None:
            trained = jnp.minimum(1.0, now.t / jnp.maximum(1.0, now.total - 1))
        fractions = [trained, BATCH_FRACTION if batch is None else batch]
        fractions = jnp.stack([jnp.asarray(x).astype(jnp.float32) for x in fractions])
        # Of the step, so that a refused step leaves no trace in the noise.
        key = jax.random.fold_in(jax.random.wrap_key_data(now.memory.run), now.count)
        step = functools.partial(self._step, now.theta, now.size, fractions, key)
        found = [x.stack.map(step, _numbers(x), x.g, x.p, x.kept, x.beside) for x in stacks]
        total, count = sum(jnp.sum(u) for u, _ in found), sum(u.size for u, _ in found)
        steps = [u - total / count for u, _ in found]
        unchanged = (None,) * len(DECAYS)
        return Change(steps, [OPENTensor(unchanged, new) for _, new in found], now.memory)

    def _step(
        self,
        theta: Theta,
        size: jax.Array,
        fractions: jax.Array,
        key: jax.Array,
        number: jax.Array,
        g: jax.Array,
        p: jax.Array,
        kept: OPENTensor,
        beside: Beside,
    ) -> tuple[jax.Array, jax.Array]:
        """u of one tensor before its mean is taken off, and the GRU's next state."""
        constant = jnp.stack([fractions[0], beside.layer, fractions[1]])
        momenta, memory = jnp.stack(kept.momenta), jnp.moveaxis(kept.memory, -1, 0)
        memory = _remember(theta["gru"], constant, beside.dormancy, g, p, momenta, memory)
        direction, mu, spread = network_outputs(theta["mlp"], memory)
        step = direction * jnp.exp(self.magnitude * mu)
        if self.stochastic:
            noise = jax.random.normal(jax.random.fold_in(key, number), g.shape)
            step += spread * beside.actor * noise
        return size * step, jnp.moveaxis(memory, 0, -1)


def _numbers(x: Tensors) -> jax.Array:
    """By which the noise of tensors differs."""
    rows = jnp.asarray(x.stack.rows, jnp.int32)
    return rows[0] if x.stack.alone else rows


def _remember(
    gru: Theta,
    constant: jax.Array,
    dormancy: jax.Array,
    g: jax.Array,
    p: jax.Array,
    momenta: jax.Array,
    memory: jax.Array,
) -> jax.Array:
    """The GRU's next state for one tensor; `constant`: the inputs (3,) that do not vary in it.

    The normaliser scales the weights, not the inputs.
    """
    signs, logs = jnp.sign(momenta), jnp.log(jnp.abs(momenta) + TINY)
    newest = jnp.stack([jnp.sign(g), jnp.log(jnp.abs(g) + TINY)])
    x = jnp.concatenate([p[None], signs, logs, newest])
    scale = rsqrt(NORM_EPS + jnp.mean(x * x, tuple(range(1, x.ndim))))
    w, b = (
        jnp.concatenate([gru[k][kind] for k in ("ir", "iz", "in")], -1)
        for kind in ("kernel", "bias")
    )
    bias = b + constant @ w[NUM_NORMALISED : NUM_INPUTS - 1]
    w = jnp.concatenate([w[:NUM_NORMALISED] * scale[:, None], w[NUM_INPUTS - 1 :]])
    new = dense(w, bias, jnp.concatenate([x, dormancy[None]]))
    w = jnp.concatenate([gru[k]["kernel"] for k in ("hr", "hz", "hn")], -1)
    bias = jnp.concatenate([jnp.zeros(2 * len(memory)), gru["hn"]["bias"]])
    return gru_cell(new, dense(w, bias, memory), memory)
