"""The hand-designed optimizers that a learned one is compared with: one row each."""

from typing import Any

import optax

from ._baseline import CONSTANT, COSINE, Baseline, scaled
from ._masks import muon_axes, weights


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
    # Beside the root and under it.
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
    # `ratio`: the learning rate of its AdamW part over Muon's. That part holds biases, norms,
    # embeddings and heads, which are not decayed.
    return optax.contrib.muon(
        lr,
        weight_decay=wd,
        adam_learning_rate=scaled(lr, ratio),
        muon_weight_dimension_numbers=muon_axes,
    )


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
        extras=(1e-16, 1e-8),
    ),
    Baseline(
        "muon", "Muon, tuned", _muon, (1e-3, 1.0), (1e-2, 1e-1), BOTH, extras=(0.3, 0.1, 1.0)
    ),
    Baseline("sgdm", "SGD momentum, tuned", _sgdm, (1e-3, 1.0), (1e-4, 5e-4, 1e-3, 5e-3), BOTH),
    Baseline(
        "schedule_free", "Schedule-free AdamW, tuned", _schedule_free, (1e-4, 10**-0.5),
        (1e-3, 1e-2, 1e-1, 1.0), extras=(0.9, 0.95, 0.98),
        eval_params=optax.contrib.schedule_free_eval_params,
    ),
)  # fmt: skip
"""The ladder. Tried settings: 0 of adam_default, 7 of adam, 26 of every other row."""
