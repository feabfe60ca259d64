"""Regression in Equinox on a small table: a learned optimizer beside AdamW, neither tuned.

python docs/examples/equinox_regression.py [STEPS]
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_diabetes

import learned_opt

BATCH = 32


def loss(model: eqx.nn.MLP, x: jax.Array, y: jax.Array) -> jax.Array:
    """Half the mean square error, in standard deviations of the target."""
    return jnp.mean((jax.vmap(model)(x) - y) ** 2) / 2


def train(tx: optax.GradientTransformationExtraArgs, steps: int) -> float:
    """Loss on held-out patients."""
    x, y = (jnp.asarray(a, jnp.float32) for a in load_diabetes(return_X_y=True))
    x, y = x / x.std(0), (y - y.mean()) / y.std()
    order = jax.random.permutation(jax.random.key(0), len(y))
    train_rows, held_out = order[:300], order[300:]
    model = eqx.nn.MLP(10, "scalar", 32, 2, key=jax.random.key(1))

    @eqx.filter_jit
    def step(model, state, rows):
        value, grads = eqx.filter_value_and_grad(loss)(model, x[rows], y[rows])
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, state = tx.update(grads, state, params, value=value)
        return eqx.apply_updates(model, updates), state

    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    for key in jax.random.split(jax.random.key(2), steps):
        model, state = step(model, state, jax.random.choice(key, train_rows, (BATCH,)))
    return float(loss(model, x[held_out], y[held_out]))


def main(steps: int = 300) -> dict[str, float]:
    """Print and return the held-out losses."""
    cosine = optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 20, steps)
    found = {}
    for name, tx in {
        "learned": learned_opt.learned(num_steps=steps),
        "AdamW, 3e-3, cosine": optax.with_extra_args_support(optax.adamw(cosine)),
    }.items():
        found[name] = train(tx, steps)
        print(f"{name:<20} held-out loss {found[name]:.3f}")
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
