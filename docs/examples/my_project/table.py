"""An MLP in Haiku on a CSV: the impedance of 3,000 circuits from what is in them.

The measurements are made up: `sklearn.datasets.make_friedman2`, with errors of a tenth.
"""

from pathlib import Path

import haiku as hk
import jax.numpy as jnp
import numpy as np

from learned_opt import tasks

path = Path(__file__).with_name("circuits.csv")
table = np.loadtxt(path, np.float32, delimiter=",", skiprows=1)
table[:, -1] = np.log(table[:, -1])
table = (table - table.mean(0)) / table.std(0)
data = {"x": table[:, :-1], "y": table[:, -1]}

net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([64, 64, 1])(x)[:, 0]))


def init(key):
    """Parameters."""
    return net.init(key, jnp.zeros((1, 4)))


def loss(params, batch):
    """Half the mean square error of the logarithm, in its own variance."""
    return jnp.mean((net.apply(params, batch["x"]) - batch["y"]) ** 2) / 2


circuits = tasks.from_functions(
    init, loss, data, batch_size=32, valid=0.5, name="circuits", num_steps=300
)
