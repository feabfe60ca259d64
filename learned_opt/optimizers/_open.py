"""OPEN: a recurrent network for each parameter, for reinforcement learning.

Goldie, Lu, Jackson, Whiteson, Foerster 2024, "Can Learned Optimization Make Reinforcement Learning
Less Difficult?" (Learned Optimization for Plasticity, Exploration and Non-stationarity).
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import rsqrt

from .._base import Theta, check_num_steps, zeros_for
from .._checks import STEP, WIDTH, check_fields
from .._guard import skip_nonfinite
from ..parts._elements import dense, update_averages
from ..parts._leaves import for_leaves, layer_fractions
from ..parts._recurrent import (
    count_weights,
    from_vector,
    gru_cell,
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


class OPENTensorState(NamedTuple):
    """For one tensor: six EMAs of g, (6, *shape), and the GRU's state, (gru, *shape), float32."""

    momenta: jax.Array
    memory: jax.Array


class OPENState(NamedTuple):
    """`steps`: taken so far (int32 scalar); `key`: data of the random key, uint32, never changed
    (replace it to draw other noise); `tensors`: an `OPENTensorState` for every leaf.
    """

    steps: jax.Array
    key: jax.Array
    tensors: tuple[OPENTensorState, ...]


@dataclasses.dataclass(frozen=True)
class OPEN:
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
    from theta = 0.

    Args:
      gru: width of the GRU.
      hidden: width of the two hidden layers.
      step_multiplier: scale of the step.
      magnitude: scale of its logarithm's output.
      stochastic: whether there is noise.
      seed: of the key in the initial state.

    Raises:
      ValueError: an argument out of its range.

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
    gru: int = 8
    hidden: int = 16
    step_multiplier: float = 0.001
    magnitude: float = 0.001
    stochastic: bool = False
    seed: int = 0

    def __post_init__(self):
        check_fields(
            self,
            gru=WIDTH,
            hidden=WIDTH,
            step_multiplier=STEP,
            magnitude=(0.0, 1.0),
            seed=(0, 2**32 - 1),
        )

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

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """`step_multiplier`, at any time."""
        check_num_steps(num_steps)
        return lambda count: jnp.asarray(self.step_multiplier)

    def transform(
        self, theta: Theta, *, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is a positive integer or traced.

        `update` raises a ValueError where `dormancy` or `actor` does not fit the parameters.
        """
        total = check_num_steps(num_steps)

        def init(params: optax.Params) -> OPENState:
            tensors = tuple(
                OPENTensorState(zeros_for(p, len(DECAYS)), zeros_for(p, self.gru))
                for p in jax.tree.leaves(params)
            )
            key = jax.random.key_data(jax.random.key(self.seed))
            return OPENState(jnp.zeros((), jnp.int32), key, tensors)

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            *,
            dormancy: Any = None,
            batch_fraction: Any = None,
            training_fraction: Any = None,
            actor: Any = None,
            accepted: Any = True,
            **extra_args,
        ) -> tuple[optax.Updates, OPENState]:
            del extra_args
            assert isinstance(state, OPENState)
            grads, treedef = jax.tree.flatten(updates)
            if not grads:
                return updates, state
            t = state.steps.astype(jnp.float32)
            trained = jnp.minimum(1.0, t / jnp.maximum(1.0, total - 1))
            fractions = [
                trained if training_fraction is None else training_fraction,
                BATCH_FRACTION if batch_fraction is None else batch_fraction,
            ]
            fractions = jnp.stack([jnp.asarray(x, jnp.float32) for x in fractions])
            found, new = _update(
                self,
                theta,
                fractions,
                layer_fractions(params),
                for_leaves("dormancy", DORMANCY if dormancy is None else dormancy, params),
                for_leaves("actor", 1.0 if actor is None else actor, params),
                accepted,
                grads,
                jax.tree.leaves(params),
                state,
            )
            return treedef.unflatten(found), new

        guarded = optax.GradientTransformationExtraArgs(init, update)
        return skip_nonfinite(guarded, keeps_state=True)


# Compiled by itself only where the caller compiles nothing: then one call instead of hundreds.
@functools.partial(jax.jit, static_argnums=0, inline=True)
def _update(
    optimizer: OPEN,
    theta: Theta,
    fractions: jax.Array,
    layers: np.ndarray,
    dormancies: list[jax.Array],
    actors: list[jax.Array],
    accepted: Any,
    grads: list[jax.Array],
    params: list[jax.Array],
    old: OPENState,
) -> tuple[list[jax.Array], OPENState]:
    # Of the step, so that a refused step leaves no trace in the noise.
    key = jax.random.fold_in(jax.random.wrap_key_data(old.key), old.steps)
    found, tensors = [], []
    for i, (grad, param, before) in enumerate(zip(grads, params, old.tensors, strict=True)):
        g, p = grad.astype(jnp.float32), param.astype(jnp.float32)
        constant = jnp.stack([fractions[0], layers[i], fractions[1]])
        momenta = jnp.where(accepted, update_averages(DECAYS, before.momenta, g), before.momenta)
        memory = _remember(theta["gru"], constant, dormancies[i], g, p, momenta, before.memory)
        memory = jnp.where(accepted, memory, before.memory)
        direction, mu, spread = network_outputs(theta["mlp"], memory)
        step = direction * jnp.exp(optimizer.magnitude * mu)
        if optimizer.stochastic:
            noise = jax.random.normal(jax.random.fold_in(key, i), g.shape)
            step += spread * actors[i] * noise
        found.append(optimizer.step_multiplier * step)
        tensors.append(OPENTensorState(momenta, memory))
    total, count = sum(jnp.sum(u) for u in found), sum(u.size for u in found)
    found = [(u - total / count).astype(g.dtype) for u, g in zip(found, grads, strict=True)]
    return found, OPENState(old.steps + jnp.where(accepted, 1, 0), old.key, tuple(tensors))


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
