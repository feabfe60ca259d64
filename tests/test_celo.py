"""Celo, Celo-Adam and their loss features against their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference_hypernet import celo, celo_adam, float64, loss_features, step_sizes
from steps import WITH_ZEROS, descend, losses, moved_theta, start, tree

from learned_opt import Celo, CeloAdam
from learned_opt.optimizers._celo import CELO_SHAPES, SCHEDULER_SHAPES
from learned_opt.parts import _loss

STEPS, HORIZON = 20, 30
REFERENCES = {Celo: celo, CeloAdam: celo_adam}
both = pytest.mark.parametrize("cls", [Celo, CeloAdam])


def trained_theta(optimizer):
    """With a larger step."""
    theta = moved_theta(optimizer)
    head = theta["scheduler"]["step_size"]
    theta["scheduler"]["step_size"] = {"w": 3 * head["w"], "b": head["b"] + 3}
    return theta


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("num_steps", [12, 300, 100_000])
def test_loss_features(num_steps, published):
    """Error under 1e-5 where a float32 loss can tell c_i from min_i."""
    values = [*losses(18), np.nan, 2.0, -1.0]

    def step(state, value):
        return _loss.loss_features(state, value, jnp.float32(num_steps), published)[::-1]

    _, got = jax.lax.scan(step, _loss.init_loss(), jnp.asarray(values, jnp.float32))
    exact = [float(x) if np.isfinite(x) else None for x in values]
    want = loss_features(exact, num_steps, published)
    assert len(np.unique(want[2:].round(3))) > 10
    np.testing.assert_array_equal(got[:2], 0)
    np.testing.assert_array_equal(got[18], 0)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_loss_is_capped_at_twice_the_mean_of_those_before():
    """After one loss of 1 that mean is 1; by the published correction, of two steps, a half."""
    for published, cap in ((False, 2.0), (True, 1.0)):
        state = _loss.init_loss()
        for value in (1.0, 50.0):
            _, state = _loss.loss_features(state, value, jnp.float32(1e5), published)
        decays = np.exp(-1 / np.logspace(1, 5, 10))
        want = (1 - decays) * (decays + cap)
        np.testing.assert_allclose(state.means, want, rtol=0.06 if published else 1e-4)


@both
@pytest.mark.parametrize("published", [False, True])
def test_agrees_with_float64_reference_over_20_steps(cls, published):
    """Relative error under 1e-5 of the parameters and of the way they went."""
    optimizer = cls(lstm=6, as_published=published)
    theta, values = trained_theta(optimizer), np.asarray(losses(STEPS), np.float64)
    tx = optimizer.transform(theta, num_steps=HORIZON)
    shapes = {k: WITH_ZEROS[k] for k in ("matrix", "zeros")} if published else WITH_ZEROS
    for scale in (1e-4, 1e3):
        grads = [tree(i + 1, scale, shapes) for i in range(STEPS)]
        got = descend(tx, start(shapes), grads, value=losses(STEPS))[-1]
        want = REFERENCES[cls](theta, start(shapes), grads, values, HORIZON, published)[-1]
        for name, p in start(shapes).items():
            moved = np.linalg.norm(want[name] - np.asarray(p, np.float64))
            error = np.linalg.norm(np.asarray(got[name], np.float64) - want[name])
            assert moved > 0.01 * np.linalg.norm(want[name])
            assert error < 1e-5 * min(moved, np.linalg.norm(want[name]))


@pytest.mark.parametrize(
    ("cls", "shapes", "published", "kept"),
    [(Celo, CELO_SHAPES, 37_089, 35_808), (CeloAdam, SCHEDULER_SHAPES, 36_865, 35_649)],
)
def test_published_layout(cls, shapes, published, kept):
    """Every number is kept where it belongs, but for those that reach no step."""
    assert sum(np.prod(shape) for shape in shapes.values()) == published
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    arrays = {
        key: np.arange(end - np.prod(shape), end, dtype=np.float32).reshape(shape)
        for (key, shape), end in zip(shapes.items(), ends, strict=True)
    }
    theta, own = cls.from_published(arrays), cls().init(jax.random.key(0))
    assert jax.tree.structure(theta) == jax.tree.structure(own)
    assert [x.shape for x in jax.tree.leaves(theta)] == [x.shape for x in jax.tree.leaves(own)]
    assert sum(x.size for x in jax.tree.leaves(theta)) == kept
    net = theta["scheduler"]
    np.testing.assert_array_equal(net["pool"]["w"], arrays["rnn_params/linear_1/w"])
    np.testing.assert_array_equal(net["own"]["b"], arrays["rnn_params/linear_2/b"])
    np.testing.assert_array_equal(net["gates"]["w"], arrays["rnn_params/rnn/linear/w"])
    np.testing.assert_array_equal(net["step_size"]["w"], arrays["rnn_params/step_size/w"])
    np.testing.assert_array_equal(net["cell"], arrays["lstm_init_state/cell"][0])
    if cls is Celo:
        # 1/sqrt(v), then g f_k: rows 10 to 13; the last rows are the last group.
        for rows, block in ((slice(10, 11), 6), (slice(11, 14), 7), (slice(27, 30), 13)):
            want = arrays[f"ff_mod_stack/~/w0__{block}"][0]
            np.testing.assert_array_equal(theta["mlp"]["w1"][rows], want)
        np.testing.assert_array_equal(theta["mlp"]["b2"], arrays["ff_mod_stack/~/b1"][0])
        np.testing.assert_array_equal(theta["mlp"]["w3"], arrays["ff_mod_stack/~/w2"][0])


@both
def test_what_is_not_the_published_layout_is_named(cls):
    shapes = CELO_SHAPES if cls is Celo else SCHEDULER_SHAPES
    good, key = {k: np.zeros(s, np.float32) for k, s in shapes.items()}, "rnn_params/linear_1/w"
    bad = {
        f"{key} is missing; pass the {len(shapes)} arrays": {
            k: x for k, x in good.items() if k != key
        },
        rf"{key} has shape \(64, 18\), not \(18, 64\); pass": {**good, key: good[key].T},
        f"{key} holds a number that is not finite;": {**good, key: good[key] + np.nan},
        "more is unknown;": {**good, "more": np.zeros(1)},
        f" is missing, .* is missing, .* is missing and {len(shapes) - 3} more;": {},
    }
    for message, arrays in bad.items():
        with pytest.raises(ValueError, match=message):
            cls.from_published(arrays)


def test_the_optimizers_refuse_each_others_weights():
    with pytest.raises(ValueError, match="not the published weights of Celo-Adam: ff_mod_stack"):
        CeloAdam.from_published({k: np.zeros(s) for k, s in CELO_SHAPES.items()})


def test_celo_adam_at_initialisation_is_adam():
    optimizer, shapes = CeloAdam(lstm=4), {"matrix": (2, 3), "scalar": ()}
    p, grads = start(shapes), [tree(i, 0.01, shapes) for i in range(STEPS)]
    tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=5)
    adam = optax.scale_by_adam(eps_root=1e-10)
    got = descend(tx, p, grads, value=losses(STEPS))
    state = adam.init(p)
    for g, after in zip(grads, got, strict=True):
        with jax.numpy_dtype_promotion("standard"):
            steps, state = adam.update(g, state, p)
        p = jax.tree.map(lambda x, u: x - 0.001 * u, p, steps)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), after, p)


@pytest.mark.parametrize(("published", "scale"), [(False, 0.01), (True, 1e-9**0.5)])
def test_every_tensor_has_the_same_step_size_times_its_own_rms(published, scale):
    """An MLP of biases: d = 2, mu = 3. A tensor of zeros has the `scale` given."""
    optimizer = Celo(lstm=4, as_published=published)
    theta = trained_theta(optimizer)
    theta["mlp"] = jax.tree.map(jnp.zeros_like, theta["mlp"])
    theta["mlp"]["b3"] = jnp.array([2.0, 3.0, 7.0])
    shapes = {k: WITH_ZEROS[k] for k in ("narrow", "scalar", "tensor", "vector", "zeros")}
    p, grads = start(shapes), [tree(1, shapes=shapes)]
    after = descend(optimizer.transform(theta, num_steps=10), p, grads)[0]
    sizes = {k: np.sqrt(np.mean(p[k] ** 2)) for k in p} | {"zeros": scale}
    units = {k: np.mean(p[k] - after[k]) / sizes[k] for k in p}
    eta = step_sizes(float64(theta["scheduler"]), [None], 10)[0]
    assert abs(eta - 1) > 0.01
    for unit in units.values():
        np.testing.assert_allclose(unit, 0.001 * eta * 2 * np.exp(0.003), rtol=1e-4)


@both
def test_without_a_loss_its_features_are_zero(cls):
    """As they are for two losses; the third one matters, unless it is not finite."""
    optimizer, shapes = cls(lstm=4), {"vector": (3,)}
    tx = optimizer.transform(trained_theta(optimizer), num_steps=HORIZON)
    p, grads = start(shapes), [tree(i, shapes=shapes) for i in range(4)]
    absent = descend(tx, p, grads)
    nan = descend(tx, p, grads, value=jnp.full(4, jnp.nan))
    given = descend(tx, p, grads, value=losses(4))
    broken = descend(tx, p, grads, value=losses(4).at[2].set(jnp.inf))
    for i, differs in enumerate([False, False, True, True]):
        np.testing.assert_array_equal(absent[i]["vector"], nan[i]["vector"])
        assert np.array_equal(absent[i]["vector"], given[i]["vector"]) != differs
    np.testing.assert_array_equal(absent[2]["vector"], broken[2]["vector"])
    assert np.isfinite(broken[3]["vector"]).all()
    assert not np.array_equal(absent[3]["vector"], broken[3]["vector"])


@both
def test_gradients_are_clipped_at_1000(cls):
    optimizer, shapes = cls(lstm=4), {"matrix": (2, 3), "scalar": ()}
    tx = optimizer.transform(trained_theta(optimizer), num_steps=HORIZON)
    p, signs = start(shapes), jax.tree.map(jnp.sign, tree(3, shapes=shapes))
    # A step of a size of its own first: Adam does not see the scale of equal ones.
    paths = [
        descend(tx, p, [p, jax.tree.map(lambda s, c=c: c * s, signs)])[-1] for c in (1.0, 1e3, 1e12)
    ]
    jax.tree.map(np.testing.assert_array_equal, paths[1], paths[2])
    assert not np.array_equal(paths[0]["matrix"], paths[1]["matrix"])


@both
def test_a_skipped_step_leaves_no_trace(cls):
    optimizer, shapes = cls(lstm=4), {"narrow": WITH_ZEROS["narrow"], "vector": (3,)}
    tx = optimizer.transform(trained_theta(optimizer), num_steps=HORIZON)
    one, two, three, four = (tree(seed, shapes=shapes) for seed in range(4))
    bad = {**one, "narrow": one["narrow"].at[0, 0].set(np.nan)}
    p, values = start(shapes), [1.0, 3.0, 100.0, 2.0, 1.5]
    path = descend(tx, p, [one, two, bad, three, four], value=values)
    jax.tree.map(np.testing.assert_array_equal, path[2], path[1])
    plain = descend(tx, p, [one, two, three, four], value=values[:2] + values[3:])
    jax.tree.map(np.testing.assert_array_equal, path[-1], plain[-1])


@both
def test_schedule_is_the_step_size_at_initialisation(cls):
    optimizer = cls(lstm=4)
    theta = optimizer.init(jax.random.key(0))
    assert optimizer.schedule(theta, num_steps=10)(3) == np.float32(0.001)


@both
def test_the_loss_must_be_a_scalar(cls):
    optimizer, p = cls(lstm=4), jnp.ones(2)
    tx = optimizer.transform(optimizer.init(jax.random.key(0)), num_steps=10)
    with pytest.raises(ValueError, match=r"a scalar, got an array of shape \(2,\); pass its mean"):
        tx.update(p, tx.init(p), p, value=jnp.ones(2))
