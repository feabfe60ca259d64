"""Anyone's function num_steps -> optax.GradientTransformation, as what is judged."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from learned_opt._modules import blame, import_name

from ..running import factory_identity
from ._subject import Subject

STEPS = 100
"""A function is first asked for an optimizer of this many steps."""

Make = Callable[[Any], optax.GradientTransformationExtraArgs]
"""Number of steps -> a complete optimizer."""


def factory_subject(where: str) -> Subject:
    """The function `factory` of "module:factory", the module found from the working directory too.

    Raises:
      ValueError: no such module or function, or it does not build an optimizer. Whatever else the
        function or its optimizer raises later becomes a ValueError of one sentence too.
    """
    factory = import_name(where, "--optimizer", "mine.rules:fast_sgd", "MODULE:FUNCTION")
    name = where.partition(":")[2]
    identity = factory_identity(factory)
    make = functools.partial(_build, where, factory)
    make(STEPS)
    traced = takes_traced(make)
    free = ignores_horizon(make, traced=traced)
    return Subject(name, "factory", identity, make, {}, free, traced)


def takes_traced(make: Make) -> bool:
    """Whether it builds an optimizer, and that runs, for a number of steps that is traced.

    Many schedules of optax do not, nor does any Python of the number, `int(0.1 * num_steps)` say.
    """
    try:
        jax.eval_shape(functools.partial(_updates, make), jnp.int32(STEPS))
    except Exception:
        return False
    return True


def ignores_horizon(make: Make, *, traced: bool = True) -> bool:
    """Whether the updates are the same whatever the number of steps: tried, not proved.

    The same 40 gradients go to the optimizer for 32 steps and to that for 3,200: its warm-up, its
    decay and what it does at the horizon would all show. An optimizer that cannot be tried, because
    it wants parameters of its own kind, counts as one that is told the number of steps.
    """
    run = jax.jit(functools.partial(_updates, make), static_argnums=() if traced else 0)
    try:
        short, long = (run(jnp.int32(n) if traced else n) for n in (32, 3200))
    except Exception:
        return False
    pairs = zip(jax.tree.leaves(short), jax.tree.leaves(long), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _updates(make: Make, steps: Any) -> Any:
    """The updates of 40 random gradients of a small layer."""
    draw = functools.partial(jax.random.normal, jax.random.key(0))
    params = {"layer": {"w": draw((4, 3)), "b": draw((3,))}}
    grads = {"layer": {"w": draw((40, 4, 3)), "b": draw((40, 3))}}
    tx = make(steps)

    def step(carry: Any, grad: Any) -> Any:
        params, state = carry
        update, state = tx.update(grad, state, params, value=jnp.ones(()))
        return (optax.apply_updates(params, update), state), update

    return jax.lax.scan(step, (params, tx.init(params)), grads)[1]


def _build(
    where: str, factory: Callable[[Any], Any], steps: Any
) -> optax.GradientTransformationExtraArgs:
    """What the function gives; all that goes wrong in it is a ValueError of one sentence."""
    number = "a traced number of" if isinstance(steps, Tracer) else steps
    with _blamed(
        f"--optimizer {where}",
        f", called with {number} steps; it must take the number of steps and return an "
        "optax.GradientTransformation",
    ):
        made = factory(steps)
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(
            f"--optimizer {where} must return an optax.GradientTransformation for a number of "
            f"steps, got {type(made).__name__}"
        )
    tx = optax.with_extra_args_support(made)

    def init(params: Any) -> Any:
        with _blamed(
            f"the init of the optimizer of --optimizer {where}",
            "; it must take parameters, a nested dict of arrays, and return a state",
        ):
            return tx.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        with _blamed(
            f"the update of the optimizer of --optimizer {where}",
            "; it must take gradients, a state and parameters, and return updates and a state",
        ):
            new, new_state = tx.update(updates, state, params, **extra)
            _check_like("updates", new, updates, dtypes=False)
            _check_like("state", new_state, state, dtypes=True)
            return new, new_state

    return optax.GradientTransformationExtraArgs(init, update)


@contextlib.contextmanager
def _blamed(who: str, wanted: str) -> Iterator[None]:
    """What is raised inside becomes one sentence on a function of somebody's."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(f"{who} raised {blame(error)}{wanted}") from error


def _check_like(name: str, new: Any, old: Any, *, dtypes: bool) -> None:
    """A TypeError unless a tree has the structure, shapes and dtypes of what it takes the place of.

    In a compiled loop it must, and JAX says so in many lines.
    """

    def kinds(tree: Any) -> Any:
        leaves, structure = jax.tree.flatten(tree)
        types = [x.dtype if hasattr(x, "dtype") else jnp.result_type(x) for x in leaves]
        return structure, [jnp.shape(x) for x in leaves], dtypes and types

    if kinds(new) != kinds(old):
        what = "structure, shape or dtype" if dtypes else "structure or shape"
        raise TypeError(f"its {name} had another {what} before the update")
