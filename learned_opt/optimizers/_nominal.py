"""Nominal + correction: AdamW with a schedule, and what meta-training adds to it.

Nominal terms for stability: Harrison, Metz, Sohl-Dickstein 2022, "A Closer Look at Learned
Optimization". Per-tensor control of the step: Metz et al. 2022, "VeLO".
"""

import dataclasses
from collections.abc import Hashable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._base import Shape, Theta, added, check_free_num_steps, check_num_steps, shaped
from .._checks import MOMENTA, STEP, WIDTH, check_fields, float_dtype
from ..layouts._layouts import AxesLike
from ..parts._accumulators import Accumulators, init_accumulators, update_accumulators
from ..parts._schedule import ramp_and_decay, ramp_and_fade
from ..shell._rule import Change, Kept, Now, Rule, Tensors
from ..shell._transformation import as_transformation
from ._nominal_rule import NUM_DIRECTIONS, NUM_FEATURES, steps_of
from ._nominal_scales import (
    LOG_GAIN,
    NUM_FEEDBACK,
    NUM_STATISTICS,
    NUM_TIMES,
    Clock,
    Memory,
    common_feedback,
)

ADAM = 2  # index of m_hat_{0.9} / sqrt(v_hat) among the directions


@dataclasses.dataclass(frozen=True)
class Nominal(Rule):
    """The recommended learned optimizer: AdamW with warm-up and decay at initialisation.

    For a tensor p with directions d_1..d_6 = (g, m_.5, m_.9, m_.99, factored m_.9) / sqrt(v) and
    p / rms(p), at step t of T::

        p <- p - a(t/T) [ exp(c_1) sum_k gate_k d_k + min(w exp(c_2), 1 / (2 a)) p ]

    a: warm-up then power decay from `learning_rate`; w: `weight_decay`; gate_k = b_k +
    MLP_k(features) per element; (c_1, c_2): a controller per tensor. At initialisation the gates
    are one for m_.9 / sqrt(v) and zero elsewhere, and c = 0: exactly AdamW, unless one of
    `orthogonal`, `fading`, `damped`, `bounded`, `selective` and `paced` is asked for.

    The features that the networks see are even in (p, g), so the rule commutes with a flip of
    sign of any coordinate (with `orthogonal`, of any row or column of a matrix), and unchanged
    under g -> c g, so the scale of the loss does not matter.

    Args:
      hidden: width of the per-element MLP; 0 for none: the gates stay as they begin.
      controller_hidden: width of the per-tensor controller; 0 for a linear one.
      learning_rate: step size a at its peak, at initialisation.
      weight_decay: decoupled decay w in units of the step size, at initialisation.
      warmup: fraction of the run with linearly growing step size.
      momenta: dtype in which the three momenta are stored, "float32" or "bfloat16".
      factored: keep the second moment of matrices as means over rows and over columns. With
        bfloat16 momenta this is the lean variant: 1.5 floats of state a parameter instead of 4.
      feedback: let the controller see whether the last steps of a tensor overshot, by EMAs of
        cos(g_t, m_.9 before it), and give a third output c_3 that adds up over the run: exp(c_1)
        becomes exp(c_1 + s) with s <- clip(s + c_3 / (t + 10), -5, 5) from 0.
      orthogonal: of a matrix the sum over k becomes g + 9 m_.9 with its singular values near 1,
        times 0.2 sqrt(max(rows, columns)), so that its root mean square is about 0.2: see
        `equal_singular_values`. At initialisation that is Muon on matrices, Adam elsewhere.
      horizon_free: `num_steps` may be left out and changes nothing. The step size warms up over 50
        steps, then falls as the root of the time, at initialisation; `warmup` has no effect.
      fading: w becomes w (a / peak)^q with a learned power q, 1 at initialisation: small while the
        step size warms up, and at the end, where decay would hold a fit away from its optimum.
      damped: exp(c_1) of every tensor is multiplied by D = min(1, e^k (r + 1e-4))^z, r = rms(g) /
        rms(sqrt(v)), with learned k, 4 at initialisation, and z, 1. Where gradients have all but
        vanished, as on a table that is known by heart, Adam's steps shrink with them; those of
        equal singular values would not.
      bounded: w is multiplied by (rms(p) sqrt(fan in))^y, with a learned power y, 2 at
        initialisation: weights far out of scale are brought back into it, and those within it are
        all but left alone. With `damped` also by D^-u, with a learned power u, 1, since what is
        known by heart wants decay; k is 2.5 then and r^2 the mean of g^2 over a level of what it
        was before, l_t = l_(t-1) + 2 / (t + 2) (mean g^2 - l_(t-1)), which forgets a first part of
        the run in which gradients were large because weights were. The factor is at most e^5
        and at least e^-5, and the bracket's bound lets decay take at most half of p at a step.
      selective: w is multiplied by exp(-s |c|), c the slower EMA of `feedback`, which this needs,
        with a learned s, 5 at initialisation: decay where gradients are noise, about none where
        they go on pointing the same way, or back and forth as steps that are too long make them.
      paced: exp(c_1) is multiplied by exp(k min(0, q - c_0)), q the root mean square of the last
        cosines of `feedback`, which this needs (weights .98^age), with learned k, 15 at
        initialisation, and c_0, .4: short steps where gradients are noise, so that few examples
        are not known by heart too soon, but not where steps go on or go back and forth.

    Raises:
      ValueError: an argument out of its range; `selective` or `paced` without `feedback`.

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
    feedback: bool = added(False)
    orthogonal: bool = added(False)
    horizon_free: bool = added(False)
    fading: bool = added(False)
    damped: bool = added(False)
    bounded: bool = added(False)
    selective: bool = added(False)
    paced: bool = added(False)

    def __post_init__(self) -> None:
        width = (0, WIDTH[1])
        check_fields(
            self,
            hidden=width,
            controller_hidden=width,
            learning_rate=STEP,
            weight_decay=(0.0, 1e3),
            warmup=(0.0, 1.0),
            momenta=MOMENTA,
        )
        for name in ("selective", "paced"):
            if getattr(self, name) and not self.feedback:
                raise ValueError(
                    f"{name} needs feedback, got feedback=False: set feedback=True too"
                )

    def init(self, key: jax.Array) -> Theta:
        """Random first layers, zero last layers: what the networks add is nothing."""
        key_gate, key_mix, key_control = jax.random.split(key, 3)
        h, c = self.hidden, self.controller_hidden
        inputs = NUM_STATISTICS + NUM_FEEDBACK * self.feedback
        outputs = 2 + self.feedback
        adam = np.zeros(NUM_DIRECTIONS, np.float32)
        adam[ADAM] = 1.0
        # Nothing of size zero: Orbax cannot store it.
        theta: dict[str, Any] = {
            "log_lr": jnp.zeros((), jnp.float32),
            "log_decay": jnp.zeros((), jnp.float32),
            "log_power": jnp.zeros((), jnp.float32),
            "controller": {"skip": jnp.zeros((inputs, outputs), jnp.float32)},
        }
        if self.fading:
            theta["log_fade"] = jnp.zeros((), jnp.float32)
        if self.damped:
            scalars = ("log_start", "log_power") + ("log_kept",) * self.bounded
            theta["damping"] = {name: jnp.zeros((), jnp.float32) for name in scalars}
        if self.bounded:
            theta["log_bound"] = jnp.zeros((), jnp.float32)
        if self.selective:
            theta["log_selectivity"] = jnp.zeros((), jnp.float32)
        if self.paced:
            theta["pace"] = {name: jnp.zeros((), jnp.float32) for name in ("log_slope", "log_knee")}
        if h:
            theta["gate"] = {
                "w1": _glorot(key_gate, NUM_FEATURES + NUM_TIMES, h),
                "b1": jnp.zeros(h, jnp.float32),
                "w2": _glorot(key_mix, h, h),
                "b2": jnp.zeros(h, jnp.float32),
                "w3": jnp.zeros((h, NUM_DIRECTIONS), jnp.float32),
                "b3": jnp.asarray(adam),
            }
        if c:
            theta["controller"] |= {
                "w1": _glorot(key_control, inputs, c),
                "b1": jnp.zeros(c, jnp.float32),
                "w2": jnp.zeros((c, outputs), jnp.float32),
            }
        return theta

    def schedule(
        self, theta: Theta, *, num_steps: Any = None, shape: Shape = None
    ) -> optax.Schedule:
        """a(s) = lr min(1, (t + 1) / (warmup T)) max(0, 1 - t/T)^power, t = 0, 1, ...

        With `horizon_free` lr min(1, (t + 1) / 50) (1 + t/100)^(-power/2); or lr shape(t).
        """
        peak, power = self._peak(theta), jnp.exp(theta["log_power"])
        total = None if self.horizon_free else check_num_steps(num_steps)
        if total is None:
            check_free_num_steps(num_steps)
        if shape is not None:
            return shaped(peak, shape)
        if total is None:
            return ramp_and_fade(peak, power)
        return ramp_and_decay(peak, power, self.warmup, total)

    def _peak(self, theta: Theta) -> jax.Array:
        return self.learning_rate * jnp.exp(LOG_GAIN * theta["log_lr"])

    def _decay(self, theta: Theta, step_size: jax.Array) -> jax.Array:
        """w, where the step size is `step_size`."""
        decay = self.weight_decay * jnp.exp(LOG_GAIN * theta["log_decay"])
        if not self.fading:
            return decay
        # Above zero, where the power has a derivative.
        left = jnp.maximum(step_size / self._peak(theta), 1e-9)
        return decay * left ** jnp.exp(LOG_GAIN * theta["log_fade"])

    def transform(
        self,
        theta: Theta,
        *,
        num_steps: Any = None,
        schedule: Shape = None,
        axes: AxesLike = None,
        **shell: Any,
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; ValueError unless `num_steps` is a positive integer (or traced)."""
        float_dtype(self.momenta, "momenta")
        step_size = self.schedule(theta, num_steps=num_steps, shape=schedule)
        total = None if self.horizon_free else check_num_steps(num_steps)
        return as_transformation(self, theta, step_size, total=total, axes=axes, **shell)

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> Accumulators:
        del kind
        return init_accumulators(zeros, float_dtype(self.momenta, "momenta"), self.factored)

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        del theta
        level = self.damped and self.bounded
        return Kept(Memory.zeros(tensors, self.feedback, level, self.paced), ())

    def _accumulate(
        self, theta: Theta, now: Now, memory: Kept, kind: Hashable, old: Accumulators, g: jax.Array
    ) -> Accumulators:
        del theta, now, memory, kind
        return update_accumulators(old, g)

    def _update(self, theta: Theta, now: Now, stacks: list[Tensors], memory: Kept) -> Change:
        clock = Clock(
            t=now.t,
            times=_times(now.t, now.total),
            step_size=now.size,
            decay=self._decay(theta, now.size),
            felt=common_feedback(memory.tensors),
        )
        steps, tensors = steps_of(theta, clock, stacks, memory.tensors, self.orthogonal)
        return Change(steps, None, Kept(tensors, ()))


def _times(t: jax.Array, total: jax.Array | None) -> jax.Array:
    """What the networks see of the time after t of `total` steps, (NUM_TIMES,)."""
    if total is None:
        seen = [jnp.log10(t + 1) - 2, jnp.exp(-t / 100), jnp.exp(-t / 1000)]
    else:
        seen = [t / total, jnp.exp(-10 * t / total), jnp.log10(total) - 2.5]
    return jnp.stack(seen)


def _glorot(key: jax.Array, fan_in: int, fan_out: int) -> jax.Array:
    normal = jax.random.normal(key, (fan_in, fan_out), jnp.float32)
    return normal / np.sqrt(fan_in).astype(np.float32)
