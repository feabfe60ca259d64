"""Celo2 against its formulas in float64, and what is special about it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import steps
from steps import check_finite, descend

from learned_opt import Celo2
from learned_opt.optimizers._celo2_across import is_across

SHAPES = {
    "scalar": (), "vector": (7,), "wide": (5, 6), "tensor": (2, 6, 5), "conv": (2, 3, 2, 4),
}  # fmt: skip
TALL = {"vector": (7,), "tall": (6, 5)}
STEPS, T = 20, 25
BASE = Celo2(orthogonalise=False)
DECAYS = np.array([0.9, 0.99, 0.999])
tree = functools.partial(steps.tree, shapes=SHAPES)
trained_theta = functools.partial(steps.moved_theta, BASE)


def sees_features(state):
    """Which leaves keep a second momentum, which Adam has not: those of the learned rule."""
    return {k: m.ndim > 0 for k, m in state.elements.momenta[1].items()}


def everywhere(params):
    return jax.tree.map(lambda _: "celo2", params)


def first_step(tx, params, grads):
    return jax.jit(lambda g, p: tx.update(g, tx.init(p), p)[0])(grads, params)


def rs(x):
    return 1 / np.sqrt(np.maximum(x, 1e-9))


def normal(x, axes):
    return x / np.sqrt(1e-9 + np.mean(x**2, axes, keepdims=True))


def reference_direction(net, g, p, memory, orthogonalise):
    """Of one tensor: its direction, and (m, v, R, C) after this gradient.

    g^2 is averaged over its two largest axes; all else is of the last two.
    """
    m, v, row, col = memory
    g, p = np.clip(g, -1000, 1000)[..., None], p[..., None]
    axes, square = tuple(range(g.ndim - 1))[-2:], g**2 + 1e-30
    m, v = DECAYS * m + (1 - DECAYS) * g, 0.95 * v + 0.05 * g**2
    groups = [g, np.clip(g, -0.1, 0.1), p, m, v, m / np.sqrt(v + 1e-8), 1 / np.sqrt(v + 1e-8)]
    if g.ndim > 2:
        second, largest = np.argsort(g.shape[:-1], kind="stable")[-2:]
        row = DECAYS * row + (1 - DECAYS) * np.mean(square, largest, keepdims=True)
        col = DECAYS * col + (1 - DECAYS) * np.mean(square, second, keepdims=True)
        factor = rs(row / (np.mean(row, second, keepdims=True) + 1e-9)) * rs(col)
        one = np.ones_like(g)
        factored = [row * one, col * one, one / np.sqrt(row + 1e-8), one / np.sqrt(col + 1e-8)]
        groups += [g * factor, g / np.sqrt(v + 1e-8), *factored, m * factor]
    else:
        row = DECAYS * row + (1 - DECAYS) * square
        groups += [g * rs(row + 1e-9), g / np.sqrt(v + 1e-8)]
    features = np.concatenate([normal(x, axes) for x in groups], -1)
    h = np.maximum(0, features @ net["w1"][: features.shape[-1]] + net["b1"])
    h = np.maximum(0, h @ net["w2"] + net["b2"])
    d = (h @ net["w3"] + net["b3"])[..., 0]
    if orthogonalise and d.ndim > 1:
        d = np.array(d)
        for at in np.ndindex(d.shape[:-2]):
            x = d[at] / (np.linalg.norm(d[at]) + 1e-8)
            for _ in range(5):
                gram = x @ x.T
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
            d[at] = x
    return normal(d, axes), (m, v, row, col)


def reference(optimizer, theta, params, grads, learned):
    """Parameters after all steps; every tensor in `learned` takes the learned rule, others Adam."""
    net = jax.tree.map(lambda x: np.asarray(x, np.float64), theta["mlp"])
    p = {k: np.array(x, np.float64) for k, x in params.items()}
    memory, moments = {}, dict.fromkeys(p, (0.0, 0.0))
    for t, grad in enumerate(grads):
        a = optimizer.learning_rate * 0.5 * (1 + np.cos(np.pi * t / T))
        for name in p:
            g = np.asarray(grad[name], np.float64)
            if name not in learned:
                m, v = moments[name]
                moments[name] = m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
                hat = m / (1 - 0.9 ** (t + 1)), v / (1 - 0.95 ** (t + 1))
                p[name] = p[name] - optimizer.adam_ratio * a * hat[0] / (np.sqrt(hat[1]) + 1e-8)
                continue
            for at in [()] if optimizer.as_published else np.ndindex(g.shape[:-2]):
                d, memory[name, at] = reference_direction(
                    net, g[at], p[name][at], memory.get((name, at), (0.0,) * 4),
                    optimizer.orthogonalise,
                )  # fmt: skip
                p[name][at] = p[name][at] - a * d
    return p


@pytest.mark.parametrize(
    ("optimizer", "labels"),
    [
        pytest.param(Celo2(5, 0.1, False), everywhere, marks=pytest.mark.slow),
        (Celo2(8, 0.1, adam_ratio=3.0), None),
        (Celo2(4, 0.1, as_published=True), None),
    ],
)
def test_agrees_with_float64_reference_over_20_steps(optimizer, labels):
    """Error under 1e-5 of the way the parameters went; gradients that are clipped, and small."""
    theta, params = steps.moved_theta(optimizer), tree(0)
    assert [k for k in SHAPES if is_across(SHAPES[k])] == ["conv"]
    lists = [[tree(i + 1, scale) for i in range(STEPS)] for scale in (1e-4, 2e3)]
    learned = set(SHAPES) - ({"scalar", "vector"} if labels is None else set())
    tx = optimizer.transform(theta, num_steps=T, labels=labels)
    for grads in lists:
        path = descend(tx, params, grads)
        want = reference(optimizer, theta, params, grads, learned)
        for name in SHAPES:
            moved = np.linalg.norm(want[name] - np.asarray(params[name], np.float64))
            error = np.linalg.norm(np.asarray(path[-1][name], np.float64) - want[name])
            assert moved > 0.01 * np.sqrt(want[name].size)
            assert error < 1e-5 * moved, name


@pytest.mark.parametrize("optimizer", [Celo2(learning_rate=0.5), Celo2(8, 0.5, False)])
def test_every_matrix_moves_by_the_learning_rate(optimizer):
    shapes = {"tall": (6, 5), "conv": (2, 3, 2, 4)}
    tx, params = optimizer.transform(trained_theta()), tree(0, shapes=shapes)
    lists = [[tree(1, scale, shapes=shapes)] for scale in (1e-6, 1.0, 1e6)]
    for grads in lists:
        after = descend(tx, params, grads)[-1]
        for p, q in zip(jax.tree.leaves(params), jax.tree.leaves(after), strict=True):
            np.testing.assert_allclose(np.mean((p - q) ** 2, (-2, -1)), 0.25, rtol=1e-3)


def test_singular_values_are_made_alike():
    params, grads = {"w": tree(0)["wide"]}, {"w": tree(1)["wide"]}
    spread = []
    for optimizer in (BASE, Celo2()):
        tx = optimizer.transform(trained_theta())
        steps = first_step(tx, params, grads)
        values = np.linalg.svd(steps["w"], compute_uv=False)
        spread.append(values[0] / values[-1])
    assert spread[0] > 3
    assert spread[1] < 1.2 / 0.6


def test_a_stack_of_matrices_is_updated_like_the_matrices():
    stack = {"w": (2, 1, 5, 4)}
    tx = Celo2(learning_rate=0.1).transform(trained_theta())
    params, grads = tree(0, shapes=stack), [tree(i + 1, shapes=stack) for i in range(3)]
    both = descend(tx, params, grads)[-1]["w"]
    apart = [{"0": x["w"][0, 0], "1": x["w"][1, 0]} for x in [params, *grads]]
    for name, alone in descend(tx, apart[0], apart[1:])[-1].items():
        np.testing.assert_allclose(both[int(name), 0], alone, rtol=1e-4, atol=1e-5)


@jax.numpy_dtype_promotion("standard")  # optax's own code multiplies floats by integers
def test_vectors_and_embeddings_take_adam_at_20_times_the_rate():
    shapes = {"b": (7,), "s": (), "token_Embedding": (4, 3), "w": (4, 3)}
    params, grads = tree(0, shapes=shapes), [tree(i, shapes=shapes) for i in range(1, 4)]
    optimizer = Celo2(learning_rate=0.01)
    theta = trained_theta()
    got = descend(optimizer.transform(theta, num_steps=10), params, grads)[-1]
    adam = optax.adam(optax.cosine_decay_schedule(0.2, 10), 0.9, 0.95)
    negative = optax.chain(adam, optax.scale(-1.0))
    want = descend(negative, params, grads)[-1]
    for name in ("b", "s", "token_Embedding"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5)
    assert np.abs(got["w"] - want["w"]).max() > 0.01
    state = Celo2(embeddings="^w$").transform(theta).init(params)
    assert sees_features(state) == {
        "b": False, "s": False, "token_Embedding": True, "w": False,
    }  # fmt: skip


@jax.numpy_dtype_promotion("standard")  # optax's own code multiplies floats by integers
def test_partition_of_the_users_own_equals_the_built_in():
    """Matrices by Celo2, the rest by optax's Adam: what a user who wants another rule writes."""
    shapes = {"b": (7,), "w": (4, 3), "v": (5, 3)}
    params, grads = tree(0, shapes=shapes), [tree(i, shapes=shapes) for i in range(1, 4)]
    optimizer = Celo2(learning_rate=0.01)
    tx = optimizer.transform(trained_theta(), num_steps=10)
    schedule = optimizer.schedule({}, num_steps=10)
    adamw = optax.adamw(lambda t: 20 * schedule(t), 0.9, 0.95, weight_decay=0.0)
    rules = {"celo2": tx, "adam": optax.chain(adamw, optax.scale(-1.0))}
    split = optax.partition(rules, {"b": "adam", "w": "celo2", "v": "celo2"})
    got, want = (descend(x, params, grads)[-1] for x in (split, tx))
    for name in shapes:
        moved = np.abs(want[name] - params[name]).max()
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-5 * moved)


def test_parameters_that_are_callable():
    """A module of Equinox is: its labels are no function to ask for labels."""
    grad, tx = jnp.ones((4, 3)).at[0, 0].set(2.0), BASE.transform(trained_theta(), num_steps=T)
    found = []
    for params in (jnp.ones((4, 3)), jax.tree_util.Partial(jnp.dot, jnp.ones((4, 3)))):
        grads = jax.tree.map(lambda _: grad, params)
        steps, _ = tx.update(grads, tx.init(params), params)
        found += jax.tree.leaves(steps)
    np.testing.assert_array_equal(*found)


def test_labels_of_the_user():
    """What a leaf keeps says which rule it takes."""
    shapes = {"a": (4, 3), "b": (5, 3), "c": (3,)}
    params, optimizer = tree(0, shapes=shapes), Celo2()
    for labels, learned in (
        ({"a": "adam", "b": "celo2", "c": "celo2"}, [False, True, True]),
        ("adam", [False, False, False]),
        (everywhere, [True, True, True]),
        (None, [True, True, False]),
    ):
        state = optimizer.transform(trained_theta(), labels=labels).init(params)
        assert list(sees_features(state).values()) == learned
    tx = optimizer.transform(trained_theta(), labels={"a": "adam", "b": "sgd", "c": "adam"})
    with pytest.raises(ValueError, match="labels must be 'celo2' or 'adam', got 'sgd'; for other"):
        tx.init(params)


def test_below_rank_2_the_factored_features_are_not_looked_at():
    theta = trained_theta()
    other = jax.tree.map(lambda x: x, theta)
    other["mlp"]["w1"] = theta["mlp"]["w1"].at[15:].multiply(-2.0)
    shapes = {"vector": (7,), "wide": (5, 6)}
    params, grads = tree(0, shapes=shapes), tree(1, shapes=shapes)

    @jax.jit
    def first(theta):
        tx = BASE.transform(theta, labels=everywhere)
        return tx.update(grads, tx.init(params), params)[0]

    steps = [first(theta), first(other)]
    np.testing.assert_array_equal(steps[0]["vector"], steps[1]["vector"])
    assert np.abs(steps[0]["wide"] - steps[1]["wide"]).max() > 1e-5


def test_schedule():
    optimizer = Celo2(learning_rate=0.3)
    cosine = optimizer.schedule({}, num_steps=100)
    traced = jax.jit(lambda total, t: optimizer.schedule({}, num_steps=total)(t))
    for t in (0, 1, 25, 50, 99, 100, 1000):
        want = 0.15 * (1 + np.cos(np.pi * min(1, t / 100)))
        np.testing.assert_allclose(cosine(t), want, atol=1e-7)
        np.testing.assert_allclose(traced(100, t), want, atol=1e-7)
        assert optimizer.schedule({})(t) == np.float32(0.3)


def published():
    """Arrays of the published layout, every number different."""
    sizes = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
    shapes = {f"w0__{i}": (size, 8) for i, size in enumerate(sizes)}
    shapes |= {"b0": (8,), "w1": (8, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}
    found, start = {}, 0
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        found[name] = np.arange(start, start + count, dtype=np.float32).reshape(shape)
        start += count
    return found


@pytest.mark.parametrize("join", ["/", "."])
def test_published_weights_in_their_order(join):
    arrays = {join.join(["ff_mod_stack", "~", k]): x for k, x in published().items()}
    net = Celo2.from_published(arrays)["mlp"]
    flat = np.concatenate([np.ravel(net[k]) for k in ("w1", "b1", "w2", "b2", "w3", "b3")])
    np.testing.assert_array_equal(flat, np.arange(347))
    assert net["w1"].shape == (30, 8)
    like = Celo2().init(jax.random.key(0))["mlp"]
    assert {k: (x.shape, x.dtype) for k, x in net.items()} == {
        k: (x.shape, x.dtype) for k, x in like.items()
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w1": None}, "weights of Celo2: ff_mod_stack/~/w1 is missing; pass the 19 arrays"),
        ({"w3": np.zeros(3)}, "weights of Celo2: ff_mod_stack/~/w3 is unknown; pass"),
        ({"w0__3": np.zeros((1, 8))}, r"w0__3 has shape \(1, 8\), not \(3, 8\); pass"),
    ],
)
def test_other_weights_are_refused(change, message):
    arrays = {k: x for k, x in (published() | change).items() if x is not None}
    with pytest.raises(ValueError, match=message):
        Celo2.from_published({f"ff_mod_stack/~/{k}": x for k, x in arrays.items()})


def test_count_of_meta_parameters():
    theta = Celo2().init(jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(theta)) == 347
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(theta))


def test_a_skipped_step_leaves_no_trace():
    params, one, two = (tree(seed, shapes=TALL) for seed in range(3))
    bad = one | {"tall": one["tall"].at[0, 0].set(np.nan)}
    tx = Celo2().transform(trained_theta(), num_steps=9)
    path, plain = (descend(tx, params, x) for x in ([one, bad, two], [one, two]))
    jax.tree.map(np.testing.assert_array_equal, path[1], path[0])
    jax.tree.map(np.testing.assert_array_equal, path[2], plain[1])


def test_extreme_gradients_stay_finite():
    shapes = {**TALL, "scalar": ()}
    labels = {"vector": "celo2", "tall": "celo2", "scalar": "adam"}
    tx = Celo2().transform(trained_theta(), labels=labels)

    check_finite(tx, tree(0, shapes=shapes), tree(1, shapes=shapes))


def test_what_is_an_embedding_is_a_regular_expression():
    with pytest.raises(
        ValueError, match=r"embeddings must be a regular expression, got '\(' .*; pa"
    ):
        Celo2(embeddings="(")
