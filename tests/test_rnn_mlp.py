"""RNN-MLP against its formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import SHAPES, check_finite, moved_theta, run, tree

from learned_opt import RNNMLP
from learned_opt.optimizers._rnn_mlp_inputs import init_losses, see_losses

STEPS = 20
TAUS = np.array([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5])
DECAYS = np.array([0.5, 0.9, 0.99, 0.999, 0.9999])
SMALL = {"hidden": 5, "layers": 1, "lstm_size": 6, "from_mlp": 3, "from_lstm": 4, "to_mlp": 2}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_abs(x):
    return np.clip(np.log(1e-8 + np.abs(x)), -5, 5)


def reference(theta, path, grads, trains, valids):
    """Steps by plain NumPy in float64, features last, one tensor at a time; NaN: no such loss.

    `path`: the parameters before each step.
    """
    theta = jax.tree.map(lambda x: np.asarray(x, np.float64), theta)
    start, net = theta["initial"], theta["mlp"]
    layers, n, p = len(net) // 2 - 1, len(path[0]), path[0]
    lstm = dict.fromkeys(p, (start["hidden"], start["cell"]))
    from_mlp, from_lstm = dict.fromkeys(p, start["from_mlp"]), start["from_lstm"]
    m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    size, found = 0.01, []
    mean = square = valid_mean = 0.0
    seen = valid_seen = 0
    for t, (params, grad, train, valid) in enumerate(zip(path, grads, trains, valids, strict=True)):
        p = {k: np.asarray(x, np.float64) for k, x in params.items()}
        if not np.isnan(train):
            mean, seen = 0.9 * mean + 0.1 * train, seen + 1
            square = 0.9 * square + 0.1 * (mean / (1 - 0.9**seen) - train) ** 2
        if not np.isnan(valid):
            valid_mean = 0.95 * valid_mean + 0.05 * valid
            valid_seen += 1
        losses = [0.0, 0.0]
        if not np.isnan(train):
            center, spread = mean / (1 - 0.9**seen), square / (1 - 0.9**seen)
            losses[0] = np.clip((train - center) / np.sqrt(spread + 1e-8), -5, 5)
            if valid_seen:
                known = valid_mean / (1 - 0.95**valid_seen)
                losses[1] = np.clip((known - center) / np.sqrt(spread + 1e-8), -5, 5)
        bound = 10 * size / (1 - 0.99 ** (t + 1))
        g = {k: np.clip(np.asarray(x, np.float64), -bound, bound) for k, x in grad.items()}
        size = 0.99 * size + 0.01 * np.sqrt(1e-8 + np.mean([np.mean(x**2) for x in g.values()]))
        heard, steps = [], {}
        for k in p:
            m[k] = DECAYS * m[k] + (1 - DECAYS) * g[k][..., None]
            v[k] = DECAYS * v[k] + (1 - DECAYS) * g[k][..., None] ** 2
            means = [np.mean(x) for x in (m[k], v[k], p[k])]
            variances = [np.mean((x - np.mean(x)) ** 2) for x in (m[k], v[k], p[k])]
            norm = np.sqrt(np.sum(p[k] ** 2))
            statistics = [*means, *variances, norm, np.sqrt(np.sum(g[k] ** 2))]
            dims = [*p[k].shape, *[1] * (4 - p[k].ndim)]
            h, c = lstm[k]
            row = np.concatenate([
                log_abs(np.array(statistics)), np.sign(means), [-1.0 if p[k].ndim else 1.0],
                np.log(dims) - 1, losses, from_mlp[k], from_lstm, h,
            ])  # fmt: skip
            i, candidate, f, o = np.split(row @ theta["lstm"]["w"] + theta["lstm"]["b"], 4)
            c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(candidate)
            h = sigmoid(o) * np.tanh(c)
            lstm[k] = h, c
            heard.append(h @ theta["lstm_to_lstm"]["w"] + theta["lstm_to_lstm"]["b"])
            context = np.concatenate([
                np.sin(t / (np.pi * TAUS)), [np.log(n) - 1, np.log(norm + 1e-8)],
                [np.log(p[k].size)], h @ theta["lstm_to_mlp"]["w"] + theta["lstm_to_mlp"]["b"],
            ])  # fmt: skip
            plain = np.stack([g[k], p[k], np.log(np.abs(p[k]) + 1e-8)], -1)
            root = 1 / np.sqrt(v[k] + 1e-6)
            x = np.concatenate([plain, m[k], v[k], m[k] * root, root], -1)
            x = x / np.sqrt(1e-5 + np.mean(x**2, axis=tuple(range(p[k].ndim))))
            x = np.concatenate([x, np.broadcast_to(context, (*p[k].shape, len(context)))], -1)
            for layer in range(1, layers + 1):
                x = np.maximum(0, x @ net[f"w{layer}"] + net[f"b{layer}"])
            out = x @ net[f"w{layers + 1}"] + net[f"b{layers + 1}"]
            steps[k] = 0.001 * out[..., 0] * np.exp(0.001 * out[..., 1])
            from_mlp[k] = np.mean(out[..., 2:], axis=tuple(range(p[k].ndim)))
        from_lstm = np.mean(heard, 0)
        found.append(steps)
    return found


def trained_theta(optimizer):
    """Tensors move a tenth of their size a step."""
    theta = moved_theta(optimizer, 0.1)
    last = f"w{optimizer.layers + 1}"
    scale = jnp.ones(2 + optimizer.from_mlp).at[:2].set(100.0)
    return {**theta, "mlp": {**theta["mlp"], last: theta["mlp"][last] * scale[None]}}


def some_losses(seed):
    """Train losses with one missing, validation losses in every fourth step from the third on."""
    rng = np.random.default_rng(seed)
    trains, valids = 2 + rng.normal(size=STEPS), 2 + rng.normal(size=STEPS)
    trains[7] = np.nan
    valids[np.arange(STEPS) % 4 != 2] = np.nan
    return trains.astype(np.float32), valids.astype(np.float32)


@pytest.mark.parametrize(
    ("optimizer", "scale"),
    [
        pytest.param(RNNMLP(), 0.1, marks=pytest.mark.slow),
        (RNNMLP(), 30.0),
        (RNNMLP(**SMALL), 1e-3),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(optimizer, scale):
    """Each step within 1e-5 of the tensor's largest; at scale 30 most gradients are clipped.

    Both from the same parameters: where one crosses zero, its logarithm has few digits.
    """
    theta = trained_theta(optimizer)
    grads, (trains, valids) = [tree(i + 1, scale) for i in range(STEPS)], some_losses(0)
    tx = optimizer.transform(theta)
    found = run(tx, tree(0), grads, value=trains, valid_value=valids)
    path = [x.before for x in found]
    wanted = reference(theta, path, grads, trains, valids)
    for steps, want in zip([x.step for x in found], wanted, strict=True):
        for name in SHAPES:
            bound = 1e-5 * np.abs(want[name]).max()
            np.testing.assert_allclose(steps[name], want[name], rtol=0, atol=bound)


def test_a_network_of_biases_gives_the_step_of_the_formula():
    optimizer = RNNMLP(step_multiplier=0.5, magnitude=0.1)
    theta = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    theta["mlp"]["b3"] = theta["mlp"]["b3"].at[:2].set(jnp.array([2.0, 3.0]))
    tx, params = optimizer.transform(theta), tree(0)
    steps, _ = tx.update(tree(1), tx.init(params), params)
    for step in jax.tree.leaves(steps):
        np.testing.assert_allclose(step, 0.5 * 2 * np.exp(0.1 * 3), rtol=1e-6)


def test_count_of_meta_parameters():
    theta = RNNMLP().init(jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(theta)) == 35_799
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(theta))


@pytest.fixture
def small():
    """An update rule of small networks, parameters and gradients for two steps."""
    optimizer, shapes = RNNMLP(**SMALL), {k: SHAPES[k] for k in ("scalar", "vector", "matrix")}
    return optimizer.transform(trained_theta(optimizer)), *(
        tree(i, shapes=shapes) for i in range(3)
    )


def differs(a, b):
    return any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_both_losses_are_seen_and_either_may_be_absent(small):
    tx, params, *grads = small

    def last(first, second):
        _, state = tx.update(grads[0], tx.init(params), params, **first)
        return tx.update(grads[1], state, params, **second)

    none, both = last({}, {})[0], {"value": 2.0, "valid_value": 3.0}
    train = last({"value": 1.0}, {"value": 2.0})[0]
    valid = last({"value": 1.0}, both)[0]
    assert differs(none, train)
    assert differs(train, valid)
    # An absent loss is one that is not finite, and leaves the averages alone.
    nan = {"value": np.nan, "valid_value": np.inf}
    same(none, last(nan, nan)[0], rtol=1e-6)
    kept, state = last(both, {})
    same(kept, last(both, {"valid_value": np.nan})[0], rtol=1e-6)
    assert float(state.run.losses.train_count) == 1
    assert float(state.run.losses.valid_count) == 1
    np.testing.assert_allclose(state.run.losses.valid_mean, 0.05 * 3, rtol=1e-5)


def test_the_unit_of_the_loss_does_not_matter():
    optimizer = RNNMLP(**SMALL)
    tx, (trains, valids) = optimizer.transform(trained_theta(optimizer)), some_losses(0)
    params, grads = tree(0), [tree(i + 1) for i in range(STEPS)]

    def last(trains, valids):
        return run(tx, params, grads, value=trains, valid_value=valids)[-1].step

    one = last(trains, valids)
    same(one, last(1024 * trains, 1024 * valids), rtol=1e-3, atol=1e-5)
    assert differs(one, last(trains, valids[::-1].copy()))


def test_tensors_are_a_set(small):
    """Other names, another order: the same steps."""
    tx, params, grads, _ = small

    def renamed(x):
        return {"a": x["vector"], "b": x["matrix"], "c": x["scalar"]}

    state, other = tx.init(params), tx.init(renamed(params))
    for _ in range(3):
        steps, state = tx.update(grads, state, params, value=1.0)
        found, other = tx.update(renamed(grads), other, renamed(params), value=1.0)
    same(renamed(steps), found, rtol=1e-4, atol=1e-6)


def test_tensors_hear_of_each_other(small):
    """In the third step: of the first by its LSTM's message, made in the second."""
    tx, params, grads, _ = small
    last = []
    for scale in (1.0, 0.5):
        state = tx.init(params)
        for _ in range(3):
            changed = {**grads, "matrix": scale * grads["matrix"]}
            steps, state = tx.update(changed, state, params)
        last.append(steps["vector"])
    assert differs(*last)


def test_clipping_by_the_size_of_past_gradients(small):
    """To +-10 at first, so that the size of a larger gradient makes no difference."""
    tx, params, grads, _ = small
    huge = jax.tree.map(lambda g: 1e6 * jnp.sign(g), grads)
    ten = jax.tree.map(lambda g: 10 * jnp.sign(g), grads)
    same(*(tx.update(g, tx.init(params), params)[0] for g in (huge, ten)), rtol=1e-6)
    _, state = tx.update(ten, tx.init(params), params)
    np.testing.assert_allclose(state.run.clip, 0.99 * 0.01 + 0.01 * 10, rtol=1e-6)


def test_all_tensors_go_through_the_lstm_in_one_product():
    optimizer = RNNMLP(**SMALL)
    tx = optimizer.transform(optimizer.init(jax.random.key(0)))

    def products(n, wider):
        params = {str(i): jnp.ones((2, 3 + i * wider)) for i in range(n)}
        text = str(jax.make_jaxpr(tx.update)(params, tx.init(params), params))
        return text.count("dot_general[")

    # A product for each layer of the element network of each shape, and no more.
    assert products(7, 1) - products(3, 1) == 4 * (optimizer.layers + 1)
    assert products(7, 0) == products(3, 0) == products(1, 1)


def test_more_than_four_dimensions(small):
    tx, *_ = small
    params = {"w": jnp.ones((2, 1, 2, 3, 2))}
    steps, state = tx.update(params, tx.init(params), params)
    flat = {"w": jnp.ones((2, 1, 2, 6))}
    want, _ = tx.update(flat, tx.init(flat), flat)
    np.testing.assert_allclose(steps["w"].reshape(flat["w"].shape), want["w"], rtol=1e-5)
    assert [m["w"].shape for m in state.elements.momenta] == [(2, 1, 2, 3, 2)] * 5


def test_donating_the_state_of_one_tensor_keeps_theta():
    optimizer = RNNMLP(**SMALL)
    theta, params = trained_theta(optimizer), {"w": jnp.ones((2, 3))}
    tx = optimizer.transform(theta)
    step = jax.jit(lambda g, s, p: tx.update(g, s, p)[1], donate_argnums=1)
    step(params, tx.init(params), params)
    assert not any(x.is_deleted() for x in jax.tree.leaves(theta))


def test_a_skipped_step_leaves_no_trace(small):
    tx, params, one, two = small
    bad = {**one, "vector": one["vector"].at[0].set(np.nan)}
    _, state = tx.update(one, tx.init(params), params, value=1.0, valid_value=2.0)
    zero, after = tx.update(bad, state, params, value=7.0, valid_value=9.0)
    same(zero, jax.tree.map(jnp.zeros_like, params))
    uncounted = [s._replace(skipped=0, skipped_in_a_row=0) for s in (after, state)]
    jax.tree.map(np.testing.assert_array_equal, *uncounted)
    assert int(state.count) == 1
    assert int(tx.update(two, after, params)[1].count) == 2


def test_extreme_gradients_stay_finite(small):
    tx, params, grads, _ = small
    check_finite(tx, params, grads)


@pytest.mark.parametrize("name", ["value", "valid_value"])
def test_a_loss_must_be_a_scalar(small, name):
    tx, params, grads, _ = small
    with pytest.raises(ValueError, match=rf"^{name} must be a loss, a scalar, .*\(2,\); pass its"):
        tx.update(grads, tx.init(params), params, **{name: jnp.ones(2)})


def test_deviations_are_from_the_corrected_mean():
    """Of losses 1 and 2: of the first none, so the second's alone has a spread."""
    state = init_losses()
    for train in (1.0, 2.0):
        state, features = see_losses(state, jnp.float32(train), jnp.float32(train + 1))
        np.testing.assert_allclose(features[0], 0.0 if train == 1 else 0.19**0.5 / 0.1**0.5, 1e-4)
    mean = (0.09 + 0.2) / 0.19
    np.testing.assert_allclose(state.train_square, 0.1 * (2 - mean) ** 2, rtol=1e-5)


def test_num_steps_changes_nothing(small):
    optimizer, (_, params, grads, _) = RNNMLP(**SMALL), small
    theta = trained_theta(optimizer)
    found = []
    for num_steps in (None, 1, jnp.asarray(1000)):
        tx = optimizer.transform(theta, num_steps=num_steps)
        found.append(tx.update(grads, tx.init(params), params)[0])
        assert optimizer.schedule(theta, num_steps=num_steps)(7) == np.float32(0.001)
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[0], other)
