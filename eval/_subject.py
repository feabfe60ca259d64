"""What is judged: an artifact, or anyone's function num_steps -> optax.GradientTransformation."""

import dataclasses
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

import learned_opt
from learned_opt import Artifact

from ._keys import Identity, artifact_identity, factory_identity


@dataclasses.dataclass(frozen=True)
class Subject:
    """A complete optimizer that is told the number of steps and nothing else.

    Attributes:
      name: for people.
      kind: what it comes from.
      identity: what its runs depend on.
      make: number of steps (maybe traced) -> the optimizer, whose updates are added.
      card: provenance; empty for a factory.
      horizon_free: it never uses the number of steps.
    """

    name: str
    kind: Literal["artifact", "factory"]
    identity: Identity
    make: Callable[[Any], optax.GradientTransformationExtraArgs]
    card: dict[str, Any]
    horizon_free: bool = False

    @property
    def trials(self) -> int:
        """Settings that were tried on a task before this one was chosen, as the card says."""
        return int(self.card.get("trials", 0))

    @property
    def digest(self) -> str:
        """The hash that sets it apart."""
        facts = self.identity.facts
        return facts["artifact"] if self.kind == "artifact" else facts["source"]

    def to_json(self) -> dict[str, Any]:
        """As in `report.json`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "identity": self.digest if self.kind == "artifact" else self.identity.facts["factory"],
            "digest": self.digest,
            "card": self.card,
            "trials": self.trials,
            "horizon_free": self.horizon_free,
        }


def artifact_subject(artifact: Artifact) -> Subject:
    """A learned optimizer as it ships: no learning rate, no weight decay."""
    try:
        artifact.optimizer.transform(artifact.theta)
        horizon_free = True
    except ValueError:
        horizon_free = False
    return Subject(
        artifact.card.get("name", "learned"),
        "artifact",
        artifact_identity(artifact),
        lambda num_steps: learned_opt.learned(artifact, num_steps=num_steps),
        artifact.card,
        horizon_free,
    )


def factory_subject(where: str) -> Subject:
    """The function `factory` of "module:factory", the module found from the working directory too.

    Raises:
      ValueError: no such module or function, or it does not build an optimizer.
    """
    module, colon, name = where.partition(":")
    if not (module and colon and name):
        raise ValueError(
            f"--optimizer must be MODULE:FUNCTION, for example mine.rules:fast_sgd, got {where!r}"
        )
    sys.path.insert(0, "")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--optimizer {where} cannot be imported: {error}") from error
    finally:
        sys.path.remove("")
    identity = factory_identity(factory)
    made = factory(100)
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(
            f"--optimizer {where} must return an optax.GradientTransformation for a number of "
            f"steps, got {type(made).__name__}"
        )

    def make(steps: Any) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(factory(steps))

    return Subject(name, "factory", identity, make, {}, ignores_horizon(make))


def ignores_horizon(make: Callable[[Any], optax.GradientTransformationExtraArgs]) -> bool:
    """Whether the updates are the same whatever the number of steps: tried, not proved.

    The same 40 gradients go to the optimizer for 32 steps and to that for 3,200: its warm-up, its
    decay and what it does at the horizon would all show. An optimizer that cannot be tried, because
    it wants parameters of its own kind, counts as one that is told the number of steps.
    """
    draw = functools.partial(jax.random.normal, jax.random.key(0))
    params = {"layer": {"w": draw((4, 3)), "b": draw((3,))}}
    grads = {"layer": {"w": draw((40, 4, 3)), "b": draw((40, 3))}}

    def updates(steps: Any) -> Any:
        tx = make(steps)

        def step(carry: Any, grad: Any) -> Any:
            params, state = carry
            update, state = tx.update(grad, state, params, value=jnp.ones(()))
            return (optax.apply_updates(params, update), state), update

        return jax.lax.scan(step, (params, tx.init(params)), grads)[1]

    try:
        run = jax.jit(updates)
        short, long = run(jnp.int32(32)), run(jnp.int32(3200))
    except Exception:
        return False
    return all(
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(jax.tree.leaves(short), jax.tree.leaves(long), strict=True)
    )
