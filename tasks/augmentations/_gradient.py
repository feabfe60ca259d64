"""Augmentations of the gradient on its way to the optimizer: noise, few directions, delay."""

import dataclasses
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from learned_opt._fields import Counts, Range, Within

from .._base import Numbers
from .._problem import log_uniform, log_uniform_int, uniform_int
from ._base import Augmentation


class _Draws(NamedTuple):
    key: jax.Array


def _randomised(seed: jax.Array, change: Any) -> optax.GradientTransformation:
    """updates -> change(key, updates), with a new key at every step."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _Draws]:
        key, draw = jax.random.split(state.key)
        return change(draw, updates), _Draws(key)

    return optax.GradientTransformation(lambda params: _Draws(jax.random.key(seed)), update)


def _normals(key: jax.Array, like: Any) -> Any:
    # One draw for all tensors: it compiles many times faster than one for each.
    flat, unravel = ravel_pytree(like)
    return unravel(jax.random.normal(key, flat.shape, flat.dtype))


@dataclasses.dataclass(frozen=True)
class GradientNoise(Augmentation):
    """g + s rms(g) N(0, 1) for each tensor, s log-uniform (Neelakantan et al. 2015)."""

    name: ClassVar[str] = "gradient_noise"
    scales: Range = (0.1, 3.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw s and a seed."""
        keys = jax.random.split(key)
        return {"scale": log_uniform(keys[0], self.scales), "seed": jax.random.bits(keys[1])}

    def gradients(self, n: Numbers) -> optax.GradientTransformation:
        """Add the noise."""

        def change(key: jax.Array, updates: Any) -> Any:
            def noisy(g: jax.Array, z: jax.Array) -> jax.Array:
                return g + n["scale"].astype(g.dtype) * jnp.sqrt(jnp.mean(g**2)) * z

            return jax.tree.map(noisy, updates, _normals(key, updates))

        return _randomised(n["seed"], change)


@dataclasses.dataclass(frozen=True)
class FewDirections(Augmentation):
    """mean_k v_k <v_k, g> over K random normal directions v_k: unbiased, as if g were estimated.

    Baydin et al. 2022, "Gradients without backpropagation"; Metz et al. 2022 (VeLO).

    Args:
      directions: log-uniform range of K; the upper end is what is computed.
    """

    name: ClassVar[str] = "few_directions"
    directions: Counts = (4, 64)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw K and a seed."""
        keys = jax.random.split(key)
        return {
            "directions": log_uniform_int(keys[0], self.directions),
            "seed": jax.random.bits(keys[1]),
        }

    def gradients(self, n: Numbers) -> optax.GradientTransformation:
        """Project on the directions."""

        def change(key: jax.Array, updates: Any) -> Any:
            def add(k: jax.Array, total: Any) -> Any:
                v = _normals(jax.random.fold_in(key, k), updates)
                slope = jnp.asarray(optax.tree.vdot(v, updates))
                return jax.tree.map(lambda t, x: t + slope.astype(x.dtype) * x, total, v)

            zeros = jax.tree.map(jnp.zeros_like, updates)
            total = jax.lax.fori_loop(0, n["directions"], add, zeros)
            return jax.tree.map(lambda t: t / n["directions"].astype(t.dtype), total)

        return _randomised(n["seed"], change)


class _Delayed(NamedTuple):
    steps: jax.Array
    past: Any


@dataclasses.dataclass(frozen=True)
class DelayedGradients(Augmentation):
    """The optimizer sees the gradient of `delay` steps ago; before there is one, the first.

    What asynchronous training does (Recht et al. 2011, "Hogwild"; Metz et al. 2022).

    Args:
      most: the longest delay; memory grows with it.
    """

    name: ClassVar[str] = "delayed_gradients"
    most: Annotated[int, Within(0, 1000)] = 4

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the delay, 0 to `most`."""
        return {"delay": uniform_int(key, (0, self.most))}

    def gradients(self, n: Numbers) -> optax.GradientTransformation:
        """Keep the last gradients in a ring."""
        length = self.most + 1

        def init(params: Any) -> _Delayed:
            past = jax.tree.map(lambda p: jnp.zeros((length, *p.shape), p.dtype), params)
            return _Delayed(jnp.zeros((), jnp.int32), past)

        def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _Delayed]:
            past = jax.tree.map(
                lambda ring, g: ring.at[state.steps % length].set(g), state.past, updates
            )
            seen = (state.steps - jnp.minimum(n["delay"], state.steps)) % length
            return jax.tree.map(lambda ring: ring[seen], past), _Delayed(state.steps + 1, past)

        return optax.GradientTransformation(init, update)
