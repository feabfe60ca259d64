"""Per-parameter MLP: a small network that sees each element's accumulators and gives its step.

Metz, Freeman, Harrison, Maheswaranathan, Sohl-Dickstein 2022, "Practical tradeoffs between memory,
compute, and performance in learned optimizers" (there: "Adafac-MLP", "small_fc_lopt"). Factored
second moment: Shazeer & Stern 2018 (Adafactor).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import rsqrt

from ._base import Theta, check_num_steps
from ._features import factored_axes
from ._guard import skip_nonfinite

MOMENTUM_DECAYS = (0.9, 0.99, 0.999)
SECOND_DECAY = 0.999
FACTORED_DECAYS = (0.9, 0.99, 0.999)
TIME_SCALES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
NUM_FEATURES = 28
LOG_GAIN = 10.0
"""Decays are stored as shifts of log(1 - decay) over this."""


class TensorState(NamedTuple):
    """Running averages for one tensor, all float32.

    `momenta`: three EMAs of g and `second`: EMA of g^2, of the tensor's shape (that of its
    transpose over the last two axes where the last is narrow, see `_wide`); `rows`, `cols`:
    three EMAs of g^2 averaged over its largest and its second largest axis, on a leading axis
    of 3. Below rank 2 `rows` holds three EMAs of g^2 itself and `cols` a zero of shape ().
    """

    momenta: tuple[jax.Array, jax.Array, jax.Array]
    second: jax.Array
    rows: jax.Array
    cols: jax.Array


class PerParamMLPState(NamedTuple):
    """`steps`: taken so far (int32 scalar); `tensors`: a `TensorState` for every leaf."""

    steps: jax.Array
    tensors: tuple[TensorState, ...]


@dataclasses.dataclass(frozen=True)
class PerParamMLP:
    """The published per-parameter MLP optimizer, 197 meta-parameters at its defaults.

    For every element, from 28 features of its tensor and 11 of the time t = 0, 1, ...::

        d, mu = MLP(features / sqrt(1e-5 + mean features^2), tanh(t/tau - 1))
        p <- p - step_multiplier d exp(magnitude mu)

    Features, k = 1, 2, 3: g, p, m_k, v, m_k / sqrt(v + e), 1 / sqrt(v + e), g f_k, R_k, C_k,
    1 / sqrt(R_k + 1e-8), 1 / sqrt(C_k + 1e-8), m_k f_k; e = 1e-6; means over the tensor. m_k and v
    are EMAs of g and g^2 from zero, uncorrected; R_k and C_k EMAs of g^2 + 1e-30 averaged over the
    largest and the second largest axis; f_k = rs(R_k / (mean R_k + 1e-9)) rs(C_k) with the mean
    over the second largest axis, rs(x) = 1 / sqrt(max(x, 1e-9)). Below rank 2 R_k = C_k = the EMA
    of g^2 + 1e-30, f_k = 1 / sqrt(R_k + 1e-9) for g and 1 / sqrt(R_k + 1e-6) for m_k. tau = 1, 3,
    10, ..., 100,000.

    The meta-parameters are the 190 of a 39-4-4-2 ReLU network and a shift of each of the seven
    decays: 1 - (1 - decay) exp(10 shift), kept in [0, 1]. There is no horizon: `num_steps` may be
    left out and changes nothing. At initialisation the network is random and need not descend.

    Args:
      hidden: width of the hidden layers.
      layers: number of hidden layers.
      step_multiplier: scale of the step.
      magnitude: scale of its logarithm's second output.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.PerParamMLP()
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      197
      >>> tx = optimizer.transform(theta)
    """

    name: ClassVar[str] = "per_param_mlp"
    hidden: int = 4
    layers: int = 2
    step_multiplier: float = 0.001
    magnitude: float = 0.001

    def init(self, key: jax.Array) -> Theta:
        """Published decays; truncated normal weights over sqrt(fan-in), zero biases."""
        widths = [NUM_FEATURES + len(TIME_SCALES), *[self.hidden] * self.layers, 2]
        net = {}
        for i, key_layer in enumerate(jax.random.split(key, self.layers + 1)):
            fan_in, fan_out = widths[i], widths[i + 1]
            normal = jax.random.truncated_normal(key_layer, -2.0, 2.0, (fan_in, fan_out))
            net[f"w{i + 1}"] = normal / np.sqrt(fan_in)
            net[f"b{i + 1}"] = jnp.zeros(fan_out)
        return {
            "momentum_decays": jnp.zeros(len(MOMENTUM_DECAYS)),
            "second_decay": jnp.zeros(()),
            "factored_decays": jnp.zeros(len(FACTORED_DECAYS)),
            "net": net,
        }

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """`step_multiplier`, at any time."""
        if num_steps is not None:
            check_num_steps(num_steps)
        return lambda count: jnp.asarray(self.step_multiplier)

    def transform(
        self, theta: Theta, *, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is None, a positive integer or traced."""
        if num_steps is not None:
            check_num_steps(num_steps)

        def init(params: optax.Params) -> PerParamMLPState:
            tensors = tuple(_init_tensor(jnp.shape(p)) for p in jax.tree.leaves(params))
            return PerParamMLPState(jnp.zeros((), jnp.int32), tensors)

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            *,
            accepted: Any = True,
            **extra_args,
        ) -> tuple[optax.Updates, PerParamMLPState]:
            del extra_args
            assert isinstance(state, PerParamMLPState)
            grads, treedef = jax.tree.flatten(updates)
            scales = np.asarray(TIME_SCALES, np.float32)
            times = jnp.tanh(state.steps.astype(jnp.float32) / scales - 1)
            net = theta["net"]
            bias = net["b1"] + times @ net["w1"][NUM_FEATURES:]
            steps, tensors = [], []
            for grad, p, old in zip(grads, jax.tree.leaves(params), state.tensors, strict=True):
                step, new = _update_tensor(self, theta, bias, accepted, grad, p, old)
                steps.append(step)
                tensors.append(new)
            return treedef.unflatten(steps), PerParamMLPState(
                state.steps + jnp.where(accepted, 1, 0), tuple(tensors)
            )

        guarded = optax.GradientTransformationExtraArgs(init, update)
        return skip_nonfinite(guarded, keeps_state=True)


# Compiled by itself only where the caller compiles nothing: then one call instead of hundreds.
@functools.partial(jax.jit, static_argnums=0, inline=True)
def _update_tensor(
    optimizer: PerParamMLP,
    theta: Theta,
    bias: jax.Array,
    accepted: Any,
    grad: jax.Array,
    p: jax.Array,
    old: TensorState,
) -> tuple[jax.Array, TensorState]:
    net = theta["net"]
    g, p = (_wide(x.astype(jnp.float32)) for x in (grad, p))
    new = _accumulate(theta, old, g)
    new = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), new, old)
    first = _first_layer(net["w1"][:NUM_FEATURES], bias, g, p, new)
    direction, magnitude = _other_layers(net, first)
    step = optimizer.step_multiplier * direction * jnp.exp(optimizer.magnitude * magnitude)
    return _wide(step, grad.shape).astype(grad.dtype), new


def _wide(x: jax.Array, shape: tuple[int, ...] | None = None) -> jax.Array:
    """Narrow matrices on their side, (32, 10) as (10, 32): loops over short rows are slow."""
    shape = x.shape if shape is None else shape
    if len(shape) >= 2 and shape[-1] < 16 and shape[-2] > shape[-1]:
        return jnp.swapaxes(x, -1, -2)
    return x


def _init_tensor(shape: tuple[int, ...]) -> TensorState:
    # Every array a buffer of its own, so that a training step may donate the state.
    shape = _wide(jnp.zeros(shape)).shape
    m1, m2, m3, second = (jnp.zeros(shape, jnp.float32) for _ in range(4))
    axes = factored_axes(shape)
    if axes is None:
        return TensorState((m1, m2, m3), second, jnp.zeros((3, *shape), jnp.float32), jnp.zeros(()))
    rows, cols = (
        jnp.zeros((3, *(n for i, n in enumerate(shape) if i != axis)), jnp.float32) for axis in axes
    )
    return TensorState((m1, m2, m3), second, rows, cols)


def _accumulate(theta: Theta, old: TensorState, g: jax.Array) -> TensorState:
    b1, b2, b3 = _decays(MOMENTUM_DECAYS, theta["momentum_decays"])
    (second,) = _decays((SECOND_DECAY,), theta["second_decay"][None])
    factored = _decays(FACTORED_DECAYS, theta["factored_decays"])
    axes, square = factored_axes(g.shape), g * g
    m1, m2, m3 = (_ema(b, m, g) for b, m in zip((b1, b2, b3), old.momenta, strict=True))

    def factor(old: jax.Array, new: jax.Array) -> jax.Array:
        return _ema(factored.reshape(3, *[1] * new.ndim), old, (new + 1e-30)[None])

    if axes is None:
        rows, cols = factor(old.rows, square), old.cols
    else:
        rows = factor(old.rows, jnp.mean(square, axes[0]))
        cols = factor(old.cols, jnp.mean(square, axes[1]))
    return TensorState((m1, m2, m3), _ema(second, old.second, square), rows, cols)


def _first_layer(
    w: jax.Array, bias: jax.Array, g: jax.Array, p: jax.Array, acc: TensorState
) -> list[jax.Array]:
    """First hidden layer before its ReLU: an array of the tensor's shape for each unit.

    `w`: (28, hidden). The features are neither stored nor normalised: their normalisers scale the
    weights instead. What depends on the row or the column alone is summed there, by a matrix
    product because XLA keeps its result in memory; the rest are scalar-times-array sums, which XLA
    fuses with the later layers into one loop over the tensor. The mean squares are one loop too, of
    other products than the layer's own: shared ones would be stored.
    """
    m, v, axes = acc.momenta, acc.second, factored_axes(g.shape)
    if axes is None:
        f_g, f_m = rsqrt(acc.rows + 1e-9), rsqrt(acc.rows + 1e-6)
        f_g2, f_m2 = 1 / (acc.rows + 1e-9), 1 / (acc.rows + 1e-6)
    else:
        largest, second = axes
        # The axis `second` of the tensor among those of `rows`, which has lost `largest`.
        axis = 1 + second - (second > largest)
        ratio = acc.rows / (jnp.mean(acc.rows, axis, keepdims=True) + 1e-9)
        row_col = [[rsqrt(jnp.maximum(x, 1e-9)) for x in xs] for xs in (ratio, acc.cols)]
        f_g = f_m = [_outer(axes, r, c, jnp.multiply) for r, c in zip(*row_col, strict=True)]
        row_col = [[x * x for x in xs] for xs in row_col]
        f_g2 = f_m2 = [_outer(axes, r, c, jnp.multiply) for r, c in zip(*row_col, strict=True)]
    root, inverse = rsqrt(v + 1e-6), 1 / (v + 1e-6)
    features = [g, p, *m, v, *(x * root for x in m), root]
    features += [g * f_g[k] for k in range(3)] + [m[k] * f_m[k] for k in range(3)]
    squares = [g * g, p * p, *(x * x for x in m), v * v, *(x * x * inverse for x in m), inverse]
    squares += [g * g * f_g2[k] for k in range(3)] + [m[k] * m[k] * f_m2[k] for k in range(3)]
    means = _means(squares)
    rows, row_means = _low_rank(acc.rows)
    cols, col_means = (rows, row_means) if axes is None else _low_rank(acc.cols)
    order = [means[:13], row_means[:3], col_means[:3], row_means[3:], col_means[3:], means[13:]]
    w = w * rsqrt(1e-5 + jnp.concatenate(order))[:, None]
    w_rows = jnp.concatenate([w[13:16], w[19:22]]).T
    w_cols = jnp.concatenate([w[16:19], w[22:25]]).T
    if axes is None:
        start = list(((w_rows + w_cols) @ rows + bias[:, None]).reshape(-1, *g.shape))
    else:
        by_row = (w_rows @ rows + bias[:, None]).reshape(-1, *acc.rows.shape[1:])
        by_col = (w_cols @ cols).reshape(-1, *acc.cols.shape[1:])
        start = [_outer(axes, r, c, jnp.add) for r, c in zip(by_row, by_col, strict=True)]
    return _sums(start, jnp.concatenate([w[:13], w[25:]]), features)


def _other_layers(net: Theta, units: list[jax.Array]) -> list[jax.Array]:
    """The network's two outputs, from its first hidden layer before the ReLU."""
    for i in range(2, len(net) // 2 + 1):
        # Cheaper than jnp.maximum, which must pass on a NaN.
        units = [jnp.where(x > 0, x, 0.0) for x in units]
        units = _sums(list(net[f"b{i}"]), net[f"w{i}"], units)
    return units


def _sums(start: list[jax.Array], w: jax.Array, inputs: list[jax.Array]) -> list[jax.Array]:
    """start_j + sum_i w_ij input_i for every j, as arrays of their own."""
    return [
        sum((w[i, j] * x for i, x in enumerate(inputs)), start=begin)
        for j, begin in enumerate(start)
    ]


@jax.custom_jvp
def _means(xs: list[jax.Array]) -> jax.Array:
    """Mean of each of some arrays of one shape, in one loop."""
    axes = tuple(range(xs[0].ndim))
    zeros = [jnp.zeros((), jnp.float32)] * len(xs)
    sums = jax.lax.reduce(xs, zeros, lambda a, b: [x + y for x, y in zip(a, b, strict=True)], axes)
    return jnp.stack(sums) / xs[0].size


@_means.defjvp
def _means_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    # Linear; and jax has no derivative for a reduction of several arrays.
    return _means(*primals), jnp.stack([jnp.mean(t) for t in tangents[0]])


def _low_rank(factors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The features R_k and 1 / sqrt(R_k + 1e-8) as (6, elements), and their mean squares, (6,)."""
    flat = factors.reshape(3, -1)
    both = jnp.concatenate([flat, rsqrt(flat + 1e-8)])
    return both, jnp.mean(both * both, 1)


def _outer(
    axes: tuple[int, int], row: jax.Array, col: jax.Array, combine: Callable[..., jax.Array]
) -> jax.Array:
    """row, col (without the largest, the second largest axis) combined to the tensor's shape."""
    return combine(jnp.expand_dims(row, axes[0]), jnp.expand_dims(col, axes[1]))


def _decays(initial: Sequence[float], shift: jax.Array) -> jax.Array:
    """Decays, (number,), moved by what was learned: 1 - (1 - decay) exp(10 shift) in [0, 1]."""
    room = 1 - np.asarray(initial, np.float32)
    return jnp.maximum(0.0, 1 - room * jnp.exp(LOG_GAIN * shift))


def _ema(decay: jax.Array, old: jax.Array, new: jax.Array) -> jax.Array:
    return decay * old + (1 - decay) * new
