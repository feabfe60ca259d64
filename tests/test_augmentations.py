"""Augmentations: each against its definition, alone and composed, on real families."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import loss_ratio

from learned_opt.tasks import (
    AUGMENTATIONS,
    FamilySpec,
    augment,
    full_loss,
    inner_init,
    inner_step,
    reference_loss,
)
from learned_opt.tasks.augmentations import (
    BFloat16,
    DelayedGradients,
    FewDirections,
    FewExamples,
    GradientNoise,
    LabelNoise,
    LossScale,
    Reparametrise,
    SmallBatch,
)
from learned_opt.tasks.problems import GRU, MLP, PINN

DIGITS = FamilySpec(MLP(), "digits").build()
KEY = jax.random.key(5)
TX = optax.with_extra_args_support(optax.sgd(0.05))


def loss_and_grads(family, task, params, key=KEY):
    batch = family.batch(task, key, "train")
    (loss, _), grads = jax.value_and_grad(task.loss, has_aux=True)(params, batch, key)
    return loss, grads


KINDS = {
    "label": FamilySpec(MLP(), "digits", 16),
    "value": FamilySpec(MLP(), "diabetes", 16),
    "text": FamilySpec(GRU(), "stdlib/4", 16),
    "points": FamilySpec(PINN(), "points/2", 16),
}


OF_OTHER_KINDS = {("reparametrise", "text"), ("label_noise", "text"), ("bfloat16", "value")}
"""What is tried on other data than images at each change."""


@pytest.mark.parametrize(
    ("cls", "kind"),
    [
        pytest.param(
            cls, kind, id=f"{kind}-{cls.name}",
            marks=[] if kind == "label" or (cls.name, kind) in OF_OTHER_KINDS else pytest.mark.slow,
        )
        for cls in AUGMENTATIONS
        for kind in KINDS
    ],
)  # fmt: skip
def test_any_augmentation_of_any_family_compiles_once(cls, kind):
    """Over one family of each kind of data; 10 draws, different, finite, of one program."""
    plain, traces = KINDS[kind].build(), 0
    assert plain.data.spec.kind == kind
    family = augment(plain, cls())

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(family, key):
        nonlocal traces
        traces += 1
        state = inner_init(family.sample(key), TX, key)
        _, losses = jax.lax.scan(
            lambda state, key: inner_step(family, TX, state, key),
            state, jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(2)),
        )  # fmt: skip
        return losses[-1]

    losses = [float(run(family, jax.random.key(i))) for i in range(10)]
    assert traces == 1
    assert np.isfinite(losses).all()
    assert len(set(losses)) == 10


@pytest.mark.parametrize("per", ["task", "tensor", "element"])
def test_reparametrisation_is_the_same_function_in_another_geometry(per):
    """Same loss; gradients c times those of p = c q, and q = p / c at the start."""
    family = augment(DIGITS, Reparametrise((0.1, 10.0), per))
    task = family.sample(KEY)
    q, p = task.init(KEY), task.task.init(KEY)
    loss, grads = loss_and_grads(family, task, q)
    want, want_grads = loss_and_grads(DIGITS, task.task, p)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    scales = jax.tree.map(
        lambda g, h: np.asarray(g)[np.abs(h) > 1e-4] / np.asarray(h)[np.abs(h) > 1e-4],
        grads, want_grads,
    )  # fmt: skip
    every = np.concatenate([s.reshape(-1) for s in jax.tree.leaves(scales)])
    assert every.min() > 0.0999
    assert every.max() < 10.01
    spreads = [s.max() / s.min() for s in jax.tree.leaves(scales) if s.size]
    if per == "task":
        np.testing.assert_allclose(every, every[0], rtol=1e-3)
    elif per == "tensor":
        np.testing.assert_allclose(spreads, 1, rtol=1e-3)
        assert every.max() / every.min() > 2
    else:
        assert min(spreads) > 2
        # log-uniform: the mean of the logarithm is 0, of deviation log(10) / sqrt(3) = 1.33.
        logs = np.log(every)
        assert abs(logs.mean()) < 5 * 1.33 / np.sqrt(len(logs))
        assert logs.std() == pytest.approx(1.33, rel=0.1)


def test_loss_scale_scales_loss_gradient_and_reference():
    family = augment(DIGITS, LossScale((50.0, 50.0)))
    task = family.sample(KEY)
    params = task.init(KEY)
    loss, grads = loss_and_grads(family, task, params)
    want, want_grads = loss_and_grads(DIGITS, task.task, params)
    np.testing.assert_allclose(loss, 50 * want, rtol=1e-6)
    jax.tree.map(
        lambda g, h: np.testing.assert_allclose(g, 50 * h, rtol=1e-4, atol=1e-6), grads, want_grads
    )
    np.testing.assert_allclose(reference_loss(family, task), 50 * np.log(10), rtol=1e-6)


def test_bfloat16_rounds_everything_but_the_parameters_kept():
    family = augment(DIGITS, BFloat16())
    task = family.sample(KEY)
    params = task.init(KEY)
    loss, grads = loss_and_grads(family, task, params)
    want, want_grads = loss_and_grads(DIGITS, task.task, params)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((params, grads)))
    # bfloat16 keeps 8 bits: the loss agrees to a percent and not to float32's rounding.
    assert abs(loss / want - 1) < 0.02
    assert loss != want
    norm = optax.tree.norm(want_grads)
    assert optax.tree.norm(optax.tree.sub(grads, want_grads)) < 0.05 * norm


def test_a_small_batch_is_its_first_examples():
    family = augment(DIGITS, SmallBatch(3))
    for seed in range(8):
        task = family.sample(jax.random.key(seed))
        size = 64 >> int(task.numbers["halvings"])
        batch = family.batch(task, KEY, "train")
        plain = DIGITS.batch(task.task, KEY, "train")
        np.testing.assert_array_equal(batch.y, np.tile(plain.y[:size], 64 // size))
        np.testing.assert_array_equal(batch.x[:size], plain.x[:size])
    np.testing.assert_array_equal(
        family.batch(task, KEY, "inner_valid").y, DIGITS.batch(task.task, KEY, "inner_valid").y
    )
    sizes = {int(family.sample(jax.random.key(s)).numbers["halvings"]) for s in range(40)}
    assert sizes == {0, 1, 2, 3}
    with pytest.raises(ValueError, match=r"multiple of 128, got 64"):
        augment(DIGITS, SmallBatch(7)).batch(
            augment(DIGITS, SmallBatch(7)).sample(KEY), KEY, "train"
        )


def test_few_examples_are_the_same_batches_again_and_again():
    family = augment(DIGITS, FewExamples((4.0, 4.0)))
    task = family.sample(KEY)
    draw = jax.jit(lambda key: family.batch(task, key, "train"))
    seen = {tuple(np.asarray(draw(jax.random.key(i)).y)) for i in range(60)}
    assert len(seen) == 4
    other = family.sample(jax.random.key(6))
    assert tuple(np.asarray(family.batch(other, KEY, "train").y)) not in seen


def test_label_noise_moves_a_share_of_the_labels_and_keeps_their_counts_near():
    family = augment(DIGITS, LabelNoise((0.4, 0.4)))
    task = family.sample(KEY)

    @jax.jit
    def wrong(key):
        noisy, plain = family.batch(task, key, "train"), DIGITS.batch(task.task, key, "train")
        return (noisy.y != plain.y).mean(), (noisy.x == plain.x).all()

    shares, same = jax.vmap(wrong)(jax.random.split(KEY, 200))
    assert bool(same.all())
    # A replaced label is by chance the right one one time in ten: .36; 12,800 draws: error .0042.
    assert float(shares.mean()) == pytest.approx(0.4 * 0.9, abs=0.02)
    # Composed inside few_examples, a wrong label stays wrong: no new batches appear.
    fixed = augment(DIGITS, LabelNoise((0.4, 0.4)), FewExamples((3.0, 3.0)))
    task = fixed.sample(KEY)
    draw = jax.jit(lambda key: fixed.batch(task, key, "train"))
    assert len({tuple(np.asarray(draw(jax.random.key(i)).y)) for i in range(40)}) == 3


def emitted(augmentation, grads, steps, key=KEY):
    """What the optimizer sees of a sequence of equal-shaped gradients."""
    tx = augmentation.gradients(augmentation.sample(key))
    state, seen = tx.init(grads[0]), []
    update = jax.jit(tx.update)
    for t in range(steps):
        out, state = update(grads[t % len(grads)], state)
        seen.append(out)
    return seen


def test_gradient_noise_is_relative_to_each_tensor():
    grads = {"a": jnp.full(2000, 3.0), "b": jnp.full(2000, 0.01)}
    seen = emitted(GradientNoise((0.5, 0.5)), [grads], 20)
    for name, size in (("a", 3.0), ("b", 0.01)):
        noise = np.stack([np.asarray(s[name]) for s in seen]) - size
        # 40,000 draws: the standard error of the deviation is 0.35 %.
        assert noise.std() == pytest.approx(0.5 * size, rel=0.02)
        assert abs(noise.mean()) < 5 * 0.5 * size / 200
        assert not np.array_equal(noise[0], noise[1])


def test_few_directions_are_unbiased_and_span_no_more_than_they_are():
    g = {"a": jnp.arange(1.0, 6.0), "b": jnp.asarray([[-2.0]])}
    flat = np.concatenate([np.arange(1.0, 6.0), [-2.0]])
    seen = emitted(FewDirections((3, 3)), [g], 4000)
    rows = np.stack([np.concatenate([s["a"], s["b"].reshape(-1)]) for s in seen])
    # Var of one direction: |g|^2 + g_i^2 <= 2 |g|^2; three of them, 4,000 draws.
    error = np.sqrt(2 * flat @ flat / 3 / 4000)
    np.testing.assert_allclose(rows.mean(0), flat, atol=5 * error)
    one = emitted(FewDirections((1, 1)), [g], 3)
    # Along one direction v the result is v <v, g>: its slope along g is positive.
    for s in one:
        assert float(optax.tree.vdot(s, g)) > 0


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_delayed_gradients_are_those_of_earlier_steps(delay):
    augmentation = DelayedGradients(3)
    tx = augmentation.gradients({"delay": jnp.asarray(delay, jnp.int32)})
    state, seen = tx.init({"w": jnp.zeros(2)}), []
    for t in range(9):
        out, state = tx.update({"w": jnp.full(2, float(t))}, state)
        seen.append(float(out["w"][0]))
    assert seen == [max(0, t - delay) for t in range(9)]


def test_augmentations_compose_in_order_and_leave_evaluation_alone():
    family = augment(DIGITS, LossScale((2.0, 2.0)), LossScale((5.0, 5.0)), SmallBatch(2))
    task = family.sample(KEY)
    plain = task.task.task.task
    params = task.init(KEY)
    got, _ = full_loss(family, task, params, "inner_valid")
    want, _ = full_loss(DIGITS, plain, params, "inner_valid")
    np.testing.assert_allclose(got, 10 * want, rtol=1e-5)
    with pytest.raises(ValueError, match="withholds the test split"):
        family.without_test().full(task, "test")


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_all_at_once_train():
    """Every augmentation stacked on one family: 200 steps of Adam halve the loss nonetheless."""
    mild = (
        Reparametrise((0.5, 2.0)), LossScale((0.1, 10.0)), BFloat16(), SmallBatch(1),
        LabelNoise((0.01, 0.05)), FewExamples((32.0, 64.0)), GradientNoise((0.1, 0.3)),
        FewDirections((64, 64)), DelayedGradients(2),
    )  # fmt: skip
    assert {type(a) for a in mild} == set(AUGMENTATIONS)
    family = augment(DIGITS, *mild)
    task = family.member(width=32, depth=1, activation=0, gain=1.0)
    tx = optax.with_extra_args_support(optax.adam(0.01))

    train = jax.jit(lambda family, task: loss_ratio(family, task, tx, KEY, 200))
    assert float(train(family, task)) < 0.5
