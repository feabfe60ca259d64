"""Spectral: steps of equal singular values, with a learned length and decay for every tensor.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Feedback: Baydin et
al. 2018, "Online learning rate adaptation with hypergradient descent".
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from .._base import Theta
from ..parts._accumulators import corrections
from ..parts._control import NUM_STATISTICS, control, statistics, summarise
from ..parts._controlled import Controlled, seen_times
from ..parts._lengths import (
    NUM_FEEDBACK,
    bracket,
    feel,
    init_lengths,
    init_memory,
    lengths,
    logarithms,
)
from ..parts._orthogonal import equalised
from ..transformation._rule import Change, Kept, Now, Tensors


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
        skip = jnp.zeros((NUM_STATISTICS + NUM_FEEDBACK, 3), jnp.float32)
        return {**self._init_scalars(), "controller": {"skip": skip}, **init_lengths()}

    def _init_memory(self, theta: Theta, tensors: int) -> Kept:
        return Kept(init_memory(tensors), ())

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        every, x = summarise(stacks, now.t)
        theta, old = now.theta, now.memory.tensors
        *felt, feedback = feel(x, old)
        inputs = jnp.concatenate([statistics(x, seen_times(now)), feedback], 1)
        outputs = control(theta["controller"], inputs).T
        *logs, new = logarithms(theta, now.t, x, old, felt, outputs)
        scales = lengths(theta, now.size, self._peak(theta), self._decay(theta), *logs)
        hat = corrections(now.t + 1)[1][1]
        steps = []
        for tensors, seen in zip(stacks, every, strict=True):
            stack, m = tensors.stack, seen.momenta[1]
            if stack.layout.is_matrix:
                # Nesterov's momentum as it is: over sqrt(v) no better.
                direction = equalised(0.1 * tensors.g + 0.9 * hat * m, stack.shape)
            else:
                direction = m * (seen.estimate.inverse * hat)
            step = stack.map(bracket, stack.each(scales), direction, tensors.p)
            steps.append(now.size * step)
        return Change(steps, None, Kept(new, ()))
