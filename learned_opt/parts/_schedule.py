"""Schedules of the nominal step size: warm-up, then power decay, to a known horizon or without."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def ramp_and_decay(
    peak: jax.Array, power: jax.Array, warmup: float, total: jax.Array
) -> optax.Schedule:
    """a(t) = peak min(1, (t + 1) / (warmup T)) max(0, 1 - t/T)^power, T = `total`."""

    peak, power = (jnp.asarray(x, jnp.float32) for x in (peak, power))

    def step_size(count: Any) -> jax.Array:
        t = jnp.asarray(count, jnp.float32)
        ramp = jnp.minimum(1.0, (t + 1) / jnp.maximum(1.0, warmup * total))
        return peak * ramp * jnp.maximum(0.0, 1 - t / total) ** power

    return step_size


def ramp_and_fade(peak: jax.Array, power: jax.Array) -> optax.Schedule:
    """a(t) = peak min(1, (t + 1) / 50) (1 + t / 100)^(-power / 2), whatever the horizon."""

    peak, power = (jnp.asarray(x, jnp.float32) for x in (peak, power))

    def step_size(count: Any) -> jax.Array:
        t = jnp.asarray(count, jnp.float32)
        return peak * jnp.minimum(1.0, (t + 1) / 50) * (1 + t / 100) ** (-power / 2)

    return step_size
