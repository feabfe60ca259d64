"""NN-Adam against its formulas in float64, in closed form, and at the ends of its ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import SHAPES, moved_theta, run, tree

from learned_opt import NNAdam

SMALL = {k: SHAPES[k] for k in ("scalar", "vector", "tensor")}
STEPS = 20
LOWEST = np.log([1e-8, np.exp(-10), np.exp(-10), 1e-11])
HIGHEST = np.log([1e3, 1.0, 1.0, 1e4])


def trained_theta(optimizer):
    theta = moved_theta(optimizer, 0.5)
    return {**theta, "shifts": 0.1 * theta["shifts"]}


def pulled(optimizer, pull):
    """A theta whose controls are `pull` at every step, whatever the LSTM."""
    theta = optimizer.init(jax.random.key(0))
    return {**theta, "controls": {**theta["controls"], "b": jnp.asarray(pull, jnp.float32)}}


def descend(tx, params, grads):
    """Each step, and the state after the last."""
    found = run(tx, params, grads)
    return [x.step for x in found], found[-1].state


def hyper_of(optimizer, state):
    """lr, 1 - b1, 1 - b2, eps of every tensor that the next step will use."""
    initial = np.array([optimizer.learning_rate, 1 - optimizer.b1, 1 - optimizer.b2, optimizer.eps])
    return initial * np.exp(10 * np.asarray(state.tensors.shifts, np.float64))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(optimizer, theta, params, grads):
    """Steps in float64 NumPy, and x = log(lr, 1 - b1, 1 - b2, eps) of each tensor at the end."""
    theta = jax.tree.map(lambda x: np.asarray(x, np.float64), theta)
    p = {k: np.asarray(x, np.float64) for k, x in params.items()}
    m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    start = np.log([optimizer.learning_rate, 1 - optimizer.b1, 1 - optimizer.b2, optimizer.eps])
    x = dict.fromkeys(p, start + 10 * theta["shifts"])
    memory = dict.fromkeys(p, (theta["hidden"], theta["cell"]))
    path = []

    def size(value):
        return np.clip(np.log(1e-8 + np.abs(value)), -5, 5) / 2

    for grad in grads:
        steps = {}
        for name in p:
            g = np.clip(np.asarray(grad[name], np.float64), -1000, 1000)
            lr, room1, room2, eps = np.exp(np.clip(x[name], LOWEST, HIGHEST))
            m[name] = (1 - room1) * m[name] + room1 * g
            v[name] = (1 - room2) * v[name] + room2 * g**2
            steps[name] = lr * (1 + eps) * m[name] / (eps + np.sqrt(v[name] + 1e-10))
            seen = {"m": m[name], "rms": v[name], "p": p[name], "g": g}
            lr_x, b1_x, b2_x, eps_x = x[name] / 50
            named = {
                "lr": lr_x, "beta1": b1_x, "beta2": b2_x, "epsilon": eps_x,
                "is_scalar": 1.0 if g.ndim == 0 else -1.0, "is_bias": 1.0 if g.ndim == 1 else -1.0,
                "mean_gabs_mag": size(np.mean(np.abs(g))),
                "mean_rms": size(np.mean(v[name])), "mean_sign": np.sign(np.mean(v[name])),
            }  # fmt: skip
            for key, array in seen.items():
                named[f"var_{key}"] = size(np.var(array))
                if key != "rms":
                    named[f"mean_{key}_mag"] = size(np.mean(array))
                    named[f"mean_{key}_sign"] = np.sign(np.mean(array))
            features = np.array([named[key] for key in sorted(named)])
            assert features.shape == (19,)
            hidden, cell = memory[name]
            net, head = theta["lstm"], theta["controls"]
            gates = np.concatenate([features, hidden]) @ net["w"] + net["b"]
            enter, new, forget, leave = np.split(gates, 4)
            cell = sigmoid(forget + 1) * cell + sigmoid(enter) * np.tanh(new)
            hidden = sigmoid(leave) * np.tanh(cell)
            memory[name] = hidden, cell
            moved = x[name] + 10 * optimizer.output_scale * (hidden @ head["w"] + head["b"])
            x[name] = np.clip(moved, LOWEST, HIGHEST)
            p[name] = p[name] - steps[name]
        path.append(steps)
    return path, x


@pytest.mark.parametrize(
    ("optimizer", "scale"),
    [
        (NNAdam(), 0.03),
        (NNAdam(), 1e3),
        (NNAdam(5, learning_rate=1e-2, b1=0.8, b2=0.98, eps=0.1), 1.0),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(optimizer, scale):
    """Within 1e-5 of each element of the step, or of the tensor's largest."""
    theta, params = trained_theta(optimizer), tree(99)
    grads = [tree(i, scale) for i in range(STEPS)]
    got, state = descend(optimizer.transform(theta), params, grads)
    want, logs = reference(optimizer, theta, params, grads)
    for one, steps in zip(got, want, strict=True):
        for name, step in steps.items():
            bound = 1e-5 * np.abs(step).max()
            np.testing.assert_allclose(one[name], step, rtol=1e-5, atol=bound)
    # The LSTM has moved every hyper-parameter, each tensor's its own way.
    logs = np.stack([logs[name] for name in sorted(SHAPES)])
    assert (np.abs(logs - np.log(hyper_of(optimizer, state))) < 1e-5).all()
    assert (logs.std(0) > 1e-3).all()


def test_untrained_is_adam_without_bias_correction():
    """In closed form, for a gradient that stays the same."""
    optimizer, grads = NNAdam(learning_rate=0.1), tree(0)
    theta = optimizer.init(jax.random.key(0))
    for t, steps in enumerate(descend(optimizer.transform(theta), tree(1), [grads] * STEPS)[0]):
        for name in SHAPES:
            g = np.asarray(grads[name], np.float64)
            m, v = (1 - 0.9 ** (t + 1)) * g, (1 - 0.999 ** (t + 1)) * g**2
            want = 0.1 * m / (1e-8 + np.sqrt(v + 1e-10))
            np.testing.assert_allclose(steps[name], want, rtol=1e-5)


def test_what_the_lstm_says_is_heard_one_step_later():
    optimizer, grads, params = NNAdam(), tree(0, shapes=SMALL), tree(1, shapes=SMALL)
    pulls = np.array([7.0, -3.0, 2.0, 10.0])
    found, state = descend(optimizer.transform(pulled(optimizer, pulls)), params, [grads] * 2)
    want = np.array([1e-4, 0.1, 0.001, 1e-8]) * np.exp(2 * 10 * 0.01 * pulls)
    np.testing.assert_allclose(hyper_of(optimizer, state), np.tile(want, (3, 1)), rtol=1e-5)
    still, _ = descend(optimizer.transform(pulled(optimizer, [0] * 4)), params, [grads])
    jax.tree.map(np.testing.assert_array_equal, found[0], still[0])


@pytest.mark.parametrize(("pull", "ends"), [(1e6, HIGHEST), (-1e6, LOWEST)])
def test_hyper_parameters_stay_in_their_ranges(pull, ends):
    optimizer = NNAdam()
    tx = optimizer.transform(pulled(optimizer, [pull] * 4))
    grads = [tree(i + 1, 1e6, SMALL) for i in range(3)]
    found, state = descend(tx, tree(0, shapes=SMALL), grads)
    np.testing.assert_allclose(hyper_of(optimizer, state), np.exp([ends] * 3), rtol=1e-5)
    for x in jax.tree.leaves((found, state)):
        assert np.isfinite(x).all()


def test_large_eps_is_sgd_with_momentum_at_the_same_learning_rate():
    optimizer = NNAdam(learning_rate=0.5, b1=0.0, eps=1e4)
    grads = tree(0, shapes=SMALL)
    theta = optimizer.init(jax.random.key(0))
    steps = descend(optimizer.transform(theta), tree(1, shapes=SMALL), [grads])[0][0]
    for name in SMALL:
        np.testing.assert_allclose(steps[name], 0.5 * np.asarray(grads[name]), rtol=3e-4)


def test_gradients_are_clipped_at_a_thousand():
    optimizer = NNAdam(eps=1e4)  # where the step is in proportion to the gradient
    tx, params = optimizer.transform(trained_theta(optimizer)), tree(0, shapes=SMALL)
    at, above, far, below = (
        descend(tx, params, [jax.tree.map(lambda p, x=x: x * jnp.sign(p), params)] * 3)
        for x in (1e3, 5e3, 1e17, 5e2)
    )
    jax.tree.map(np.testing.assert_array_equal, at, above)
    jax.tree.map(np.testing.assert_array_equal, at, far)
    np.testing.assert_allclose(at[0][0]["vector"], 2 * below[0][0]["vector"], rtol=0.05)


def test_a_tensor_does_not_depend_on_its_neighbours():
    optimizer = NNAdam()
    tx = optimizer.transform(trained_theta(optimizer))
    some = ("scalar", "tensor")
    params, grads = tree(0, shapes=SMALL), [tree(i + 1, shapes=SMALL) for i in range(3)]
    all_steps, _ = descend(tx, params, grads)
    alone, _ = descend(tx, {k: params[k] for k in some}, [{k: g[k] for k in some} for g in grads])
    for one, other in zip(all_steps, alone, strict=True):
        for name in some:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5)


@pytest.mark.parametrize("count", [1, 30])
def test_all_tensors_share_two_matrix_products(count):
    optimizer = NNAdam()
    tx = optimizer.transform(optimizer.init(jax.random.key(0)))
    params = [jnp.ones((2, 3))] * count
    traced = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
    assert str(traced).count("dot_general[") == 2


def test_meta_gradient_is_its_finite_difference_also_where_the_gradient_is_zero():
    optimizer, shapes = NNAdam(3, learning_rate=0.1), {"scalar": (), "vector": (3,)}
    params = tree(0, shapes=shapes)
    theta = trained_theta(optimizer)

    def loss(theta):
        tx = optimizer.transform(theta)

        def step(carry, g):
            p, state = carry
            steps, state = tx.update({"scalar": g * p["scalar"], "vector": p["vector"]}, state, p)
            return (jax.tree.map(jnp.subtract, p, steps), state), None

        (p, _), _ = jax.lax.scan(step, (params, tx.init(params)), jnp.array([0.0, 0.0, 1.0, 1.0]))
        return p["scalar"] ** 2 + jnp.sum(p["vector"] ** 2)

    both = jax.jit(jax.value_and_grad(loss))
    _, grad = both(theta)
    leaves = jax.tree.leaves(grad)
    assert all(np.isfinite(x).all() and np.any(x) for x in leaves)
    norm = np.sqrt(sum(float(jnp.sum(x * x)) for x in leaves))
    low, high = (
        both(jax.tree.map(lambda x, g, s=s: x + s * g / norm, theta, grad))[0]
        for s in (-1e-3, 1e-3)
    )
    np.testing.assert_allclose((high - low) / 2e-3, norm, rtol=0.01)


def test_num_steps_changes_nothing():
    optimizer = NNAdam()
    theta, updates, shapes = trained_theta(optimizer), [], {"vector": (3,)}
    params, grads = tree(0, shapes=shapes), tree(1, shapes=shapes)
    for num_steps in (None, 1, jnp.asarray(1000)):
        tx = optimizer.transform(theta, num_steps=num_steps)
        updates.append(tx.update(grads, tx.init(params), params)[0])
        step_size = optimizer.schedule(theta, num_steps=num_steps)(7)
        want = 1e-4 * np.exp(10 * np.float64(theta["shifts"][0]))
        np.testing.assert_allclose(step_size, want, rtol=1e-5)
    for other in updates[1:]:
        jax.tree.map(np.testing.assert_array_equal, updates[0], other)


@pytest.mark.parametrize(("optimizer", "count"), [(NNAdam(), 6856), (NNAdam(hidden=4), 416)])
def test_count_of_meta_parameters(optimizer, count):
    theta = optimizer.init(jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(theta)) == count
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(theta))


def test_a_skipped_step_leaves_no_trace():
    optimizer = NNAdam()
    tx = optimizer.transform(trained_theta(optimizer))
    params, one, two = (tree(seed, shapes=SMALL) for seed in range(3))
    bad = {**one, "vector": one["vector"].at[2].set(np.nan)}
    with_bad, state = descend(tx, params, [one, bad, two])
    plain, want = descend(tx, params, [one, two])
    state = state._replace(skipped=want.skipped)
    jax.tree.map(np.testing.assert_array_equal, (with_bad[2], state), (plain[1], want))


def test_half_precision_keeps_float32_averages():
    tx = NNAdam().transform(trained_theta(NNAdam()))
    params = {"matrix": jnp.ones((3, 2), jnp.bfloat16)}
    steps, state = tx.update(params, tx.init(params), params)
    assert steps["matrix"].dtype == jnp.bfloat16
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype(d) for d in ("int32", "float32")}
