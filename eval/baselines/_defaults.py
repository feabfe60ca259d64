"""What needs no tuning, as its authors ship it: one setting on all tasks, from paper or package.

Where the authors use or allow a schedule it is ours: 5 % linear warm-up, then cosine to 0.
Numbers that are not named here are optax's, and those are the papers' too; where optax's
algorithm is not the authors', a comment says so. Without decay unless the authors decay.
"""

from typing import Any

import optax

from ._baseline import COSINE, Baseline, ToldBaseline
from ._masks import weights
from ._pieces import skip_zeros, slow_average, uncorrected
from ._tuned import adam, schedule_free


def _prodigy(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Mishchenko & Defazio 2023, algorithm 4: d0 1e-6, no bias correction, which optax always has.
    # The safeguard is what the authors' code has for warm-ups.
    del wd, extra
    return skip_zeros(optax.contrib.prodigy(uncorrected(lr), safeguard_warmup=True))


def _dadapt_adamw(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Defazio & Mishchenko 2023: d0 1e-6, no bias correction, which optax always has.
    del wd, extra
    return skip_zeros(optax.contrib.dadapt_adamw(uncorrected(lr)))


def _dowg(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Khaled, Mishchenko & Jin 2023: as in their code 1e-4 is the first *squared* distance.
    del wd, extra
    return optax.contrib.dowg(lr)


def _mechanic_adamw(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Cutkosky, Defazio & Mehta 2023, by the authors themselves. s_init is 1e-6 as there: from the
    # 1e-8 of their PyTorch code the first steps are lost in rounding, for only x0 is kept.
    del extra
    return optax.contrib.mechanize(optax.adamw(lr, weight_decay=wd, mask=weights))


def _momo_adam(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Schaipp et al. 2024: the loss is taken to be bounded by 0.
    del wd, extra
    return optax.contrib.momo_adam(lr)


def _cocob(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Orabona & Tommasi 2017, algorithm 2: alpha 100. It has no learning rate.
    del wd, extra
    return optax.contrib.cocob(lr)


def _ademamix(lr: Any, wd: Any, extra: Any, num_steps: Any) -> optax.GradientTransformation:
    # Pagliardini, Ablin & Grangier 2024: alpha 8, beta3 0.9999, both warmed up over the whole run.
    # optax has constants of other sizes: 5, or 6.
    del extra
    b3, alpha = slow_average(num_steps)
    return optax.contrib.ademamix(lr, b3=b3, alpha=alpha, weight_decay=wd, mask=weights)


def _adopt(lr: Any, wd: Any, extra: Any) -> optax.GradientTransformation:
    # Taniguchi et al. 2024: beta2 0.9999, eps 1e-6, clipped at t^(1/4). The first step is 0.
    del wd, extra
    return optax.contrib.adopt(lr)


ONE, TOLD = (1.0, 1.0), (COSINE,)

DEFAULTS: tuple[Baseline, ...] = (
    Baseline("adam_default", "Adam 1e-3, untuned", adam, (1e-3, 1e-3)),
    Baseline("prodigy", "Prodigy, untuned", _prodigy, ONE, schedules=TOLD),
    Baseline("dadapt_adamw", "D-Adapted AdamW, untuned", _dadapt_adamw, ONE, schedules=TOLD),
    Baseline("mechanic_adamw", "Mechanic AdamW, untuned", _mechanic_adamw, ONE, (1e-2,), TOLD),
    Baseline("momo_adam", "MoMo-Adam, untuned", _momo_adam, (1e-2, 1e-2), schedules=TOLD),
    ToldBaseline("ademamix", "AdEMAMix, untuned", _ademamix, (1e-3, 1e-3), (0.1,), TOLD),
    Baseline("adopt", "ADOPT, untuned", _adopt, (1e-3, 1e-3), schedules=TOLD),
    Baseline("dowg", "DoWG, untuned", _dowg, ONE),
    Baseline("cocob", "COCOB, untuned", _cocob, ONE),
    # Defazio et al. 2024: the default of their code and of optax, without warm-up. In their code
    # early steps weigh less in the average, by 1 - beta2^t.
    Baseline(
        "schedule_free_default", "Schedule-free AdamW, untuned", schedule_free, (2.5e-3, 2.5e-3),
        extras=(0.9,), eval_params=optax.contrib.schedule_free_eval_params,
    ),
)  # fmt: skip
"""Rows of the role "default"."""
