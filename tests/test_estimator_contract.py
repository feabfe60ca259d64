"""What holds for every meta-gradient estimator, on any number of devices; evosax; mistakes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from estimates import (
    ALONG,
    HORIZON,
    LR,
    START,
    STEPS,
    THETA,
    draw,
    problem,
)
from problems import (
    FLOOR,
    LearnedSGD,
    Quadratics,
)

from learned_opt.meta_train import (
    ESTIMATORS,
    NRES,
    PES,
    TBPTT,
    Backprop,
    Blend,
    Continuation,
    Evosax,
    FullES,
    Objective,
)
from learned_opt.meta_train.estimators._evosax import strategies


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.name)
class TestContract:
    """What holds for every estimator."""

    def make(self, cls, **more):
        small = {cls.unit: 8, "horizon": (10, 20)}
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
            rows = estimator.lanes
            assert all(x.shape[0] == rows for x in jax.tree.leaves(state))

    def test_descends(self, cls):
        """From lr 0.05 towards 1, the best."""
        estimator, system = self.make(cls), problem(Objective(1.0, 0.0, 0.1, 0.5))
        outer = optax.adam(0.03) if estimator.outer else optax.sgd(1.0)

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
        with pytest.raises(ValueError, match=f"{cls.unit} must be from 1 to 1,000,000, got 0"):
            self.make(cls, **{cls.unit: 0})
        with pytest.raises(ValueError, match=r"1 <= low <= high <= 100,000,000, got \[9, 5\]"):
            self.make(cls, horizon=(9, 5))


def test_estimates_do_not_depend_on_the_number_of_devices():
    """Two devices against one; 8 devices and 2 processes: tests/test_devices.py."""
    family = Quadratics(jnp.asarray(2.0), noisy=True)
    for estimator in (
        FullES(pairs=8, horizon=(2, 9)),
        PES(pairs=8, horizon=(4, 9), truncation=2),
        TBPTT(tasks=8, horizon=(4, 9), truncation=2),
        Backprop(tasks=8, horizon=(4, 9)),
        Blend(pairs=8, horizon=(2, 9), exact=5, scale="family"),
        NRES(pairs=8, horizon=(4, 9), truncation=2, scale="family"),
    ):
        one = draw(estimator, 4, problem(ALONG, family, devices=1))
        many = draw(estimator, 4, problem(ALONG, family, devices=2))
        np.testing.assert_allclose(one[0], many[0], rtol=1e-5)
        np.testing.assert_allclose(one[1], many[1], rtol=1e-6)


def follow(strategy, generations, population=16):
    """Theta after some generations from lr 0.05, with 1 the best."""
    estimator, system = (
        Evosax(strategy=strategy, population=population, sigma=0.05, **HORIZON),
        problem(),
    )

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
        (lambda: PES(truncation=0), "truncation must be from 1 to 100,000,000, got 0"),
        (lambda: NRES(period=-1), "period must be from 0 to 1,000,000,000, got -1"),
        (lambda: FullES(shortest=1.5), "shortest must be from 1e-06 to 1, got 1.5"),
        (lambda: FullES(clip=-1.0), r"clip must be from 0 to 1e\+09, got -1.0"),
        (lambda: Continuation(share=2.0), "share must be from 0 to 1, got 2.0"),
        (lambda: Evosax(strategy="CMAES"), "got 'CMAES'; did you mean 'CMA_ES'"),
        (lambda: Objective(0.0, 0.0, 0.0, 0.0), "nothing is earned"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    assert dataclasses.replace(PES(), pairs=3).pairs == 3
