"""Rows of the ladder step by step against their papers, in float64 (`reference_baselines`)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference_baselines as reference

from learned_opt.eval import BASELINES, Hyper
from learned_opt.eval.baselines import COSINE, warmup_cosine

ROWS = {row.name: row for row in BASELINES}
DEFAULTS = [row for row in BASELINES if not row.tuned and row.name != "adam_default"]
NUM_STEPS, STEPS = 40, 30

TUNED = {name: getattr(reference, name) for name in ("nadamw", "adan", "laprop", "adafactor")}
UNTUNED = {
    row.name: reference.ademamix(NUM_STEPS)
    if row.name == "ademamix"
    else getattr(reference, row.name)
    for row in DEFAULTS
}


def problem(steps=STEPS):
    """A matrix and a bias, gradients towards a point, losses."""
    rng = np.random.default_rng(3)
    draw = lambda *lead: {  # noqa: E731
        "w": rng.normal(size=(*lead, 4, 3)).astype(np.float32),
        "b": rng.normal(size=(*lead, 3)).astype(np.float32),
    }
    # They agree in direction, so that distances grow and estimates of them are exercised.
    common, noise = draw(), draw(steps)
    grads = jax.tree.map(lambda c, n: c + 0.3 * n, common, noise)
    return draw(), grads, np.linspace(2.0, 1.5, steps).astype(np.float32)


def walked(row, hyper, params, grads, losses):
    """Parameters after each step; every number is traced."""

    def run(hyper, num_steps, grads, losses):
        tx = row.transform(hyper, num_steps)

        def step(carry, now):
            params, state = carry
            grad, loss = now
            updates, state = tx.update(grad, state, params, value=loss)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        start = jax.tree.map(lambda x: jnp.asarray(x, float), params)
        return jax.lax.scan(step, (start, tx.init(start)), (grads, losses))[1]

    # optax's own code divides floats by integers.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        given = jax.tree.map(np.float64, (grads, losses))
        return jax.jit(run)(Hyper(*map(np.float64, hyper)), np.int32(NUM_STEPS), *given)


def steps_of(grads):
    return [{n: x[t] for n, x in grads.items()} for t in range(len(grads["w"]))]


@pytest.mark.parametrize("name", [*UNTUNED, *TUNED])
def test_a_row_takes_the_steps_of_its_paper(name):
    row = ROWS[name]
    hyper = row.default._replace(lr=0.01, wd=0.1, cosine=COSINE) if row.tuned else row.default
    params, grads, losses = problem()
    unit = warmup_cosine(NUM_STEPS)
    rates = [hyper.lr * float(unit(t)) if hyper.cosine else hyper.lr for t in range(STEPS)]
    want = (UNTUNED | TUNED)[name](params, steps_of(grads), losses, rates)
    got = walked(row, hyper, params, grads, losses)
    for t, after in enumerate(want):
        before = want[t - 1] if t else params
        for n in params:
            # Schedules are in float32, all else in float64.
            moved = np.abs(after[n] - before[n]).max()
            np.testing.assert_allclose(got[n][t], after[n], rtol=0, atol=1e-4 * moved + 1e-12)
    assert np.abs(want[-1]["w"] - params["w"]).max() > 0.01


def test_optax_looks_ahead_by_less_than_the_paper_of_adan():
    """Why the row has a rule of its own; when this fails, it can be optax's."""
    tx, ours = optax.scale_by_adan(), ROWS["adan"].transform(Hyper(1.0), 10)
    params, grads, _ = problem(2)
    start = jax.tree.map(jnp.asarray, params)
    states, made = [tx.init(start), ours.init(start)], []
    with jax.numpy_dtype_promotion("standard"):
        for grad in steps_of(grads):
            one, states[0] = tx.update(grad, states[0], start)
            two, states[1] = ours.update(grad, states[1], start)
            made.append((one["w"], -two["w"]))
    np.testing.assert_allclose(*made[0], rtol=1e-5)
    assert np.abs(made[1][0] - made[1][1]).max() > 0.01
