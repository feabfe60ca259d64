"""Regression in Equinox on a noisy table: a learned optimizer beside AdamW, neither tuned.

The table is Friedman's: ten measurements, of which five matter, and noise.

python docs/examples/equinox_regression.py [STEPS]
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import make_friedman1

import learned_opt

BATCH = 32


def loss(model: eqx.nn.MLP, x: jax.Array, y: jax.Array) -> jax.Array:
    """Half the mean square error, in standard deviations of the target."""
    return jnp.mean((jax.vmap(model)(x) - y) ** 2) / 2


def train(tx: optax.GradientTransformationExtraArgs, steps: int) -> tuple[float, list[float]]:
    """Loss on held-out rows, and the loss of every step."""
    table = make_friedman1(2000, noise=1.0, random_state=0)
    x, y = (jnp.asarray(a, jnp.float32) for a in table)
    x, y = x / x.std(0), (y - y.mean()) / y.std()
    order = jax.random.permutation(jax.random.key(0), len(y))
    train_rows, held_out = order[:1500], order[1500:]
    model = eqx.nn.MLP(10, "scalar", 32, 2, key=jax.random.key(1))

    @eqx.filter_jit
    def step(model, state, rows):
        value, grads = eqx.filter_value_and_grad(loss)(model, x[rows], y[rows])
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, state = tx.update(grads, state, params, value=value)
        return eqx.apply_updates(model, updates), state, value

    state, losses = tx.init(eqx.filter(model, eqx.is_inexact_array)), []
    for key in jax.random.split(jax.random.key(2), steps):
        rows = jax.random.choice(key, train_rows, (BATCH,))
        model, state, value = step(model, state, rows)
        losses.append(float(value))
    return float(loss(model, x[held_out], y[held_out])), losses


def main(steps: int = 300) -> dict[str, tuple[float, list[float]]]:
    """Print the held-out losses; return what `train` found."""
    cosine = optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 20, steps)
    found = {}
    for name, tx in {
        "learned": learned_opt.learned(num_steps=steps),
        "AdamW, 3e-3, cosine": optax.with_extra_args_support(optax.adamw(cosine)),
    }.items():
        found[name] = train(tx, steps)
        print(f"{name:<20} held-out loss {found[name][0]:.3f}")
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
