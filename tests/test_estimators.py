"""Meta-gradients against closed forms: mean, variance, bias, what is credited to what."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from problems import (
    FINAL,
    FLOOR,
    InfluenceOptimizer,
    LearnedSGD,
    Quadratics,
    influence_family,
    influence_gradients,
    mesh,
)

from learned_opt import Nominal, PerParamMLP
from meta_train import (
    ESTIMATORS,
    NRES,
    PES,
    TBPTT,
    Backprop,
    ESSingle,
    Evosax,
    FullES,
    Horizons,
    MetaProblem,
    Objective,
    Resume,
    TruncatedES,
)
from meta_train.estimators._evosax import strategies
from tasks import PROBLEMS, FamilySpec

FAMILY = Quadratics(jnp.asarray(2.0))
THETA = {"lr": jnp.asarray(0.05)}
LR, STEPS, LENGTH, START = 0.05, 15, 5, 2.0
ALONG = Objective(valid=0.0, mean=0.0, steps=1.0)
PAIRS = 16
SIGMA = 0.002  # so small that smoothing by it changes nothing at the tests' accuracy
HORIZON = {"horizon": (STEPS, STEPS)}
ES = {"pairs": PAIRS, "sigma": SIGMA, **HORIZON}
LOCKSTEP = {"truncation": LENGTH, "stagger": False}


def problem(objective=FINAL, family=FAMILY, optimizer=None, devices=2):
    return MetaProblem(family, optimizer or LearnedSGD(), objective, mesh(devices))


def draw(estimator, count, problem=None, theta=THETA, seed=0):
    """`count` successive estimates at a theta that does not move: gradients (count, size)."""
    problem = problem or globals()["problem"]()

    @jax.jit
    def run(key):
        init_key, key = jax.random.split(key)
        state = estimator.init(problem, theta, init_key)

        def body(state, t):
            found, state = estimator.estimate(problem, theta, state, jax.random.fold_in(key, t), t)
            return state, (jnp.concatenate(jax.tree.leaves(jax.tree.map(jnp.ravel, found.grad))),
                           found.loss, found.nonfinite)  # fmt: skip

        return jax.lax.scan(body, state, jnp.arange(count))[1]

    return [np.asarray(x, np.float64) for x in run(jax.random.key(seed))]


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
@pytest.mark.parametrize("optimizer", [Nominal(2, 2), PerParamMLP(2)], ids=lambda o: o.name)
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
    step = 0.02 if optimizer.name == "nominal" else 0.5
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
    resume = Resume(share=1.0, slots=1, longest=6, unbiased=unbiased)
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
    resume = Resume(share=0.8, slots=2, longest=20)
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


def test_sign_and_clip_shape_the_difference():
    losses = jnp.asarray([[3.0, 1.0], [1.0, 1.5], [1.0, 1.0]])
    half = {"sigma": 0.5}  # 2 sigma^2 = 0.5
    np.testing.assert_allclose(PES(**half).weight(losses), [4.0, -1.0, 0.0])
    np.testing.assert_allclose(PES(**half, sign=True).weight(losses), [2.0, -2.0, 0.0])
    np.testing.assert_allclose(PES(**half, clip=0.75).weight(losses), [1.5, -1.0, 0.0])


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


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.name)
class TestContract:
    """What holds for every estimator."""

    def make(self, cls, **more):
        small = {cls.rows: 8, "horizon": (10, 20)}
        if hasattr(cls(), "truncation"):
            small["truncation"] = 5
        if cls is Evosax:
            small |= {"strategy": "SNES", "sigma": 0.05}
        return cls(**small | more)

    def test_equal_settings_are_equal(self, cls):
        assert self.make(cls) == self.make(cls)
        assert hash(self.make(cls)) == hash(self.make(cls))
        assert self.make(cls) != self.make(cls, horizon=(10, 21))

    def test_the_state_keeps_its_types_and_nothing_compiles_twice(self, cls):
        estimator, system, traces = self.make(cls), problem(), 0
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            rows = jax.sharding.PartitionSpec(*(["lanes"] if estimator.row_state else []))
            layout = jax.sharding.NamedSharding(system.mesh, rows)
            whole = jax.sharding.NamedSharding(system.mesh, jax.sharding.PartitionSpec())
            init = jax.jit(
                lambda: estimator.init(system, THETA, jax.random.key(0)), out_shardings=layout
            )
            state = init()

            @functools.partial(jax.jit, out_shardings=(whole, layout))
            def estimate(theta, state, key, t):
                nonlocal traces
                traces += 1
                return estimator.estimate(system, theta, state, key, t)

            def types(state):
                return jax.tree.map(
                    lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), state
                )

            shapes = [types(state)]
            for t in range(3):
                found, state = estimate(THETA, state, jax.random.key(t), jnp.int32(t))
                shapes.append(types(state))
        assert traces == 1
        assert all(shape == shapes[0] for shape in shapes)
        assert jax.tree.structure(found.grad) == jax.tree.structure(THETA)
        assert np.isfinite(found.loss)
        assert float(found.inner_steps) > 0
        if estimator.row_state:
            rows = getattr(estimator, estimator.rows)
            assert all(x.shape[0] == rows for x in jax.tree.leaves(state))

    def test_descends(self, cls):
        """From lr 0.05 towards 1, the best."""
        estimator, system = self.make(cls), problem(Objective(1.0, 0.0, 0.1, 0.5))
        outer = optax.sgd(1.0) if estimator.direct else optax.adam(0.03)

        @jax.jit
        def train():
            state = estimator.init(system, THETA, jax.random.key(0))

            def body(carry, t):
                theta, state, opt_state = carry
                key = jax.random.fold_in(jax.random.key(1), t)
                found, state = estimator.estimate(system, theta, state, key, t)
                updates, opt_state = outer.update(found.grad, opt_state, theta)
                return (optax.apply_updates(theta, updates), state, opt_state), found.loss

            carry = (THETA, state, outer.init(THETA))
            return jax.lax.scan(body, carry, jnp.arange(40))

        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            (theta, *_), losses = train()
        # After 15 steps p is under 2 x 0.7^15 = 0.01 instead of 2 x 0.95^15 = 0.93.
        assert float(theta["lr"]) > 0.3
        assert np.isfinite(losses).all()

    def test_bad_settings_are_named(self, cls):
        with pytest.raises(ValueError, match=f"{cls.rows} must be positive, got 0"):
            self.make(cls, **{cls.rows: 0})
        with pytest.raises(ValueError, match=r"1 <= low <= high, got \[9, 5\]"):
            self.make(cls, horizon=(9, 5))


@pytest.mark.parametrize("devices", [1, 2])
def test_estimates_do_not_depend_on_the_number_of_devices(devices):
    """Against one device; 8 devices and 2 processes: tests/test_devices.py."""
    family = Quadratics(jnp.asarray(2.0), noisy=True)
    for estimator in (
        FullES(pairs=8, horizon=(2, 9)),
        PES(pairs=8, horizon=(4, 9), truncation=2),
        TBPTT(tasks=8, horizon=(4, 9), truncation=2),
        Backprop(tasks=8, horizon=(4, 9)),
    ):
        one = draw(estimator, 4, problem(ALONG, family, devices=1))
        many = draw(estimator, 4, problem(ALONG, family, devices=devices))
        np.testing.assert_allclose(one[0], many[0], rtol=1e-5)
        np.testing.assert_allclose(one[1], many[1], rtol=1e-6)


def follow(strategy, generations, population=16):
    """Theta after some generations from lr 0.05, with 1 the best."""
    estimator, system = Evosax(strategy, population=population, sigma=0.05, **HORIZON), problem()

    @jax.jit
    def run():
        def body(carry, t):
            theta, state = carry
            key = jax.random.fold_in(jax.random.key(2), t)
            found, state = estimator.estimate(system, theta, state, key, t)
            return (jax.tree.map(lambda a, b: a - b, theta, found.grad), state), found.loss

        theta = {"lr": jnp.full(8, LR)}
        state = estimator.init(system, theta, jax.random.key(0))
        return jax.lax.scan(body, (theta, state), jnp.arange(generations))

    system = dataclasses.replace(system, optimizer=PairedSGD())
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        (theta, _), losses = run()
    return np.asarray(theta["lr"]), np.asarray(losses)


@dataclasses.dataclass(frozen=True)
class PairedSGD(LearnedSGD):
    """The mean of eight meta-parameters as learning rate: some strategies need several."""

    def transform(self, theta, *, num_steps=None):
        return super().transform({"lr": theta["lr"].mean()}, num_steps=num_steps)


@pytest.mark.parametrize("strategy", ["Open_ES", "SNES", "CMA_ES", "PSO", "DifferentialEvolution"])
def test_strategies_of_evosax_meta_train(strategy):
    """From 0.36 of meta-loss to under a tenth of it in 30 generations."""
    lr, _ = follow(strategy, 30)
    assert abs(np.log(0.5 * (START * (1 - lr.mean()) ** STEPS) ** 2 + 1 + FLOOR)) < 0.036


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted(strategies()))
def test_every_strategy_of_evosax_runs(strategy):
    """Three generations in one scan; those that need arguments of their own are not listed."""
    lr, losses = follow(strategy, 3)
    assert np.isfinite(lr).all()
    assert np.isfinite(losses).all()


def test_wrong_settings_of_single_estimators():
    for make, message in (
        (lambda: PES(truncation=0), "truncation must be positive, got 0"),
        (lambda: NRES(period=-1), "period must be at least 0, got -1"),
        (lambda: FullES(shortest=1.5), r"shortest must be in \(0, 1\], got 1.5"),
        (lambda: FullES(clip=-1.0), "clip must be at least 0, got -1.0"),
        (lambda: Resume(share=2.0), r"resume.share must be in \[0, 1\], got 2.0"),
        (lambda: Evosax(strategy="CMAES"), "got 'CMAES'; did you mean 'CMA_ES'"),
        (lambda: Objective(0.0, 0.0, 0.0, 0.0), "one of them above it"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    assert dataclasses.replace(PES(), pairs=3).pairs == 3
