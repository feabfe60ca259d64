"""A convolutional net in Equinox on handwritten digits, from a `DataLoader` of PyTorch."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

from learned_opt import tasks

x, y = load_digits(return_X_y=True)
images = torch.tensor(x.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
dataset = TensorDataset(images, torch.tensor(y))
train_set, valid_set = random_split(dataset, [0.6, 0.4], torch.Generator().manual_seed(0))
train = DataLoader(train_set, batch_size=32, shuffle=True)
valid = DataLoader(valid_set, batch_size=256)


def model(key):
    """Two convolutions and a linear layer: scores of ten digits."""
    a, b, c = jax.random.split(key, 3)
    return eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 8, 3, stride=2, padding=1, key=a),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Conv2d(8, 16, 3, stride=2, padding=1, key=b),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(64, 10, key=c),
        ]
    )


static = eqx.filter(model(jax.random.key(0)), eqx.is_inexact_array, inverse=True)


def init(key):
    """Parameters: what of the model is a floating array."""
    return eqx.filter(model(key), eqx.is_inexact_array)


def loss(params, batch):
    """Cross-entropy, in nats; and accuracy."""
    images, labels = batch
    scores = jax.vmap(eqx.combine(params, static))(images)
    value = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
    return value, {"accuracy": jnp.mean(scores.argmax(-1) == labels)}


digits = tasks.from_functions(
    init, loss, train, batch_size=32, valid=valid, name="digits", num_steps=300
)
