"""The guard: with any learned optimizer never much worse than its fallback, nor than a good one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from races import (
    ALWAYS,
    BAD,
    FACTORS,
    PROBLEMS,
    STEPS,
    WINDOW,
    Kind,
    Problem,
    all_kinds,
    assert_late,
    bad,
    by_then,
    fallback_alone,
    guard,
    run,
    run_kinds,
)

from learned_opt import GatedAdam, with_fallback


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("kind", ALWAYS)
def test_a_bad_optimizer_leaves_the_fallback_as_it_is_but_late(name, kind):
    got = all_kinds(name)[kind]
    assert not got.leads[-1]
    assert_late(got, fallback_alone(name))
    assert np.isfinite(got.losses).all()


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("kind", BAD)
def test_never_worse_than_the_fallback_with_fewer_steps(name, kind):
    """Final loss at most that of the fallback alone after steps - bound - longest windows."""
    got, fallback = all_kinds(name)[kind], fallback_alone(name).losses
    assert got.losses[-1] <= fallback[by_then()] * 1.001
    assert got.losses[-1] <= FACTORS.get(name, 1.6) * fallback[-1]
    assert not got.leads[-1]
    # Not a claim about harmless optimizers: without the guard they all do worse.
    assert not all_kinds(name, guarded=False)[kind].losses[-1] <= got.losses[-1]


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_good_optimizer_keeps_its_speed(name):
    got = all_kinds(name)["good"]
    assert got.leads.all()
    assert_late(got, all_kinds(name, guarded=False)["good"])
    assert int(got.state.wasted) <= 0.1 * STEPS
    assert got.losses[-1] < fallback_alone(name).losses[-1]


def test_an_optimizer_that_improves_gets_the_lead_back():
    problem = PROBLEMS["quadratic-1000"]

    def init(params):
        return jnp.zeros((), jnp.int32)

    def update(updates, steps, params=None):
        good, _ = problem.good.update(updates, problem.good.init(params), params)
        return jax.tree.map(lambda u: jnp.where(steps < 150, -u, u), good), steps + 1

    got = run(guard(optax.GradientTransformation(init, update), problem.fallback), problem)
    assert not got.leads[150]
    assert got.leads[-1]
    assert got.losses[-1] < 1e-3 * fallback_alone("quadratic-1000").losses[-1]


def test_a_slow_rise_is_taken_back_to_the_best():
    """By 0.8 % a step, too little for `rise` to notice before the next race."""
    got = run_kinds("quadratic-1", {"creeps": Kind(60, 0.004, 0.0)})["creeps"]
    lost = int(np.argmin(got.leads))
    lowest, last = got.losses[:lost].min(), got.losses[lost - 1]
    assert 1.1 * lowest < last < 2 * lowest
    assert got.losses[lost] < 1.1 * lowest  # the best at the end of a window


def test_the_way_back_from_far_is_exact():
    """One step of 1e6, found out at once: the parameters are the best ones again."""
    start = {"x": jnp.array([1.0, 1e-3, -7.0])}
    jump = optax.stateless(lambda u, _: {"x": jnp.array([1e6, -1e6, 1e6])})
    tx = with_fallback(jump, optax.sgd(1e-3), window=3)
    problem = Problem(lambda p: jnp.sum(p["x"] ** 2), start, None, None)
    got = run(tx, problem, steps=12)
    assert np.abs(got.path["x"]).max() > 9e5
    assert not got.leads[-1]
    kept = 12 - int(got.state.wasted)
    np.testing.assert_allclose(got.path["x"][-1], start["x"] * (1 - 2e-3) ** kept, rtol=1e-5)


def test_a_gradient_that_is_not_finite_is_skipped_while_the_fallback_leads():
    problem = PROBLEMS["quadratic-30"]
    tx = guard(bad(problem.good, BAD["nan"]), problem.fallback)

    @jax.jit
    def step(params, state, poison):
        value, grads = jax.value_and_grad(problem.loss)(params)
        grads["x"] = grads["x"].at[2].add(poison)
        return tx.update(grads, state, params, value=value)

    params, state = problem.start, tx.init(problem.start)
    while state.learned_leads or state.phase != 0 or state.back > 0:
        updates, state = step(params, state, 0.0)
        params = optax.apply_updates(params, updates)
    updates, after = step(params, state, np.nan)
    np.testing.assert_array_equal(updates["x"], 0)
    jax.tree.map(
        np.testing.assert_array_equal, (state.learned, state.left), (after.learned, after.left)
    )
    assert int(after.wasted) == int(state.wasted) + 1
    updates, _ = step(params, after, 0.0)
    assert np.all(np.asarray(updates["x"]) < 0)


def test_a_loss_that_is_not_finite_does_not_stop_the_fallback():
    kinds = {"freezes": BAD["freezes"]}
    got = run_kinds("quadratic-30", kinds, steps=200, shift=np.inf)["freezes"]
    want = fallback_alone("quadratic-30").path["x"][199 - int(got.state.wasted)]
    np.testing.assert_allclose(got.path["x"][-1], want, rtol=1e-4)
    assert int(got.state.wasted) < 40


def test_losses_may_be_negative():
    kinds = {k: BAD[k] for k in ("ascends", "freezes", "diverges-later")}
    for got in run_kinds("quadratic-30", kinds, shift=-100.0).values():
        assert got.losses[-1] <= fallback_alone("quadratic-30").losses[by_then()]


def test_with_noise():
    """Batches of one, 8 seeds: expected loss within 10 % of the fallback's, 60 % for any seed."""
    fallback, good, start = optax.sgd(0.02), optax.sgd(0.1), {"x": jnp.full(4, 3.0)}

    def expected_loss(tx, key):
        tx = optax.with_extra_args_support(tx)

        def step(carry, key):
            params, state = carry
            off = params["x"] - 0.5 * jax.random.normal(key, (4,))
            updates, state = tx.update({"x": off}, state, params, value=0.5 * jnp.sum(off**2))
            return (optax.apply_updates(params, updates), state), 0.5 * jnp.sum(params["x"] ** 2)

        _, losses = jax.lax.scan(step, (start, tx.init(start)), jax.random.split(key, STEPS))
        return 0.5 + losses[-50:].mean()

    @jax.jit
    def losses(keys):
        def one(kind, key):
            return expected_loss(guard(bad(good, kind), fallback, window=30), key)

        rows = Kind(*(jnp.asarray(column) for column in zip(*BAD.values(), strict=True)))
        guarded = jax.vmap(jax.vmap(one, (None, 0)), (0, None))(rows, keys)
        return guarded, jax.vmap(functools.partial(expected_loss, fallback))(keys)

    guarded, alone = losses(jax.random.split(jax.random.key(3), 8))
    assert np.all(guarded.mean(1) < 1.1 * alone.mean())
    assert np.all(guarded < 1.6 * alone[None])


def test_jit_vmap_donation_and_one_trace():
    problem, traces = PROBLEMS["rosenbrock"], 0
    tx = guard(problem.good, problem.fallback)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        nonlocal traces
        traces += 1
        value, grads = jax.value_and_grad(problem.loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state

    starts = {"x": jnp.array([-1.0, 0.3]), "y": jnp.array([1.5, 0.0])}
    ends = []
    for i in range(2):
        params = {k: jnp.array(x[i]) for k, x in starts.items()}
        state = tx.init(params)
        for _ in range(40):
            params, state = step(params, state)
        ends.append(params)
    assert traces == 1

    def whole(params):
        return jax.lax.scan(lambda c, _: (step(*c), None), (params, tx.init(params)), length=40)[0]

    together, _ = jax.jit(jax.vmap(whole))(starts)
    for key in starts:
        want = [end[key] for end in ends]
        np.testing.assert_allclose(together[key], want, rtol=1e-4)


def test_a_learned_optimizer_of_this_package_keeps_dtypes():
    """Shapes and types only, of the updates and of a state that a scan can carry."""
    optimizer = GatedAdam()
    theta = optimizer.init(jax.random.key(0))
    learned = optax.chain(optimizer.transform(theta, num_steps=100), optax.scale(-1.0))
    tx = with_fallback(learned, optax.sgd(0.1), num_steps=jnp.asarray(100), window=5)
    params = {"w": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.ones(())}
    first = jax.eval_shape(tx.init, params)
    updates, state = jax.eval_shape(
        lambda p, s: tx.update(p, s, p, value=jnp.array(1.0, jnp.bfloat16)), params, first
    )
    assert jax.tree.map(lambda u: u.dtype, updates) == jax.tree.map(lambda p: p.dtype, params)
    assert jax.tree.structure(first) == jax.tree.structure(state)
    kinds = [[(x.dtype, x.shape) for x in jax.tree.leaves(s)] for s in (first, state)]
    assert kinds[0] == kinds[1]


def test_no_race_starts_near_the_end():
    problem = PROBLEMS["quadratic-30"]
    learned = bad(problem.good, BAD["ascends"])
    bound, free = (
        np.asarray(run(guard(learned, problem.fallback, num_steps=n, longest=1), problem).phases)
        for n in (STEPS, None)
    )
    assert set(bound[-WINDOW:]) == {0}
    assert set(bound[: -4 * WINDOW]) == set(free[-4 * WINDOW :]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 1}, "window must be an integer of at least 2, got 1"),
        ({"window": 2.5}, r"window must be an integer of at least 2, got 2\.5"),
        ({"longest": 0}, "longest must be an integer of at least 1, got 0"),
        ({"longest": True}, "longest must be an integer of at least 1, got True"),
        ({"rise": 1.0}, r"rise must be a number above 1, got 1\.0"),
        ({"rise": "2"}, "rise must be a number above 1, got '2'"),
        ({"num_steps": 0}, "num_steps must be a positive integer, got 0"),
        ({"num_steps": 79}, "at least 4 windows of 20 steps, got 79; pass a shorter window"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        with_fallback(optax.sgd(0.1), optax.sgd(0.1), **options)


def test_the_loss_must_be_given_and_a_scalar():
    tx, params = with_fallback(optax.sgd(0.1), optax.sgd(0.1)), {"x": jnp.ones(2)}
    state = tx.init(params)
    assert tx.update({}, tx.init({}), {}, value=1.0)[0] == {}
    with pytest.raises(ValueError, match=r"got none; call update\(grads, state, params, value="):
        tx.update(params, state, params)
    with pytest.raises(
        ValueError, match=r"value must be a scalar, got shape \(2,\); pass the mean"
    ):
        tx.update(params, state, params, value=jnp.ones(2))
    with pytest.raises(ValueError, match="params must be passed"):
        tx.update(params, state, value=1.0)
