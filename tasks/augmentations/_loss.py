"""Augmentations of the loss: other geometries, scales and number formats of the same function."""

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from learned_opt._fields import Range

from .._base import Batch, Numbers, Params
from .._problem import log_uniform
from ._base import Augmentation, LossFunction


@dataclasses.dataclass(frozen=True)
class Reparametrise(Augmentation):
    """Parameters q with p = c q, c log-uniform: the same function, another geometry.

    `per`: one c for the whole "task" (Celo, Moudgil et al. 2025), one for each "tensor", or one for
    each "element" (Metz et al. 2022).
    """

    name: ClassVar[str] = "reparametrise"
    scales: Range = (1e-1, 1e1)
    per: Literal["task", "tensor", "element"] = "task"

    def sample(self, key: jax.Array) -> Numbers:
        """Draw c, or the seed of all of them."""
        if self.per == "task":
            return {"scale": log_uniform(key, self.scales)}
        return {"seed": jax.random.bits(key)}

    def init(self, n: Numbers, params: Params) -> Params:
        """q = p / c."""
        return jax.tree.map(lambda p, c: p / c, params, self._scales(n, params))

    def loss(self, n: Numbers, task: Any) -> LossFunction:
        """The loss at p = c q."""

        def loss(params: Params, batch: Batch, key: jax.Array):
            scaled = jax.tree.map(lambda q, c: c * q, params, self._scales(n, params))
            return task.loss(scaled, batch, key)

        return loss

    def _scales(self, n: Numbers, params: Params) -> Params:
        leaves, tree = jax.tree.flatten(params)
        if self.per == "task":
            return tree.unflatten([n["scale"].astype(p.dtype) for p in leaves])
        low, high = jnp.log(jnp.asarray(self.scales, jnp.float32))
        key, scales = jax.random.key(n["seed"]), []
        for i, p in enumerate(leaves):
            shape = p.shape if self.per == "element" else ()
            uniform = jax.random.uniform(jax.random.fold_in(key, i), shape)
            scales.append(jnp.exp(low + (high - low) * uniform).astype(p.dtype))
        return tree.unflatten(scales)


@dataclasses.dataclass(frozen=True)
class LossScale(Augmentation):
    """The loss times a log-uniform number: optimizers should not care."""

    name: ClassVar[str] = "loss_scale"
    scales: Range = (1e-3, 1e3)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the factor."""
        return {"scale": log_uniform(key, self.scales)}

    def loss(self, n: Numbers, task: Any) -> LossFunction:
        """scale x loss; metrics as they are."""

        def loss(params: Params, batch: Batch, key: jax.Array):
            value, metrics = task.loss(params, batch, key)
            return n["scale"].astype(value.dtype) * value, metrics

        return loss


@dataclasses.dataclass(frozen=True)
class BFloat16(Augmentation):
    """The loss and its gradient computed in bfloat16, parameters kept in float32.

    Mixed precision (Micikevicius et al. 2018; Kalamkar et al. 2019). It has no numbers.
    """

    name: ClassVar[str] = "bfloat16"

    def sample(self, key: jax.Array) -> Numbers:
        """Nothing to draw."""
        return {}

    def loss(self, n: Numbers, task: Any) -> LossFunction:
        """The loss of everything rounded to bfloat16, as float32."""

        def loss(params: Params, batch: Batch, key: jax.Array):
            rounded = _to_bfloat16((task, params, batch))
            value, metrics = rounded[0].loss(*rounded[1:], key)
            return value.astype(jnp.float32), metrics

        return loss


def _to_bfloat16(tree: Any) -> Any:
    return jax.tree.map(
        lambda x: x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )
