"""Every row of the ladder against plain optax, with hyper-parameters traced and not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference_baselines

from learned_opt.eval import BASELINES, Hyper, tune
from learned_opt.eval.baselines import (
    CONSTANT,
    COSINE,
    half_decade,
    muon_axes,
    warmup_cosine,
    weights,
)
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import Quadratic, ResNet, Transformer

ROWS = {row.name: row for row in BASELINES}
AXES = optax.contrib.MuonDimensionNumbers
LR, WD, STEPS = 1e-2, 0.1, 10

SHAPES = {
    "conv3x3": {"w": (3, 3, 2, 4), "b": (4,)},
    "dense": {"w": (4, 3), "b": (3,)},
    "embedding": {"w": (5, 4), "b": (4,)},
    "group_norm": {"scale": (4, 1, 1, 1)},
    "lstm/linear": {"w": (4, 8)},
    "~": {"positions": (1, 5, 4)},
}
DECAYED = {
    "conv3x3": {"w": True, "b": False},
    "dense": {"w": True, "b": False},
    "embedding": {"w": True, "b": False},
    "group_norm": {"scale": False},
    "lstm/linear": {"w": True},
    "~": {"positions": True},
}
BY_MUON = {
    "conv3x3": {"w": AXES((0, 1, 2), (3,)), "b": None},
    "dense": {"w": AXES((0,), (1,)), "b": None},
    "embedding": {"w": None, "b": None},
    "group_norm": {"scale": None},
    "lstm/linear": {"w": AXES((0,), (1,))},
    "~": {"positions": None},
}


def some(seed, *leading):
    """Parameters, or gradients of them."""
    rng = np.random.default_rng(seed)
    draw = lambda shape: rng.normal(size=(*leading, *shape)).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, SHAPES, is_leaf=lambda x: type(x) is tuple)


def after(tx):
    """Parameters and state after STEPS of `tx` on made-up gradients."""

    def step(carry, grads):
        params, state = carry
        updates, state = tx.update(grads, state, params, value=jnp.float32(1.0))
        return (optax.apply_updates(params, updates), state), ()

    tx, params = optax.with_extra_args_support(tx), jax.tree.map(jnp.asarray, some(0))
    return jax.lax.scan(step, (params, tx.init(params)), some(1, STEPS))[0]


def plain(name, lr):
    """Rows with Python numbers, as optax spells them; the others: `test_baseline_rules.py`."""
    decay = optax.masked(optax.add_decayed_weights(WD), DECAYED)
    return {
        "adam": lambda: optax.adam(lr),
        "adam_default": lambda: optax.adam(lr),
        "schedule_free_default": lambda: optax.contrib.schedule_free_adamw(lr),
        "dowg": lambda: optax.contrib.dowg(lr),
        "cocob": lambda: optax.contrib.cocob(lr),
        "momo_adam": lambda: optax.contrib.momo_adam(lr),
        "adopt": lambda: optax.contrib.adopt(lr),
        "adamw": lambda: optax.adamw(lr, weight_decay=WD, mask=DECAYED),
        "lion": lambda: optax.lion(lr, weight_decay=WD, mask=DECAYED),
        "adabelief": lambda: optax.chain(
            optax.scale_by_belief(eps=1e-8, eps_root=1e-8),
            decay,
            optax.scale_by_learning_rate(lr),
        ),
        "muon": lambda: optax.contrib.muon(
            lr,
            weight_decay=WD,
            adam_learning_rate=(lambda t: 0.1 * lr(t)) if callable(lr) else 0.1 * lr,
            muon_weight_dimension_numbers=BY_MUON,
        ),
        "sgdm": lambda: optax.chain(decay, optax.sgd(lr, momentum=0.9)),
        "schedule_free": lambda: optax.contrib.schedule_free(
            optax.chain(
                optax.scale_by_rms(0.999, 1e-8, eps_in_sqrt=False, bias_correction=True),
                decay,
                optax.scale_by_learning_rate(lr),
            ),
            lr,
            b1=0.95,
        ),
        "nadamw": lambda: optax.nadamw(lr, weight_decay=WD, mask=DECAYED),
    }.get(name, lambda: None)()


EXTRA = {"adabelief": 1e-8, "muon": 0.1, "schedule_free": 0.95}


@pytest.mark.parametrize(
    ("name", "cosine"),
    [(row.name, x) for row in BASELINES for x in row.schedules if plain(row.name, LR)],
)
def test_a_row_is_optaxs_own_optimizer(name, cosine):
    """Ten steps, every number traced, equal those of optax with Python numbers."""
    row = ROWS[name]
    ramp = [min(1.0, (t + 1) / 1.0) * 0.5 * (1 + np.cos(np.pi * t / 20)) for t in range(20)]
    table = jnp.asarray(LR * np.array(ramp), jnp.float32)
    rate = (lambda count: table[count]) if cosine else LR

    def traced(hyper, num_steps):
        return after(row.transform(hyper, num_steps))[0]

    hyper = Hyper(LR, WD if row.tuned else 0.0, cosine, EXTRA.get(name, row.extras[0]))
    with jax.numpy_dtype_promotion("standard"):  # optax's own code divides floats by integers
        got = jax.jit(traced)(Hyper(*map(jnp.float32, hyper)), jnp.int32(20))
        want = jax.jit(lambda: after(plain(name, rate))[0])()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), got, want)


def test_every_row_is_compared_with_optax_or_its_paper():
    for row in BASELINES:
        assert plain(row.name, LR) or hasattr(reference_baselines, row.name), row.name


def test_schedule_free_without_decay_is_the_alias():
    """And it is evaluated at its average, not at the point where gradients are taken."""
    row = ROWS["schedule_free"]
    with jax.numpy_dtype_promotion("standard"):
        got, state = after(row.transform(Hyper(LR, 0.0, CONSTANT, 0.9), 20))
        want, other = after(optax.contrib.schedule_free_adamw(LR))
        average = optax.contrib.schedule_free_eval_params(other, want)
        ours = row.eval_params(state, got)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), got, want)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), ours, average)
    assert not np.allclose(ours["dense"]["w"], got["dense"]["w"], atol=1e-3)


def test_decay_and_muon_choose_their_tensors():
    params = some(0)
    assert weights(params) == DECAYED
    assert muon_axes(params) == BY_MUON


def test_muon_knows_stacks_heads_and_embeddings_by_name():
    """As every optimizer does that reads layouts."""
    shapes = {
        "block": {"kernel": (3, 5, 4), "bias": (3, 4)},
        "query": {"kernel": (6, 2, 4), "bias": (2, 4)},
        "words": {"embedding": (10, 4)},
        "last": {"kernel": (4, 2)},
    }
    params = jax.tree.map(jnp.zeros, shapes, is_leaf=lambda x: type(x) is tuple)
    assert muon_axes(params) == {
        "block": {"kernel": AXES((1,), (2,)), "bias": None},
        "query": {"kernel": AXES((0,), (1, 2)), "bias": None},
        "words": {"embedding": None},
        "last": {"kernel": AXES((0,), (1,))},
    }


def test_muon_treats_a_kernel_as_the_matrix_from_its_patch():
    row, flat = ROWS["muon"], optax.contrib.muon(LR, adam_learning_rate=0.3 * LR)
    w, g = some(0)["conv3x3"]["w"], some(1)["conv3x3"]["w"]
    tx = row.transform(Hyper(LR, 0.0, CONSTANT, 0.3), 20)
    with jax.numpy_dtype_promotion("standard"):
        got, _ = tx.update({"w": g}, tx.init({"w": w}), {"w": w})
        matrix = {"w": w.reshape(18, 4)}
        want, _ = flat.update({"w": g.reshape(18, 4)}, flat.init(matrix), matrix)
    np.testing.assert_allclose(got["w"].reshape(18, 4), want["w"], rtol=1e-5, atol=1e-8)


@functools.cache
def kinds_of_parameters():
    """Traced once for all rows."""
    specs = (Quadratic(), "points/20"), (ResNet(), "digits"), (Transformer(), "stdlib/24")
    members = [FamilySpec(*spec, 8).build().member() for spec in specs]
    return [jax.eval_shape(member.init, jax.random.key(0)) for member in members]


@pytest.mark.parametrize("row", BASELINES, ids=lambda row: row.name)
def test_rows_take_every_kind_of_parameters(row):
    """Shapes and dtypes of a step: a single vector; kernels and norms; embeddings and heads."""

    def step(params):
        tx = row.transform(Hyper(LR, WD, COSINE, row.extras[0]), 20)
        updates, state = tx.update(params, tx.init(params), params, value=jnp.ones(()))
        after = optax.apply_updates(params, updates)
        return after, row.eval_params(state, after)

    for before in kinds_of_parameters():
        with jax.numpy_dtype_promotion("standard"):
            trained, evaluated = jax.eval_shape(step, before)
        assert before == trained == evaluated


def test_warmup_cosine():
    schedule = warmup_cosine(100)
    assert float(schedule(0)) == pytest.approx(0.2)
    assert float(schedule(4)) == pytest.approx(0.5 * (1 + np.cos(0.04 * np.pi)))
    assert float(schedule(50)) == pytest.approx(0.5)
    assert float(schedule(100)) == pytest.approx(0.0, abs=1e-7)
    assert float(schedule(150)) == pytest.approx(0.0, abs=1e-7)


def test_first_grids_are_half_decades_from_end_to_end():
    assert ROWS["adamw"].grid == (1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2, 3.162e-2, 1e-1)
    assert (ROWS["lion"].grid[0], ROWS["lion"].grid[-1]) == (1e-5, 1e-2)
    assert (ROWS["sgdm"].grid[0], ROWS["sgdm"].grid[-1]) == (1e-3, 1.0)
    assert ROWS["adam_default"].grid == (1e-3,)
    assert ROWS["schedule_free_default"].grid == (2.5e-3,)
    assert half_decade(-13) == 3.162e-7


def test_rows_are_tuned_with_equal_trial_counts():
    """All but what is at its defaults, and constant Adam, which shows what less tuning gives."""
    counts = {row.name: row.trials for row in BASELINES if row.tuned}
    assert counts.pop("adam") == 7
    assert set(counts.values()) == {26}
    assert not any(row.trials for row in BASELINES if not row.tuned)


def test_defaults_are_those_of_the_papers():
    """Learning rate, weight decay, schedule; `test_baseline_rules.py` has the other numbers."""
    assert {row.name: row.default[:3] for row in BASELINES if not row.tuned} == {
        "adam_default": (1e-3, 0.0, CONSTANT),
        "prodigy": (1.0, 0.0, COSINE),
        "dadapt_adamw": (1.0, 0.0, COSINE),
        "mechanic_adamw": (1.0, 0.01, COSINE),
        "momo_adam": (0.01, 0.0, COSINE),
        "ademamix": (1e-3, 0.1, COSINE),
        "adopt": (1e-3, 0.0, COSINE),
        "dowg": (1.0, 0.0, CONSTANT),
        "cocob": (1.0, 0.0, CONSTANT),
        "schedule_free_default": (0.0025, 0.0, CONSTANT),
    }
    assert all(task.hyper == row.default for row, task in untuned())
    assert ROWS["schedule_free_default"].default.extra == 0.9


def untuned():
    """Rows at their defaults, and what tuning makes of them on some task."""
    task = EvalTask("task", FamilySpec(Quadratic(), "points/20"), horizon=10)
    for row in BASELINES:
        if not row.tuned:
            yield row, tune(row, [task], lambda trials: pytest.fail("ran"))["task"]


@pytest.mark.parametrize("row", BASELINES, ids=lambda row: row.name)
def test_without_gradients_only_weights_move_and_only_by_decay(row):
    """Three steps, without and with decay, both at once and traced: nothing becomes NaN."""
    params = jax.tree.map(jnp.asarray, some(0))
    zeros = jax.tree.map(jnp.zeros_like, params)

    def run(wd):
        tx = row.transform(Hyper(LR, wd, row.schedules[-1], row.extras[0]), jnp.int32(10))
        now, state = params, tx.init(params)
        for _ in range(3):
            updates, state = tx.update(zeros, state, now, value=jnp.float32(1.0))
            now = optax.apply_updates(now, updates)
        return now

    with jax.numpy_dtype_promotion("standard"):  # optax's own code divides floats by integers
        made = jax.jit(jax.vmap(run))(jnp.array([0.0, WD]))
    for moves, start, both in zip(
        jax.tree.leaves(DECAYED), jax.tree.leaves(params), jax.tree.leaves(made), strict=True
    ):
        np.testing.assert_allclose(both[0], start, atol=1e-6)
        assert np.isfinite(both[1]).all()
        if not moves:
            np.testing.assert_allclose(both[1], start, atol=1e-6)
        else:
            assert (np.abs(both[1]) <= np.abs(start) + 1e-6).all()


def test_tracks():
    """What is told the horizon and what never is."""
    free = {row.name for row in BASELINES if row.horizon_free}
    assert free == {
        "adam_default", "adam", "schedule_free", "schedule_free_default", "dowg", "cocob",
    }  # fmt: skip
    for row in BASELINES:
        tx = [row.transform(Hyper(LR, 0.0, row.schedules[-1], row.extras[0]), n) for n in (5, 500)]
        with jax.numpy_dtype_promotion("standard"):
            one, other = (jax.jit(lambda t=t: after(t)[0]["dense"]["w"])() for t in tx)
        assert np.array_equal(one, other) == row.horizon_free
