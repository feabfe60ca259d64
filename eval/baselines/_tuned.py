"""The hand-designed optimizers that are tuned on every task: one row each."""

from typing import Any

import optax

from ._baseline import CONSTANT, COSINE, Baseline, scaled
from ._masks import muon_axes, weights
from ._pieces import scale_by_adan


def adam(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    """Adam; decay and extra count for nothing."""
    del wd, extra
    return optax.adam(lr)


def _adamw(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    del extra
    return optax.adamw(lr, weight_decay=wd, mask=weights)


def _nadamw(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    del extra
    return optax.nadamw(lr, weight_decay=wd, mask=weights)


def _lion(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    del extra
    return optax.lion(lr, weight_decay=wd, mask=weights)


def _adabelief(lr: Any, wd: Any, eps: Any) -> optax.GradientTransformation:
    # Beside the root and under it.
    return _decayed(optax.scale_by_belief(eps=eps, eps_root=eps), lr, wd)


def _adan(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Decayed as AdamW is: the authors' proximal step differs in the second order of lr wd.
    del extra
    return _decayed(scale_by_adan(), lr, wd)


def _laprop(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Ziyin, Wang & Ueda 2020: what Adam does, but divided before it is averaged.
    del extra
    divided = optax.scale_by_rms(0.999, 1e-15, eps_in_sqrt=False, bias_correction=True)
    return _decayed(optax.chain(divided, optax.ema(0.9)), lr, wd)


def _adafactor(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Shazeer & Stern 2018 without relative steps: optax.adafactor with
    # multiply_by_parameter_scale=False, but decay is multiplied by the learning rate.
    del extra
    scaled = optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
    return _decayed(scaled, lr, wd)


def _decayed(tx: optax.GradientTransformation, lr: Any, wd: Any) -> optax.GradientTransformation:
    return optax.chain(tx, optax.add_decayed_weights(wd, weights), optax.scale_by_learning_rate(lr))


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


def schedule_free(lr: Any, wd: Any, b1: Any) -> optax.GradientTransformation:
    """`optax.contrib.schedule_free_adamw`, but for the mask of the decay, which that has not."""
    rms = optax.scale_by_rms(decay=0.999, eps=1e-8, eps_in_sqrt=False, bias_correction=True)
    return optax.contrib.schedule_free(_decayed(rms, lr, wd), learning_rate=lr, b1=b1)


BOTH, FOUR = (CONSTANT, COSINE), (1e-3, 1e-2, 1e-1, 1.0)

ADAMW = Baseline("adamw", "AdamW, tuned", _adamw, (1e-4, 1e-1), FOUR, BOTH)
"""The headline baseline."""

TUNED: tuple[Baseline, ...] = (
    Baseline("adam", "Adam constant, tuned", adam, (1e-4, 1e-1)),
    ADAMW,
    Baseline("nadamw", "NAdamW, tuned", _nadamw, (1e-4, 1e-1), FOUR, BOTH),
    Baseline("lion", "Lion, tuned", _lion, (1e-5, 1e-2), (1e-2, 1e-1, 1.0, 10.0), BOTH),
    Baseline(
        "adabelief", "AdaBelief, tuned", _adabelief, (1e-4, 1e-1), (1e-3, 1e-2, 1e-1), BOTH,
        extras=(1e-16, 1e-8),
    ),
    Baseline("adan", "Adan, tuned", _adan, (1e-4, 1e-1), FOUR, BOTH),
    Baseline("laprop", "LaProp, tuned", _laprop, (1e-4, 1e-1), FOUR, BOTH),
    Baseline("adafactor", "Adafactor, tuned", _adafactor, (1e-4, 1e-1), FOUR, BOTH),
    Baseline(
        "muon", "Muon, tuned", _muon, (1e-3, 1.0), (1e-2, 1e-1), BOTH, extras=(0.3, 0.1, 1.0)
    ),
    Baseline("sgdm", "SGD momentum, tuned", _sgdm, (1e-3, 1.0), (1e-4, 5e-4, 1e-3, 5e-3), BOTH),
    Baseline(
        "schedule_free", "Schedule-free AdamW, tuned", schedule_free, (1e-4, 10**-0.5), FOUR,
        extras=(0.9, 0.95, 0.98), eval_params=optax.contrib.schedule_free_eval_params,
    ),
)  # fmt: skip
"""Rows of the role "baseline"."""
