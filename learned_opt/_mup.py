"""muP: scale the updates of each tensor so that what works for a narrow network works for a wide.

Yang et al. 2022, "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter
Transfer", Tables 3 and 8. For learned optimizers: Therien et al. 2024, "muLO: Compute-Efficient
Meta-Generalization of Learned Optimizers", equation 3.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any

import jax
import optax

from .layouts._layout import Layout, leaf_name
from .layouts._layouts import AxesLike, layouts
from .transformation._trees import leaf_shape

ROLES = ("input", "hidden", "output", "embedding", "vector")

Role = str | float
Roles = Any | Callable[[str, tuple[int, ...]], Role]


def scale_by_mup(
    base_params: Any,
    *,
    roles: Roles | None = None,
    axes: AxesLike = None,
    output_multiplier: bool = True,
    relative: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Multiply every tensor's update by what muP asks for, relative to a network of base width.

    With r = base fan-in / fan-in, for an optimizer like Adam, whose steps have a size that does
    not depend on the gradient's; then all hyperparameters, and a learned optimizer's
    meta-parameters, carry over from the base width to any other:

    ===============================  ==============  =======  ========================
    role                             initial std     forward  update (`relative`)
    ===============================  ==============  =======  ========================
    input, embedding, vector         as at the base  1        1 (1)
    hidden                           1/sqrt(fan-in)  1        r (sqrt r)
    output, with its multiplier      as at the base  r        1 (1)
    output, `output_multiplier` off  base's times r  1        r (1)
    ===============================  ==============  =======  ========================

    Vectors are biases, norms' weights and scalars. The first three rows are Table 8 of Tensor
    Programs V and what muLO uses, the last with the first two is Table 3: the same network written
    in two ways. This scales the updates only; initial weights and the multiplier of the logits
    (and 1/d instead of 1/sqrt(d) in attention) are the model's affair. muLO's own 1 / fan-in is
    the base width 1.

    Use it right after the learned step, before weight decay, which muP does not scale::

        optax.chain(scale_by_learned(...), scale_by_mup(base_params), scale_by_learning_rate(1.0))

    The multipliers follow from the shapes of the updates, so one transformation serves networks of
    all widths, also in meta-training: put it after `optimizer.transform(theta)`.

    Roles are read off the axes along which a tensor differs from its twin in `base_params`:
    hidden if the fan-in and the fan-out do, output if only the fan-in does, input if only the
    fan-out or none does. What has no inputs, by `axes`, is a vector; stacked layers count alone.

    Args:
      base_params: the parameters at base width, or their `jax.ShapeDtypeStruct`s, which
        `jax.eval_shape` gives for nothing. Or a positive integer, the base fan-in of all tensors;
        then `roles` must be given.
      roles: a tree like the parameters, or a function of (path, shape), that gives the role of
        a tensor ("input", "hidden", "output", "embedding", "vector"), or the multiplier of its
        updates, a positive number. Paths read "layer/w". Where it has no entry or gives None, the
        shapes say.
      axes: what the axes of each tensor are, as in `learned`.
      output_multiplier: whether the model multiplies its output by r.
      relative: whether the optimizer's step is proportional to the rms of the tensor, as VeLO's
        and Celo's: muP's hidden weights shrink with the width already (our derivation, not
        muLO's, which leaves out that factor).

    Raises:
      ValueError: an unknown role, `roles` missing; at `init` or `update`, `axes` that do not fit,
        a tensor that `base_params` or `roles` does not have, whose rank differs, or that differs
        along several axes of which nobody said that they are inputs (they may be heads or
        layers), each with its path.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from learned_opt import scale_by_mup
      >>> def zeros(n):
      ...     return {"in": jnp.zeros((3, n)), "mid": jnp.zeros((n, n)), "out": jnp.zeros((n, 2))}
      >>> tx = scale_by_mup(zeros(64))
      >>> updates, _ = tx.update(jax.tree.map(jnp.ones_like, zeros(256)), tx.init(zeros(256)))
      >>> {name: float(u[0, 0]) for name, u in updates.items()}
      {'in': 1.0, 'mid': 0.25, 'out': 1.0}
    """
    common = _common_base(base_params, roles)
    bases = {} if common else {path: leaf_shape(leaf) for path, leaf in _leaves(base_params)}
    told = {} if roles is None or callable(roles) else dict(_leaves(roles))

    def multiplier(path: str, layout: Layout) -> float:
        role: Any = roles(path, layout.shape) if callable(roles) else told.get(path)
        base_fan_in = common
        if base_fan_in is None:
            base = Layout(_base_shape(path, layout.shape, bases), layout.axes)
            base_fan_in = _fan_in(base)
            role = _infer(path, layout, base) if role is None else role
        _check_role(path, layout, role)
        if not isinstance(role, str):
            return float(role)
        if role == "hidden" or (role == "output" and not output_multiplier and not relative):
            ratio = base_fan_in / _fan_in(layout)
            return math.sqrt(ratio) if relative else ratio
        return 1.0

    def multipliers(tree: Any) -> list[float]:
        rows = zip(_leaves(tree), layouts(axes, tree), strict=True)
        return [multiplier(path, layout) for (path, _), layout in rows]

    def init(params: optax.Params) -> optax.EmptyState:
        multipliers(params)
        return optax.EmptyState()

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args,
    ) -> tuple[optax.Updates, optax.OptState]:
        del params, extra_args
        leaves, treedef = jax.tree.flatten(updates)
        rows = zip(leaves, multipliers(updates), strict=True)
        return treedef.unflatten([u if factor == 1 else u * factor for u, factor in rows]), state

    return optax.GradientTransformationExtraArgs(init, update)


def _common_base(base_params: Any, roles: Any) -> int | None:
    """The base fan-in of all tensors, if that is what was given."""
    if not isinstance(base_params, numbers.Integral) or isinstance(base_params, bool):
        return None
    if base_params < 1:
        raise ValueError(f"the base fan-in must be positive, got {base_params}")
    if roles is None:
        raise ValueError(
            f"roles must be given with a base fan-in ({base_params}), which does not show them; "
            "pass roles, or the parameters at base width"
        )
    return int(base_params)


def _check_role(path: str, layout: Layout, role: Any) -> None:
    number = isinstance(role, numbers.Real) and not isinstance(role, bool)
    if not (0 < float(role) < math.inf if number else role in ROLES):
        raise ValueError(
            f"the role of {path} must be one of {', '.join(ROLES)} or a positive number, "
            f"got {role!r}; correct roles"
        )
    if role == "hidden" and not layout.is_matrix:
        raise ValueError(
            f"{path} of shape {layout.shape} cannot be hidden, which takes a matrix; call it vector"
        )


def _base_shape(
    path: str, shape: tuple[int, ...], bases: dict[str, tuple[int, ...]]
) -> tuple[int, ...]:
    if path not in bases:
        raise ValueError(
            f"base_params has no tensor {path} (it has {', '.join(bases) or 'none'}); pass the "
            "parameters of the same network at base width"
        )
    base = bases[path]
    if len(base) != len(shape):
        raise ValueError(
            f"{path} has shape {shape} and at base width {base}: the ranks differ; pass the "
            "parameters of the same network at base width"
        )
    return base


def _infer(path: str, layout: Layout, base: Layout) -> Role:
    axes = layout.axes
    if axes is None or not layout.is_matrix:
        return "vector"
    differ = {i for i, n in enumerate(layout.shape) if n != base.shape[i]}
    window, inputs, out = (differ & set(part) for part in (axes.window, axes.inputs, axes.outputs))
    if window and len(window | inputs) > 1:
        raise ValueError(
            f"{path} has shape {layout.shape} and at base width {base.shape}: "
            f"{len(window | inputs)} axes other than its output axis differ, so its fan-in is not "
            "clear; say in axes which are inputs and which a stack, or give in roles its "
            "role or multiplier"
        )
    if window or inputs:
        return "hidden" if out else "output"
    return "input"


def _fan_in(layout: Layout) -> int:
    """Of a vector that has been given a matrix's role its length."""
    return layout.fan_in if layout.is_matrix else math.prod(layout.tensor)


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    return [(leaf_name(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]
