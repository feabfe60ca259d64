"""What `small` does wrong on a physics-informed network: python -m benchmarks.heat

u_t = u_xx / 10 on the unit square, u(0, x) = sin(2 pi x), u(t, 0) = u(t, 1) = 0 (Raissi et al.
2019), an MLP 2-16-16-16-1 with tanh, 128 new points a step, 1,500 steps, six seeds: geometric mean
of the loss on 2,048 points. No task of any suite; Burgers' equation of META_TEST_V1 is its kin.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import learned_opt
from checkpoints import describe_device
from learned_opt import Nominal
from learned_opt.optimizers._nominal_rule import LOG_GAIN

STEPS, SEEDS, POINTS, SIZES = 1500, 6, 128, (2, 16, 16, 16, 1)


def init(key: jax.Array) -> Any:
    """Weights of variance 1 / fan-in, biases of zero."""
    keys = jax.random.split(key, len(SIZES) - 1)
    shapes = zip(keys, SIZES, SIZES[1:], strict=False)
    return [(jax.random.normal(k, (a, b)) / np.sqrt(a), jnp.zeros(b)) for k, a, b in shapes]


def u(params: Any, t: jax.Array, x: jax.Array) -> jax.Array:
    """The network at scalars t and x."""
    h = jnp.stack([2 * t - 1, 2 * x - 1])
    for w, b in params[:-1]:
        h = jnp.tanh(h @ w + b)
    w, b = params[-1]
    return (h @ w + b)[0]


def loss(params: Any, points: jax.Array) -> jax.Array:
    """Mean squares of the equation, of the start and of the two sides, at points (n, 2)."""
    t, x = points.T
    at = lambda f, t, x: jax.vmap(f, (None, 0, 0))(params, *jnp.broadcast_arrays(t, x))  # noqa: E731
    equation = at(jax.grad(u, 1), t, x) - 0.1 * at(jax.grad(jax.grad(u, 2), 2), t, x)
    start = at(u, 0.0 * t, x) - jnp.sin(2 * jnp.pi * x)
    sides = at(u, t, 0.0 * x) ** 2 + at(u, t, 0.0 * x + 1) ** 2
    return jnp.mean(equation**2 + start**2 + sides)


def final_loss(make: Callable[[], optax.GradientTransformation]) -> float:
    """After STEPS steps of a complete optimizer, geometric mean over SEEDS seeds."""

    def one(seed):
        key = jax.random.key(seed)
        params, tx = init(key), optax.with_extra_args_support(make())

        def step(carry, i):
            params, state = carry
            points = jax.random.uniform(jax.random.fold_in(key, i + 1), (POINTS, 2))
            value, grads = jax.value_and_grad(loss)(params, points)
            updates, state = tx.update(grads, state, params, value=value)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), jnp.arange(STEPS))
        return loss(params, jax.random.uniform(jax.random.key(999), (2048, 2)))

    return float(jnp.exp(jnp.mean(jnp.log(jax.jit(jax.vmap(one))(jnp.arange(SEEDS))))))


def show(name: str, make: Callable[[], optax.GradientTransformation]) -> None:
    """Print a name and the final loss."""
    print(f"{name:40}{final_loss(make):.1e}", flush=True)


def rule(optimizer: learned_opt.LearnedOptimizer, theta: Any) -> optax.GradientTransformation:
    """What a theta computes, as an optimizer whose updates are added."""
    return optax.chain(optimizer.transform(theta, num_steps=STEPS), optax.scale(-1.0))


def main() -> None:
    """Steps and decay of `small` and of the untrained rule, beside AdamW and Muon."""
    print(f"Heat equation, loss after {STEPS} steps, {describe_device()}, jax {jax.__version__}\n")
    for times in (0.1, 0.3, 1.0, 3.0):
        tx = lambda t=times: learned_opt.learned("small", num_steps=STEPS, learning_rate=t)  # noqa: E731
        show(f"small, steps x {times}", tx)
    small = learned_opt.load("small")
    for times in (0.1, 1e-3):
        log_decay = small.theta["log_decay"] + np.log(times) / LOG_GAIN
        theta = small.theta | {"log_decay": log_decay}
        show(f"small, decay x {times}", lambda theta=theta: rule(small.optimizer, theta))
    for lr in (0.015, 0.05, 0.15):
        for decay in (0.1, 0.0):
            optimizer = Nominal(
                hidden=0, controller_hidden=0, learning_rate=lr, weight_decay=decay, orthogonal=True
            )
            theta = optimizer.init(jax.random.key(0))
            show(f"untrained, {lr}, decay {decay}", lambda o=optimizer, t=theta: rule(o, t))
    for lr in (3e-3, 1e-2, 3e-2):
        schedule = optax.cosine_decay_schedule(lr, STEPS)
        show(f"AdamW, cosine {lr}, no decay", lambda s=schedule: optax.adam(s))
        show(f"Muon, cosine {lr}, no decay", lambda s=schedule: optax.contrib.muon(s))


if __name__ == "__main__":
    main()
