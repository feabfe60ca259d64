"""Spectral: steps of equal singular values, with a learned length and decay for every tensor.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Feedback: Baydin et
al. 2018, "Online learning rate adaptation with hypergradient descent".
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import rsqrt

from .._base import Theta
from ..parts._accumulators import TINY, corrections
from ..parts._control import (
    NUM_STATISTICS,
    Summary,
    control,
    most_decay,
    safe_log,
    statistics,
    summarise,
)
from ..parts._controlled import LOG_GAIN, Controlled, seen_times
from ..parts._orthogonal import equalised
from ..transformation._rule import Change, Kept, Now, Tensors

NUM_FEEDBACK = 5
"""Inputs of the controller beside the statistics."""

FAST, SLOW = 0.8, 0.98
START, BOUND, SELECTIVITY = 2.5, 2.0, 5.0
"""k, y and s at initialisation."""


class Memory(NamedTuple):
    """What is remembered of the tensors, (tensors,) each.

    `fast`, `slow`: EMAs of the cosine between a gradient and the momentum m_.9 before it, positive
    where the last steps went down and the next could be longer, negative where they overshot;
    `shift`: what the controller made of it so far; `level`: a mean of g^2 that forgets as a power
    of the time.
    """

    fast: jax.Array
    slow: jax.Array
    shift: jax.Array
    level: jax.Array


@dataclasses.dataclass(frozen=True)
class Spectral(Controlled):
    """Muon on matrices and Adam elsewhere, with a learned length and decay: what `small` is.

    For a tensor p at step t of T::

        p <- p - a(t) [ exp(c) O(g + 9 m) + min(w exp(c'), 1 / (2 a)) p ]

    O: of a matrix the same singular vectors with singular values near 1, times
    0.2 sqrt(max(rows, columns)), so of root mean square 0.2, see `equal_singular_values`; of a
    vector m / sqrt(v). m and v: bias-corrected EMAs of g and g^2, decays .9 and .999. a: warm-up
    then power decay from `learning_rate`. w: `weight_decay` times (a / peak)^q, small in the
    warm-up and at the end. The logarithms c and c' of a tensor's step and decay add up what a
    linear controller makes of 17 statistics, and::

        c:   s + log D,               D = min(1, e^k (rms(g) / sqrt(l) + 1e-4))^z
        c':  y log(rms(p) sqrt(fan in)) - u log D - h |cos|

    s: the sum over the run of a third output of the controller over t + 10, which follows whether
    steps overshoot: it sees EMAs of cos(g, m before it), of which the slower one is `cos`. D: steps
    shrink where gradients have all but vanished, as on a table known by heart; l: a mean of g^2
    that forgets the first part of a run. The second line brings weights that are far out of scale
    back into it, and decays where gradients are noise. k, z, y, u, h, q: learned; 2.5, 1, 2, 1, 5
    and 1 at initialisation. s, the controller and the sum of y and u terms stay within 5 in size.

    The rule does not change under g -> c g, so the scale of the loss does not matter.

    Args:
      learning_rate: step size a at its peak, at initialisation.
      weight_decay: decoupled decay w in units of the step size, at initialisation.
      warmup: fraction of the run with linearly growing step size.
      momenta: dtype in which the three momenta are stored, "float32" or "bfloat16".
      factored: keep the second moment of matrices as means over rows and over columns. With
        bfloat16 momenta 1.5 floats of state a parameter instead of 4: what `lean` is.
      horizon_free: `num_steps` may be left out and changes nothing: what `small-free` is. The step
        size warms up over 50 steps, then falls as the root of the time, at initialisation;
        `warmup` has no effect.

    Raises:
      ValueError: an argument out of its range.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.Spectral(learning_rate=0.05)
      >>> theta = optimizer.init(jax.random.key(0))
      >>> tx = optimizer.transform(theta, num_steps=100)
    """

    name: ClassVar[str] = "spectral"
    use: ClassVar[str] = "Training from the first step on without tuning; the one to meta-train."

    def init(self, key: jax.Array) -> Theta:
        """Zeros, whatever the key: Muon on matrices, Adam elsewhere."""
        zero = lambda *shape: jnp.zeros(shape, jnp.float32)  # noqa: E731
        return {
            **self._init_scalars(),
            "controller": {"skip": zero(NUM_STATISTICS + NUM_FEEDBACK, 3)},
            "damping": {name: zero() for name in ("log_start", "log_power", "log_kept")},
            "log_fade": zero(),
            "log_bound": zero(),
            "log_selectivity": zero(),
        }

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        return Kept(Memory(*(jnp.zeros(tensors) for _ in Memory._fields)), ())

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        every, x = summarise(stacks, now.t)
        theta = now.theta
        log_step, log_decay, new = _logarithms(now, x)
        # Above zero, where the power has a derivative.
        left = jnp.maximum(now.size / self._peak(theta), 1e-9)
        decay = self._decay(theta) * left ** _learned(theta["log_fade"])
        scales = jnp.exp(log_step), most_decay(decay * jnp.exp(log_decay), now.size)
        hat = corrections(now.t + 1)[1][1]
        steps = []
        for tensors, seen in zip(stacks, every, strict=True):
            stack, m = tensors.stack, seen.momenta[1]
            if stack.layout.is_matrix:
                # Nesterov's momentum as it is: over sqrt(v) no better.
                direction = equalised(0.1 * tensors.g + 0.9 * hat * m, stack.shape)
            else:
                direction = m * (seen.estimate.inverse * hat)
            step = stack.map(_bracket, stack.each(scales), direction, tensors.p)
            steps.append(now.size * step)
        return Change(steps, None, Kept(new, ()))


def _bracket(scales: tuple[jax.Array, jax.Array], direction: jax.Array, p: jax.Array) -> jax.Array:
    return scales[0] * direction + scales[1] * p


def _logarithms(now: Now, x: Summary) -> tuple[jax.Array, jax.Array, Memory]:
    """c and c' of the docstring, (tensors,), and the new memory."""
    theta, old = now.theta, now.memory.tensors
    fast, slow = (b * y + (1 - b) * x.cosine for b, y in ((FAST, old.fast), (SLOW, old.slow)))
    common = (jnp.broadcast_to(jnp.mean(y), fast.shape) for y in (old.fast, old.slow))
    feedback = [*(3 * y for y in (fast, slow, *common)), old.shift]
    inputs = jnp.concatenate([statistics(x, seen_times(now)), jnp.stack(feedback, 1)], 1)
    log_step, log_decay, change = control(theta["controller"], inputs).T
    level = old.level + 2 / (now.t + 2) * (x.g - old.level)
    damped = _damping(theta["damping"], x.g, level)
    # By equal amounts in equal times as a run grows tenfold.
    shift = jnp.clip(old.shift + change / (now.t + 10), -5.0, 5.0)
    log_step += damped
    log_step += shift
    log_decay -= SELECTIVITY * _learned(theta["log_selectivity"]) * jnp.abs(slow)
    bound = BOUND * _learned(theta["log_bound"]) / 2 * jnp.log(x.p * x.fan_in + TINY)
    held = bound - _learned(theta["damping"]["log_kept"]) * damped
    return log_step, log_decay + jnp.clip(held, -5.0, 5.0), Memory(fast, slow, shift, level)


def _damping(net: Theta, squares: jax.Array, level: jax.Array) -> jax.Array:
    """log D = z min(0, k + log(r + 1e-4)), with r^2 = `squares` / `level`, means of g^2."""
    log_r = safe_log(jnp.sqrt(squares + TINY) * rsqrt(level + TINY))
    return _learned(net["log_power"]) * jnp.minimum(0.0, START * _learned(net["log_start"]) + log_r)


def _learned(logarithm: jax.Array) -> jax.Array:
    return jnp.exp(LOG_GAIN * logarithm)
