"""What a baseline is: a hand-designed optimizer of optax, and how its settings are chosen."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

WARMUP = 0.05
CONSTANT, COSINE = 0.0, 1.0
"""Values of `Hyper.cosine`."""


class Hyper(NamedTuple):
    """What tuning varies: scalars, all of which may be traced.

    `lr`: learning rate, the schedule's peak; `wd`: weight decay, multiplied by the learning rate
    and decoupled from the gradient (but for SGD); `cosine`: 1.0 for 5 % linear warm-up and then
    cosine to 0 at the horizon, 0.0 for a constant learning rate; `extra`: a third number, which
    each row gives its own meaning.
    """

    lr: Any
    wd: Any = 0.0
    cosine: Any = CONSTANT
    extra: Any = 0.0


Make = Callable[..., optax.GradientTransformation]
"""(learning rate or schedule, weight decay, extra) -> transformation."""


def at_params(opt_state: Any, params: optax.Params) -> optax.Params:
    """The parameters that are evaluated: those that are trained."""
    del opt_state
    return params


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A hand-designed optimizer and how it is tuned.

    Attributes:
      name: unique. `label`: for people.
      make: builds it from optax.
      lrs: first and last of the half-decade grid; equal ends: that learning rate, and no tuning.
      wds: weight decays tried besides 0; without tuning the one that is used, or none.
      schedules: values of `Hyper.cosine` tried.
      extras: values of `Hyper.extra` tried, the default first.
      eval_params: (state of the optimizer, parameters) -> parameters whose loss counts.
      version: raised with every change of what the row computes; it enters the keys of its runs.
    """

    name: str
    label: str
    make: Make
    lrs: tuple[float, float]
    wds: tuple[float, ...] = ()
    schedules: tuple[float, ...] = (CONSTANT,)
    extras: tuple[float, ...] = (0.0,)
    eval_params: Callable[[Any, optax.Params], optax.Params] = at_params
    version: int = 1

    @property
    def horizon_free(self) -> bool:
        """Whether it never uses the number of steps: only the schedule is told."""
        return COSINE not in self.schedules

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates tried first."""
        if self.lrs[0] == self.lrs[1]:
            return self.lrs[:1]
        first, last = (round(2 * math.log10(lr)) for lr in self.lrs)
        return tuple(half_decade(k) for k in range(first, last + 1))

    @property
    def tuned(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.grid) > 1

    @property
    def default(self) -> Hyper:
        """What it uses where nothing is tuned."""
        decay = self.wds[0] if self.wds else 0.0
        return Hyper(self.lrs[0], decay, self.schedules[0], self.extras[0])

    @property
    def trials(self) -> int:
        """Settings that tuning tries if no grid is extended."""
        variants = len(self.wds) + len(self.extras) - 1
        return len(self.grid) * len(self.schedules) + 3 * variants if self.tuned else 0

    def transform(self, hyper: Hyper, num_steps: Any) -> optax.GradientTransformationExtraArgs:
        """The complete optimizer; every number may be traced."""
        made = self.make(self.rate(hyper, num_steps), hyper.wd, hyper.extra)
        return optax.with_extra_args_support(made)

    def rate(self, hyper: Hyper, num_steps: Any) -> Any:
        """The learning rate, or its schedule over a run of `num_steps`."""
        if self.horizon_free:
            return hyper.lr
        unit = warmup_cosine(num_steps)
        return scaled(lambda t: jnp.where(hyper.cosine > 0, unit(t), 1.0), hyper.lr)


@dataclasses.dataclass(frozen=True)
class ToldBaseline(Baseline):
    """A baseline whose `make` is told the number of steps, too, as its fourth argument."""

    def transform(self, hyper: Hyper, num_steps: Any) -> optax.GradientTransformationExtraArgs:
        """The complete optimizer; every number may be traced."""
        rate = self.rate(hyper, num_steps)
        made = self.make(rate, hyper.wd, hyper.extra, num_steps)
        return optax.with_extra_args_support(made)


def half_decade(k: int) -> float:
    """10 ** (k / 2), to four digits."""
    return float(f"{10 ** (k / 2):.4g}")


def neighbour(lr: float, by: int) -> float:
    """The learning rate `by` half decades away."""
    return half_decade(round(2 * math.log10(lr)) + by)


def warmup_cosine(num_steps: Any) -> optax.Schedule:
    """min(1, (t + 1) / (0.05 T)) (1 + cos(pi min(1, t / T))) / 2; T may be traced."""

    def schedule(count: Any) -> jax.Array:
        t, total = jnp.asarray(count, jnp.float32), jnp.asarray(num_steps, jnp.float32)
        ramp = jnp.minimum(1.0, (t + 1) / jnp.maximum(1.0, WARMUP * total))
        return ramp * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(1.0, t / total)))

    return schedule


def scaled(lr: Any, by: Any) -> Any:
    """A learning rate or a schedule, times a number."""
    return (lambda count: by * lr(count)) if callable(lr) else by * lr
