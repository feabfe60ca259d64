"""What is measured of a step: counts of bytes and steps exactly, times within known bounds."""

import dataclasses
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.step_time import Goals
from learned_opt.eval.cost import ENDS, LOADS, hand_designed, load_name, measure_costs, measure_step
from learned_opt.eval.cost import _steps as _cost
from learned_opt.eval.cost._loads import conv, mlp, transformer
from learned_opt.eval.cost._steps import ROUNDS, STEPS, WARM_UP
from learned_opt.tasks import load_suite, parameter_count

TINY = (mlp("tiny", 4, 1), mlp("tiny", 4, 4), mlp("small", 8, 1), mlp("small", 8, 4))
NAP = 0.02


def parameters(width):
    return 64 * width + width + width**2 + width + 10 * width + 10


def napping(seconds):
    """Stochastic gradient descent that sleeps at every step."""

    def nap(x):
        time.sleep(seconds)
        return x

    def update(updates, state, params=None):
        one = jax.pure_callback(nap, jax.ShapeDtypeStruct((), jnp.float32), jnp.ones(()))
        return jax.tree.map(lambda g: -1e-3 * one * g, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


@pytest.fixture(scope="module")
def rows():
    with jax.numpy_dtype_promotion("standard"):
        return measure_costs({"adam": optax.adam(1e-3)}, TINY, seconds=0.05, updates=True)


def test_there_is_a_row_for_every_network_and_batch_size(rows):
    assert [(row.network, row.batch_size, row.parameters) for row in rows] == [
        ("tiny", 1, parameters(4)), ("tiny", 4, parameters(4)),
        ("small", 1, parameters(8)), ("small", 4, parameters(8)),
    ]  # fmt: skip


def test_loads_have_the_parameters_and_tokens_that_they_are_named_after():
    """To 18 %, by closed forms of the arrays of each network."""
    counts = {"mlp": parameters, "conv": conv_parameters, "transformer": transformer_parameters}
    for load in LOADS:
        kind, size, sees = load.name.split("-")
        problem = load.spec.problem
        found = counts[kind](problem.max_width if kind == "mlp" else problem)
        assert load.network == kind
        if load.name in ("conv-100k-128", "transformer-100k-1024"):
            assert found == parameter_count(load.member)
        assert found == pytest.approx({"100k": 1e5, "1M": 1e6}[size], rel=0.18)
        length = 64 if kind == "transformer" else 1
        assert load.spec.batch_size * length == int(sees)
    assert {load.name for load in ENDS} < {load.name for load in LOADS}
    assert len({load.name for load in LOADS}) == len(LOADS) == 10


def conv_parameters(problem):
    """3x3 kernels and biases from one channel on; 26 letters."""
    pairs = zip((1, *problem.channels), problem.channels, strict=False)
    return sum(9 * n * m + m for n, m in pairs) + 26 * problem.channels[-1] + 26


def transformer_parameters(problem):
    """Of 95 bytes and 64 places; every product has a bias, every norm a scale and an offset."""
    size, hidden = problem.size, problem.max_hidden
    block = 4 * (size * size + size) + 2 * size * hidden + hidden + size + 4 * size
    ends = 95 * size + size + 64 * size + 2 * size + 95 * size + 95
    return problem.max_depth * block + ends


def test_a_load_of_text_counts_tokens(monkeypatch):
    monkeypatch.setattr(_cost, "_time", lambda *args: {})
    loads = (transformer("text", 8, 1, 128), conv("images", (2,), 3))
    rows = measure_costs({"sgd": optax.sgd(1e-3)}, loads)
    assert [(row.kind, row.batch_size, row.tokens) for row in rows] == [
        ("transformer", 2, 128), ("conv", 3, None),
    ]  # fmt: skip
    assert load_name("resnet", 12_000, 32, None) == "resnet, 10k parameters, batch 32"


def test_hand_designed_optimizers_are_those_of_the_rows():
    """AdamW first; the state of Muon is AdamW's but for the second moments of matrices."""
    made, params = hand_designed(), {"w": jnp.zeros((3, 4)), "b": jnp.zeros(4)}
    floats = {
        name: sum(x.size for x in jax.tree.leaves(tx.init(params)) if x.dtype == jnp.float32)
        for name, tx in made.items()
    }
    assert list(made) == ["adamw", "muon"]
    assert floats["adamw"] == 2 * 16
    assert 12 + 2 * 4 <= floats["muon"] < 2 * 16


def test_adams_state_is_two_copies_and_a_counter(rows):
    for row in rows:
        size = 4 * row.parameters
        assert row.costs["adam"].state == (2 * size + 4) / size


def test_the_share_is_that_of_the_update_and_compilation_is_in_no_step(rows):
    for row in rows:
        cost = row.costs["adam"]
        assert 0 < cost.step < 1e6 * cost.compile
        assert cost.share == cost.update / cost.step > 0


def test_a_row_says_what_its_steps_ran_on(rows):
    assert {row.device for row in rows} == {f"cpu ({platform.machine()})"}


def test_every_kind_of_device_is_timed(monkeypatch):
    """Two devices of this machine, with the labels of two kinds: steps run where the row says."""
    one, other = jax.devices()[:2]
    monkeypatch.setattr(_cost, "device_label", lambda device: f"kind {device.id}")
    at, real = [], _cost._Timer.warm_up

    def spy(self, seconds):
        real(self, seconds)
        at.extend({x.device for x in jax.tree.leaves((self.state, self.carry))})

    monkeypatch.setattr(_cost._Timer, "warm_up", spy)
    found = measure_costs(
        {"sgd": optax.sgd(1e-3)}, TINY[:1], seconds=0.0, devices=(other, one), updates=True
    )
    assert [row.device for row in found] == [f"kind {other.id}", f"kind {one.id}"]
    assert at == [other, one]


class Accelerator:
    platform, device_kind = "gpu", "NVIDIA H100"


@pytest.mark.parametrize("excluded", [False, True])
def test_the_cpu_is_timed_beside_an_accelerator(monkeypatch, excluded):
    """Unless JAX_PLATFORMS leaves it out."""
    real = jax.devices

    def devices(kind=None):
        if kind is None:
            return [Accelerator()] * 2
        if excluded:
            raise RuntimeError("Unknown backend cpu")
        return real(kind)

    monkeypatch.setattr(jax, "devices", devices)
    labels = [_cost.device_label(device) for device in _cost.every_kind()]
    assert labels == ["gpu (NVIDIA H100)", f"cpu ({platform.machine()})"][: 1 if excluded else 2]


def test_where_there_is_a_cpu_alone_it_is_timed_once():
    assert _cost.every_kind() == jax.devices()[:1]


def test_a_slow_step_is_timed_less_often():
    """A step and an update that sleep 20 ms each: one of them fits a round of 50 ms."""
    optimizers = {"slow": napping(NAP)}
    (row,) = measure_costs(optimizers, TINY[:1], seconds=2.5 * NAP, updates=True)
    slow = row.costs["slow"]
    assert slow.step >= 1e6 * NAP
    assert slow.update >= 1e6 * NAP
    assert slow.steps == ROUNDS


@jax.numpy_dtype_promotion("standard")  # optax multiplies integers by floats
def test_a_step_of_a_task_of_a_suite():
    task = dataclasses.replace(load_suite("quickstart")[0], horizon=10)
    found = measure_step(task, {"slow": napping(NAP), "adam": optax.adam(1e-3)}, seconds=2.5 * NAP)
    assert found["slow"] >= 1e6 * NAP
    assert 0 < found["adam"] < found["slow"]


def test_a_round_has_at_least_one_step_and_an_update_alone_is_timed_if_asked_for():
    (row,) = measure_costs({"sgd": optax.sgd(1e-3)}, TINY[:1], seconds=0.0)
    assert row.costs["sgd"].update is row.costs["sgd"].update_temporary is None
    assert row.costs["sgd"].steps == ROUNDS
    assert row.costs["sgd"].state == 0


def test_rounds_alternate_after_the_warm_up(monkeypatch):
    """The order of calls, and their number: 20 single steps each, then rounds in turn."""
    calls, advance = [], _cost._Timer._advance

    def spy(self, count):
        calls.append((id(self), count))
        advance(self, count)
        return 1e-6, 1e-6

    monkeypatch.setattr(_cost._Timer, "_advance", spy)
    optimizers = {"a": optax.sgd(1e-3), "b": optax.sgd(1e-3)}
    (row,) = measure_costs(optimizers, TINY[:1], updates=True)
    first, second = dict.fromkeys(timer for timer, _ in calls)
    warm = [(first, 1)] * WARM_UP + [(second, 1)] * WARM_UP
    assert calls == warm + [(first, STEPS), (second, STEPS)] * ROUNDS
    assert row.costs["a"].steps == ROUNDS * STEPS
    assert row.costs["a"].step == pytest.approx(1.0)
    assert row.costs["a"].spread == pytest.approx(0.0)


def test_spread_is_the_interquartile_range_of_the_rounds(monkeypatch):
    times = iter([1e-6] * WARM_UP + [x * 1e-6 for x in (5, 1, 4, 2, 30)])
    monkeypatch.setattr(_cost._Timer, "_advance", lambda self, count: (next(times), 1e-6))
    (row,) = measure_costs({"sgd": optax.sgd(1e-3)}, TINY[:1], updates=True)
    assert row.costs["sgd"].step == pytest.approx(4.0)
    assert row.costs["sgd"].spread == pytest.approx(3.0)
    assert row.costs["sgd"].share == pytest.approx(0.25)


def test_the_state_is_donated_and_every_step_trains():
    """Buffers of the state are reused, and the counter of the state has counted every step."""
    from learned_opt.tasks import FamilySpec
    from learned_opt.tasks.problems import MLP

    family = FamilySpec(MLP(), "digits", 4).build()
    tx = optax.scale_by_schedule(lambda count: -1e-3 * jnp.ones_like(count, jnp.float32))
    timer = _cost._Timer(family, family.member(), tx, updates=True)
    before = timer.state.params["dense"]["w"]
    aliased = timer.step.memory_analysis().alias_size_in_bytes
    assert aliased >= sum(x.nbytes for x in jax.tree.leaves(timer.state.params))
    timer._advance(3)
    timer._advance(4)
    assert before.is_deleted()
    assert int(timer.state.opt_state.count) == int(timer.carry[1].count) == 7
    start = family.member().init(jax.random.key(0))["dense"]["w"]
    assert not np.array_equal(timer.state.params["dense"]["w"], start)


def test_temporary_bytes_are_the_compilers():
    """An optimizer that sorts its gradient needs a copy of it; stochastic gradient descent not."""

    def update(updates, state, params=None):
        return jax.tree.map(lambda g: -1e-3 * jnp.sort(g.ravel()).reshape(g.shape), updates), state

    sorting = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
    optimizers = {"sgd": optax.sgd(1e-3), "sorting": sorting}
    (row,) = measure_costs(optimizers, (mlp("small", 32, 1),), seconds=0.0, updates=True)
    largest = 4 * 64 * 32
    assert row.costs["sgd"].update_temporary < largest <= row.costs["sorting"].update_temporary
    assert row.costs["sgd"].temporary < row.costs["sorting"].temporary


def test_goals_stand_beside_what_was_reached():
    goals = Goals(step=1.5, update=5.0)
    assert goals.verdict(1.52, 4.04) == (
        "update 4.04x (goal 5: met), step 1.52x (goal 1.5: missed by 0.02)"
    )
    assert goals.verdict(1.504, 5.3) == (
        "update 5.30x (goal 5: missed by 0.30), step 1.50x (goal 1.5: met)"
    )
    assert Goals(step=1.1).verdict(1.2, 9.0) == "step 1.20x (goal 1.1: missed by 0.10)"
