"""Nominal + correction: AdamW with a schedule, and what meta-training adds to it.

Nominal terms for stability: Harrison, Metz, Sohl-Dickstein 2022, "A Closer Look at Learned
Optimization". Per-tensor control of the step: Metz et al. 2022, "VeLO".
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import rsqrt

from .._base import Theta, check_num_steps, float_dtype
from .._guard import skip_nonfinite, sum_squares
from ..parts._accumulators import (
    MOMENTUM_DECAYS,
    TINY,
    Accumulators,
    directions,
    fans,
    init_accumulators,
    update_accumulators,
)
from ..parts._pack import Pack, pack_leaves
from ..parts._schedule import ramp_and_decay

LOG_GAIN = 3.0
"""Scalars stored as logarithms move this much faster under a common perturbation sigma."""

NUM_FEATURES, NUM_TIMES, NUM_STATISTICS, NUM_DIRECTIONS = 8, 3, 12, 6
BOUNDS = (2.0, 2.0, 1.0, 0.5, 0.5, 1.0, 2.0, 2.0)
"""Features are clipped there."""

ADAM = 2  # index of m_hat_{0.9} / sqrt(v_hat) among the directions


class NominalState(NamedTuple):
    """`steps`: taken so far (int32 scalar); `accumulators`: one `Accumulators` a pack."""

    steps: jax.Array
    accumulators: tuple[Accumulators, ...]


@dataclasses.dataclass(frozen=True)
class Nominal:
    """The recommended learned optimizer: AdamW with warm-up and decay at initialisation.

    For a tensor p with directions d_1..d_6 = (g, m_.5, m_.9, m_.99, factored m_.9) / sqrt(v) and
    p / rms(p), at step t of T::

        p <- p - a(t/T) [ exp(c_1) sum_k gate_k d_k + w exp(c_2) p ]

    a: warm-up then power decay from `learning_rate`; w: `weight_decay`; gate_k = b_k +
    MLP_k(features) per element; (c_1, c_2): a controller per tensor. At initialisation the gates
    are one for m_.9 / sqrt(v) and zero elsewhere, and c = 0: exactly AdamW.

    The features that the networks see are even in (p, g), so the rule commutes with a flip of
    sign of any coordinate, and unchanged under g -> c g, so the scale of the loss does not matter.

    Args:
      hidden: width of the per-element MLP.
      controller_hidden: width of the per-tensor controller.
      learning_rate: step size a at its peak, at initialisation.
      weight_decay: decoupled decay w in units of the step size, at initialisation.
      warmup: fraction of the run with linearly growing step size.
      momenta: dtype in which the three momenta are stored, "float32" or "bfloat16".
      factored: keep the second moment of matrices as means over rows and over columns. With
        bfloat16 momenta this is the lean variant: 1.5 floats of state a parameter instead of 4.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.Nominal()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> tx = optimizer.transform(theta, num_steps=100)
    """

    name: ClassVar[str] = "nominal"
    use: ClassVar[str] = "Training from the first step on without tuning; the one to meta-train."
    hidden: int = 4
    controller_hidden: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    warmup: float = 0.05
    momenta: str = "float32"
    factored: bool = False

    def init(self, key: jax.Array) -> Theta:
        """Random first layers, zero last layers: the update is AdamW's."""
        key_gate, key_mix, key_control = jax.random.split(key, 3)
        h, c = self.hidden, self.controller_hidden
        adam = np.zeros(NUM_DIRECTIONS, np.float32)
        adam[ADAM] = 1.0
        return {
            "log_lr": jnp.zeros(()),
            "log_decay": jnp.zeros(()),
            "log_power": jnp.zeros(()),
            "gate": {
                "w1": _glorot(key_gate, NUM_FEATURES + NUM_TIMES, h),
                "b1": jnp.zeros(h),
                "w2": _glorot(key_mix, h, h),
                "b2": jnp.zeros(h),
                "w3": jnp.zeros((h, NUM_DIRECTIONS)),
                "b3": jnp.asarray(adam),
            },
            "controller": {
                "w1": _glorot(key_control, NUM_STATISTICS, c),
                "b1": jnp.zeros(c),
                "w2": jnp.zeros((c, 2)),
                "skip": jnp.zeros((NUM_STATISTICS, 2)),
            },
        }

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """a(s) = lr min(1, (t + 1) / (warmup T)) max(0, 1 - t/T)^power, t = 0, 1, ..."""
        total = check_num_steps(num_steps)
        peak = self.learning_rate * jnp.exp(LOG_GAIN * theta["log_lr"])
        power = jnp.exp(theta["log_power"])
        return ramp_and_decay(peak, power, self.warmup, total)

    def transform(
        self, theta: Theta, *, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is a positive integer (or traced)."""
        total, dtype = check_num_steps(num_steps), float_dtype(self.momenta, "momenta")
        step_size = self.schedule(theta, num_steps=num_steps)

        def init(params: optax.Params) -> NominalState:
            leaves = [jnp.asarray(p) for p in jax.tree.leaves(params)]
            accumulators = [
                init_accumulators(pack, [leaves[i] for i in pack.indices], dtype, self.factored)
                for pack in pack_leaves([p.shape for p in leaves])
            ]
            return NominalState(jnp.zeros((), jnp.int32), tuple(accumulators))

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            *,
            accepted: Any = True,
            **extra_args,
        ) -> tuple[optax.Updates, NominalState]:
            del extra_args
            assert isinstance(state, NominalState)
            grads, treedef = jax.tree.flatten(updates)
            weights = jax.tree.leaves(params)
            t = state.steps.astype(jnp.float32)
            times = jnp.stack([t / total, jnp.exp(-10 * t / total), jnp.log10(total) - 2.5])
            a = jnp.asarray(step_size(state.steps))
            decay = self.weight_decay * jnp.exp(LOG_GAIN * theta["log_decay"])
            steps, accumulators = list(grads), []
            packs = pack_leaves([g.shape for g in grads])
            for pack, acc in zip(packs, state.accumulators, strict=True):
                g = pack.join([grads[i] for i in pack.indices])
                p = pack.join([weights[i] for i in pack.indices])
                new = update_accumulators(pack, acc, g)
                acc = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), new, acc)
                step = a * _bracket(theta, pack, g, p, acc, t, times, decay)
                for i, part in zip(pack.indices, pack.split(step), strict=True):
                    steps[i] = part.astype(grads[i].dtype)
                accumulators.append(acc)
            return treedef.unflatten(steps), NominalState(
                state.steps + jnp.where(accepted, 1, 0), tuple(accumulators)
            )

        guarded = optax.GradientTransformationExtraArgs(init, update)
        return skip_nonfinite(guarded, keeps_state=True)


def _bracket(
    theta: Theta,
    pack: Pack,
    g: jax.Array,
    p: jax.Array,
    acc: Accumulators,
    t: jax.Array,
    times: jax.Array,
    decay: jax.Array,
) -> jax.Array:
    """The bracket of the equation in `Nominal`, for the tensors of one pack."""
    (newest, fast, slow, slowest, factored), root, scales_v = directions(pack, acc, g, t + 1)
    # Of arrays that are in memory anyway: statistics of directions would make XLA store those too.
    momenta = [m.astype(jnp.float32) for m in acc.momenta]
    arrays = [pack.split(x) for x in (p, g, *momenta)]
    means = jnp.stack([_means(*(parts[j] for parts in arrays)) for j in range(len(pack.shapes))])
    corrections = [1 / (1 - b ** (t + 1)) for b in MOMENTUM_DECAYS]
    means *= jnp.stack([1.0, 1.0, *(c * c for c in corrections), corrections[1]])[None]
    means = jnp.concatenate([scales_v[:, None], means], 1)
    relative_p = p * pack.spread(list(rsqrt(means[:, 1] + TINY)))
    relative_v = root * pack.spread(list(rsqrt(means[:, 0] + TINY)))
    dirs = [newest, fast, slow, slowest, factored, relative_p]
    features = [
        jnp.abs(newest),
        jnp.abs(fast),
        jnp.abs(slow),
        jnp.abs(slowest),
        fast * slowest,
        slow * relative_p,
        jnp.abs(relative_p),
        relative_v,
    ]
    control = jnp.exp(_controller(theta["controller"], _statistics(pack, means, times)))
    gates = _gates(theta["gate"], features, times)
    mixed = sum(gate * d for gate, d in zip(gates, dirs, strict=True))
    scale, shrink = list(control[:, 0]), list(decay * control[:, 1])
    return pack.spread(scale) * mixed + pack.spread(shrink) * p


def _means(p: jax.Array, g: jax.Array, m1: jax.Array, m2: jax.Array, m3: jax.Array) -> jax.Array:
    """Means of p^2, g^2, the m_k^2 and m_2 p over one tensor, (6,)."""
    # One loop each: XLA's reduction of several arrays at once is slower on CPU.
    p_p, *others = (jnp.mean(x) for x in (p * p, m1 * m1, m2 * m2, m3 * m3, m2 * p))
    return jnp.stack([p_p, sum_squares(g) / max(1, g.size), *others])


def _statistics(pack: Pack, means: jax.Array, times: jax.Array) -> jax.Array:
    """What the controller sees of each tensor, (tensors, NUM_STATISTICS), about unit scale.

    Logarithms of its fans, of rms(p), and of rms(g) and rms(m_hat) over rms(sqrt(v_hat)); the
    cosine between m_hat_{0.9} and p; the time.
    """
    # Under roots as under `directions`, so that derivatives exist where nothing has a gradient.
    second, p, *others, product = list((means + TINY).T)
    shapes = [(*fans(shape), len(shape) >= 2) for shape in pack.shapes]
    fan_in, fan_out, is_matrix = np.asarray(shapes, np.float32).T
    g, m1, m2, m3 = [_log(jnp.sqrt(x) * rsqrt(second)) for x in others]
    cosine = product * rsqrt(others[2]) * rsqrt(p)
    statistics = [
        jnp.asarray(np.log(fan_in) / 2 - 2),
        jnp.asarray(np.log(fan_out) / 2 - 2),
        jnp.asarray(is_matrix),
        _log(jnp.sqrt(p)) / 2 + 1,
        g,
        m1,
        m2 + 1,
        m3 + 2,
        4 * cosine,
    ]
    times = jnp.broadcast_to(times, (len(shapes), NUM_TIMES))
    return jnp.concatenate([jnp.stack(statistics, 1), times], 1)


def _gates(net: Theta, features: list[jax.Array], times: jax.Array) -> list[jax.Array]:
    """Per-element MLP written as scalar-times-array sums: XLA fuses it into one loop a tensor.

    It sees feature_i / BOUNDS_i clipped to [-1, 1].
    """
    bias = net["b1"] + times @ net["w1"][NUM_FEATURES:]
    clipped = [_clip(x, bound) for x, bound in zip(features, BOUNDS, strict=True)]
    # The division is the weights'.
    weights = net["w1"][:NUM_FEATURES] / jnp.asarray(BOUNDS)[:, None]
    hidden = _layer(clipped, weights, bias)
    hidden = _layer(hidden, net["w2"], net["b2"])
    return [
        net["b3"][k] + sum(net["w3"][j, k] * x for j, x in enumerate(hidden))
        for k in range(NUM_DIRECTIONS)
    ]


def _layer(inputs: list[jax.Array], w: jax.Array, b: jax.Array) -> list[jax.Array]:
    return [_relu(b[k] + sum(w[j, k] * x for j, x in enumerate(inputs))) for k in range(w.shape[1])]


def _relu(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, 0.0)


def _controller(net: Theta, x: jax.Array) -> jax.Array:
    """(tensors, NUM_STATISTICS) -> (tensors, 2) log multipliers, at most 5 in size.

    The linear skip extrapolates as a power law in the statistics.
    """
    hidden = jnp.tanh(x @ net["w1"] + net["b1"][None])
    return jnp.clip(hidden @ net["w2"] + x @ net["skip"], -5.0, 5.0)


def _clip(x: jax.Array, bound: float) -> jax.Array:
    """Cheaper than jnp.clip, which must pass on a NaN: no gradient with one comes this far."""
    x = jnp.where(x > bound, bound, x)
    return jnp.where(x < -bound, -bound, x)


def _log(x: jax.Array) -> jax.Array:
    return jnp.log(x + 1e-4)


def _glorot(key: jax.Array, fan_in: int, fan_out: int) -> jax.Array:
    return jax.random.normal(key, (fan_in, fan_out)) / np.sqrt(fan_in)
