"""Meta-gradients against closed forms: mean, variance, bias, what is credited to what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimates import (
    ALONG,
    ES,
    HORIZON,
    LENGTH,
    LOCKSTEP,
    LR,
    PAIRS,
    SIGMA,
    START,
    STEPS,
    THETA,
    draw,
    problem,
)
from jax.flatten_util import ravel_pytree
from problems import (
    FINAL,
    FLOOR,
    InfluenceOptimizer,
    LearnedSGD,
    Quadratics,
    influence_family,
    influence_gradients,
)

from learned_opt import GatedAdam, PerParamMLP
from learned_opt.meta_train import (
    NRES,
    PES,
    TBPTT,
    Backprop,
    Continuation,
    ESSingle,
    FullES,
    Horizons,
    Objective,
    TruncatedES,
)
from learned_opt.meta_train.estimators._running import Running
from learned_opt.tasks import PROBLEMS, FamilySpec
from research.signal import split


def parts(objective):
    """a[k, j]: derivative of what truncation k earns by the lr of truncation j, in float64."""

    def earned(lrs):
        p, found = START, []
        for k, lr in enumerate(lrs):
            total = 0.0
            for _ in range(LENGTH):
                total += np.log(0.5 * p**2 + 1 + FLOOR) / STEPS
                p *= 1 - lr
            end = np.log(0.5 * p**2 + 1 + FLOOR) if k == len(lrs) - 1 else 0.0
            found.append(objective.steps * total + objective.valid * end)
        return np.array(found)

    eps = 1e-6
    rows = np.eye(STEPS // LENGTH) * eps
    return np.stack([(earned(LR + e) - earned(LR - e)) / (2 * eps) for e in rows], axis=1)


def distinct(estimator):
    """u[k, j]: whether truncation j's perturbation is in the credit of truncation k, and
    s[j, i]: whether the i-th draw is in force in truncation j."""
    n = STEPS // LENGTH
    if isinstance(estimator, TruncatedES):
        return np.eye(n), np.eye(n)
    period = estimator.reuse or n
    force = np.array([[j // period == i for i in range(n)] for j in range(n)], float)
    credit = np.array([[i <= k // period for i in range(n)] for k in range(n)], float)
    return credit, force


TRUNCATED = [
    PES(**ES, **LOCKSTEP),
    NRES(**ES, **LOCKSTEP),
    NRES(**ES, **LOCKSTEP, period=2),
    ESSingle(**ES, truncation=LENGTH),
    TruncatedES(**ES, **LOCKSTEP),
]


@pytest.mark.parametrize("objective", [FINAL, ALONG], ids=["final", "along"])
@pytest.mark.parametrize("estimator", TRUNCATED, ids=lambda e: f"{e.name}-{e.reuse}")
def test_mean_and_variance_of_truncated_estimators(estimator, objective):
    """To leading order in sigma an estimate of truncation k is n/N sum_i (u_k.z_i)(v_k.z_i) with
    z ~ N(0, I): mean n u.v, variance n^2/N (|u|^2 |v|^2 + (u.v)^2). Within 4 standard errors."""
    n, blocks = STEPS // LENGTH, 1500
    a = parts(objective)
    credit, force = distinct(estimator)
    if isinstance(estimator, TruncatedES):
        a = np.diag(np.diag(a))  # what came before the truncation is held still
    v = a @ force
    grads = draw(estimator, n * blocks, problem(objective))[0][:, 0].reshape(blocks, n)
    dots = (credit * v).sum(1)
    mean, error = grads.mean(1).mean(), grads.mean(1).std() / np.sqrt(blocks)
    assert abs(mean - dots.sum()) < 4 * error + 2e-3 * abs(dots.sum())
    assert error < 0.03 * abs(dots.sum())
    variance = n**2 / PAIRS * ((credit**2).sum(1) * (v**2).sum(1) + dots**2)
    spread = ((grads - grads.mean(0)) ** 2).mean(0)
    fourth = ((grads - grads.mean(0)) ** 4).mean(0)
    doubt = np.sqrt((fourth - spread**2) / blocks)
    assert np.all(np.abs(spread - variance) <= 4 * doubt + 1e-2 * variance)
    full = a_sum = parts(objective).sum()
    if isinstance(estimator, TruncatedES):
        assert abs(mean - full) > 20 * error
    else:
        # Unbiased for the whole run, however it is cut.
        assert abs(mean - a_sum) < 4 * error + 2e-3 * abs(a_sum)


def test_mean_and_variance_of_full_es():
    """Mean a = dL/dlr; variance 2 a^2 / N."""
    a = parts(FINAL).sum()
    grads = draw(FullES(**ES, shortest=1.0), 3000)[0][:, 0]
    error = grads.std() / np.sqrt(len(grads))
    assert abs(grads.mean() - a) < 4 * error + 2e-3 * abs(a)
    # The relative standard error of a variance of chi-squared means is about 4 %.
    np.testing.assert_allclose(grads.var(), 2 * a**2 / PAIRS, rtol=0.15)


def test_full_es_is_unbiased_for_the_smoothed_gradient():
    """With a large sigma: E[L(lr + sigma z) z] / sigma by quadrature, within 3 standard errors."""
    sigma = 0.02
    z, w = np.polynomial.hermite_e.hermegauss(64)
    losses = np.log(0.5 * (START * (1 - LR - sigma * z) ** STEPS) ** 2 + 1 + FLOOR)
    want = np.sum(w * losses * z) / sigma / np.sqrt(2 * np.pi)
    assert abs(want / parts(FINAL).sum() - 1) > 0.02  # smoothing shows
    grads = draw(FullES(pairs=64, sigma=sigma, **HORIZON, shortest=1.0), 3000)[0][:, 0]
    assert abs(grads.mean() - want) < 3 * grads.std() / np.sqrt(len(grads))


@pytest.mark.parametrize("objective", [FINAL, ALONG, Objective(0.5, 0.3, 0.2, 0.1)])
def test_backprop_is_exact(objective):
    """Equal runs: the derivative itself; against a central difference of the unroll in float64."""

    def loss(lr):
        p = START * (1 - lr) ** np.arange(STEPS + 1)
        l = np.log(0.5 * p**2 + 1 + FLOOR)  # noqa: E741
        plain = 0.5 * p[:STEPS] ** 2 + 1
        return (
            objective.valid * l[-1]
            + objective.last * np.log(plain[-1:].mean() + FLOOR)
            + objective.mean * np.log(plain.mean() + FLOOR)
            + objective.steps * l[:STEPS].mean()
        )

    want = (loss(LR + 1e-6) - loss(LR - 1e-6)) / 2e-6
    grads, losses, _ = draw(Backprop(tasks=4, **HORIZON), 2, problem(objective))
    np.testing.assert_allclose(grads[:, 0], want, rtol=1e-5)
    np.testing.assert_allclose(losses, loss(LR), rtol=1e-5)


@pytest.mark.slow  # compiling the backward pass takes a minute or two
@pytest.mark.parametrize("optimizer", [GatedAdam(2, 2), PerParamMLP(2)], ids=lambda o: o.name)
def test_backprop_through_learned_optimizers_is_their_finite_difference(optimizer):
    """On an MLP whose biases start at zero, where square roots have no derivative."""
    family = FamilySpec(PROBLEMS["mlp"](widths=(8, 8), depths=(1, 1), max_width=8), "wine", 8)
    system = problem(Objective(0.0, 0.0, 0.0, 1.0), family.build(), optimizer)
    theta = optimizer.init(jax.random.key(1))
    flat, unravel = ravel_pytree(theta)
    estimator = Backprop(tasks=2, horizon=(4, 4))
    estimate = jax.jit(
        lambda theta: estimator.estimate(system, theta, (), jax.random.key(0), jnp.int32(0))[0]
    )
    grad, _ = ravel_pytree(estimate(theta).grad)
    assert np.isfinite(grad).all()
    along = grad / jnp.linalg.norm(grad)
    step = 0.02 if optimizer.name == "gated_adam" else 0.5
    losses = [float(estimate(unravel(flat + s * step * along)).loss) for s in (1, -1)]
    want = (losses[0] - losses[1]) / (2 * step)
    np.testing.assert_allclose(float(jnp.linalg.norm(grad)), want, rtol=0.03)


def test_backprop_clips_each_run_and_leaves_out_what_is_not_finite():
    grads, _, _ = draw(Backprop(tasks=4, **HORIZON, clip=0.25), 1)
    np.testing.assert_allclose(np.abs(grads[0, 0]), 0.25, rtol=1e-5)
    nan = problem(optimizer=LearnedSGD(explode=True))
    theta = {"lr": jnp.asarray(0.45)}
    grads, losses, bad = draw(Backprop(tasks=4, **HORIZON), 1, nan, theta)
    assert grads[0, 0] == 0.0
    assert bad[0] == 4
    assert losses[0] == pytest.approx(np.log(4 + FLOOR))


@pytest.mark.parametrize("objective", [FINAL, ALONG])
def test_tbptt_is_the_derivative_within_truncations(objective):
    """Once the staggered first runs are over, any three estimates in a row of a run sum to it."""
    want = np.trace(parts(objective))
    estimator = TBPTT(tasks=4, **HORIZON, truncation=LENGTH)
    grads = draw(estimator, 9, problem(objective))[0][:, 0]
    np.testing.assert_allclose(grads[3:].reshape(2, 3).mean(1), want, rtol=1e-4)
    assert abs(want / parts(objective).sum() - 1) > 0.3


@pytest.mark.parametrize("make", [PES, NRES, ESSingle], ids=lambda cls: cls.name)
def test_one_truncation_is_full_es_to_rounding(make):
    """Same keys, same perturbations, same tasks: the same estimate, every time."""
    noisy = problem(Objective(1.0, 0.5, 0.2, 0.3), Quadratics(jnp.asarray(2.0), noisy=True))
    whole = FullES(pairs=8, sigma=0.1, horizon=(7, 7), shortest=1.0)
    cut = make(pairs=8, sigma=0.1, horizon=(7, 7), truncation=7)
    one, two = (draw(estimator, 3, noisy) for estimator in (whole, cut))
    np.testing.assert_allclose(one[0], two[0], rtol=2e-5)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-6)


def test_truncated_es_is_biased_on_influence_balancing_and_pes_is_not():
    """Tallec & Ollivier's system: over five steps u seems to help, in the long run it hurts."""
    horizon, length = 150, 5
    whole, within = influence_gradients(horizon, length)
    assert whole > 0 > within
    objective = Objective(valid=0.0, mean=0.0, steps=1.0, log=False)
    system = problem(objective, influence_family(), InfluenceOptimizer())
    theta = {"u": jnp.zeros(())}
    settings = {"pairs": 512, "sigma": 1e-3, "horizon": (horizon, horizon)}
    blocks = 30
    for make, want in ((TruncatedES, within), (PES, whole), (NRES, whole)):
        estimator = make(**settings, truncation=length, stagger=False)
        n = horizon // length
        grads = draw(estimator, n * blocks, system, theta)[0][:, 0].reshape(blocks, n).mean(1)
        error = grads.std() / np.sqrt(blocks)
        assert abs(grads.mean() - want) < 3.5 * error + 1e-2 * abs(want)
        assert error < 0.25 * abs(want)
    # The gradient of this problem is none of its loss, and its effect differentiates all the same.
    for estimator, want in (
        (Backprop(tasks=2, horizon=(horizon, horizon)), whole),
        (TBPTT(tasks=2, horizon=(horizon, horizon), truncation=length, stagger=False), within),
    ):
        n = 1 if estimator.name == "backprop" else horizon // length
        grads = draw(estimator, n, system, theta)[0][:, 0]
        np.testing.assert_allclose(grads.mean(), want, rtol=1e-4)


def test_staggered_pairs_do_not_march_in_step_and_lose_no_step():
    estimator = PES(pairs=64, sigma=SIGMA, horizon=(100, 100), truncation=10)
    system = problem()
    state = estimator.init(system, THETA, jax.random.key(0))
    step = jax.jit(lambda s, t: estimator.estimate(system, THETA, s, jax.random.key(1), t)[1])
    for t in range(25):
        state = step(state, jnp.int32(t))
    phases = np.asarray(state.pairs.episode.t)
    counts = np.bincount(phases // 10)[1:]
    assert np.sum(counts > 0) >= 8
    assert counts.max() < 32
    assert np.all(np.asarray(state.pairs.episode.horizon) == 100)
    assert phases.min() >= 10


@pytest.mark.parametrize("unbiased", [True, False])
def test_resumed_runs_go_on_where_they_were(unbiased):
    """Runs of 5 steps resumed once: the second leg's gradient is that of 10 steps if unbiased, of
    its own 5 alone if not."""
    resume = Continuation(share=1.0, slots=1, longest=6, unbiased=unbiased)
    estimator = PES(
        pairs=PAIRS, sigma=SIGMA, horizon=(5, 5), truncation=5, stagger=False, resume=resume
    )
    grads, losses, _ = draw(estimator, 2, seed=3)
    p = START * (1 - LR) ** 10
    np.testing.assert_allclose(losses[1], np.log(0.5 * p**2 + 1 + FLOOR), rtol=1e-2)
    count = 1500
    keys = jax.random.split(jax.random.key(9), count)

    @jax.jit
    def second(key):
        first_key, next_key = jax.random.split(key)
        state = estimator.init(system, THETA, key)
        _, state = estimator.estimate(system, THETA, state, first_key, jnp.int32(0))
        return estimator.estimate(system, THETA, state, next_key, jnp.int32(1))[0].grad["lr"]

    system = problem()
    found = np.asarray(jax.lax.map(second, keys), np.float64)
    slope = -p / (0.5 * p**2 + 1 + FLOOR) * START * (1 - LR) ** 9
    want = slope * (10 if unbiased else 5)
    error = found.std() / np.sqrt(count)
    assert abs(found.mean() - want) < 4 * error + 2e-3 * abs(want)
    assert error < 0.05 * abs(want)
    assert np.isfinite(grads).all()


def test_runs_are_taken_up_again_as_often_as_asked_and_no_further_than_allowed():
    resume = Continuation(share=0.8, slots=2, longest=20)
    estimator = NRES(
        pairs=256, sigma=SIGMA, horizon=(10, 10), truncation=10, stagger=False, resume=resume
    )
    system = problem()
    state = estimator.init(system, THETA, jax.random.key(0))
    step = jax.jit(
        lambda s, t: estimator.estimate(
            system, THETA, s, jax.random.fold_in(jax.random.key(1), t), t
        )[1]
    )
    horizons = []
    for t in range(12):
        state = step(state, jnp.int32(t))
        horizons.append(np.asarray(state.pairs.episode.horizon))
    assert np.all(horizons[0] == 10)
    late = np.concatenate(horizons[2:])
    # A run of 10 steps, resumed once, has 20: the most that may not be resumed again.
    assert sorted(set(late.tolist())) == [10, 20]
    # Bernoulli(0.8): 2,560 draws have a standard error of 0.008.
    assert abs((late > 10).mean() - 0.8) < 0.04


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


def test_horizons_are_log_uniform_and_grow_with_the_curriculum():
    plain, growing = Horizons(10, 1000), Horizons(10, 1000, curriculum=100)
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.vmap(lambda k: plain.draw(k, jnp.int32(0)))(keys))
    assert 10 <= drawn.min() < 10.2
    assert 980 < drawn.max() <= 1000
    # Uniform logarithms: standard deviation log(100)/sqrt(12) = 1.33, standard error 0.021.
    assert abs(np.log(drawn).mean() - np.log(100)) < 0.07
    for step, high in ((0, 10), (50, 100), (100, 1000), (500, 1000)):
        drawn = np.asarray(jax.vmap(lambda k, s=step: growing.draw(k, jnp.int32(s)))(keys))
        assert drawn.max() <= high * 1.001
        assert drawn.max() >= high * 0.97
    # Mean number of truncations: against 4,000 draws, standard error about 1.5 %.
    drawn = np.asarray(jax.vmap(lambda k: plain.draw(k, jnp.int32(0)))(keys))
    want = np.maximum(1, np.round(drawn / 20)).mean()
    np.testing.assert_allclose(plain.truncations(20, jnp.int32(0)), want, rtol=0.06)


def test_the_signal_of_estimates_is_told_from_their_noise():
    """|mean|^2 = 4 and 50 coordinates of variance 9; bounds are five standard errors of each."""
    noise = 3 * np.random.default_rng(0).standard_normal((400, 50))
    signal, rest = split(noise + np.eye(50)[0] * 2)
    # var(signal) = 4 |mean|^2 s^2 / n + 2 s^4 D / n^2, var(noise) = 2 s^4 D / n and a little more
    assert abs(signal - 4) < 5 * np.sqrt(4 * 4 * 9 / 400 + 2 * 81 * 50 / 400**2)
    assert abs(rest - 450) < 5 * np.sqrt(2 * 81 * 50 / 400 + 0.5)
    assert split(np.array([[2.0, 0.0], [2.0, 0.0]])) == (4.0, 0.0)
