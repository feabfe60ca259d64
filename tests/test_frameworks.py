"""Parameter trees of Haiku, Flax NNX and Equinox, trained for real on handwritten digits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sharded import SMALL

import learned_opt
from learned_opt import OPTIMIZERS

STEPS, BATCH, WIDTH, CLASSES = 200, 64, 32, 10


@pytest.fixture(autouse=True)
def relaxed():
    """The frameworks' own code promotes dtypes and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def data():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)


def weights():
    """The same start for all frameworks, (in, out)."""
    keys = jax.random.split(jax.random.key(0))
    return [
        np.asarray(jax.random.normal(key, shape) / np.sqrt(shape[0]))
        for key, shape in zip(keys, ((64, WIDTH), (WIDTH, CLASSES)), strict=True)
    ]


def entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def with_haiku():
    import haiku as hk

    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([WIDTH, CLASSES])(x)))
    params = net.init(jax.random.key(0), jnp.zeros((1, 64)))
    for name, w in zip(("mlp/~/linear_0", "mlp/~/linear_1"), weights(), strict=True):
        params[name]["w"] = jnp.asarray(w)
    return params, net.apply


def with_nnx():
    from flax import nnx

    class MLP(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(64, WIDTH, rngs=rngs)
            self.second = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

        def __call__(self, x):
            return self.second(jax.nn.relu(self.first(x)))

    model = MLP(nnx.Rngs(0))
    for layer, w in zip((model.first, model.second), weights(), strict=True):
        layer.kernel[...] = jnp.asarray(w)
    graph, params = nnx.split(model)
    return params, lambda params, x: nnx.merge(graph, params)(x)


def with_equinox():
    import equinox as eqx

    model = eqx.nn.MLP(64, CLASSES, WIDTH, 1, key=jax.random.key(0))
    layers = [
        eqx.tree_at(lambda m: (m.weight, m.bias), layer, (jnp.asarray(w.T), jnp.zeros(w.shape[1])))
        for layer, w in zip(model.layers, weights(), strict=True)
    ]
    model = eqx.tree_at(lambda m: m.layers, model, tuple(layers))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    return params, lambda params, x: jax.vmap(eqx.combine(params, static))(x)


def train(params, apply, artifact="quickstart"):
    """Losses, the loss afterwards, and the parameters then."""
    tx = learned_opt.learned(artifact, num_steps=STEPS)
    images, labels = data()

    @jax.jit
    def run(params):
        def step(carry, key):
            params, state = carry
            rows = jax.random.choice(key, len(labels), (BATCH,))
            loss, grads = jax.value_and_grad(
                lambda p: entropy(apply(p, images[rows]), labels[rows])
            )(params)
            updates, state = tx.update(grads, state, params, value=loss)
            return (optax.apply_updates(params, updates), state), loss

        keys = jax.random.split(jax.random.key(1), STEPS)
        return jax.lax.scan(step, (params, tx.init(params)), keys)

    (params, state), losses = run(params)
    assert int(state.skipped) == 0
    return np.asarray(losses), float(entropy(apply(params, images), labels)), params


def same_kind(got, params):
    """The same tree, shapes and dtypes; all finite, and moved."""
    assert jax.tree.structure(got) == jax.tree.structure(params)
    for x, p in zip(jax.tree.leaves(got), jax.tree.leaves(params), strict=True):
        assert (x.shape, x.dtype) == (p.shape, p.dtype)
        assert np.isfinite(x).all()
        assert (x != p).any()


every_framework = pytest.mark.parametrize("build", [with_haiku, with_nnx, with_equinox])


@every_framework
def test_200_steps(build):
    """From chance (log 10) to a tenth of it."""
    params, apply = build()
    losses, after, got = train(params, apply)
    same_kind(got, params)
    assert abs(losses[0] - np.log(10)) < 1.0
    assert after < 0.1 * np.log(10)


@pytest.mark.slow
@every_framework
@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_200_steps_of_every_optimizer(cls, build):
    """At the untrained theta, which need not descend, but moves every tensor and skips nothing."""
    optimizer = cls(**SMALL.get(cls, {}))
    artifact = learned_opt.Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "test"})
    params, apply = build()
    losses, after, got = train(params, apply, artifact)
    same_kind(got, params)
    assert np.isfinite([*losses, after]).all()


@pytest.mark.slow
def test_all_hold_the_same_network_and_train_alike():
    """Equinox keeps its matrices on their side, and the type of a layer says so."""
    one, *others = (train(*build())[0] for build in (with_haiku, with_nnx, with_equinox))
    for other in others:
        np.testing.assert_allclose(one[:20], other[:20], rtol=1e-3)
