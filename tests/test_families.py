"""The contract of every family, over the tuple EXAMPLES."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import loss_ratio

from learned_opt.tasks import (
    EXAMPLES,
    PROBLEMS,
    FamilySpec,
    augment,
    comparable_loss,
    full_loss,
    inner_init,
    inner_step,
    reference_loss,
)
from learned_opt.tasks.augmentations import BFloat16
from learned_opt.tasks.problems import (
    GRU,
    MLP,
    Contrastive,
    Conv,
    DeepSets,
    InfluenceBalancing,
    Linear,
    Quadratic,
    Rosenbrock,
)

ALIKE = ("skip_init", "tied_transformer", "vibration")
"""Much like `resnet`, `transformer` and `heat`, and seconds to compile: slow tests all over."""

DRAWN_ALIKE = (
    "norm_conv", "norm_mlp", "vae", "denoiser", "contrastive", "lstm", "lru", "transformer", "pinn",
    "heat", "allen_cahn", "control", "learned_optimizer",
)  # fmt: skip
"""Drawn as are `conv`, `autoencoder`, `gru`, `waves` and `quadratic`."""


def rows(*slow):
    """All of them; those of the problems named in `slow` are slow tests."""
    return pytest.mark.parametrize(
        "row",
        [
            pytest.param(
                row,
                id=f"{row.spec.problem.name}-{row.spec.data.replace('/', '-')}",
                marks=[pytest.mark.slow] if row.spec.problem.name in (*slow, *ALIKE) else [],
            )
            for row in EXAMPLES
        ],
    )


every = rows()

quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""Compiles in half the time: these programs run a few times each."""


@quick_jit
def init_of(task, key):
    return task.init(key)


@quick_jit
def slope_of(task, params, batch, key):
    """((loss, metrics), gradients); tests of a row share the program."""
    return jax.value_and_grad(task.loss, has_aux=True)(params, batch, key)


def test_every_problem_has_a_row_a_name_and_a_source():
    import importlib
    import pkgutil

    from learned_opt.tasks import Problem
    from learned_opt.tasks import problems as families

    found = set()
    for module in pkgutil.iter_modules(families.__path__):
        loaded = importlib.import_module(f"learned_opt.tasks.problems.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, Problem) and "name" in vars(value):
                found.add(value)
                # The first lines of a file cite where its problem comes from.
                assert any(year in (loaded.__doc__ or "") for year in map(str, range(1960, 2027)))
                assert all(int(year) > 1959 for year in re.findall(r"\d{4}", value.source))
                assert re.search(r"[A-Z]\w+.* (19|20)\d\d", value.source)
    assert found == set(PROBLEMS.values())
    assert all(PROBLEMS[cls.name] is cls for cls in found)


@every
def test_shapes_losses_and_gradients_at_the_start(row):
    """Finite in float32, and in bfloat16 the same loss within 3 %; parameters keep their dtype."""
    family = row.spec.build()
    task, key = family.member(), jax.random.key(3)
    params, batch = init_of(task, key), family.batch(task, key, "train")
    jax.tree.map(np.testing.assert_array_equal, params, init_of(task, key))
    if batch.x.dtype == jnp.float32:
        # Rounded for both: a point that moves may be another entry of a matrix.
        batch = batch._replace(x=batch.x.astype(jnp.bfloat16).astype(jnp.float32))
    values = []
    for either in (task, augment(family, BFloat16()).member()):
        (loss, metrics), grads = slope_of(either, params, batch, key)
        assert (loss.shape, loss.dtype) == ((), jnp.float32)
        assert float(loss) >= 0
        assert all(np.isfinite(x).all() for x in jax.tree.leaves((loss, metrics, grads)))
        assert jax.tree.map(lambda g: (g.shape, g.dtype), grads) == jax.tree.map(
            lambda p: (p.shape, jnp.dtype("float32")), params
        )
        values.append(float(loss))
    assert values[1] == pytest.approx(values[0], rel=0.03, abs=1e-3)


@rows("resnet", "vit", "mixer", "norm_conv", "heat")
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_twenty_steps_of_a_known_good_adam(row):
    """lower the validation loss below the row's bound, times that at the start, for each of 2."""
    family, tx = row.spec.build(), optax.with_extra_args_support(optax.adam(row.learning_rate))

    ratio = quick_jit(lambda key, family: loss_ratio(family, family.member(), tx, key, 20))
    for seed in (1, 2):
        if math.isfinite(row.bound):
            assert float(ratio(jax.random.key(seed), family)) < row.bound
    if not math.isfinite(row.bound):
        assert isinstance(row.spec.problem, InfluenceBalancing)


@rows("resnet", "vit", "mixer", *DRAWN_ALIKE)
def test_draws_compile_once_and_differ(row):
    """Sampling, initialising, drawing and stepping; and a draw is a function of its key."""
    family, tx, traces = row.spec.build(), optax.with_extra_args_support(optax.sgd(0.01)), 0

    @quick_jit
    def run(family, key):
        nonlocal traces
        traces += 1
        task = family.sample(key)
        state, loss = inner_step(family, tx, inner_init(task, tx, key), key)
        return loss, comparable_loss(loss, reference_loss(family, task)), state.params

    results = [run(family, jax.random.key(i)) for i in range(20)]
    assert traces == 1
    losses = [float(loss) for loss, _, _ in results]
    assert np.isfinite(losses).all()
    assert len(set(losses)) == (1 if isinstance(row.spec.problem, InfluenceBalancing) else 20)
    assert all(-7.61 < float(value) <= math.log(4.001) for _, value, _ in results)
    again = run(family, jax.random.key(19))
    jax.tree.map(np.testing.assert_array_equal, results[19], again)


@pytest.mark.slow
@every
def test_vmap_over_tasks_equals_a_loop(row):
    family, keys = row.spec.build(), jax.random.split(jax.random.key(0), 3)

    def loss_and_slope(key, family):
        task = family.sample(key)
        batch = family.batch(task, key, "train")
        loss, grads = jax.value_and_grad(lambda p: task.loss(p, batch, key)[0])(task.init(key))
        return loss, optax.tree.norm(grads)

    batched = jax.jit(jax.vmap(loss_and_slope, (0, None)))(keys, family)
    alone = jax.jit(loss_and_slope)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(
            [x[i] for x in batched], alone(key, family), rtol=2e-4, atol=1e-6
        )


@every
def test_test_split_is_withheld(row):
    family = row.spec.build().without_test()
    task = family.member()
    for split in ("train", "inner_valid", "outer_valid"):
        jax.eval_shape(lambda split=split: family.full(task, split))
    with pytest.raises(ValueError, match="withholds the test split"):
        family.full(task, "test")
    with pytest.raises(ValueError, match="withholds the test split"):
        family.batch(task, jax.random.key(0), "test")


def test_reference_losses_are_those_of_the_answer_that_ignores_its_input():
    """Labels: log of their number. Values: half their mean square. Rosenbrock: d - 1."""

    def reference(problem, data):
        family = FamilySpec(problem, data).build()
        return family, float(jax.jit(reference_loss)(family, family.member()))

    assert reference(MLP(), "digits")[1] == pytest.approx(math.log(10), rel=1e-6)
    family, value = reference(Linear(), "diabetes")
    y = np.asarray(family.full(family.member(), "inner_valid").y, np.float64)
    assert value == pytest.approx(np.mean(y**2) / 2, rel=1e-5)
    family, value = reference(GRU(), "stdlib")
    assert value == pytest.approx(math.log(family.data.spec.outputs), rel=1e-6)
    assert reference(Rosenbrock(), "points/4")[1] == pytest.approx(3)


def test_comparable_loss_is_capped_finite_and_monotone():
    losses = jnp.asarray([0.0, 1e-6, 0.1, 1.0, 3.9, 4.0, 1e30, jnp.inf, jnp.nan])
    values = np.asarray(comparable_loss(2 * losses, jnp.full(9, 2.0)))
    want = np.log(np.minimum(np.nan_to_num(losses, nan=9, posinf=9), 4) + 5e-4)
    np.testing.assert_allclose(values, want, rtol=1e-5)
    assert (np.diff(values) >= 0).all()
    assert (np.diff(values[:6]) > 0).all()


def test_the_numbers_of_a_task_are_independent_of_each_other_and_of_its_data():
    """Correlations of 1,000 draws: standard error 0.032."""
    family = FamilySpec(MLP(widths=(2, 32)), "digits+digits").build()
    tasks = jax.vmap(family.sample)(jax.random.split(jax.random.key(0), 1000))
    rows = np.stack([np.asarray(x, np.float64) for x in (tasks.source, *tasks.numbers.values())])
    assert np.abs(np.corrcoef(rows) - np.eye(len(rows))).max() < 4 * 0.032
    assert rows[0].mean() == pytest.approx(0.5, abs=4 * 0.016)


def test_member_takes_numbers_and_refuses_others():
    family = FamilySpec(MLP(), "digits").build()
    task = family.member(width=7, gain=2)
    assert (int(task.numbers["width"]), float(task.numbers["gain"])) == (7, 2.0)
    with pytest.raises(ValueError, match="mlp has no number 'widht'; it has: width, depth, act"):
        family.member(widht=7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(widths=(8, 64)), "widths must be [low, high] with 1 <= low <= high <= 32"),
        (lambda: MLP(depths=(0, 2)), "depths must be [low, high] with 1 <= low <= high <= 2"),
        (lambda: Conv(gains=(0.0, 1.0)), "gains must be [low, high] with 1e-12 <= low <= high"),
        (
            lambda: FamilySpec(GRU(), "digits").build(),
            "the problem 'gru' needs data of kind text, got 'digits', which is of kind label",
        ),
        (
            lambda: FamilySpec(Quadratic(), "wine").build(),
            "the problem 'quadratic' needs data of kind points, got 'wine'",
        ),
        (
            lambda: FamilySpec(Conv(), "wine").build(),
            "the problem 'conv' needs images, got 'wine', whose examples have shape (13,)",
        ),
        (
            lambda: FamilySpec(DeepSets(), "wine").build(),
            "the problem 'deep_sets' needs sets, got 'wine', whose examples have shape (13,); "
            "take the data set sets",
        ),
    ],
)
def test_misfits_are_one_sentence(make, message):
    with pytest.raises(ValueError, match=r"must be|needs") as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_quadratic_of_the_wrong_dimension_is_refused():
    with pytest.raises(ValueError, match=r"'quadratic' has dimension 20, got data of shape \(3,\)"):
        FamilySpec(Quadratic(), "points/3").build()


def test_evaluation_in_chunks_is_the_mean_over_the_split():
    """digits' 989 training examples: one chunk of 512 and a rest of 477."""
    family = FamilySpec(MLP(), "digits").build()
    task = family.member()
    params, batch = task.init(jax.random.key(0)), family.full(task, "train")
    assert batch.y.shape == (989,)
    whole, metrics = task.loss(params, batch, jax.random.key(0))
    got, got_metrics = full_loss(family, task, params, "train")
    np.testing.assert_allclose(got, whole, rtol=1e-6)
    np.testing.assert_allclose(got_metrics["accuracy"], metrics["accuracy"], rtol=1e-6)


def test_deep_sets_see_no_order():
    family = FamilySpec(DeepSets(), "sets", 8).build()
    task = family.member(activation=2)
    x = family.batch(task, jax.random.key(0), "train").x
    network = task.problem._network(task.numbers, task.spec)
    params = quick_jit(task.init)(jax.random.key(1))
    forward = quick_jit(lambda x: network.apply(params, None, x))
    outputs = [forward(seen) for seen in (x, x[:, ::-1], x[::-1])]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(outputs[2], outputs[0], atol=0.1)


def test_masked_mlp_initialises_like_the_small_one():
    """He-normal for the fan-in that is on; no weight into or out of a unit that is off."""
    family = FamilySpec(MLP(max_width=64, widths=(8, 64)), "digits").build()
    params = family.member(width=16, depth=2, gain=2.0).init(jax.random.key(0))
    w = np.asarray(params["dense"]["w"])
    assert not w[:, 16:].any()
    assert not np.asarray(params["dense_1"]["w"])[16:].any()
    assert not np.asarray(params["dense_2"]["w"])[16:].any()
    # 1,024 draws: the relative standard error of their standard deviation is 2.2 %.
    np.testing.assert_allclose(w[:, :16].std(), 2 * np.sqrt(2 / 64), rtol=0.09)


def test_a_contrastive_question_is_as_hard_in_a_larger_batch():
    """Zero parameters leave all candidates alike: log of their number, or of a smaller batch's."""
    family = FamilySpec(Contrastive(candidates=16), "digits").build()
    task = family.member()
    zeros = jax.tree.map(jnp.zeros_like, jax.jit(task.init)(jax.random.key(0)))
    loss_and_grads = jax.jit(jax.value_and_grad(lambda p, b: task.loss(p, b, jax.random.key(0))[0]))
    batch, losses = family.full(task, "inner_valid"), []
    for size in (1, 8, 200):
        loss, grads = loss_and_grads(zeros, jax.tree.map(lambda x, size=size: x[:size], batch))
        losses.append(float(loss))
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    np.testing.assert_allclose(losses, np.log([1, 8, 16]), rtol=1e-6)


@every
def test_no_initial_weight_touches_a_unit_that_is_off(row):
    """What starts at zero and has no gradient stays zero: a mask adds no norm to any tensor."""
    family = row.spec.build()
    small = {"width": 1, "hidden": 1, "code": 1}
    drawn = family.member().numbers
    small = {name: value for name, value in small.items() if name in drawn}
    if not small:
        return
    task = family.member(**small)
    params = init_of(task, jax.random.key(0))
    batch = family.batch(task, jax.random.key(1), "train")
    garbage = jax.tree.map(lambda p: np.where(np.asarray(p) == 0, np.float32(5.0), p), params)
    _, grads = slope_of(task, garbage, batch, jax.random.key(2))
    for g, p in zip(jax.tree.leaves(grads), jax.tree.leaves(params), strict=True):
        if p.ndim > 1:  # biases start at zero and move
            np.testing.assert_array_equal(np.asarray(g)[np.asarray(p) == 0], 0)


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (7, 2), (4, 2)])
def test_convolution_by_patches_is_xlas(size, stride):
    from learned_opt.tasks.problems._layers import _by_patches, _by_xla

    x = jax.random.normal(jax.random.key(0), (3, size, size, 4))
    w = jax.random.normal(jax.random.key(1), (3, 3, 3, 5))
    np.testing.assert_allclose(_by_patches(x, w, stride), _by_xla(x, w, stride), atol=2e-5)


def test_inner_step_is_gradient_descent_on_the_drawn_batch():
    family = FamilySpec(MLP(), "digits").build()
    task, tx = family.member(), optax.with_extra_args_support(optax.sgd(0.1))
    state, key = inner_init(task, tx, jax.random.key(0)), jax.random.key(7)
    new, loss = inner_step(family, tx, state, key)
    batch_key, loss_key = jax.random.split(key)
    batch = family.batch(task, batch_key, "train")
    value, grads = jax.value_and_grad(lambda p: task.loss(p, batch, loss_key)[0])(state.params)
    assert loss == value
    jax.tree.map(
        lambda p, g, q: np.testing.assert_allclose(p - 0.1 * g, q, rtol=1e-6),
        state.params, grads, new.params,
    )  # fmt: skip


def test_families_are_values():
    """Equal specs are one object, so they share compiled programs; a changed field is another."""
    spec = FamilySpec(MLP(), "digits")
    assert spec.build() is FamilySpec(MLP(), "digits").build()
    assert hash(spec) == hash(FamilySpec(MLP(), "digits"))
    other = dataclasses.replace(spec, batch_size=32)
    assert other.build() is not spec.build()
    assert len({spec.fingerprint, other.fingerprint}) == 2
