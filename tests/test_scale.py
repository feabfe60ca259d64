"""What differences of meta-losses count: scaled, clipped, or not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimates import ES, LENGTH, SIGMA, START, THETA, draw, parts, problem
from problems import FINAL, FLOOR, LearnedSGD

from learned_opt.meta_train import PES, FullES, Objective, TruncatedES
from learned_opt.meta_train.estimators._running import Running


def test_scale_and_clip_shape_the_difference():
    losses = jnp.asarray([[3.0, 1.0], [1.0, 1.5], [1.0, 1.0]])
    half = {"sigma": 0.5}  # 2 sigma^2 = 0.5
    one = Running.blank(jnp.zeros(())).after(4.0)  # whose root is 2
    family = PES(**half, scale="family")
    np.testing.assert_allclose(family.weight(losses, one), [2.0, -0.5, 0.0])
    clipped = PES(**half, scale="family", clip=0.75)
    np.testing.assert_allclose(clipped.weight(losses, one), [1.5, -0.5, 0.0])
    np.testing.assert_array_equal(family.weight(losses, one._replace(total=0.0)), 0.0)
    np.testing.assert_allclose(PES(**half).weight(losses), [4.0, -1.0, 0.0])
    np.testing.assert_allclose(PES(**half, scale="sign").weight(losses), [2.0, -2.0, 0.0])
    np.testing.assert_allclose(PES(**half, clip=0.75).weight(losses), [1.5, -1.0, 0.0])


def test_a_family_is_scaled_by_all_its_differences_so_far():
    """Where L is linear, (L+ - L-)^2 = 4 s a_i with a_i the pair's own estimate: g_t / g_t scaled
    is the root of 4 sigma^2 s times a mean of the g up to t, weights .9^(t - i)."""
    plain = draw(FullES(**ES, shortest=1.0), 6)[0][:, 0]
    scaled = draw(FullES(**ES, shortest=1.0, scale="family"), 6)[0][:, 0]
    slope = parts(FINAL).sum()
    for t in range(6):
        weights = 0.9 ** np.arange(t, -1, -1)
        square = 4 * SIGMA**2 * slope * (weights @ plain[: t + 1]) / weights.sum()
        np.testing.assert_allclose(scaled[t], plain[t] / np.sqrt(square), rtol=5e-3)


@pytest.mark.parametrize("make", [FullES, PES, TruncatedES], ids=lambda cls: cls.name)
def test_with_a_scale_the_size_of_losses_is_nothing(make):
    """A hundredfold objective: the same estimates; and none where all runs end alike."""
    settings = {**ES, "scale": "family"}
    estimator = make(**settings, **({} if make is FullES else {"truncation": LENGTH}))
    one, many = (draw(estimator, 6, problem(Objective(0, 0, 0, w)))[0] for w in (1.0, 100.0))
    np.testing.assert_allclose(one, many, rtol=1e-3)
    assert np.abs(one).max() > 1
    flat = draw(estimator, 6, problem(FINAL), {"lr": jnp.asarray(5.0)})[0]
    np.testing.assert_array_equal(flat, 0.0)


@pytest.mark.parametrize("make", [FullES, PES], ids=lambda cls: cls.name)
def test_perturbations_are_summed_in_full_precision(make):
    """What GPUs and TPUs would round to ten bits of each: the one matrix product that there is."""
    estimator, key = make(pairs=4, horizon=(20, 20)), jax.random.key(0)
    state = estimator.init(problem(), THETA, key)
    lowered = jax.jit(estimator.estimate).lower(problem(), THETA, state, key, jnp.int32(0))
    products = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
    assert len(products) == 1
    assert "precision = [HIGHEST, HIGHEST]" in products[0]


def test_states_without_a_scale_are_as_they_were():
    """Checkpoints of earlier runs still fit; with one, the mean square is in a row a pair."""
    system, key = problem(), jax.random.key(0)
    assert FullES(scale="sign").init(system, THETA, key) == ()
    states = {scale: PES(scale=scale).init(system, THETA, key) for scale in ("none", "family")}
    assert states["none"]._fields == ("pairs", "shelf")
    assert [x.shape for x in states["family"].squares] == [(16,), (16,)]


@pytest.mark.parametrize("make", [FullES, PES, TruncatedES], ids=lambda cls: cls.name)
def test_a_pair_that_is_not_finite_is_counted_and_touches_no_other(make):
    """Sides with lr > 0.4 explode: as many are counted, and the others' part is as without."""
    theta, pairs = {"lr": jnp.asarray(0.39)}, 64
    cut = {} if make is FullES else {"truncation": 5}
    if make is FullES:
        cut["shortest"] = 1.0
    estimator = make(pairs=pairs, sigma=0.02, horizon=(5, 5), **cut)
    grads, losses, bad = draw(estimator, 1, problem(optimizer=LearnedSGD(explode=True)), theta)
    _, pair_key = jax.random.split(jax.random.fold_in(jax.random.split(jax.random.key(0))[1], 0))
    noise = np.array([
        0.02 * jax.random.normal(jax.random.split(jax.random.fold_in(pair_key, i), 4)[1], (1,))[0]
        for i in range(pairs)
    ])  # fmt: skip

    def loss(lr):
        ok = np.log(0.5 * (START * (1 - lr) ** 5) ** 2 + 1 + FLOOR)
        return np.where(lr > 0.4, np.log(4 + FLOOR), ok)

    differences = loss(0.39 + noise) - loss(0.39 - noise)
    want = np.mean(noise * differences / (2 * 0.02**2))
    np.testing.assert_allclose(grads[0, 0], want, rtol=1e-3)
    assert bad[0] == np.sum(np.abs(noise) > 0.01)
    assert 0 < bad[0] < pairs
    assert np.isfinite(losses).all()
