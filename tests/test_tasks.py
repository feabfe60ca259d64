"""Tasks: data splits, networks against references, one compilation for all draws."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tasks
from tasks import (
    SPLITS,
    ConvFamily,
    MLPFamily,
    inner_init,
    inner_step,
    load_dataset,
    load_suite,
    map_lanes,
)

DIGITS = load_dataset("digits")


def families():
    return [
        pytest.param(MLPFamily(DIGITS, max_width=16, widths=(4, 16), scales=(0.5, 2)), id="mlp"),
        pytest.param(ConvFamily(DIGITS, channels=(4, 8)), id="conv"),
    ]


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_splits_share_no_example_and_keep_label_shares(name):
    data = load_dataset(name)
    sizes = {split: len(data.full(split).y) for split in SPLITS}
    assert sum(sizes.values()) == {"digits": 1797, "breast_cancer": 569}[name]
    rows = np.concatenate([np.asarray(data.full(s).x).reshape(sizes[s], -1) for s in SPLITS])
    assert len(np.unique(rows, axis=0)) == len(rows)
    labels = np.concatenate([data.full(split).y for split in SPLITS])
    overall = np.bincount(labels) / len(labels)
    for split in SPLITS:
        share = np.bincount(data.full(split).y, minlength=data.classes) / sizes[split]
        # Rounding moves at most one example of a class into or out of a split.
        np.testing.assert_allclose(share, overall, atol=1.5 / sizes[split])


def test_training_inputs_are_standardised():
    x = np.asarray(load_dataset("breast_cancer").full("train").x)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-4)
    x = np.asarray(DIGITS.full("train").x)
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-4)


def test_test_split_is_withheld():
    family = MLPFamily(DIGITS).without_test()
    family.full("outer_valid")
    with pytest.raises(ValueError, match="withholds the test split"):
        family.full("test")
    with pytest.raises(ValueError, match="withholds the test split"):
        family.batch(jax.random.key(0), "test")


def test_unknown_data_set_is_one_sentence():
    with pytest.raises(ValueError, match="must be one of digits, breast_cancer or tfds:NAME, got"):
        load_dataset("imagenet")


@pytest.mark.parametrize("family", families())
def test_fifty_draws_compile_once(family):
    traces = 0
    tx = optax.sgd(0.1)

    @jax.jit
    def run(family, key):
        nonlocal traces
        traces += 1
        state = inner_init(family.sample(key), optax.with_extra_args_support(tx), key)
        return inner_step(family, optax.with_extra_args_support(tx), state, key)[1]

    losses = [float(run(family, jax.random.key(i))) for i in range(50)]
    assert traces == 1
    assert np.isfinite(losses).all()
    assert len(set(losses)) == 50


@pytest.mark.parametrize("family", families())
def test_vmap_over_tasks_equals_a_loop(family):
    keys = jax.random.split(jax.random.key(0), 4)

    def loss(key):
        task = family.sample(key)
        return task.loss(task.init(key), family.batch(key, "train"), key)[0]

    batched, alone = jax.jit(jax.vmap(loss))(keys), jax.jit(loss)
    np.testing.assert_allclose(batched, [alone(key) for key in keys], rtol=1e-5)


@pytest.mark.parametrize("family", families())
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_sixty_steps_of_adam_lower_the_loss(family):
    task, tx = family.sample(jax.random.key(1)), optax.with_extra_args_support(optax.adam(3e-2))
    state = inner_init(task, tx, jax.random.key(2))
    step = jax.jit(lambda s, k: inner_step(family, tx, s, k))
    first, _ = task.loss(state.params, family.full("train"), jax.random.key(0))
    for i in range(60):
        state, _ = step(state, jax.random.key(i))
    last, _ = task.loss(state.params, family.full("train"), jax.random.key(0))
    assert last < 0.5 * first


def softmax_loss(logits, labels):
    logits = logits - logits.max(-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("activation", [0, 1, 2])
@pytest.mark.parametrize("depth", [1, 2])
def test_masked_mlp_is_the_small_mlp_in_float64(depth, activation):
    """Width 5 of 16 and depth 1 of 2 give the loss and the gradient of the small network."""
    width, scale = 5, 0.5
    family = MLPFamily(DIGITS, max_width=16, max_depth=2)
    task = family.task(width, depth, activation, gain=1.3, scale=scale)
    params = task.init(jax.random.key(0))
    batch = family.batch(jax.random.key(1), "train")
    act = [
        lambda x: np.maximum(x, 0),
        np.tanh,
        lambda x: x / (1 + np.exp(-x)),
    ][activation]

    def reference(params):
        p = jax.tree.map(lambda x: scale * np.asarray(x, np.float64), params)
        x = np.asarray(batch.x, np.float64).reshape(64, -1)
        h = act(x @ p["linear"]["w"][:, :width] + p["linear"]["b"][:width])
        if depth == 2:
            h = act(h @ p["linear_1"]["w"][:width, :width] + p["linear_1"]["b"][:width])
        return softmax_loss(h @ p["linear_2"]["w"][:width] + p["linear_2"]["b"], batch.y)

    loss = lambda p: task.loss(p, batch, jax.random.key(0))[0]  # noqa: E731
    np.testing.assert_allclose(loss(params), reference(params), rtol=1e-5)
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), params)
    slope = sum(
        np.vdot(g, d)
        for g, d in zip(*map(jax.tree.leaves, (jax.grad(loss)(params), direction)), strict=True)
    )
    up, down = (
        reference(
            jax.tree.map(lambda x, d, e=e: np.asarray(x, np.float64) + e * d, params, direction)
        )
        for e in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=2e-3)


def test_masked_mlp_initialises_like_the_small_one():
    """He-normal for the fan-in that is on; no weight into or out of a unit that is off."""
    family = MLPFamily(DIGITS, max_width=64, max_depth=2)
    params = family.task(16, 2, gain=2.0, scale=4.0).init(jax.random.key(0))
    w = np.asarray(params["linear"]["w"])
    assert not w[:, 16:].any()
    assert not np.asarray(params["linear_1"]["w"])[16:].any()
    assert not np.asarray(params["linear_2"]["w"])[16:].any()
    # 1,024 draws: the relative standard error of their standard deviation is 2.2 %.
    np.testing.assert_allclose(w[:, :16].std(), 2 * np.sqrt(2 / 64) / 4, rtol=0.09)


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (7, 2), (4, 2)])
def test_convolution_is_haikus(size, stride):
    from tasks._conv import _Conv3x3

    x = jax.random.normal(jax.random.key(0), (3, size, size, 4))
    ours = hk.without_apply_rng(
        hk.transform(lambda x: _Conv3x3(5, stride)(x.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0))
    )
    theirs = hk.without_apply_rng(hk.transform(lambda x: hk.Conv2D(5, 3, stride=stride)(x)))
    params = ours.init(jax.random.key(1), x)
    (weights,) = params.values()
    with jax.numpy_rank_promotion("allow"):  # haiku's own code adds a vector to a tensor
        want = theirs.apply({"conv2_d": weights}, x)
    np.testing.assert_allclose(ours.apply(params, x), want, atol=2e-6)


def test_inner_step_is_gradient_descent_on_the_drawn_batch():
    family = MLPFamily(DIGITS, max_width=8, widths=(8, 8))
    task, tx = family.task(8, 1), optax.with_extra_args_support(optax.sgd(0.1))
    state = inner_init(task, tx, jax.random.key(0))
    key = jax.random.key(7)
    new, loss = inner_step(family, tx, state, key)
    batch_key, loss_key = jax.random.split(key)
    batch = family.batch(batch_key, "train")
    value, grads = jax.value_and_grad(lambda p: task.loss(p, batch, loss_key)[0])(state.params)
    assert loss == value
    jax.tree.map(
        lambda p, g, q: np.testing.assert_allclose(p - 0.1 * g, q, rtol=1e-6),
        state.params, grads, new.params,
    )  # fmt: skip


def test_map_lanes_equals_a_loop_on_one_and_two_devices():
    lanes = jnp.arange(6.0)
    for devices in (1, 2):
        mesh = jax.make_mesh(
            (devices,), ("lanes",), axis_types=(jax.sharding.AxisType.Auto,),
            devices=jax.devices()[:devices],
        )  # fmt: skip
        got = map_lanes(mesh, lambda x, y: x * y, lanes, jnp.asarray(3.0))
        np.testing.assert_array_equal(got, 3 * lanes)
        total = map_lanes(mesh, lambda x, y: x * y, lanes, jnp.asarray(3.0), total=True)
        assert float(total) == 45.0


def test_suite_names_are_unique_and_unknown_suites_are_listed():
    for name in tasks.SUITES:
        names = [task.name for task in load_suite(name)]
        assert len(set(names)) == len(names) >= 5
    with pytest.raises(ValueError, match="suite must be one of quickstart, got 'nope'"):
        load_suite("nope")
