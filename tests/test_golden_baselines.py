"""What every version of a baseline computes: changed values need a new version.

The version is in the keys of its runs, those that ship among them; without a new one they would
count as runs of what the row computes now.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from learned_opt.eval import BASELINES, Hyper

STEPS = 4
GOLDEN = {
    ("adam_default", 1): [-0.720742, -0.112228, 1.02697, -0.873808, 0.0666601, 0.887128],
    ("adam", 1): [-0.720742, -0.112228, 1.02697, -0.873808, 0.0666601, 0.887128],
    ("adamw", 1): [-0.720742, -0.112228, 1.02697, -0.778682, 0.0552193, 0.803151],
    ("lion", 1): [-0.723735, -0.132105, 1.02251, -0.786149, -0.112078, 0.783465],
    ("adabelief", 1): [-0.722394, -0.110316, 1.02546, -0.793113, 0.0734242, 0.789901],
    ("muon", 1): [-0.712585, -0.126633, 1.03716, -0.698351, 0.0484471, 0.882326],
    ("sgdm", 1): [-0.745682, -0.113032, 1.00342, -0.885469, 0.0439906, 0.506724],
    ("schedule_free", 1): [-0.712109, -0.125423, 1.03547, -0.732448, -0.0652905, 0.899131],
    ("nadamw", 1): [-0.722731, -0.113864, 1.02466, -0.796489, 0.0484471, 0.786075],
    ("adan", 1): [-0.711797, -0.125795, 1.03562, -0.70473, -0.0624094, 0.876035],
    ("laprop", 1): [-0.720073, -0.116838, 1.02796, -0.773712, 0.016174, 0.811355],
    ("adafactor", 1): [-0.715403, -0.131591, 1.02862, -0.730507, -0.102929, 0.833567],
    ("prodigy", 1): [-0.703735, -0.132105, 1.04251, -0.703736, -0.132104, 1.04251],
    ("dadapt_adamw", 1): [-0.703735, -0.132105, 1.04251, -0.703736, -0.132104, 1.04251],
    ("mechanic_adamw", 1): [-0.703735, -0.132105, 1.04251, -0.703735, -0.132105, 1.04251],
    ("momo_adam", 1): [-0.719138, -0.113372, 1.02835, -0.777762, -0.0409338, 0.975417],
    ("ademamix", 1): [-0.724007, -0.10576, 1.02231, -0.826585, 0.13134, 0.743712],
    ("adopt", 1): [-0.703304, -0.132798, 1.0436, -0.699428, -0.139031, 1.05337],
    ("dowg", 1): [-0.703761, -0.132096, 1.04249, -0.703988, -0.132017, 1.04224],
    ("cocob", 1): [-0.714416, -0.127705, 1.03159, -0.714416, -0.127705, 1.03159],
    ("schedule_free_default", 1): [-0.712109, -0.125423, 1.03547, -0.732508, -0.0652905, 0.899104],
}  # fmt: skip
"""Name, version -> three numbers of the least settings that are tuned, three of the most."""


def found(row):
    """With the least and with the most that is tuned, every number traced."""
    rng = np.random.default_rng(0)
    shapes = {"dense": {"w": (4, 3), "b": (3,)}, "embedding": {"w": (5, 2)}}

    def draw(*leading):
        return jax.tree.map(
            lambda shape: rng.normal(size=(*leading, *shape)).astype(np.float32),
            shapes,
            is_leaf=lambda x: isinstance(x, tuple),
        )

    params, grads = draw(), draw(STEPS)

    def after(hyper):
        tx = row.transform(hyper, jnp.int32(2 * STEPS))

        def step(carry, grad):
            params, state = carry
            updates, state = tx.update(grad, state, params, value=jnp.float32(1.0))
            return (optax.apply_updates(params, updates), state), ()

        (last, state), _ = jax.lax.scan(step, (params, tx.init(params)), grads)
        return row.eval_params(state, last)

    least = Hyper(0.01, 0.0, row.schedules[0], row.extras[0])
    most = Hyper(0.1, 0.3, row.schedules[-1], row.extras[-1])
    run = jax.jit(after)
    with jax.numpy_dtype_promotion("standard"):  # optax's own code divides floats by integers
        trees = [run(Hyper(*map(jnp.float32, hyper))) for hyper in (least, most)]
    return [
        float(x)
        for tree in trees
        for x in (tree["dense"]["w"][1, 2], tree["dense"]["b"][1], tree["embedding"]["w"][2, 0])
    ]


@pytest.mark.parametrize("row", BASELINES, ids=lambda row: row.name)
def test_a_version_of_a_baseline_computes_what_it_always_did(row):
    assert (row.name, row.version) in GOLDEN, "add the values of the new version"
    np.testing.assert_allclose(
        found(row), GOLDEN[row.name, row.version], rtol=1e-4, atol=1e-6,
        err_msg=f"{row.name} computes something else: raise its version, and its runs are new",
    )  # fmt: skip
