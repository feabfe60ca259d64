"""The hand-designed optimizers that a learned one is compared with: one row each."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

HALF_DECADES = tuple(round(10 ** (k / 2), 10) for k in range(-12, 5))
"""1e-6, 3.16e-6, ..., 1e2: the lattice that learning-rate grids are cut from."""

WARMUP = 0.05


class Hyper(NamedTuple):
    """What tuning varies: learning rate and decoupled weight decay (scalars, maybe traced)."""

    lr: Any
    wd: Any


Make = Callable[[Any, Any, Any], optax.GradientTransformation]
"""(learning rate or schedule, weight decay, mask) -> transformation."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A hand-designed optimizer and how it is tuned.

    Attributes:
      name: unique key. `label`: for people.
      make: builds it from optax.
      cosine: 5 % linear warm-up then cosine to zero at the horizon, else constant.
      lrs: first and last of the half-decade grid; equal ends: a fixed learning rate.
      wds: weight decays tried, at the best learning rate and its neighbours, after 0.
    """

    name: str
    label: str
    make: Make
    cosine: bool
    lrs: tuple[float, float]
    wds: tuple[float, ...] = ()

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates tried first."""
        low, high = self.lrs
        return tuple(lr for lr in HALF_DECADES if low * 0.99 <= lr <= high * 1.01)

    def transform(self, hyper: Hyper, num_steps: Any) -> optax.GradientTransformationExtraArgs:
        """The complete optimizer; every number may be traced."""
        lr = hyper.lr
        if self.cosine:
            unit = warmup_cosine(num_steps)
            lr = lambda count: hyper.lr * unit(count)  # noqa: E731
        return optax.with_extra_args_support(self.make(lr, hyper.wd, matrices))


def warmup_cosine(num_steps: Any) -> optax.Schedule:
    """min(1, (t + 1) / (0.05 T)) (1 + cos(pi t / T)) / 2 for t = 0..T-1; T may be traced."""

    def schedule(count: Any) -> jax.Array:
        t, total = jnp.asarray(count, jnp.float32), jnp.asarray(num_steps, jnp.float32)
        ramp = jnp.minimum(1.0, (t + 1) / jnp.maximum(1.0, WARMUP * total))
        return ramp * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(1.0, t / total)))

    return schedule


def matrices(params: optax.Params) -> Any:
    """Where weight decay applies: tensors of rank two and more, not biases."""
    return jax.tree.map(lambda p: p.ndim >= 2, params)


def _adam(lr: Any, wd: Any, mask: Any) -> optax.GradientTransformation:
    del wd, mask
    return optax.adam(lr)


def _adamw(lr: Any, wd: Any, mask: Any) -> optax.GradientTransformation:
    return optax.adamw(lr, weight_decay=wd, mask=mask)


def _lion(lr: Any, wd: Any, mask: Any) -> optax.GradientTransformation:
    return optax.lion(lr, weight_decay=wd, mask=mask)


def _adabelief(lr: Any, wd: Any, mask: Any) -> optax.GradientTransformation:
    return optax.chain(
        optax.scale_by_belief(),
        optax.add_decayed_weights(wd, mask),
        optax.scale_by_learning_rate(lr),
    )


DECAYS = (1e-3, 1e-2, 1e-1, 1.0)

ADAMW = Baseline("adamw", "AdamW cosine, tuned", _adamw, True, (1e-4, 1e-1), DECAYS)
"""The headline baseline."""

BASELINES: tuple[Baseline, ...] = (
    Baseline("adam_default", "Adam 1e-3, untuned", _adam, False, (1e-3, 1e-3)),
    Baseline("adam", "Adam constant, tuned", _adam, False, (1e-4, 1e-1)),
    ADAMW,
    Baseline("lion", "Lion cosine, tuned", _lion, True, (1e-5, 1e-2), (1e-2, 1e-1, 1.0, 10.0)),
    Baseline("adabelief", "AdaBelief cosine, tuned", _adabelief, True, (1e-4, 1e-1), DECAYS),
)
