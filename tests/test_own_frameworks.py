"""Models of other packages as tasks of one's own; the code of docs/own-task.md has more of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from own_model import X, Y

from learned_opt import HyperAdam
from learned_opt.devices import device_mesh
from learned_opt.meta_train import Objective
from learned_opt.meta_train._unroll import MetaProblem, unroll
from learned_opt.tasks import begin_run, from_functions, full_loss, run_step

MOMENTUM, STEPS = 0.9, 3


@pytest.fixture(autouse=True)
def as_a_user_has_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def normed():
    """A batch norm alone: its averages follow from the batches, whatever the optimizer does."""

    def model(key):
        return nnx.BatchNorm(8, momentum=MOMENTUM, rngs=nnx.Rngs(key))

    graph = nnx.graphdef(model(jax.random.key(0)))

    def init(key):
        _, params, state = nnx.split(model(key), nnx.Param, ...)
        return params, state

    def run(params, state, batch, train):
        net = nnx.merge(graph, params, state, copy=True)
        net.train() if train else net.eval()
        return jnp.mean((net(batch[0]) - batch[1]) ** 2), nnx.state(net, nnx.BatchStat)

    return from_functions(
        init, lambda p, s, batch: run(p, s, batch, True), (X, Y), batch_size=64, valid=0.3,
        valid_loss=lambda p, s, batch: run(p, s, batch, False), stateful=True,
    )  # fmt: skip


def averages(task, key):
    """Of mean and variance, over the batches of a run, in float64."""
    mean, variance = np.zeros(8), np.ones(8)
    _, step_key = jax.random.split(key)
    for t in range(STEPS):
        batch_key, _ = jax.random.split(jax.random.fold_in(step_key, t))
        x = np.asarray(task.family.batch(task.member, batch_key, "train")[0], np.float64)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * x.mean(0)
        variance = MOMENTUM * variance + (1 - MOMENTUM) * x.var(0)
    return mean, variance


def expected_loss(task, key, params, split):
    mean, variance = averages(task, key)
    x, y = (np.asarray(part, np.float64) for part in task.family.data.splits[split])
    scale, bias = (np.asarray(params[name].get_value(), np.float64) for name in ("scale", "bias"))
    outputs = (x - mean) / np.sqrt(variance + 1e-5) * scale + bias
    return np.mean((outputs - y) ** 2)


def test_batch_statistics_are_those_of_the_batches(normed):
    key, tx = jax.random.key(3), optax.with_extra_args_support(optax.sgd(0.1))

    @jax.jit
    def run(family):
        state = begin_run(normed.member, tx, key)
        step = lambda t, state: run_step(family, tx, state, key, t)[0]  # noqa: E731
        state = jax.lax.fori_loop(0, STEPS, step, state)
        loss = full_loss(family, normed.member, state.params, "test", state.model_state)
        return state.params, state.model_state, loss[0]

    params, state, loss = run(normed.family)
    mean, variance = averages(normed, key)
    np.testing.assert_allclose(state["mean"].get_value(), mean, atol=1e-6)
    np.testing.assert_allclose(state["var"].get_value(), variance, rtol=1e-5)
    np.testing.assert_allclose(loss, expected_loss(normed, key, params, "test"), rtol=1e-5)


def test_meta_training_carries_them_and_stands_still_past_the_horizon(normed):
    """The meta-loss of a run is that of its parameters and averages at the horizon."""
    optimizer, key = HyperAdam(), jax.random.key(4)
    problem = MetaProblem(normed.family, optimizer, Objective(mean=0.0, log=False), device_mesh(1))
    theta = optimizer.init(jax.random.key(0))

    @jax.jit
    def run(problem):
        horizon = jnp.int32(STEPS)
        return unroll(problem, normed.member, theta, key, horizon=horizon, max_steps=STEPS + 2)

    earned, end = run(problem)
    loss = expected_loss(normed, key, end.params, "inner_valid")
    y = np.asarray(normed.family.data.splits["inner_valid"][1], np.float64)
    np.testing.assert_allclose(earned, loss / np.mean(y**2), rtol=1e-5)


def test_a_convolutional_net_of_equinox_learns_from_a_loader_of_torch():
    torch = pytest.importorskip("torch", reason="an extra of development")
    images = np.zeros((90, 1, 6, 6), np.float32)
    images[np.arange(90), 0, np.arange(90) % 6] = 1  # a bar, in one of six rows
    labels = np.arange(90) % 6 // 2
    dataset = torch.utils.data.TensorDataset(torch.tensor(images), torch.tensor(labels))
    loader = torch.utils.data.DataLoader(dataset, batch_size=32)

    def model(key):
        keys = jax.random.split(key)
        return eqx.nn.Sequential([
            eqx.nn.Conv2d(1, 4, 3, key=keys[0]), eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(64, 3, key=keys[1]),
        ])  # fmt: skip

    static = eqx.filter(model(jax.random.key(0)), eqx.is_inexact_array, inverse=True)

    def loss(params, batch):
        logits = jax.vmap(eqx.combine(params, static))(batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    def init(key):
        return eqx.filter(model(key), eqx.is_inexact_array)

    task = from_functions(init, loss, map(tuple, loader), batch_size=16, valid=0.2)
    np.testing.assert_array_equal(
        task.family.batch(task.member, jax.random.key(1), "train")[0].sum((1, 2, 3)), 6.0
    )
    tx, key = optax.with_extra_args_support(optax.adam(0.02)), jax.random.key(0)

    @jax.jit
    def run(family):
        state = begin_run(task.member, tx, key)
        step = lambda t, state: run_step(family, tx, state, key, t)[0]  # noqa: E731
        state = jax.lax.fori_loop(0, 60, step, state)
        return full_loss(family, task.member, state.params, "test")[0]

    assert run(task.family) < 0.1
