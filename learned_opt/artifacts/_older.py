"""Optimizers as files of older versions name them: `nominal` was `GatedAdam` and `Spectral` in one.

Digests of artifacts still name them so, or those of released artifacts would change.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from .._checks import shown
from ..optimizers import GatedAdam, Spectral
from ..transformation._learned_optimizer import LearnedOptimizer

NOMINAL = "nominal"
SPECTRAL = ("bounded", "damped", "fading", "feedback", "orthogonal", "selective")
"""Options of `nominal` that are all on in what is `Spectral` now, and off in `GatedAdam`."""
SIZES = {"hidden": 4, "controller_hidden": 16}
"""Options that were 0 in what is `Spectral` now, and what they were where left out."""


def current(name: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of an optimizer as they are now, from those of any version.

    Raises:
      ValueError: options of `nominal` that are neither `GatedAdam` nor `Spectral`.
    """
    options = dict(config)
    if name != NOMINAL:
        return name, options
    flags = {flag: options.pop(flag, False) for flag in (*SPECTRAL, "paced")}
    given = {flag: value for flag, value in flags.items() if value is not False}
    sizes = {size: options.get(size, usual) for size, usual in SIZES.items()}
    if not given and 0 not in sizes.values():
        return GatedAdam.name, options
    given |= sizes
    if given == dict.fromkeys(SPECTRAL, True) | dict.fromkeys(SIZES, 0):
        return Spectral.name, {key: x for key, x in options.items() if key not in SIZES}
    raise ValueError(
        f"nominal with {shown(given, 200)} is no optimizer of this version: it has gated_adam, "
        f"which is nominal without options, and spectral, with {', '.join(SPECTRAL)} and both "
        "sizes 0; use the version that saved it"
    )


def hashed(optimizer: LearnedOptimizer) -> dict[str, Any]:
    """What the digest of an artifact says of its optimizer: name and options."""
    name, config = optimizer.name, dataclasses.asdict(optimizer)  # type: ignore[arg-type]
    if isinstance(optimizer, GatedAdam | Spectral):
        name = NOMINAL
        if not optimizer.horizon_free:
            del config["horizon_free"]
    if isinstance(optimizer, Spectral):
        config |= dict.fromkeys(SPECTRAL, True) | dict.fromkeys(SIZES, 0)
    return {"optimizer": name, "config": config}
