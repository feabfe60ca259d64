"""Compiled programs are found on disk again, compute the same, and never stand in the way."""

import concurrent.futures
import hashlib
import json
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from processes import TABLE

from learned_opt.devices import (
    _kept,
    _memory,
    compiled,
    device_mesh,
    kept_bytes,
    map_lanes,
    remembered,
)
from learned_opt.devices._memory import MAPS_EACH, room_for_program
from learned_opt.meta_train import (
    Backprop,
    Config,
    FullES,
    Judge,
    MetaProblem,
    Objective,
    Programs,
    build,
)
from learned_opt.meta_train.run import _plan, _probe
from learned_opt.meta_train.run._facts import facts_of
from learned_opt.meta_train.settings import ConfigError
from learned_opt.optimizers import Spectral
from learned_opt.tasks import _identity, from_functions
from learned_opt.tasks.own import _digest, _host

MESH = device_mesh(4)
X = jnp.arange(4, dtype=jnp.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNED_OPT_CACHE", str(tmp_path))
    monkeypatch.delenv("LEARNED_OPT_PROGRAMS", raising=False)
    return tmp_path / "programs"


def cubes(facts, dtype=jnp.float32):
    """Sum of x^3 over the devices: a result, and whether its program was on disk."""

    def run(x):
        return map_lanes(MESH, lambda lane: lane**3, x, total=True)

    found, kept = compiled(jax.jit(run), (X.astype(dtype),), 0, facts, MESH)
    return float(found(X.astype(dtype))), kept


@pytest.fixture
def limit(tmp_path, monkeypatch):
    """Sets how many memory maps there may be; there are ten."""
    used, most = tmp_path / "used", tmp_path / "most"
    used.write_text(10 * "a map\n")
    monkeypatch.setattr(_memory, "MAPS", used)
    monkeypatch.setattr(_memory, "MOST_MAPS", most)
    return lambda count: most.write_text(f"{count}\n")


def test_a_program_too_many_is_refused_before_the_process_is_lost(folder, limit):
    """Linux counts memory maps, of which kernels take some; XLA would abort."""
    limit(9 + MAPS_EACH)
    with pytest.raises(MemoryError, match=r"have 10 of 8,201 memory maps; sysctl .*=32804 allows"):
        cubes("a")
    limit(10 + MAPS_EACH)
    assert cubes("a") == (36.0, False)


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_programs_wait_where_there_is_no_room_for_all(limit, side_by_side):
    limit(10 + side_by_side * MAPS_EACH)
    inside, most, both = [], [], threading.Event()

    def work(number):
        with room_for_program():
            inside.append(number)
            most.append(len(inside))
            if len(inside) == 2:
                both.set()
            both.wait(0.3)
            inside.remove(number)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert (len(most), max(most)) == (2, side_by_side)


def test_a_program_is_found_again(folder):
    assert cubes("a") == (36.0, False)
    assert cubes("a") == (36.0, True)
    assert cubes("b") == (36.0, False)
    assert cubes("a", jnp.float16) == (36.0, False)
    with jax.numpy_dtype_promotion("standard"):
        assert cubes("a") == (36.0, False)
    assert len(list(folder.iterdir())) == 4
    assert folder.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("how", ["cut", "garbage", "foreign", "folder"])
def test_a_damaged_file_is_made_anew(folder, how):
    cubes("a")
    (path,) = folder.iterdir()
    good = path.read_bytes()
    bad = {"cut": good[:-7], "garbage": b"no program", "folder": b""}
    # Well signed, and no program.
    signed = _kept.HEAD + hashlib.sha256(b"other").digest() + b"other"
    path.write_bytes(bad.get(how, signed))
    if how == "folder":
        path.unlink()
        path.mkdir()
        assert cubes("a") == (36.0, False)
        return
    assert cubes("a") == (36.0, False)
    assert cubes("a") == (36.0, True)
    assert list(folder.iterdir()) == [path]


def test_nothing_is_kept_where_it_must_not_be(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("LEARNED_OPT_PROGRAMS", "0")
    assert cubes("a") == cubes("a") == (36.0, False)
    monkeypatch.delenv("LEARNED_OPT_PROGRAMS")
    # The user's own choice of a folder stands.
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    try:
        assert kept_bytes() == 0
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert kept_bytes() == 2_000_000_000

    def called(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((4,), jnp.float32), x)

    compiled(jax.jit(called), (X,), 0, "called", MESH)
    assert not folder.exists()
    # Another user's machine code is not run, nor removed.
    cubes("a")
    (path,) = folder.iterdir()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert _kept._load(path, (X,), 0, MESH) is None
    assert path.exists()


@pytest.mark.parametrize("said", ["no", "-1", "nan", "inf", ""])
def test_a_bad_setting_is_one_sentence(folder, monkeypatch, said):
    monkeypatch.setenv("LEARNED_OPT_PROGRAMS", said)
    with pytest.raises(
        ConfigError, match=r"^LEARNED_OPT_PROGRAMS must be a number of gigabytes, 0 to keep no"
    ):
        build(Config.from_dict(TABLE))


def test_files_used_longest_ago_make_room(folder):
    folder.mkdir()
    for i, name in enumerate("abcd"):
        (folder / name).write_bytes(bytes(10))
        os.utime(folder / name, (i, i))
    os.utime(folder / "a")  # used now
    _kept._tidy(folder, 25)
    assert sorted(path.name for path in folder.iterdir()) == ["a", "d"]
    _kept._tidy(folder, 0)
    assert not list(folder.iterdir())


def test_a_full_disk_is_no_error(folder):
    folder.parent.mkdir(exist_ok=True)
    folder.write_bytes(b"a file where the folder would be")
    assert cubes("a") == (36.0, False)
    assert remembered(X, "c", lambda: [1]) == [1]


def test_numbers_are_remembered(folder):
    calls = iter(range(9))

    def make():
        return [next(calls), 7]

    assert remembered(X, "a", make) == remembered(X, "a", make) == [0, 7]
    assert remembered(X[:2], "a", make) == [1, 7]
    for path in folder.iterdir():
        path.write_text(json.dumps(["x"]))
    assert remembered(X, "a", make) == [2, 7]


def scaled(factor):
    return lambda x: factor * x


def test_facts_tell_programs_apart():
    def facts(**fields):
        return facts_of("estimate", FullES(**fields), optax.adam(1e-3))

    assert facts() == facts()
    assert facts(sigma=0.02) != facts(sigma=0.03)
    assert facts_of(optax.adam(1e-3)) != facts_of(optax.adam(1e-2))
    assert facts_of(scaled(1.0)) == facts_of(scaled(1.0)) != facts_of(scaled(2.0))
    setups = [build(Config.from_dict(TABLE | {"family": TABLE["family"]})) for _ in range(2)]
    assert facts_of(setups[0].problems, setups[0].judges) == facts_of(*setups[1][1:])
    assert "0x" not in json.dumps(facts_of(setups[0].problems, scaled(1.0)))


def test_the_packages_that_functions_use_count_by_their_versions(monkeypatch):
    import flax

    def loss(x):
        import sklearn

        return flax, sklearn, x

    def told():
        return facts_of(loss)[2]

    before = told()
    assert before.keys() >= {"flax", "scikit-learn"}
    assert facts_of(optax.adam(1e-3))[2] == {}
    version = _kept.importlib.metadata.version
    monkeypatch.setattr(_kept.importlib.metadata, "version",
                        lambda name: "9" if name == "flax" else version(name))  # fmt: skip
    assert told() == before | {"flax": "9"}


def test_examples_on_the_host_are_hashed_once(folder, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.ones((400, 2), np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    task = from_functions(
        lambda key: {"w": jnp.ones(2)}, lambda params, batch: jnp.mean((batch @ params["w"]) ** 2),
        x, batch_size=4, valid=0.5, memory=0,
    )  # fmt: skip
    data, sizes, known = task.spec.examples, [], _identity.array_hash
    assert data.host is not None
    for module in (_identity, _digest, _host):
        monkeypatch.setattr(
            module, "array_hash", lambda array: sizes.append(array.size) or known(array)
        )
    assert facts_of(data) == facts_of(data)
    assert max(sizes) < x.size
    assert sizes.count(200) == 1  # the rows to be drawn from


FAMILY = TABLE["family"]
SMALL = {
    **{name: table for name, table in TABLE.items() if name not in ("family", "optimizer")},
    "families": [FAMILY, FAMILY | {"batch_size": 8}],
    "optimizer": {"name": "hyper_adam"},
    "estimator": {"name": "full_es", "pairs": 2, "horizon": [4, 8]},
    "objective": {},
    "valid": {"tasks": 4, "horizon": 6},
}


def begun(config):
    """Programs that were found, scores and theta after two outer steps."""
    programs = Programs(*build(config), 2)
    programs.compile()
    state, _ = programs.steps(programs.start)
    state, scores = programs.validate(state)
    return programs.loaded, scores, jax.tree.leaves(state.theta)


def test_a_run_begins_with_the_programs_of_the_last_and_they_compute_the_same(folder):
    config = Config.from_dict(SMALL)
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules divide floats by integers
        cold = begun(config)
        plan = _plan.plan_run(config, "nowhere")
        probe = _probe.probe_run(plan)
        warm = begun(config)
    assert (cold[0], probe.programs, probe.kept, warm[0]) == (0, 4, 4, 4)
    for a, b in zip(cold[1] + cold[2], warm[1] + warm[2], strict=True):
        np.testing.assert_array_equal(a, b)

    def close(got, want):
        np.testing.assert_allclose(got, want, rtol=1e-6)

    assert len(probe.rates) == 2
    assert min(*probe.rates, probe.memory) > 0
    close(sum(probe.shares), 1.0)
    close(probe.rate * probe.outer_seconds, plan.inner_steps)
    left = 12 * probe.outer_seconds + 7 * probe.valid_seconds
    close(3600 * probe.hours, left)
    close(probe.valid_share, 7 * probe.valid_seconds / left)


@pytest.mark.slow
def test_untrained_runs_are_among_the_steps_that_a_probe_expects(folder):
    """`gain`: 3 lanes of 2 pairs; horizons from 4 to 8 have the mean 5.77, shares of them 0.8."""
    with jax.numpy_dtype_promotion("standard"):
        plan = _plan.plan_run(Config.from_dict(SMALL | {"objective": {"name": "gain"}}), "nowhere")
        probe = _probe.probe_run(plan)
    steps = np.multiply(probe.rates, probe.shares) * probe.outer_seconds
    np.testing.assert_allclose(steps, 3 * 2 * 0.8 * 4 / np.log(2), rtol=1e-3)
    np.testing.assert_allclose(steps.sum(), plan.inner_steps, rtol=1e-6)


def test_judges_that_differ_in_data_alone_share_a_program(folder):
    setup = build(Config.from_dict(SMALL))
    judge, _ = setup.judges
    family = jax.tree.map(lambda x: x + jnp.ones_like(x), judge.problem.family)
    problem = MetaProblem(family, judge.problem.optimizer, judge.problem.objective, MESH)
    key = jax.random.key(5)
    other = Judge(problem, judge.task, jnp.int32(3), key, judge.runs)
    programs = Programs(setup.trainer, setup.problems, (judge, other), 2)
    _, judging = programs.sources()
    assert judging[0][0] is judging[1][0]
    programs.compile(train=False)
    theta = programs.start.theta
    got = [float(x.mean()) for x in programs.scores(theta)]
    want = [float(jax.jit(Judge.score)(one, theta)) for one in (judge, other)]
    assert got[0] != got[1]
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("estimator", [FullES(pairs=2), Backprop(tasks=2, horizon=(4, 4))])
def test_an_update_is_compiled_once_a_shape_also_in_lanes_and_backwards(estimator):
    """Matrix products are the optimizer's alone here: their number is that of shapes."""

    def products(count):
        def loss(params, batch):
            squares = [jnp.mean((p - jnp.mean(batch)) ** 2) for p in params.values()]
            return sum(squares) + 1.0

        task = from_functions(
            lambda key: {f"w{i}": jax.random.normal(key, (4, 6)) for i in range(count)},
            loss, np.ones((32, 2), np.float32), batch_size=4, valid=0.5,
        )  # fmt: skip
        optimizer = Spectral()
        problem = MetaProblem(task.spec.build(), optimizer, Objective(), device_mesh(2))
        theta = optimizer.init(jax.random.key(0))
        args = problem, theta, (), jax.random.key(1), jnp.int32(0)
        text = jax.jit(estimator.estimate).lower(*args).as_text()
        return text.count("stablehlo.dot_general")

    assert products(4) == products(2) > 0


def test_two_at_once_do_no_harm(folder):
    """A file is there whole or not at all."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(value == 36.0 for value, _ in pool.map(cubes, ["a"] * 8))
    assert cubes("a") == (36.0, True)
    assert len(list(folder.iterdir())) == 1
