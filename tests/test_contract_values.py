"""What every optimizer in OPTIMIZERS must do, with a theta that is not the initial one."""

import functools
import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import optimizers
from sharded import SMALL
from steps import SHAPES, moved_theta, tree

import learned_opt
from learned_opt import OPTIMIZERS
from learned_opt.transformation._stacks import SMALL as STACKED_BELOW

LOSS_READERS = {"spectral_gru", "rnn_mlp", "hypernet", "celo", "celo_adam"}
LARGE = {**SHAPES, "large": (130, 128)}
STEPS = 20

REFERENCES = {
    "gated_adam": "test_gated_adam",
    "spectral": "test_spectral",
    "spectral_gru": "test_spectral_gru",
    "hyper_adam": "test_hyper_adam",
    "nn_adam": "test_nn_adam",
    "momentum_mlp": "test_momentum_mlp",
    "per_param_mlp": "test_per_param_mlp",
    "rnn_mlp": "test_rnn_mlp",
    "hypernet": "test_hypernet",
    "celo": "test_celo",
    "celo_adam": "test_celo",
    "celo2": "test_celo2",
    "open": "test_open",
}
"""Where an optimizer is compared with its formulas in float64."""


@pytest.fixture(params=optimizers())
def optimizer(request):
    return request.param(**SMALL.get(request.param, {}))


@pytest.fixture
def artifact(optimizer):
    return learned_opt.Artifact(optimizer, moved_theta(optimizer, 0.1), {"name": "test"})


def test_every_optimizer_has_a_reference_in_float64():
    assert REFERENCES.keys() == {cls.name for cls in OPTIMIZERS}
    for cls in OPTIMIZERS:
        module = importlib.import_module(REFERENCES[cls.name])
        assert hasattr(module, "test_agrees_with_float64_reference_over_20_steps")
        assert getattr(module, cls.__name__) is cls
        assert "float64" in inspect.getsource(module)


@pytest.mark.parametrize(
    "optimizer",
    # The others take seconds to compile: at each change a step of theirs, in test_contract.py.
    optimizers(
        {"gated_adam", "spectral_gru", "hyper_adam", "nn_adam", "momentum_mlp", "celo_adam", "open"}
    ),
    indirect=True,
)
def test_bfloat16_steps_are_within_a_rounding_of_float32_ones(optimizer):
    """Within 2^-8 of the tensor's largest step, at the same parameters, for 20 steps."""
    tx = optimizer.transform(moved_theta(optimizer, 0.1), num_steps=STEPS + 1)

    def cast(x, dtype):
        return jax.tree.map(lambda x: x.astype(dtype), x)

    # What is compared is rounding, not the speed of the code: less of an effort for the compiler.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(grads, states, params):
        got, state = tx.update(grads, states[0], params)
        want, wide = tx.update(cast(grads, jnp.float32), states[1], cast(params, jnp.float32))
        # Of the size of a parameter, so that these move.
        after = jax.tree.map(lambda p, u: p - (u / (1e-30 + jnp.abs(u).max()) / 8), params, got)
        return cast(got, jnp.float32), want, (state, wide), after

    params = cast(tree(0), jnp.bfloat16)
    states = tx.init(params), tx.init(cast(params, jnp.float32))
    for i in range(STEPS):
        got, want, states, params = both(cast(tree(i + 1, 0.1), jnp.bfloat16), states, params)
        for name in SHAPES:
            largest = float(jnp.abs(want[name]).max())
            assert float(jnp.abs(got[name] - want[name]).max()) <= (2**-8 + 1e-5) * largest + 1e-30


def steps_of(tx, values):
    """Three steps for gradients of ranks 0 to 4, with a loss each or without."""
    params = tree(0, shapes=LARGE)
    state, found = tx.init(params), []
    for i in range(3):
        extra = {} if values is None else {"value": values[i]}
        steps, state = tx.update(tree(i + 1, 0.1, LARGE), state, params, **extra)
        params = optax.apply_updates(params, steps)
        found.append(steps)
    return found


def alike(a, b, bound=1e-5):
    """To `bound` of the tensor's largest step."""
    for one, other in zip(a, b, strict=True):
        for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=bound * float(jnp.abs(y).max()))


def differ(a, b):
    return any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_wrapped_equals_unwrapped_with_and_without_the_loss(artifact):
    """And the loss matters to those that read it, and to no other."""
    assert STACKED_BELOW < 130 * 128
    tx = learned_opt.learned(artifact, num_steps=100)
    falling, rising = jnp.array([3.0, 2.0, 1.0]), jnp.array([1.0, 2.0, 3.0])

    def injected(learning_rate):
        return learned_opt.learned(artifact, num_steps=100, learning_rate=learning_rate)

    wrapped = [
        optax.masked(tx, True),
        optax.partition({"one": tx}, "one"),
        optax.apply_if_finite(tx, 3),
        optax.inject_hyperparams(injected)(learning_rate=1.0),
        optax.MultiSteps(tx, 1),
    ]
    # OPEN sees logarithms of momenta: where one is next to nothing, the last bit of a gradient,
    # which MultiSteps averages, is more (1.1e-5 was seen).
    bound = 2e-5 if artifact.optimizer.name == "open" else 1e-5
    plain = {}
    for name, values in (("none", None), ("falling", falling), ("rising", rising)):
        plain[name] = steps_of(tx, values)
        for other in wrapped if name != "rising" else ():
            alike(steps_of(other, values), plain[name], bound)
    reads = artifact.optimizer.name in LOSS_READERS
    assert differ(plain["none"][-1], plain["falling"][-1]) == reads
    assert differ(plain["rising"][-1], plain["falling"][-1]) == reads


def test_an_artifact_comes_back_as_it_was(artifact, tmp_path):
    artifact.save(tmp_path / "it.safetensors")
    again = learned_opt.load(tmp_path / "it.safetensors")
    assert again.optimizer == artifact.optimizer
    assert again.card == artifact.card
    assert again.sha256 == artifact.sha256
    assert jax.tree.structure(again.theta) == jax.tree.structure(artifact.theta)
    jax.tree.map(np.testing.assert_array_equal, again.theta, artifact.theta)
