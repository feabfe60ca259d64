"""The scales of `Nominal`, tensor by tensor: length of a step and strength of decay.

From means over a tensor and from what is remembered of it; a handful of numbers, so arrays of
shape (tensors,), of all tensors of a tree.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from .._base import Theta
from ..parts._accumulators import TINY, corrections

NUM_TIMES, NUM_STATISTICS = 3, 12
NUM_FEEDBACK = 5
"""Statistics more where there is feedback."""
FEEDBACK_DECAYS = (0.8, 0.98)
LOG_GAIN = 3.0
"""Scalars stored as logarithms move this much faster under a common perturbation sigma."""
DAMPED_FROM, BOUNDED_FROM, LEVEL_MEMORY = 4.0, 2.5, 2.0
"""k at initialisation, alone and with `bounded`; steps are remembered as t^2 is summed."""
BOUND_POWER, SELECTIVITY = 2.0, 5.0
"""y of `bounded` and s of `selective` at initialisation."""
PACE, KNEE = 15.0, 0.4
"""k and c_0 of `paced` at initialisation."""


class Clock(NamedTuple):
    """What all tensors share at a step: scalars, and `times` of shape (NUM_TIMES,).

    `t`: steps taken before; `times`: what the networks see of it; `step_size`: a; `decay`: w;
    `felt`: means over all tensors of what `Feedback` held before, (2,).
    """

    t: jax.Array
    times: jax.Array
    step_size: jax.Array
    decay: jax.Array
    felt: jax.Array


class Feedback(NamedTuple):
    """Whether steps were too long, by tensor: what is remembered, (tensors,) each.

    `fast`, `slow`: EMAs of the cosine between a gradient and the momentum m_.9 before it, positive
    where the last steps went down and the next could be longer, negative where they overshot
    (Baydin et al. 2018, "Online learning rate adaptation with hypergradient descent"); `shift`:
    what the controller made of it so far, added to c_1.
    """

    fast: jax.Array
    slow: jax.Array
    shift: jax.Array

    @classmethod
    def zeros(cls, tensors: int) -> "Feedback":
        """Before the first step."""
        return cls(*(jnp.zeros(tensors) for _ in range(3)))


class Memory(NamedTuple):
    """What is remembered of the tensors besides accumulators; None where not asked for.

    `level`: of `damped` with `bounded`, a mean of their g^2 that forgets as a power of the time,
    (tensors,); `squares`: of `paced`, an EMA of the squared cosines of `feedback`, (tensors,).
    """

    feedback: Feedback | None
    level: jax.Array | None
    squares: jax.Array | None

    @classmethod
    def zeros(cls, tensors: int, feedback: bool, level: bool, squares: bool) -> "Memory":
        """Before the first step."""
        return cls(
            Feedback.zeros(tensors) if feedback else None,
            jnp.zeros(tensors) if level else None,
            jnp.zeros(tensors) if squares else None,
        )


class Sides(NamedTuple):
    """What the shapes of tensors say, (tensors,) each, float32.

    `fan_in`, `fan_out`: see `Layout`; `matrix`: 1 of a matrix, else 0.
    """

    fan_in: np.ndarray
    fan_out: np.ndarray
    matrix: np.ndarray


def common_feedback(memory: Memory) -> jax.Array:
    """Means over all tensors of `fast` and `slow`, (2,); zero without."""
    if memory.feedback is None:
        return jnp.zeros(2)
    return jnp.stack([jnp.mean(memory.feedback.fast), jnp.mean(memory.feedback.slow)])


class Scales(NamedTuple):
    """Of every tensor, (tensors,) each.

    `p`, `root`: 1 / rms of the parameters and of sqrt(v_hat); `step`: exp(c_1); `decay`:
    w exp(c_2), at most 1 / (2 a).
    """

    p: jax.Array
    root: jax.Array
    step: jax.Array
    decay: jax.Array


def tensor_scales(
    theta: Theta,
    sides: Sides,
    clock: Clock,
    means_v: jax.Array,
    means: jax.Array,
    memory: Memory,
) -> tuple[Scales, Memory]:
    """`Scales` of shape (tensors,) each, from means of v_hat, (tensors,), and `_means`.

    And the new memory: every step moves c_1 by 1 / (t + 10) of the controller's third output, by
    equal amounts in equal times as a run grows tenfold.
    """
    cosine = _cosine_before(means)
    _, hats = corrections(clock.t + 1)
    means = means[:, :6] * jnp.stack([1.0, 1.0, *(s * s for s in hats), hats[1]])[None]
    means = jnp.concatenate([means_v[:, None], means], 1)
    statistics = _statistics(sides, means, clock.times)
    feedback, level, agreed = memory
    if feedback is not None:
        pairs = zip(FEEDBACK_DECAYS, feedback[:2], strict=True)
        fast, slow = (b * x + (1 - b) * cosine for b, x in pairs)
        feedback = Feedback(fast, slow, feedback.shift)
        common = (jnp.broadcast_to(x, cosine.shape) for x in clock.felt)
        seen = [*(3 * x for x in (fast, slow, *common)), feedback.shift]
        statistics = jnp.concatenate([statistics, jnp.stack(seen, 1)], 1)
    control = _controller(theta["controller"], statistics)
    log_step, log_decay = control[:, 0], control[:, 1]
    held = jnp.zeros_like(log_decay)
    if "damping" in theta:
        before, squares = means[:, 0], means[:, 2]
        if level is not None:
            level += LEVEL_MEMORY / (clock.t + LEVEL_MEMORY) * (squares - level)
            before = level
        damped, kept = damping(theta["damping"], squares, before)
        log_step, held = log_step + damped, held + kept
    if feedback is not None:
        so_far = jnp.clip(feedback.shift + control[:, 2] / (clock.t + 10), -5.0, 5.0)
        feedback = feedback._replace(shift=so_far)
        log_step += so_far
        if "log_selectivity" in theta:
            selectivity = SELECTIVITY * jnp.exp(LOG_GAIN * theta["log_selectivity"])
            log_decay -= selectivity * jnp.abs(feedback.slow)
    if agreed is not None:
        keep = FEEDBACK_DECAYS[1]
        agreed = keep * agreed + (1 - keep) * cosine * cosine
        log_step += pacing(theta["pace"], agreed / (1 - keep ** (clock.t + 1)))
    if "log_bound" in theta:
        held += bounding(theta["log_bound"], sides, means[:, 1])
    decay = clock.decay * jnp.exp(log_decay + jnp.clip(held, -5.0, 5.0))
    return Scales(
        p=rsqrt(means[:, 1] + TINY),
        root=rsqrt(means[:, 0] + TINY),
        step=jnp.exp(log_step),
        # One step takes at most half of a tensor: more than all would turn it over.
        decay=jnp.minimum(decay, 0.5 / jnp.maximum(clock.step_size, TINY)),
    ), Memory(feedback, level, agreed)


def damping(net: Theta, squares: jax.Array, before: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log D = z min(0, k + log(r + 1e-4)) of `Nominal`, for log step, and -u log D, for log decay.

    r^2 is the mean of g^2 over what it was `before`.
    """
    factors = {name: jnp.exp(LOG_GAIN * leaf) for name, leaf in net.items()}
    log_r = _log(jnp.sqrt(squares + TINY) * rsqrt(before + TINY))
    begins = (BOUNDED_FROM if "log_kept" in net else DAMPED_FROM) * factors["log_start"]
    damped = factors["log_power"] * jnp.minimum(0.0, begins + log_r)
    return damped, -factors.get("log_kept", jnp.zeros(())) * damped


def pacing(theta: Theta, squares: jax.Array) -> jax.Array:
    """What `paced` adds to c_1 (tensors,), from means of the squares of the last cosines."""
    slope, knee = (
        first * jnp.exp(LOG_GAIN * theta[name])
        for first, name in ((PACE, "log_slope"), (KNEE, "log_knee"))
    )
    return slope * jnp.minimum(0.0, jnp.sqrt(squares + TINY) - knee)


def bounding(log_bound: jax.Array, sides: Sides, p: jax.Array) -> jax.Array:
    """y log(rms(p) sqrt(fan in)) of `Nominal`, added to log(w). `p`: means of p^2."""
    power = BOUND_POWER * jnp.exp(LOG_GAIN * log_bound)
    return power / 2 * jnp.log(p * sides.fan_in + TINY)


def _cosine_before(means: jax.Array) -> jax.Array:
    """Between g and the momentum m_.9 before it, (tensors,), from `_means`: m = .9 m' + .1 g."""
    g_g, m_m, g_m = means[:, 1], means[:, 3], means[:, 6]
    g_before = (g_m - 0.1 * g_g) / 0.9
    before = (m_m - 0.2 * g_m + 0.01 * g_g) / 0.81
    # At least what rounding leaves: of the first step nothing else is left.
    before = jnp.maximum(before, 1e-4 * g_g)
    return g_before * rsqrt(g_g + TINY) * rsqrt(before + TINY)


def _statistics(sides: Sides, means: jax.Array, times: jax.Array) -> jax.Array:
    """What the controller sees of each tensor, (tensors, NUM_STATISTICS), about unit scale.

    Logarithms of its fans, of rms(p), and of rms(g) and rms(m_hat) over rms(sqrt(v_hat)); the
    cosine between m_hat_{0.9} and p; the time.
    """
    # Under roots as under `directions`, so that derivatives exist where nothing has a gradient.
    second, p, *others, product = list((means + TINY).T)
    g, m1, m2, m3 = [_log(jnp.sqrt(x) * rsqrt(second)) for x in others]
    cosine = product * rsqrt(others[2]) * rsqrt(p)
    statistics = [
        jnp.asarray(np.log(sides.fan_in) / 2 - 2),
        jnp.asarray(np.log(sides.fan_out) / 2 - 2),
        jnp.asarray(sides.matrix),
        _log(jnp.sqrt(p)) / 2 + 1,
        g,
        m1,
        m2 + 1,
        m3 + 2,
        4 * cosine,
    ]
    times = jnp.broadcast_to(times, (len(means), NUM_TIMES))
    return jnp.concatenate([jnp.stack(statistics, 1), times], 1)


def _controller(net: Theta, x: jax.Array) -> jax.Array:
    """(tensors, statistics) -> (tensors, outputs) log multipliers, at most 5 in size.

    The linear skip extrapolates as a power law in the statistics.
    """
    control = x @ net["skip"]
    if "w1" in net:
        control += jnp.tanh(x @ net["w1"] + net["b1"][None]) @ net["w2"]
    return jnp.clip(control, -5.0, 5.0)


def _log(x: jax.Array) -> jax.Array:
    return jnp.log(x + 1e-4)
