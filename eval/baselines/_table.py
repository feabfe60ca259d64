"""The hand-designed optimizers that a learned one is compared with: one row each."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from learned_opt.layouts._layout import Layout
from learned_opt.layouts._layouts import layouts

WARMUP = 0.05
CONSTANT, COSINE = 0.0, 1.0
"""Values of `Hyper.cosine`."""

UNDECAYED = ("b", "bias", "scale", "offset")
"""Names of parameters without weight decay, whatever their rank."""

NOT_MUON = ("embedding", "head", "positions")
"""Matrices that are optimized by AdamW beside Muon, as Jordan does."""


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


Make = Callable[[Any, Any, Any], optax.GradientTransformation]
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
      lrs: first and last of the half-decade grid; equal ends: a fixed learning rate, no tuning.
      wds: weight decays tried besides 0.
      schedules: values of `Hyper.cosine` tried.
      extras: values of `Hyper.extra` tried, the default first. `extra_is`: what it is, in words.
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
    extra_is: str = ""
    eval_params: Callable[[Any, optax.Params], optax.Params] = at_params
    version: int = 1

    @property
    def key(self) -> str:
        """All that a run depends on besides its hyper-parameters."""
        return f"{self.name}:{self.version}"

    @property
    def horizon_free(self) -> bool:
        """Whether it never uses the number of steps: only the schedule is told."""
        return COSINE not in self.schedules

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates tried first."""
        first, last = (round(2 * math.log10(lr)) for lr in self.lrs)
        return tuple(half_decade(k) for k in range(first, last + 1))

    @property
    def tuned(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.grid) > 1

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
        return _scaled(lambda t: jnp.where(hyper.cosine > 0, unit(t), 1.0), hyper.lr)


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


def weights(params: optax.Params) -> Any:
    """Where weight decay applies: tensors of rank two and more, but not biases and norms."""

    def decayed(path: Any, p: Any) -> bool:
        return p.ndim >= 2 and _names(path)[-1] not in UNDECAYED

    return jax.tree_util.tree_map_with_path(decayed, params)


def muon_axes(params: optax.Params) -> Any:
    """What Muon orthogonalises: (fan-in, outputs) of matrices and kernels; None is for AdamW."""
    leaves, treedef = jax.tree.flatten(weights(params))
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    rows = zip(leaves, paths, layouts(None, params), strict=True)
    return treedef.unflatten([_muon_axes(*row) for row in rows])


def _muon_axes(is_weight: bool, path: Any, layout: Layout) -> Any:
    by_adamw = not is_weight or any(name in NOT_MUON for name in _names(path))
    if by_adamw or layout.axes is None or not layout.is_matrix:
        return None
    _, window, inputs, outputs = dataclasses.astuple(layout.axes)
    return optax.contrib.MuonDimensionNumbers(window + inputs, outputs)


def _names(path: Any) -> list[str]:
    """Every part of the path to a leaf: names of modules, cut at "/", and of the parameter."""
    text = jax.tree_util.keystr(path, simple=True, separator="/")
    return text.split("/")


def _adam(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    del wd, extra
    return optax.adam(lr)


def _adamw(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    del extra
    return optax.adamw(lr, weight_decay=wd, mask=weights)


def _lion(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    del extra
    return optax.lion(lr, weight_decay=wd, mask=weights)


def _adabelief(lr: Any, wd: Any, eps: Any) -> optax.GradientTransformation:
    return optax.chain(
        optax.scale_by_belief(eps=eps, eps_root=eps),
        optax.add_decayed_weights(wd, weights),
        optax.scale_by_learning_rate(lr),
    )


def _sgdm(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    del extra
    # Decay joins the gradient before the momentum: what 5e-4 has always meant for SGD.
    return optax.chain(optax.add_decayed_weights(wd, weights), optax.sgd(lr, momentum=0.9))


def _muon(lr: Any, wd: Any, ratio: Any) -> optax.GradientTransformation:
    # Its AdamW part holds biases, norms, embeddings and heads, which are not decayed.
    return optax.contrib.muon(
        lr,
        weight_decay=wd,
        adam_learning_rate=_scaled(lr, ratio),
        muon_weight_dimension_numbers=muon_axes,
    )


def _scaled(lr: Any, by: Any) -> Any:
    return (lambda count: by * lr(count)) if callable(lr) else by * lr


def _schedule_free(lr: Any, wd: Any, b1: Any) -> optax.GradientTransformation:
    # optax.contrib.schedule_free_adamw, but for the mask, which that has not.
    inner = optax.chain(
        optax.scale_by_rms(decay=0.999, eps=1e-8, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(wd, weights),
        optax.scale_by_learning_rate(lr),
    )
    return optax.contrib.schedule_free(inner, learning_rate=lr, b1=b1)


BOTH = (CONSTANT, COSINE)

ADAMW = Baseline("adamw", "AdamW, tuned", _adamw, (1e-4, 1e-1), (1e-3, 1e-2, 1e-1, 1.0), BOTH)
"""The headline baseline."""

BASELINES: tuple[Baseline, ...] = (
    Baseline("adam_default", "Adam 1e-3, untuned", _adam, (1e-3, 1e-3)),
    Baseline("adam", "Adam constant, tuned", _adam, (1e-4, 1e-1)),
    ADAMW,
    Baseline("lion", "Lion, tuned", _lion, (1e-5, 1e-2), (1e-2, 1e-1, 1.0, 10.0), BOTH),
    Baseline(
        "adabelief", "AdaBelief, tuned", _adabelief, (1e-4, 1e-1), (1e-3, 1e-2, 1e-1), BOTH,
        (1e-16, 1e-8), "eps, beside the root and under it",
    ),
    Baseline(
        "muon", "Muon, tuned", _muon, (1e-3, 1.0), (1e-2, 1e-1), BOTH,
        (0.3, 0.1, 1.0), "learning rate of its AdamW part over Muon's",
    ),
    Baseline("sgdm", "SGD momentum, tuned", _sgdm, (1e-3, 1.0), (1e-4, 5e-4, 1e-3, 5e-3), BOTH),
    Baseline(
        "schedule_free", "Schedule-free AdamW, tuned", _schedule_free, (1e-4, 10**-0.5),
        (1e-3, 1e-2, 1e-1, 1.0), (CONSTANT,), (0.9, 0.95, 0.98), "b1, of the average",
        optax.contrib.schedule_free_eval_params,
    ),
)  # fmt: skip
"""The ladder. Tried settings: 0 of adam_default, 7 of adam, 26 of every other row."""
