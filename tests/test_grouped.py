"""Pairs of like horizons side by side: every row is as it would be alone, in its place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimates import THETA, draw, problem
from problems import Quadratics

from learned_opt.meta_train import Blend, FullES, Objective
from learned_opt.meta_train.estimators import _full_es, _grouped


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_rows_keep_their_places_and_groups_hold_like_horizons(size):
    horizons = jnp.array([50, 3, 40, 4, 30, 5])
    names = jnp.arange(6)
    found, most = _grouped.map_by_horizon(lambda row, most: (row, most), names, horizons, size)
    np.testing.assert_array_equal(found, names)
    ordered = np.sort(horizons).reshape(-1, size).max(1).repeat(size)
    np.testing.assert_array_equal(most, ordered[np.argsort(np.argsort(horizons))])


@pytest.mark.parametrize(("least", "size"), [(1, 1), (7, 4), (12, 6), (15, 12), (10**6, 12)])
def test_a_group_is_the_fewest_pairs_that_hold_enough(monkeypatch, least, size):
    """Of one parameter a run: two a pair; 8 pairs are needed of 15, and do not divide 12."""
    monkeypatch.setattr(_grouped, "LEAST", least)
    assert _grouped.group_size(Quadratics(jnp.asarray(2.0)), 12) == size


def test_only_a_cpu_groups(monkeypatch):
    monkeypatch.setattr(_grouped, "LEAST", 1)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert _grouped.group_size(Quadratics(jnp.asarray(2.0)), 12) == 12


@pytest.mark.parametrize(("exact", "calls"), [(9, 1), (20, 0)])
def test_long_runs_of_a_blend_are_grouped(monkeypatch, exact, calls):
    sizes = []
    monkeypatch.setattr(_full_es, "group_size", lambda family, pairs: sizes.append(pairs) or pairs)
    estimator, key = Blend(pairs=8, horizon=(5, 20), exact=exact), jax.random.key(0)
    state = estimator.init(problem(), THETA, key)
    jax.eval_shape(estimator.estimate, problem(), THETA, state, key, jnp.int32(0))
    assert sizes == calls * [4]  # on each of two devices


def test_groups_change_an_estimate_by_rounding_only(monkeypatch):
    noisy = problem(Objective(1.0, 0.5, 0.2, 0.3), Quadratics(jnp.asarray(2.0), noisy=True))
    estimator = FullES(pairs=12, sigma=0.1, horizon=(5, 40), shortest=0.1)
    whole = draw(estimator, 3, noisy)
    monkeypatch.setattr(_grouped, "LEAST", 6)
    grouped = draw(estimator, 3, noisy)
    np.testing.assert_allclose(whole[0], grouped[0], rtol=2e-5)
    np.testing.assert_allclose(whole[1], grouped[1], rtol=1e-6)
