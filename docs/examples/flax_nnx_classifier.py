"""A convolutional classifier in Flax NNX: a learned optimizer beside AdamW, neither tuned.

python docs/examples/flax_nnx_classifier.py [STEPS]
"""

import sys

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

import learned_opt

BATCH = 64


class Net(nnx.Module):
    """Two convolutions, the mean over places, a linear head."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits (batch, 10) of images (batch, 8, 8, 1)."""
        x = jax.nn.relu(self.second(jax.nn.relu(self.first(x))))
        return self.head(x.mean((1, 2)))


def loss(model: Net, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def step(model: Net, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
    """One training step; the learned optimizer may read the loss."""
    value, grads = nnx.value_and_grad(loss)(model, x, y)
    optimizer.update(model, grads, value=value)
    return value


def train(tx: optax.GradientTransformation, steps: int) -> tuple[float, list[float], float]:
    """Loss on held-out digits, the loss of every step, and the accuracy on held-out digits."""
    images, labels = load_digits(return_X_y=True)
    x, y = jnp.asarray(images, jnp.float32).reshape(-1, 8, 8, 1) / 16, jnp.asarray(labels)
    order = jax.random.permutation(jax.random.key(0), len(y))
    train_rows, held_out = order[:1200], order[1200:]
    model = Net(nnx.Rngs(0))
    optimizer, losses = nnx.Optimizer(model, tx, wrt=nnx.Param), []
    for key in jax.random.split(jax.random.key(1), steps):
        rows = jax.random.choice(key, train_rows, (BATCH,))
        losses.append(float(step(model, optimizer, x[rows], y[rows])))
    x, y = x[held_out], y[held_out]
    return float(loss(model, x, y)), losses, float((model(x).argmax(1) == y).mean())


def main(steps: int = 600) -> dict[str, tuple[float, list[float]]]:
    """Print the held-out losses; return them, and those of every step."""
    cosine = optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 20, steps)
    found = {}
    for name, tx in {
        "learned": learned_opt.learned(num_steps=steps),
        "AdamW, 3e-3, cosine": optax.with_extra_args_support(optax.adamw(cosine)),
    }.items():
        held_out, losses, accuracy = train(tx, steps)
        found[name] = held_out, losses
        print(f"{name:<20} held-out loss {held_out:.3f}, accuracy {accuracy:.1%}")
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
