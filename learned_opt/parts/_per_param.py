"""What published per-parameter networks see of an element, and those networks, as fused loops.

Features of Metz et al. 2022 ("Practical tradeoffs between memory, compute, and performance in
learned optimizers") and Metz et al. 2022 ("VeLO"). Factored second moment: Shazeer & Stern 2018
(Adafactor).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import Theta, zeros_for
from ._accumulators import factored_axes
from ._averages import ema

LARGEST = 0.1
"""Bound of the feature clip(g)."""

LARGEST_SUM = 400
"""Layers of more weights are matrix products: written out they take long to compile."""


class TensorState(NamedTuple):
    """Running averages for one tensor, float32 but for the first two momenta.

    `momenta`: three EMAs of g, the first two float32 or bfloat16, and `second`: EMA of g^2, of the
    tensor's shape; `rows`, `cols`: three EMAs each of g^2 averaged over its largest and over its
    second largest axis. Below rank 2 `rows` are three EMAs of g^2 itself and `cols` zeros of
    shape ().
    """

    momenta: tuple[jax.Array, ...]
    second: jax.Array
    rows: tuple[jax.Array, ...]
    cols: tuple[jax.Array, ...]


class _Averages(NamedTuple):
    """The same as the first layer wants it: float32, on its side where that is `wide`.

    `rows`, `cols`: with a leading axis of 3.
    """

    momenta: list[jax.Array]
    second: jax.Array
    rows: jax.Array
    cols: jax.Array


class Decays(NamedTuple):
    """Of the running averages: `momenta` (3,), `second` (), `factored` (3,)."""

    momenta: jax.Array
    second: jax.Array
    factored: jax.Array


@dataclasses.dataclass(frozen=True)
class PerParamFeatures:
    """28 features of every element of a tensor; 30 with `velo`.

    In order, k = 1, 2, 3: g, [clip(g, +-0.1),] p, m_k, v, m_k / sqrt(v + e), 1 / sqrt(v + e),
    g f_k, [g / sqrt(v + e),] R_k, C_k, 1 / sqrt(R_k + 1e-8), 1 / sqrt(C_k + 1e-8), m_k f_k, those
    in brackets with `velo`. m_k and v are EMAs of g and g^2 from zero, uncorrected; R_k and C_k
    EMAs of g^2 + 1e-30 averaged over the largest and the second largest axis; f_k =
    rs(R_k / (mean R_k + 1e-9)) rs(C_k) with the mean over the second largest axis,
    rs(x) = 1 / sqrt(max(x, 1e-9)). Below rank 2 R_k = C_k = the EMA of g^2 + 1e-30, f_k =
    1 / sqrt(R_k + 1e-9) for g and 1 / sqrt(R_k + momentum_eps) for m_k. A network sees each
    feature over sqrt(norm_eps + its mean square over the tensor).

    Args:
      velo: whether the two features of VeLO are among them.
      eps: e above.
      norm_eps: under the root of the normaliser.
      momentum_eps: see above.
    """

    velo: bool = False
    eps: float = 1e-6
    norm_eps: float = 1e-5
    momentum_eps: float = 1e-6

    @property
    def count(self) -> int:
        """Number of features."""
        return 30 if self.velo else 28

    def init(self, p: Any, stacked: int = 0, dtype: Any = jnp.float32) -> TensorState:
        """All zeros, for a tensor of the shape and the sharding of p.

        With `stacked`, p is that many axes of tensors, and so is every array of the state. `dtype`
        is that of the first two momenta. The third, of decay 0.999, is always float32: bfloat16
        would lose changes by less than a five-hundredth.
        """
        # Every array a buffer of its own, so that a training step may donate the state.
        m1, m2, m3, second = (zeros_for(p) for _ in range(4))
        momenta = m1.astype(dtype), m2.astype(dtype), m3
        axes = factored_axes(p.shape[stacked:])
        if axes is None:
            rows = [zeros_for(p) for _ in range(3)]
            cols = [jnp.zeros((), jnp.float32) for _ in range(3)]
        else:
            rows, cols = (
                [zeros_for(jnp.mean(second, stacked + axis)) for _ in range(3)] for axis in axes
            )
        return TensorState(momenta, second, tuple(rows), tuple(cols))

    def step(
        self,
        net: Theta,
        bias: jax.Array,
        g: jax.Array,
        p: jax.Array,
        new: TensorState,
        combine: Callable[[list[jax.Array], jax.Array], jax.Array],
    ) -> jax.Array:
        """The network's step for one tensor, float32.

        Args:
          net: weights `w1` (count or more, hidden), `b1`, ... of a ReLU network; rows of `w1`
            beyond `count` are not looked at.
          bias: (hidden,) of the first layer, in the place of `b1`.
          g: gradient, float32.
          p: parameters, float32, of the same shape.
          new: averages after this gradient, see `accumulate`.
          combine: the step from the network's outputs, a list of arrays, and p, maybe both lying
            on their side, see `wide`.
        """
        shape = g.shape
        momenta = [wide(m.astype(jnp.float32)) for m in new.momenta]
        rows, cols = (jnp.stack(x) for x in (new.rows, new.cols))
        acc = _Averages(momenta, wide(new.second), rows, cols)
        first = self._first_layer(net["w1"][: self.count], bias, wide(g), wide(p), acc)
        return wide(combine(_other_layers(net, first), wide(p)), shape)

    def _first_layer(
        self, w: jax.Array, bias: jax.Array, g: jax.Array, p: jax.Array, acc: "_Averages"
    ) -> list[jax.Array]:
        """First hidden layer before its ReLU: an array of the tensor's shape for each unit.

        The features are neither stored nor normalised: their normalisers scale the weights
        instead. What depends on the row or the column alone is summed there, by a matrix product
        because XLA keeps its result in memory; the rest are scalar-times-array sums, which XLA
        fuses with the later layers into one loop over the tensor. The mean squares are one loop
        too, of other products than the layer's own: shared ones would be stored.
        """
        m, v, axes = acc.momenta, acc.second, factored_axes(g.shape)
        if axes is None:
            f_g, f_m = rsqrt(acc.rows + 1e-9), rsqrt(acc.rows + self.momentum_eps)
            f_g2, f_m2 = 1 / (acc.rows + 1e-9), 1 / (acc.rows + self.momentum_eps)
        else:
            largest, second = axes
            # The axis `second` of the tensor among those of `rows`, which has lost `largest`.
            axis = 1 + second - (second > largest)
            ratio = acc.rows / (jnp.mean(acc.rows, axis, keepdims=True) + 1e-9)
            row_col = [[rsqrt(jnp.maximum(x, 1e-9)) for x in xs] for xs in (ratio, acc.cols)]
            f_g = f_m = [_outer(axes, r, c, jnp.multiply) for r, c in zip(*row_col, strict=True)]
            row_col = [[x * x for x in xs] for xs in row_col]
            f_g2 = f_m2 = [_outer(axes, r, c, jnp.multiply) for r, c in zip(*row_col, strict=True)]
        root, inverse = rsqrt(v + self.eps), 1 / (v + self.eps)
        features = [g, p, *m, v, *(x * root for x in m), root, *(g * f for f in f_g)]
        squares = [g * g, p * p, *(x * x for x in m), v * v, *(x * x * inverse for x in m), inverse]
        squares += [g * g * f for f in f_g2]
        if self.velo:
            clipped = jnp.clip(g, -LARGEST, LARGEST)
            features = [g, clipped, *features[1:], g * root]
            squares = [g * g, clipped * clipped, *squares[1:], g * g * inverse]
        # Of the columns of R and C among the features: what comes before, and where the last begin.
        low, high = len(features), len(features) + 12
        features += [m[k] * f_m[k] for k in range(3)]
        squares += [m[k] * m[k] * f_m2[k] for k in range(3)]
        mean_squares = mean_each(squares)
        rows, row_squares = _low_rank(acc.rows)
        cols, col_squares = (rows, row_squares) if axes is None else _low_rank(acc.cols)
        order = [row_squares[:3], col_squares[:3], row_squares[3:], col_squares[3:]]
        order = [mean_squares[:low], *order, mean_squares[low:]]
        w = w * rsqrt(self.norm_eps + jnp.concatenate(order))[:, None]
        w_rows = jnp.concatenate([w[low : low + 3], w[low + 6 : low + 9]]).T
        w_cols = jnp.concatenate([w[low + 3 : low + 6], w[low + 9 : high]]).T
        bias = bias.reshape(-1, *[1] * (rows.ndim - 1))
        if axes is None:
            start = list(jnp.tensordot(w_rows + w_cols, rows, 1) + bias)
        else:
            by_row = jnp.tensordot(w_rows, rows, 1) + bias
            by_col = jnp.tensordot(w_cols, cols, 1)
            start = [_outer(axes, r, c, jnp.add) for r, c in zip(by_row, by_col, strict=True)]
        return _sums(start, jnp.concatenate([w[:low], w[high:]]), features)


def wide(x: jax.Array, shape: tuple[int, ...] | None = None) -> jax.Array:
    """Narrow matrices on their side, (32, 10) as (10, 32): loops over short rows are slow.

    With `shape` back again, to that shape.
    """
    rows, cols = (0, 0) if x.ndim != 2 else x.shape if shape is None else shape
    return x.T if cols < 16 and rows > cols else x


def accumulate(decays: Decays, old: TensorState, g: jax.Array) -> TensorState:
    """The averages of one tensor after a gradient, float32."""
    axes = factored_axes(g.shape)
    m1, m2, m3 = (
        ema(b, m.astype(jnp.float32), g).astype(m.dtype)
        for b, m in zip(decays.momenta, old.momenta, strict=True)
    )

    def factors(old: Sequence[jax.Array], new: jax.Array) -> tuple[jax.Array, ...]:
        pairs = zip(decays.factored, old, strict=True)
        return tuple(ema(b, x, new + 1e-30) for b, x in pairs)

    # Each in words of its own: XLA would store a square that several reductions share.
    part, half, double = jnp.sqrt(1 - decays.second) * g, g / 2, 2 * g
    second = decays.second * old.second + part * part
    if axes is None:
        rows, cols = factors(old.rows, g * g), old.cols
    else:
        rows = factors(old.rows, jnp.mean(double * double, axes[0]) / 4)
        cols = factors(old.cols, 4 * jnp.mean(half * half, axes[1]))
    return TensorState((m1, m2, m3), second, rows, cols)


def _other_layers(net: Theta, units: list[jax.Array]) -> list[jax.Array]:
    """The network's two outputs, from its first hidden layer before the ReLU."""
    for i in range(2, len(net) // 2 + 1):
        # Cheaper than jnp.maximum, which must pass on a NaN.
        units = [jnp.where(x > 0, x, 0.0) for x in units]
        units = _sums(list(net[f"b{i}"]), net[f"w{i}"], units)
    return units


def _sums(start: list[jax.Array], w: jax.Array, inputs: list[jax.Array]) -> list[jax.Array]:
    """start_j + sum_i w_ij input_i for every j, as arrays of their own."""
    if w.size > LARGEST_SUM:
        found = jnp.tensordot(w.T, jnp.stack(inputs), 1)
        return [begin + x for begin, x in zip(start, found, strict=True)]
    return [
        sum((w[i, j] * x for i, x in enumerate(inputs)), start=begin)
        for j, begin in enumerate(start)
    ]


@jax.custom_jvp
def mean_each(xs: list[jax.Array]) -> jax.Array:
    """Mean of each of some arrays of one shape, in one loop."""
    # Along the last axis: XLA on CPU spreads the others over its threads.
    zeros, last = [jnp.zeros((), jnp.float32)] * len(xs), (max(0, xs[0].ndim - 1),)
    add = lambda a, b: [x + y for x, y in zip(a, b, strict=True)]  # noqa: E731
    sums = jax.lax.reduce(xs, zeros, add, last[: xs[0].ndim])
    return jnp.sum(jnp.stack(sums), tuple(range(1, xs[0].ndim))) / xs[0].size


@mean_each.defjvp
def _mean_each_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    # Linear; and jax has no derivative for a reduction of several arrays.
    return mean_each(*primals), jnp.stack([jnp.mean(t) for t in tangents[0]])


def _low_rank(factors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The features R_k and 1 / sqrt(R_k + 1e-8), on a leading axis of 6; mean squares, (6,)."""
    both = jnp.concatenate([factors, rsqrt(factors + 1e-8)])
    return both, jnp.mean(both * both, tuple(range(1, both.ndim)))


def _outer(
    axes: tuple[int, int], row: jax.Array, col: jax.Array, combine: Callable[..., jax.Array]
) -> jax.Array:
    """row, col (without the largest, the second largest axis) combined to the tensor's shape."""
    return combine(jnp.expand_dims(row, axes[0]), jnp.expand_dims(col, axes[1]))
