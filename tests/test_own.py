"""Tasks of one's own: from functions and data to the same runs as by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from own_model import X, Y, init, loss

from learned_opt.eval.baselines import Hyper
from learned_opt.eval.running import Trial
from learned_opt.eval.running._trials import Runner
from learned_opt.tasks import begin_run, from_functions, full_loss, reference_loss, run_step
from learned_opt.tasks.own._host import draw

DATA = {"x": X, "y": Y}


@pytest.fixture
def standard():
    with jax.numpy_dtype_promotion("standard"):  # as optax needs it
        yield


def make(*functions, data=DATA, **options):
    return from_functions(
        *(functions or (init, loss)), data, **{"batch_size": 32, "valid": 0.3, **options}
    )


def rows_of(tree):
    return {row.tobytes() for row in np.asarray(tree["x"])}


def test_splits_share_no_example_and_lose_none():
    task = make()
    splits = {split: rows_of(part) for split, part in task.family.data.splits.items()}
    assert {split: len(rows) for split, rows in splits.items()} == {
        "train": 420, "inner_valid": 60, "outer_valid": 60, "test": 60
    }  # fmt: skip
    assert set().union(*splits.values()) == rows_of(DATA)
    held = make(valid={"x": X[:9], "y": Y[:9]}, test={"x": X[9:12], "y": Y[9:12]}).family.data
    assert rows_of(held.train) == rows_of(DATA)
    assert rows_of(held.splits["inner_valid"]) | rows_of(held.splits["outer_valid"]) == rows_of(
        {"x": X[:9]}
    )
    assert rows_of(held.splits["test"]) == rows_of({"x": X[9:12]})
    with pytest.raises(ValueError, match="withholds the test split"):
        task.family.without_test().full(task.member, "test")


def by_hand(task, tx, seed, steps):
    """A plain loop of optax over the same batches."""
    key = jax.random.key(seed)
    init_key, step_key = jax.random.split(key)
    params = init(init_key)
    state = tx.init(params)
    data = jax.tree.map(np.asarray, task.family.data.train)

    @jax.jit
    def step(params, state, batch):
        grads = jax.grad(loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for t in range(steps):
        batch_key, _ = jax.random.split(jax.random.fold_in(step_key, t))
        rows = draw(jax.random.bits(batch_key, (2,), "uint32"), 32, 420)
        params, state = step(params, state, jax.tree.map(lambda x, i=rows: x[i], data))
    return params


@pytest.mark.usefixtures("standard")
def test_a_run_is_that_of_a_loop_by_hand():
    """And its losses, to the rounding of float32, those of NumPy in float64."""
    task, steps, tx = make(num_steps=40), 40, optax.adam(0.01)
    runner = Runner(lambda hyper, num_steps: optax.with_extra_args_support(tx))
    (curve,) = runner([Trial(task, Hyper(0.01), seed=3)], curves=True)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), by_hand(task, tx, 3, steps))
    for split, found in (("outer_valid", curve.valid), ("test", curve.test)):
        part = jax.tree.map(np.asarray, task.family.data.splits[split])
        outputs = np.tanh(part["x"] @ params["w"]) @ params["v"]
        np.testing.assert_allclose(found[-1], np.mean((outputs - part["y"]) ** 2), rtol=1e-5)
    assert curve.final["train_loss"] < 0.9 * curve.train[0]


@pytest.mark.usefixtures("standard")
def test_parameters_may_be_plain_numbers_and_arrays_of_numpy():
    def start(key):
        return {"n": 1.0, "f": np.full((2, 2), 0.5)}

    task = make(start, lambda p, batch: p["n"] ** 2 + jnp.sum(p["f"] ** 2), num_steps=3)
    tx = optax.with_extra_args_support(optax.sgd(0.1))
    (curve,) = Runner(lambda hyper, num_steps: tx)([Trial(task, Hyper(0.1), seed=0)])
    np.testing.assert_allclose(curve.final["valid_loss"], 2 * 0.8**6, rtol=1e-5)


def test_losses_of_unseen_kinds_have_a_reference():
    task = make(init, lambda params, batch: 1e-3 + loss(params, batch))
    expected = 1e-3 + np.mean(np.asarray(task.family.data.splits["inner_valid"]["y"]) ** 2)
    np.testing.assert_allclose(reference_loss(task.family, task.member), expected, rtol=1e-5)

    def direction(params, batch):  # 0 / 0 where all parameters are zero
        v = params["v"] / jnp.sqrt(jnp.sum(params["v"] ** 2))
        return 1 + jnp.mean(jnp.tanh(batch["x"] @ params["w"]) @ v)

    task = make(init, direction)
    start = full_loss(task.family, task.member, init(jax.random.key(0)), "inner_valid")[0]
    assert reference_loss(task.family, task.member) == start
    assert 0.5 < start < 1.5


def count(batch, scale):
    return scale * jnp.mean(batch["x"] * 0 + 1)


KEYED = {
    "no key": (lambda params, batch: count(batch, params["a"]), 1.0),
    "a key": (lambda params, batch, key: count(batch, jax.random.uniform(key) + 2), (2.0, 3.0)),
    "a default": (lambda params, batch, scale=5.0: count(batch, scale), 5.0),
    "rng": (lambda params, batch, rng=None: count(batch, jax.random.uniform(rng) + 2), (2.0, 3.0)),
    "metrics": (
        lambda params, batch: (
            count(batch, 7.0),
            {"m": jnp.int32(3), "all": X, "loss": 1.0, "curve": 2.0},
        ),
        7.0,
    ),
    "by name": (
        lambda params, batch, *, key=None: count(batch, jax.random.uniform(key) + 2),
        (2.0, 3.0),
    ),
    "aux": (lambda params, batch: (count(batch, 7.0), batch["x"]), 7.0),
}


@pytest.mark.parametrize("name", KEYED)
def test_what_a_loss_takes_and_returns(name):
    function, expected = KEYED[name]
    low, high = expected if isinstance(expected, tuple) else (expected, expected)
    task = make(lambda key: {"a": jnp.ones(())}, function)
    params, key = task.member.init(jax.random.key(0)), jax.random.key(1)
    batch = task.family.batch(task.member, key, "train")
    found, metrics = task.member.loss(params, batch, key)
    assert low <= found <= high
    assert set(batch) == {"x", "y"}
    assert batch["x"].shape == (32, 8)
    assert jax.tree.map(float, metrics) == ({"m": 3.0} if name == "metrics" else {})


def test_model_state_goes_from_step_to_step_and_into_evaluations():
    """A running mean: after n steps of a loss that ignores parameters it is known in advance."""

    def stateful_loss(params, state, batch):
        mean = 0.5 * state["mean"] + 0.5 * jnp.mean(batch["y"])
        return params["a"] ** 2 + 1, ({"mean": mean, "steps": state["steps"] + 1}, {"mean": mean})

    def valid_loss(params, state, batch):
        return state["steps"].astype(jnp.float32) + state["mean"]

    task = make(
        lambda key: ({"a": jnp.ones(())}, {"mean": jnp.zeros(()), "steps": jnp.int32(0)}),
        stateful_loss, data={"x": X, "y": np.full_like(Y, 4.0)}, stateful=True,
        valid_loss=valid_loss, num_steps=3,
    )  # fmt: skip
    tx = optax.with_extra_args_support(optax.sgd(0.25))
    (curve,) = Runner(lambda hyper, n: tx)([Trial(task, Hyper(0.0), seed=0)], curves=True)
    # 4 (1 - 2^-t) + t at step t; a halves at every step.
    np.testing.assert_allclose(curve.valid, [3.0, 5.0, 6.5], rtol=1e-6)
    np.testing.assert_allclose(curve.train, [2.0, 1.25, 1.0625], rtol=1e-6)
    state = begin_run(task.member, tx, jax.random.key(0))
    state, _ = run_step(task.family, tx, state, jax.random.key(0), 0)
    assert int(state.model_state["steps"]) == 1


WRONG = {
    "loss(params, batch) raised KeyError": {"loss": lambda params, batch: batch["z"]},
    "must return a scalar, got an array of shape (32, 8)": {"loss": lambda p, batch: batch["x"]},
    "must take 2 arguments": {"loss": lambda params: 0.0},
    "of floating dtype, got int32 at \"['n']\"": {"init": lambda key: {"n": jnp.arange(3)}},
    "a tree without arrays": {"init": lambda key: {}},
    "init(key), which must return params": {"init": lambda key: {"f": len}},
    "share of data above 0 and below 1, got 1.5": {"valid": 1.5},
    "an example for each of inner_valid, outer_valid, test, got 1": {"valid": 1 / 600},
    "valid must have the structure": {"valid": {"x": X}},
    "the same first axis": {"data": {"x": X, "y": Y[:5]}},
    "must be arrays, a tuple or dict of arrays, or an iterable of batches, got 'x'": {"data": "x"},
    "data must hold arrays of numbers": {"data": np.array(["a"] * 9)},
    "must fit into int32": {"data": np.arange(3) + 2**40},
    "must have a first axis": {"data": ({"x": 1.0} for _ in range(3))},
    "got none; an iterator that was read": {"data": iter([])},
    "data has no end": {"data": itertools.cycle([DATA])},
    "reading data raised ZeroDivisionError": {"data": (1 / n for n in range(3))},
    "must return (params, state) with stateful=True": {
        "stateful": True, "loss": lambda p, s, b: (1.0, s)
    },
    "the structure, shapes and dtypes that init gave": {
        "stateful": True, "init": lambda key: (init(key), jnp.zeros(3)),
        "loss": lambda p, s, b: (loss(p, b), s[:2]),
    },
    "batch_size must be from 1": {"batch_size": 0},
    "batch_size must be of type int, got 2.5": {"batch_size": 2.5},
    "examples must be of type int, got '8'": {"examples": "8"},
    "memory must be of type float, got '8'": {"memory": "8"},
    "name must be printable text, got 'a\\nb'": {"name": "a\nb"},
    "must return a floating scalar, got one of int32": {"loss": lambda p, batch: jnp.int32(3)},
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_one_sentence(message):
    options = dict(WRONG[message])
    functions = options.pop("init", init), options.pop("loss", loss)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        make(*functions, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
