"""Data of one's own: what is taken for data, and runs on data that stays in files."""

import collections
import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from own_model import X, Y, init, loss

from learned_opt import HyperAdam
from learned_opt.devices import device_mesh, map_lanes
from learned_opt.meta_train import Objective
from learned_opt.meta_train._unroll import MetaProblem
from learned_opt.meta_train.estimators import TBPTT, FullES
from learned_opt.tasks import begin_run, from_functions, run_step
from learned_opt.tasks._identity import array_hash
from learned_opt.tasks.own._digest import file_hash
from learned_opt.tasks.own._host import draw
from learned_opt.tasks.own._read import read

DATA = {"x": X, "y": Y}
PAIR = collections.namedtuple("PAIR", "x y")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNED_OPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "own"


class Tensor:
    """What a torch or a TensorFlow tensor is to NumPy."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


class Rows:
    """A Hugging Face data set, as far as it is used."""

    column_names = ("x", "y")

    def iter(self, size):
        yield from batches(lambda part: {k: v.tolist() for k, v in part.items()}, size)

    def __iter__(self):
        yield from ({"x": x, "y": y} for x, y in zip(X, Y, strict=True))


def batches(change=lambda part: part, size=64):
    for start in range(0, len(X), size):
        yield change({k: v[start : start + size] for k, v in DATA.items()})


def reused():
    """A loader that writes every batch into the same memory."""
    room = {k: np.empty((100, *v.shape[1:]), v.dtype) for k, v in DATA.items()}
    for start in range(0, len(X), 100):
        for name, part in room.items():
            part[:] = DATA[name][start : start + 100]
        yield room


KINDS = {
    "a dict": lambda: DATA,
    "a tuple": lambda: (X, Y),
    "a named tuple": lambda: PAIR(X, Y),
    "an array": lambda: X,
    "float64": lambda: (X.astype(np.float64), Y),
    "tensors": lambda: (Tensor(X), Tensor(Y)),
    "jax": lambda: (jnp.asarray(X), jnp.asarray(Y)),
    "batches": batches,
    "a list of batches": lambda: list(batches()),
    "batches of tensors": lambda: batches(lambda part: {k: Tensor(v) for k, v in part.items()}),
    "one memory": reused,
    "a Hugging Face data set": Rows,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_taken_for_data(kind, cache):
    found = read(KINDS[kind](), "data", memory=10**9)
    leaves = jax.tree.leaves(found.tree)
    # Batches are put into an order of their own.
    order, given = (np.argsort(column[:, 0]) for column in (np.asarray(leaves[0]), X))
    for leaf, expected in zip(leaves, (X, Y)[: len(leaves)], strict=True):
        found_leaf = np.asarray(leaf, np.float32)[order]
        np.testing.assert_allclose(found_leaf, expected[given], rtol=1e-7)
    assert type(found.tree) is type(DATA if kind in ("batches", "one memory") else found.tree)
    assert not cache.exists()


def test_a_loader_that_shuffles_gives_the_same_data():
    """Else no run would be found again, and none resumed."""
    trees = []
    for seed, size in ((1, 64), (2, 100)):
        order = np.random.default_rng(seed).permutation(len(X))
        parts = [order[i : i + size] for i in range(0, len(X), size)]
        trees.append(read([(X[i], Y[i]) for i in parts], "data", memory=10**9))
    assert trees[0].digest() == trees[1].digest()
    jax.tree.map(np.testing.assert_array_equal, trees[0].tree, trees[1].tree)
    order = np.lexsort(trees[0].tree[0].T), np.lexsort(X.T)
    np.testing.assert_array_equal(trees[0].tree[0][order[0]], X[order[1]])
    np.testing.assert_array_equal(trees[0].tree[1][order[0]], Y[order[1]])


def test_batches_over_the_limit_are_kept_in_files_once(cache):
    for _ in range(2):
        found = read(reused(), "data", memory=9000)
        assert all(isinstance(leaf, np.memmap) for leaf in jax.tree.leaves(found.tree))
        jax.tree.map(np.testing.assert_array_equal, found.tree, DATA)
    (folder,) = cache.iterdir()
    assert sorted(file.stat().st_size for file in folder.iterdir()) == [Y.nbytes, X.nbytes]
    bad = (part for part in [DATA, DATA, {"x": X, "y": X}])
    with pytest.raises(ValueError, match="all batches of data must have one structure"):
        read(bad, "data", memory=0)
    assert list(cache.iterdir()) == [folder]


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    before = file_hash(mapped)
    assert before == array_hash(X) == file_hash(mapped[:])
    with monkeypatch.context() as patch:
        patch.setattr("learned_opt.tasks.own._digest.array_hash", None)
        assert file_hash(mapped) == before
    mapped[300, 2] += 1
    mapped.flush()
    os.utime(tmp_path / "x.npy", ns=(0, 0))  # clocks of files may be coarse
    assert file_hash(np.load(tmp_path / "x.npy", mmap_mode="r")) == array_hash(np.array(mapped))
    assert array_hash(np.array(mapped)) != before
    copied = np.load(tmp_path / "x.npy", mmap_mode="c")
    copied *= 2
    assert file_hash(copied) == array_hash(np.array(copied))


def test_an_endless_iterable_is_read_as_far_as_said(monkeypatch):
    def endless():
        while True:
            yield from batches()

    found = read(endless(), "data", memory=10**9, examples=1000)
    read_rows = np.sort(found.tree["x"], axis=0)
    np.testing.assert_array_equal(read_rows, np.sort(np.concatenate([X, X[:400]]), axis=0))
    monkeypatch.setattr("learned_opt.tasks.own._read.MOST_EXAMPLES", 5000)
    with pytest.raises(ValueError, match="has not ended after 5,056 examples; say with examples="):
        read(endless(), "data", memory=10**9)


@pytest.mark.parametrize("count", [1, 7, 420, 60_000, 2**31 - 1])
def test_draws_are_uniform_and_the_same_in_numpy(count):
    seed = np.random.default_rng(1).integers(0, 2**32, (50, 2), dtype=np.uint32)
    drawn = draw(seed, 2000, count)
    np.testing.assert_array_equal(drawn, jax.vmap(lambda s: draw(s, 2000, count))(seed))
    bins = min(count, 20)
    edges = np.round(np.linspace(0, count, bins + 1))
    found, _ = np.histogram(drawn, edges)
    expected = np.diff(edges) / count * drawn.size
    # 19 degrees of freedom: over 60 once in 10^5.
    assert ((found - expected) ** 2 / expected).sum() < 60


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """In memory, in a file, and with a share of either as validation."""
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "x.npy", X)
    mapped = {"x": np.load(folder / "x.npy", mmap_mode="r"), "y": Y}
    return [
        from_functions(init, loss, data, batch_size=16, valid=0.3, memory=memory)
        for data, memory in ((DATA, None), (mapped, 0))
    ]


def test_the_same_data_in_files_has_the_same_fingerprints(tasks):
    assert tasks[0].spec.data_fingerprint == tasks[1].spec.data_fingerprint
    assert tasks[0].spec.fingerprint == tasks[1].spec.fingerprint
    assert tasks[0].family.data.host is None
    assert tasks[1].family.data.train is None


def equal(*trees):
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, trees))


@pytest.mark.parametrize("lanes", [0, 4])
def test_a_run_on_files_is_that_in_memory_bit_for_bit(tasks, lanes):
    """Alone, and vectorised on each of two devices."""
    tx = optax.with_extra_args_support(optax.sgd(0.1, momentum=0.9))

    def one(seed, family):
        key = jax.random.key(seed)
        state = begin_run(tasks[0].member, tx, key)
        step = lambda t, state: run_step(family, tx, state, key, t)[0]  # noqa: E731
        return jax.lax.fori_loop(0, 30, step, state).params

    def many(family):
        if not lanes:
            return one(jnp.int32(5), family)
        return map_lanes(device_mesh(lanes), one, jnp.arange(lanes), family)

    equal(*(jax.jit(many)(task.family) for task in tasks))


ESTIMATORS = [
    pytest.param(FullES(pairs=2, horizon=(4, 8)), id="full_es"),
    pytest.param(TBPTT(tasks=2, horizon=(8, 8), truncation=4), id="tbptt", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_meta_gradient_on_files_is_that_in_memory_also_when_resumed(tasks, estimator):
    optimizer = HyperAdam()
    theta, key = optimizer.init(jax.random.key(0)), jax.random.key(1)

    @jax.jit
    def estimate(problem, state, step):
        return estimator.estimate(problem, theta, state, jax.random.fold_in(key, step), step)

    found = []
    for task in tasks:
        problem = MetaProblem(task.family, optimizer, Objective(), device_mesh(2))
        state = estimator.init(problem, theta, key)
        grads = []
        for step in range(2):
            grad, state = estimate(problem, state, jnp.int32(step))
            # As from a checkpoint: nothing but the state is carried over.
            state = jax.tree.map(_saved, state)
            problem = dataclasses.replace(problem, family=task.family)
            grads.append(grad)
        found.append(grads)
    equal(*found)
    assert float(found[0][1].nonfinite) == 0


def _saved(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(np.asarray(jax.random.key_data(x)))
    return np.asarray(x)


def test_many_runs_at_once_do_not_wait_for_each_other(tasks):
    """An argument over 100 kB of the host's function would stop both devices for good."""
    task = dataclasses.replace(tasks[1].family, batch_size=20_000)

    def one(seed, family):
        return family.batch(tasks[1].member, jax.random.key(seed), "train")["y"].sum()

    run = jax.jit(lambda family: map_lanes(device_mesh(8), one, jnp.arange(8), family))
    rows = task.data.host._rows
    for seed, found in enumerate(run(task)):
        index = draw(np.asarray(jax.random.bits(jax.random.key(seed), (2,), "uint32")), 20_000, 420)
        np.testing.assert_allclose(found, Y[rows[index]].sum(dtype=np.float64), rtol=1e-3, atol=1)
