"""OPEN against its formulas in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import steps
from steps import check_finite

from learned_opt import OPEN
from learned_opt.optimizers._open_leaves import layer_fractions

SHAPES = {
    "actor": {"dense_0": {"bias": (4,), "kernel": (5, 4)}, "log_std": ()},
    "critic": {"conv": {"bias": (3,), "kernel": (2, 2, 3, 3)}, "head": {"kernel": (2, 3, 2)}},
}
LAYERS = {
    "actor": {"dense_0": {"bias": 0.0, "kernel": 0.0}, "log_std": 1 / 3},
    "critic": {"conv": {"bias": 2 / 3, "kernel": 2 / 3}, "head": {"kernel": 1.0}},
}
STEPS = 20
tree = functools.partial(steps.tree, shapes=SHAPES)
DECAYS = np.array([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])


def reference(theta, params, grads, fractions, dormancies):
    """Steps by plain NumPy in float64, features last: a list of leaves for each gradient.

    `fractions`: (training, batch) of each step; `dormancies`: a list of leaves for each.
    """
    theta = jax.tree.map(lambda x: np.asarray(x, np.float64), theta)
    gru, mlp = theta["gru"], theta["mlp"]
    p = [np.asarray(x, np.float64) for x in jax.tree.leaves(params)]
    layers = jax.tree.leaves(LAYERS)
    m, h = [0.0] * len(p), [np.zeros((*x.shape, gru["hn"]["kernel"].shape[0])) for x in p]
    path = []

    def dense(layer, x):
        return x @ layer["kernel"] + layer.get("bias", 0.0)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def log(x):
        return np.log(np.abs(x) + 1e-13)

    for grad, (trained, batch), dormancy in zip(grads, fractions, dormancies, strict=True):
        steps = []
        for i, leaf in enumerate(jax.tree.leaves(grad)):
            g, axes = np.asarray(leaf, np.float64)[..., None], tuple(range(leaf.ndim))
            m[i] = DECAYS * m[i] + (1 - DECAYS) * g
            x = [p[i][..., None], np.sign(m[i]), log(m[i]), np.sign(g), log(g)]
            x = np.concatenate(x, -1)
            x = x / np.sqrt(1e-5 + np.mean(x**2, axis=axes))
            rest = [trained, layers[i], batch, dormancy[i]]
            rest = np.stack([np.broadcast_to(r, p[i].shape) for r in rest], -1)
            x = np.concatenate([x, rest], -1)
            r = sigmoid(dense(gru["ir"], x) + dense(gru["hr"], h[i]))
            z = sigmoid(dense(gru["iz"], x) + dense(gru["hz"], h[i]))
            n = np.tanh(dense(gru["in"], x) + r * dense(gru["hn"], h[i]))
            h[i] = (1 - z) * n + z * h[i]
            out = h[i]
            for layer, norm in ((0, 1), (3, 4)):
                out = dense(mlp[f"layers_{layer}"], out)
                out = out - out.mean(-1, keepdims=True)
                out = out / np.sqrt(np.mean(out**2, -1, keepdims=True) + 1e-6)
                norm = mlp[f"layers_{norm}"]
                out = np.maximum(0, out * norm["scale"] + norm["bias"])
            out = dense(mlp["layers_6"], out)
            steps.append(0.001 * out[..., 0] * np.exp(0.001 * out[..., 1]))
        mean = sum(u.sum() for u in steps) / sum(u.size for u in steps)
        steps = [u - mean for u in steps]
        p = [x - u for x, u in zip(p, steps, strict=True)]
        path.append(steps)
    return path


def trained_theta(optimizer):
    """With steps of about unit size over ten."""
    theta = steps.moved_theta(optimizer)
    last = theta["mlp"]["layers_6"]
    return {
        **theta,
        "mlp": {**theta["mlp"], "layers_6": {**last, "kernel": 100 * last["kernel"]}},
    }


def run(*args, **extras):
    """The leaves of each step."""
    return [jax.tree.leaves(x.step) for x in steps.run(*args, **extras)]


def agree(path, reference):
    """Each step of a tensor within 1e-5 of its largest element."""
    for got, want in zip(path, reference, strict=True):
        for x, y in zip(got, want, strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize(("optimizer", "scale"), [(OPEN(), 1e-3), (OPEN.published(), 10.0)])
def test_agrees_with_float64_reference_over_20_steps(optimizer, scale):
    theta, rng = trained_theta(optimizer), np.random.default_rng(0)
    params, grads = tree(0), [tree(i + 1, scale) for i in range(STEPS)]
    batch = rng.uniform(size=STEPS).astype(np.float32)
    dormancies = [jax.tree.map(jnp.abs, tree(i + 100)) for i in range(STEPS)]
    tx = optimizer.transform(theta, num_steps=16)
    got = run(tx, params, grads, dormancy=dormancies, batch_fraction=batch)
    trained = np.minimum(1, np.arange(STEPS) / 15)
    leaves = [[np.asarray(x, np.float64) for x in jax.tree.leaves(d)] for d in dormancies]
    agree(got, reference(theta, params, grads, zip(trained, batch, strict=True), leaves))
    assert all(np.abs(np.concatenate([x.ravel() for x in step])).max() > 0.01 for step in got)


def test_what_the_network_is_told_by_default_and_by_prefixes():
    optimizer = OPEN()
    theta, params, grads = trained_theta(optimizer), tree(0), [tree(i + 1) for i in range(3)]
    tx, default = optimizer.transform(theta, num_steps=3), [(t / 2, 0.0) for t in range(3)]
    agree(run(tx, params, grads), reference(theta, params, grads, default, [[0.0] * 6] * 3))
    # A scalar for the actor, one number a neuron of the convolution, a zero elsewhere.
    neurons = np.array([0.5, 0.0, 2.5], np.float32)
    prefix = {"actor": 2.0, "critic": {"conv": neurons, "head": 0.0}}
    told = [[2.0, 2.0, 2.0, neurons, neurons, 0.0]] * 3
    trained = np.array([0.3, 0.6, 0.9], np.float32)
    got = run(tx, params, grads, dormancy=[prefix] * 3, training_fraction=trained)
    agree(got, reference(theta, params, grads, [(t, 0.0) for t in trained], told))


@pytest.mark.parametrize("name", ["dormancy", "actor"])
@pytest.mark.parametrize("bad", [{"actor": 1.0}, {"actor": 1.0, "critic": np.zeros(7)}])
def test_a_tree_that_does_not_fit(name, bad):
    tx = OPEN().transform(OPEN().init(jax.random.key(0)), num_steps=3)
    params = tree(0)
    with pytest.raises(ValueError, match=rf"{name} must be a tree like params.*\n?.*does not fit"):
        tx.update(params, tx.init(params), params, **{name: bad})


@pytest.mark.parametrize(
    ("params", "fractions"),
    [
        ({"b": 1.0, "c": 1.0, "a": 1.0}, [0.0, 0.5, 1.0]),
        ([(1.0, 1.0), (1.0, 1.0)], [0.0, 0.0, 1.0, 1.0]),
        ({"params": {"d_0": {"b": 1.0, "w": 1.0}, "d_1": {"b": 1.0}, "s": 1.0}}, [0, 0, 0.5, 1]),
        (1.0, [0.0]),
    ],
)
def test_layer_fractions(params, fractions):
    found = layer_fractions(params, [1] * len(fractions))
    np.testing.assert_allclose(found, [[x] for x in fractions], rtol=1e-6)


def test_the_mean_over_all_parameters_is_zero():
    optimizer = OPEN()
    tx, params = optimizer.transform(trained_theta(optimizer), num_steps=9), tree(0)
    steps = jax.tree.leaves(tx.update(tree(1), tx.init(params), params)[0])
    every = np.concatenate([np.ravel(x) for x in steps])
    assert np.abs(every.mean()) < 1e-6 * np.abs(every).max()
    lone = {"w": jnp.ones(())}
    np.testing.assert_array_equal(tx.update(lone, tx.init(lone), lone)[0]["w"], 0)


@pytest.fixture
def noise():
    """An update rule of pure noise, 0.001 times 2 N(0, 1), its theta and parameters."""
    optimizer = OPEN(stochastic=True)
    theta = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    theta["mlp"]["layers_6"]["bias"] = jnp.array([0.0, 0.0, 2.0])
    params = {"actor": jnp.ones((60, 50)), "critic": jnp.ones((60, 50))}
    return optimizer.transform(theta, num_steps=9), theta, params


def test_noise_of_the_actor_and_not_of_the_critic(noise):
    tx, _, params = noise
    noisy = {"actor": 1.0, "critic": 0.0}
    steps, state = tx.update(params, tx.init(params), params, actor=noisy)
    shift = float(steps["critic"][0, 0])
    np.testing.assert_allclose(steps["critic"], shift, rtol=1e-6)
    found = (np.asarray(steps["actor"]) - shift) / 0.002
    assert abs(found.mean()) < 5 / np.sqrt(found.size)
    assert abs(found.std() - 1) < 5 / np.sqrt(2 * found.size)
    again, _ = tx.update(params, state, params, actor=noisy)
    correlation = np.corrcoef(again["actor"].ravel(), steps["actor"].ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(found.size)
    both, _ = tx.update(params, tx.init(params), params)
    correlation = np.corrcoef(both["actor"].ravel(), both["critic"].ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(found.size)


def test_the_seed_makes_the_noise_and_no_noise_by_default(noise):
    tx, theta, params = noise
    first, _ = tx.update(params, tx.init(params), params)
    twin, _ = tx.update(params, tx.init(params), params)
    jax.tree.map(np.testing.assert_array_equal, first, twin)
    other = OPEN(stochastic=True, seed=1).transform(theta, num_steps=9)
    assert (other.update(params, other.init(params), params)[0]["actor"] != first["actor"]).all()
    silent = OPEN().transform(theta, num_steps=9)
    found, _ = silent.update(params, silent.init(params), params)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), found)


def test_a_skipped_step_leaves_no_trace():
    optimizer = OPEN(stochastic=True)
    tx = optimizer.transform(trained_theta(optimizer), num_steps=9)
    params, one = tree(0), tree(1)
    _, state = tx.update(one, tx.init(params), params)
    bad = {**one, "critic": jax.tree.map(lambda x: x.at[0].set(np.nan), one["critic"])}
    zero, after = tx.update(bad, state, params)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), zero)
    uncounted = [s._replace(skipped=0, skipped_in_a_row=0) for s in (after, state)]
    jax.tree.map(np.testing.assert_array_equal, *uncounted)
    plain, _ = tx.update(one, state, params)
    jax.tree.map(np.testing.assert_array_equal, tx.update(one, after, params)[0], plain)


def test_extreme_gradients_stay_finite():
    optimizer = OPEN()
    tx = optimizer.transform(trained_theta(optimizer), num_steps=9)
    check_finite(tx, tree(0), tree(0), starts=(1.0,))


@pytest.mark.parametrize(("optimizer", "count"), [(OPEN(), 1211), (OPEN.published(), 3571)])
def test_published_vectors(optimizer, count):
    """In the order of flax: sorted names, so biases come before kernels and scales."""
    flat = np.arange(count, dtype=np.float32)
    theta, mine = OPEN.from_published(flat), optimizer.init(jax.random.key(0))
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), t) for t in (theta, mine)]
    assert shapes[0] == shapes[1]
    leaves = [x.ravel() for x in jax.tree.leaves(theta)]
    np.testing.assert_array_equal(np.concatenate(leaves), flat)
    gru, n = theta["gru"], optimizer.gru
    order = [gru["hn"]["bias"], *(gru[k]["kernel"] for k in ("hn", "hr", "hz")), gru["in"]["bias"]]
    starts = [float(x.ravel()[0]) for x in order]
    assert starts == [0, n, n + n * n, n + 2 * n * n, n + 3 * n * n]
    np.testing.assert_array_equal(theta["mlp"]["layers_6"]["kernel"].ravel()[-1], count - 1)
    tx = optimizer.transform(theta, num_steps=2)
    params = {"w": jnp.ones((2, 3))}
    assert tx.update(params, tx.init(params), params)[0]["w"].shape == (2, 3)


@pytest.mark.parametrize("bad", [np.zeros(3570), np.zeros((3571, 1)), np.zeros(())])
def test_a_vector_of_another_length(bad):
    with pytest.raises(ValueError, match=r"hold 1211 or 3571 numbers, got shape \(.*\); pass"):
        OPEN.from_published(bad)


def test_a_vector_with_a_nan():
    with pytest.raises(ValueError, match="every published number must be finite"):
        OPEN.from_published(np.full(1211, np.nan))


def test_the_horizon_is_needed():
    for make in (OPEN().transform, OPEN().schedule):
        with pytest.raises(ValueError, match="num_steps must be a positive integer, got None"):
            make(OPEN().init(jax.random.key(0)))
