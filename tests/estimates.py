"""An estimator at a theta that does not move: shared by the tests of estimators."""

import jax
import jax.numpy as jnp
import numpy as np
from problems import FINAL, FLOOR, LearnedSGD, Quadratics, mesh

from learned_opt.meta_train import MetaProblem, Objective

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
