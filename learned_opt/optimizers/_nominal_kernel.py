"""The update of `Nominal` for one large tensor as two Pallas kernels.

`accumulate` reads gradient, parameters and accumulators, writes the accumulators in place, and sums
what the statistics of the tensor need: 10 floats of traffic a parameter. `take_step` reads all of
that again, with the scalars that XLA made of the sums, and writes the step: 7 floats. Both do the
arithmetic of `_nominal_rule` and `_accumulators` on blocks; there is none of their own.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import Theta
from .._guard import sum_squares
from ..parts._accumulators import (
    MOMENTUM_DECAYS,
    Accumulators,
    Factors,
    corrections,
    ema_of,
    ema_of_squares,
    factor_estimate,
    factored_axes,
    roots_of,
)
from ..parts._blocks import PLATFORMS, Blocks, in_a_row
from ..parts._pack import Pack
from . import _nominal_rule as rule
from ._nominal_scales import Clock, Memory, Scales, tensor_scales


def update_pack(
    platforms: Sequence[str],
    pack: Pack,
    theta: Theta,
    clock: Clock,
    grads: Sequence[jax.Array],
    params: Sequence[jax.Array],
    acc: Accumulators,
    memory: Memory,
    accepted: Any,
) -> tuple[list[jax.Array], Accumulators, Memory]:
    """As `_nominal_rule.update_pack`, by kernels on `platforms` where the pack has any.

    Derivatives are those of XLA's path.
    """
    by_xla = partial(rule.update_pack, pack)
    by_kernels = {name: partial(_update_tensor, name, pack) for name in platforms}
    by_kernels = {k: fn for k, fn in by_kernels.items() if has_kernels(k, pack, acc)}

    @jax.custom_jvp
    def update(*arguments: Any) -> Any:
        return jax.lax.platform_dependent(*arguments, default=by_xla, **by_kernels)

    update.defjvp(lambda primals, tangents: jax.jvp(by_xla, primals, tangents))
    run = update if by_kernels else by_xla
    return run(theta, clock, grads, params, acc, memory, jnp.asarray(accepted))


def has_kernels(platform: str, pack: Pack, acc: Accumulators) -> bool:
    """Whether it is one tensor with an EMA of g^2 whose factored axes are its last two.

    Not several small tensors, whose loops XLA shares; not `Factors`, which need a pass over g^2
    before the accumulators; not one of shape (512, 8, 64), say, whose factors are no sums over
    rows or columns of a matrix; nothing that int32 cannot index.
    """
    if len(pack.shapes) != 1 or not isinstance(acc.second, jax.Array):
        return False
    shape, axes = pack.shape, factored_axes(pack.shape)
    matrices = axes is not None and set(axes) == {len(shape) - 2, len(shape) - 1}
    fits = math.prod(shape) < 2**31 and PLATFORMS[platform].takes(shape)
    return fits and (matrices or len(shape) == 1)


def _update_tensor(
    platform: str,
    pack: Pack,
    theta: Theta,
    clock: Clock,
    grads: Sequence[jax.Array],
    params: Sequence[jax.Array],
    acc: Accumulators,
    memory: Memory,
    accepted: jax.Array,
) -> tuple[list[jax.Array], Accumulators, Memory]:
    (g,), (p,), axes = grads, params, factored_axes(pack.shape)
    blocks = Blocks(PLATFORMS[platform], pack.shape)
    # A reshape is no array of its own: a state that is donated is updated in place.
    arrays = [jnp.reshape(x, blocks.shape) for x in jax.tree.leaves((g, p, acc))]
    new, sums, *sums_v = accumulate(blocks, accepted, arrays, axes is not None)
    correction, hats = corrections(clock.t + 1)
    mean_v, *sums = jnp.sum(sums, (0, 1, 2, 3))[:7] / g.size
    vectors = []
    if axes is None:
        mean_v /= correction
    else:
        *vectors, mean_v = _factors(blocks, pack.shape, sums_v, correction)
    means = jnp.stack([sums[0], sum_squares(g) / g.size, *sums[1:]])
    scales, newer = tensor_scales(theta, pack, clock, mean_v[None], means[None], memory)
    memory = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), newer, memory)
    scales = Scales(*(x[0] for x in scales))
    scalars = (correction, clock.step_size, hats, scales, rule.gate_net(theta, clock))
    step = take_step(blocks, scalars, [*arrays[:2], *new], vectors)
    *momenta, second = (x.reshape(pack.shape) for x in new)
    return [step.reshape(pack.shape)], Accumulators(tuple(momenta), second), memory


def accumulate(
    blocks: Blocks, accepted: jax.Array, arrays: Sequence[jax.Array], factored: bool
) -> tuple[list[jax.Array], *tuple[jax.Array, ...]]:
    """From g, p, the momenta and v the new momenta and v; then sums, as `Blocks.sums` has them.

    The first of v, p^2, the m_k^2, m_2 p and m_2 g; if `factored` the other two of v.
    """

    def body(accepted: jax.Array, *refs: Any) -> None:
        refs, outputs, (sums, *sums_v) = refs[:6], refs[6:10], refs[10:]
        g, p, *momenta, v = map(blocks.load, refs)
        for k, (decay, ref) in enumerate(zip(MOMENTUM_DECAYS, outputs[:3], strict=True)):
            # Sums are of what is stored.
            stored = ema_of(decay, momenta[k], g).astype(ref.dtype).astype(jnp.float32)
            momenta[k] = jnp.where(accepted > 0, stored, momenta[k])
            blocks.store(ref, momenta[k])
        v = jnp.where(accepted > 0, ema_of_squares(v, g), v)
        blocks.store(outputs[3], v)
        sums[...] = in_a_row([jnp.sum(x) for x in (v, *rule.products(p, g, *momenta))])
        for ref, axis in zip(sums_v, (1, 0), strict=False):
            blocks.store(ref, jnp.sum(v, axis, keepdims=True))

    body.__name__ = "nominal_accumulate"
    wanted = blocks.sums()[: 3 if factored else 1]
    sums = [(jax.ShapeDtypeStruct(shape, jnp.float32), spec) for shape, spec in wanted]
    inputs = [(x, blocks.whole) for x in arrays]
    aliases = {2 + k: k for k in range(4)}
    flag = accepted.astype(jnp.float32)
    found = blocks.call(body, flag, inputs, [*inputs[2:], *sums], aliases)
    return found[:4], *found[4:]


def _factors(
    blocks: Blocks, shape: tuple[int, ...], sums_v: Sequence[jax.Array], correction: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Vectors beside and above whose product is 1 over the factored estimate; the mean of v_hat."""
    batch, rows, cols = blocks.shape
    over_last = jnp.sum(sums_v[0], 1).reshape(shape[:-1]) / cols
    over_other = jnp.sum(sums_v[1], 1).reshape(*shape[:-2], cols) / rows
    axes = factored_axes(shape)
    assert axes is not None
    wide = axes[0] > axes[1]
    factors = Factors(over_last, over_other) if wide else Factors(over_other, over_last)
    row, col, mean = factor_estimate(factors, axes, correction)
    beside, above = (row, col) if wide else (col, row)
    return rsqrt(beside).reshape(batch, rows, 1), rsqrt(above).reshape(batch, 1, cols), mean


def take_step(
    blocks: Blocks, scalars: Any, arrays: Sequence[jax.Array], vectors: Sequence[jax.Array]
) -> jax.Array:
    """The step, like g in shape and dtype, from g, p, the momenta and v; `vectors`: `_factors`."""

    def body(scalars: Any, *refs: Any) -> None:
        correction, step_size, hats, scales, net = scalars
        g, p, *momenta, v = map(blocks.load, refs[:6])
        root, inverse = roots_of(v, correction)
        by_factors = inverse
        if vectors:
            by_factors = blocks.load(refs[6]) * blocks.load(refs[7])
        mixed = rule.mixture(net, scales, hats, g, p, momenta, root, inverse, by_factors)
        blocks.store(refs[-1], step_size * rule.bracket(scales, mixed, p))

    body.__name__ = "nominal_step"
    inputs = [(x, blocks.whole) for x in arrays]
    inputs += zip(vectors, (blocks.beside, blocks.above), strict=False)
    return blocks.call(body, scalars, inputs, inputs[:1])[0]
