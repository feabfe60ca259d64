"""muP: multipliers by a table, and networks whose activations move alike at all widths."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from learned_opt import Axes, Celo, GatedAdam, PerParamMLP, scale_by_mup


def factors(base, shapes, **options):
    """The multiplier of every tensor, read off an update of ones."""
    params = {k: jnp.zeros(s) for k, s in shapes.items()}
    tx = scale_by_mup({k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in base.items()}, **options)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    for u in updates.values():
        assert len(np.unique(u)) == 1
    return {k: float(u.ravel()[0]) for k, u in updates.items()}


@pytest.mark.parametrize(
    ("base", "shape", "plain", "without", "relative"),
    [
        ((), (), 1, 1, 1),
        ((64,), (256,), 1, 1, 1),  # a bias
        ((8, 64), (8, 256), 1, 1, 1),  # input
        ((64, 64), (256, 256), 1 / 4, 1 / 4, 1 / 2),  # hidden
        ((64, 128), (576, 1152), 1 / 9, 1 / 9, 1 / 3),
        ((64, 32), (16, 8), 4, 4, 2),  # narrower than the base
        ((64, 128), (128, 256), 1 / 2, 1 / 2, 2**-0.5),
        ((64, 10), (1024, 10), 1, 1 / 16, 1),  # output
        ((64, 64), (64, 64), 1, 1, 1),
        ((3, 3, 16, 16), (3, 3, 64, 64), 1 / 4, 1 / 4, 1 / 2),  # convolutions
        ((3, 3, 3, 16), (3, 3, 3, 64), 1, 1, 1),
        ((5, 64, 64), (5, 256, 256), 1 / 4, 1 / 4, 1 / 2),  # stacked layers
    ],
)
def test_multipliers_by_shape(base, shape, plain, without, relative):
    for options, want in (
        ({}, plain),
        ({"output_multiplier": False}, without),
        ({"relative": True}, relative),
        ({"relative": True, "output_multiplier": False}, relative),
    ):
        got = factors({"a": base}, {"a": shape}, **options)
        assert got == {"a": pytest.approx(want, rel=1e-7)}


OUT_IN, OIHW = Axes(inputs=(1,), outputs=(0,)), Axes((), (2, 3), (1,), (0,))
STACK = Axes((0,), (), (1,), (2,))


@pytest.mark.parametrize(
    ("base", "shape", "axes", "plain", "without"),
    [
        ((64, 8), (256, 8), OUT_IN, 1, 1),  # input
        ((32, 64), (64, 512), OUT_IN, 1 / 8, 1 / 8),  # hidden
        ((10, 64), (10, 256), OUT_IN, 1, 1 / 4),  # output
        ((16, 32, 3, 3), (32, 128, 3, 3), OIHW, 1 / 4, 1 / 4),
        ((2, 32, 3, 3), (2, 128, 3, 3), OIHW, 1, 1 / 4),
        ((5, 64, 64), (9, 256, 256), STACK, 1 / 4, 1 / 4),  # deeper, too
        ((5, 64, 8), (9, 64, 8), STACK, 1, 1),
        ((64, 4, 16), (128, 8, 32), Axes(inputs=(0,), outputs=(1, 2)), 1 / 2, 1 / 2),
        ((4, 16, 64), (8, 32, 128), Axes(inputs=(0, 1), outputs=(2,)), 1 / 4, 1 / 4),
        ((100, 64), (100, 256), Axes(outputs=(0, 1)), 1, 1),  # embedding
        ((64, 1), (256, 1), Axes(outputs=(0, 1)), 1, 1),
    ],
)
def test_axes_that_are_told(base, shape, axes, plain, without):
    assert factors({"a": base}, {"a": shape}, axes={"a": axes}) == {"a": plain}
    off = {"axes": {"a": axes}, "output_multiplier": False}
    assert factors({"a": base}, {"a": shape}, **off) == {"a": without}


def test_axes_that_are_known_by_name():
    """Heads of Flax need no role; a Haiku or Flax stack may be deeper than the base's."""

    def net(width, layers):
        def zeros(*shape):
            return jax.ShapeDtypeStruct(shape, jnp.float32)

        heads = {"kernel": zeros(width, width // 16, 16)}
        return {
            "attend": dict.fromkeys(("query", "key", "value"), heads)
            | {"out": {"kernel": zeros(width // 16, 16, width)}},
            "block": {"w": zeros(layers, width, width), "b": zeros(layers, width)},
            "embed": {"embedding": zeros(100, width)},
        }

    params = jax.tree.map(lambda x: jnp.zeros(x.shape), net(128, 9))
    tx = scale_by_mup(net(64, 3), output_multiplier=False)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    got = jax.tree.map(lambda u: float(u.ravel()[0]), updates)
    assert got == {
        "attend": {name: {"kernel": 0.5} for name in ("query", "key", "value", "out")},
        "block": {"w": 0.5, "b": 1.0},
        "embed": {"embedding": 1.0},
    }


def test_roles_override_shapes():
    base, shape = {"a": (4, 64), "b": (64, 64)}, {"a": (4, 256), "b": (256, 256)}
    off = {"output_multiplier": False}
    assert factors(base, shape, roles={"a": "hidden", "b": "output"}, **off) == {"a": 1, "b": 1 / 4}
    assert factors(base, shape, roles={"b": "input"}) == {"a": 1, "b": 1}
    assert factors(base, shape, roles={"b": "embedding"}, **off) == {"a": 1, "b": 1}
    assert factors(base, shape, roles={"a": 0.125, "b": "vector"}) == {"a": 0.125, "b": 1}

    def by_path(path, shape):
        return "input" if path == "b" and shape == (256, 256) else None

    assert factors(base, shape, roles=by_path) == {"a": 1, "b": 1}
    vector = ({"v": (64,)}, {"v": (256,)})
    assert factors(*vector, roles={"v": "output"}, **off) == {"v": 1 / 4}


def test_heads_take_a_role_or_a_multiplier():
    base, shape = {"q": (64, 4, 16), "o": (4, 16, 64)}, {"q": (128, 8, 16), "o": (8, 32, 256)}
    assert factors(base, shape, roles={"q": 64 / 128, "o": "hidden"}) == {"q": 1 / 2, "o": 1 / 4}


def test_a_common_base_fan_in_is_that_of_mulo():
    """1 / fan-in for hidden matrices, 1 for all others."""
    tx = scale_by_mup(1, roles=lambda path, shape: "hidden" if "mid" in path else "input")
    for n in (3, 8):
        params = {"layer": {"mid": jnp.ones((n, n)), "in": jnp.ones((2, n))}}
        updates, _ = tx.update(params, tx.init(params))
        np.testing.assert_allclose(updates["layer"]["mid"], 1 / n, rtol=1e-6)
        np.testing.assert_array_equal(updates["layer"]["in"], 1)


def test_one_transformation_serves_all_widths_and_keeps_dtypes():
    tx = scale_by_mup({"a": jnp.zeros((4, 4))})
    for n, dtype in ((4, jnp.float32), (8, jnp.bfloat16), (16, jnp.float16)):
        update = jax.jit(lambda u: tx.update(u, tx.init(u))[0])
        got = update({"a": jnp.ones((n, n), dtype)})["a"]
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.astype(jnp.float32), 4 / n)


def test_masked_and_empty_trees():
    tx = scale_by_mup({"a": jnp.zeros((4, 4)), "b": jnp.zeros((4, 4))})
    params = {k: jnp.ones((8, 8)) for k in "ab"}
    masked = optax.masked(tx, {"a": True, "b": False})
    updates, _ = masked.update(params, masked.init(params), params)
    np.testing.assert_array_equal(updates["a"], 0.5)
    np.testing.assert_array_equal(updates["b"], 1)
    assert tx.update({}, tx.init({}), {}, value=1.0)[0] == {}


@pytest.mark.parametrize(
    ("base", "shape", "options", "message"),
    [
        (
            {"net": {"q": (64, 4, 16)}}, {"net": {"q": (128, 8, 16)}}, {},
            r"net/q has shape \(128, 8, 16\) and at base .*: 2 axes .* say in axes",
        ),
        ({"a": (2, 3)}, {"b": (2, 3)}, {}, r"base_params has no tensor b \(it has a\); pass"),
        ({"a": (2, 3)}, {"a": (3,)}, {}, r"a has shape \(3,\) and at base width \(2, 3\).* pass"),
        ({"a": (2, 3)}, {"a": (2, 3)}, {"roles": {"a": "middle"}}, "role of a must be .* 'middle'"),
        ({"a": (2, 3)}, {"a": (2, 3)}, {"roles": {"a": -1.0}}, r"role of a must be .* -1\.0"),
        ({"a": (2, 3)}, {"a": (2, 3)}, {"roles": {"a": True}}, "role of a must be .* True"),
        ({"a": (2,)}, {"a": (4,)}, {"roles": {"a": "hidden"}}, "a of shape .* call it vector"),
        (1, {"a": (2, 3)}, {"roles": {"b": "input"}}, "role of a must be .* got None"),
        ({"a": (2, 3)}, {"a": (2, 3)}, {"axes": "io"}, "axes must be one of flax, .* got 'io'"),
    ],
)  # fmt: skip
def test_ambiguous_tensors_are_named_at_init_and_update(base, shape, options, message):
    def tree(shapes):
        return jax.tree.map(jnp.zeros, shapes, is_leaf=lambda x: isinstance(x, tuple))

    tx = scale_by_mup(base if base == 1 else tree(base), **options)
    with pytest.raises(ValueError, match=message):
        tx.init(tree(shape))
    with pytest.raises(ValueError, match=message):
        tx.update(tree(shape), optax.EmptyState())


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (64, {}, r"roles must be given with a base fan-in \(64\)"),
        (0, {"roles": dict}, "base fan-in must be positive, got 0"),
    ],
)
def test_wrong_arguments(base, options, message):
    with pytest.raises(ValueError, match=message):
        scale_by_mup(base, **options)


BASE, STEPS = 64, 4


def network(width, own_multiplier=True):
    """A 3-layer MLP in muP: parameters, and what gives hidden pre-activations and the output."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    r = BASE / width
    params = {
        "w1": normal(8, width) / 8**0.5,
        "b1": jnp.zeros(width),
        "w2": normal(width, width) / width**0.5,
        "b2": jnp.zeros(width),
        "w3": normal(width, 4) / BASE**0.5 * (1 if own_multiplier else r),
    }

    def forward(p, x):
        h = jax.nn.relu(x @ p["w1"] + p["b1"][None])
        z = h @ p["w2"] + p["b2"][None]
        # What the change of the hidden matrix alone does to what first went into it.
        own = jax.nn.relu(x @ params["w1"]) @ p["w2"]
        return z, own, jax.nn.relu(z) @ p["w3"] * (r if own_multiplier else 1)

    return params, forward


def train(tx, width, own_multiplier=True):
    """Pre-activations and outputs before and after a few steps on one batch."""
    params, forward = network(width, own_multiplier)
    x = jax.random.normal(jax.random.key(1), (16, 8))
    y = jax.random.normal(jax.random.key(2), (16, 4))

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            grads = jax.grad(lambda p: jnp.mean((forward(p, x)[-1] - y) ** 2))(params)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        carry, _ = jax.lax.scan(step, (params, tx.init(params)), length=STEPS)
        return forward(params, x), forward(carry[0], x)

    return run(params)


def changes(tx, widths):
    """RMS change of second-layer pre-activations, the matrix's own share, the output; by width."""
    pairs = [train(tx, width) for width in widths]
    return np.array(
        [[np.sqrt(np.mean((b - a) ** 2)) for a, b in zip(*p, strict=True)] for p in pairs]
    ).T


def base_shapes():
    return network(BASE)[0]


def adam(rate=1e-2):
    return optax.chain(optax.scale_by_adam(), optax.scale(-rate))


def adam_relative(rate=0.05):
    """Adam whose step is proportional to the rms of each matrix, like VeLO's and Celo's."""
    rms = optax.stateless(
        lambda u, p: jax.tree.map(
            lambda u, p: u * jnp.sqrt(jnp.mean(p**2)) if p.ndim > 1 else u, u, p
        )
    )
    return optax.chain(optax.scale_by_adam(), rms, optax.scale(-rate))


def learned():
    optimizer = GatedAdam(learning_rate=1e-2, warmup=0.0)
    theta = optimizer.init(jax.random.key(0))
    return optax.chain(optimizer.transform(theta, num_steps=100), optax.scale(-1.0))


@jax.numpy_dtype_promotion("standard")  # optax's Adam raises floats to integer powers
@pytest.mark.parametrize(
    ("optimizer", "relative", "widths", "growth"),
    [
        (adam(), False, (64, 256, 1024), 4),
        (adam_relative(), True, (64, 1024), 1.7),
        (learned(), False, (64, 256), None),
    ],
    ids=["adam", "relative", "gated_adam"],
)
def test_coordinate_check(optimizer, relative, widths, growth):
    """Changes stay within a factor of 1.5 over all widths; unscaled they grow by `growth`."""
    tx = optax.chain(optimizer, scale_by_mup(base_shapes(), relative=relative))
    for change in changes(tx, widths):
        assert change.max() < 1.5 * change.min()
    if growth is not None:
        hidden = changes(optimizer, widths)[0]
        assert hidden[-1] > growth * hidden[0]


def celo():
    """Passes on m / sqrt(v): at a random theta updates are incoherent, and grow with no width."""
    optimizer = Celo()
    theta = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    signs = jnp.array([1.0, -1.0])
    net = theta["mlp"]
    theta["mlp"] = net | {
        "w1": net["w1"].at[7, :2].set(signs),
        "w2": jnp.eye(4),
        "w3": net["w3"].at[:2, 0].set(signs),
    }
    theta["scheduler"]["step_size"]["b"] = jnp.log(jnp.array([10.0]))
    return optax.chain(optimizer.transform(theta, num_steps=100), optax.scale(-50.0))


def per_param_mlp():
    optimizer = PerParamMLP(step_multiplier=0.01)
    theta = optimizer.init(jax.random.key(0))
    return optax.chain(optimizer.transform(theta, num_steps=100), optax.scale(-1.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "relative", "growth"), [(per_param_mlp, False, 3.5), (celo, True, 1.4)]
)
def test_coordinate_check_of_published_rules(build, relative, growth):
    """Changes stay within a factor of 1.5; unscaled, the hidden ones grow."""
    tx = optax.chain(build(), scale_by_mup(base_shapes(), relative=relative))
    for change in changes(tx, (64, 256)):
        assert change.max() < 1.5 * change.min()
    hidden = changes(build(), (64, 256))[0]
    assert hidden[1] > growth * hidden[0]


@jax.numpy_dtype_promotion("standard")  # the same
def test_the_tables_with_and_without_output_multiplier_are_one_network():
    """Adam does not see the scale of a gradient, so both give the same function throughout."""
    a = train(optax.chain(adam(), scale_by_mup(base_shapes())), 256)
    tx = optax.chain(adam(), scale_by_mup(base_shapes(), output_multiplier=False))
    b = train(tx, 256, own_multiplier=False)
    for x, y in zip(a[1], b[1], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-3 * np.abs(y).max())
    assert np.abs(a[1][-1] - a[0][-1]).max() > 0.1
    wrong = train(optax.chain(adam(), scale_by_mup(base_shapes())), 256, own_multiplier=False)
    assert np.abs(wrong[1][-1] - a[1][-1]).max() > 0.1
