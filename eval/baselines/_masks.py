"""Which tensors weight decay and Muon apply to."""

import dataclasses
from typing import Any

import jax
import optax

from learned_opt.layouts._layout import Layout
from learned_opt.layouts._layouts import layouts

UNDECAYED = ("b", "bias", "scale", "offset")
"""Names of parameters without weight decay, whatever their rank."""

NOT_MUON = ("embedding", "head", "positions")
"""Matrices that are optimized by AdamW beside Muon, as Jordan does."""


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
