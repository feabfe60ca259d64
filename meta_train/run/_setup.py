"""From a configuration to what it describes: artifact, data, mesh, trainer, meta-validation."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from learned_opt import OPTIMIZERS, Artifact, ArtifactError, load
from learned_opt._fields import shown
from learned_opt.devices import device_mesh, kept_bytes
from learned_opt.tasks import AnySpec

from .._objective import Objective
from .._trainer import Judge, Trainer
from .._unroll import MetaProblem
from ..settings import Config, ConfigError
from ._memory import Need, check_memory, theta_shapes


class Setup(NamedTuple):
    """What a configuration describes, ready to be compiled."""

    trainer: Trainer
    problems: tuple[MetaProblem, ...]
    judges: tuple[Judge, ...]


def build(config: Config) -> Setup:
    """What is to be compiled; ConfigError if it cannot be had here, or cannot fit."""
    return build_and_need(config)[0]


def build_and_need(config: Config) -> tuple[Setup, Need]:
    """As `build`, and the largest need of memory."""
    setup = assemble(config)
    need = check_memory(*setup)
    if not config.objective.untrained:
        return setup, need
    theta = setup.trainer.theta
    problems = tuple(dataclasses.replace(one, untrained=theta) for one in setup.problems)
    judges = tuple(
        judge if judge.problem.untrained is None else
        dataclasses.replace(judge, problem=dataclasses.replace(judge.problem, untrained=theta))
        for judge in setup.judges
    )  # fmt: skip
    return Setup(setup.trainer, problems, judges), need


def assemble(config: Config) -> Setup:
    """Trainer, families and meta-validation, with no more than the shapes of the untrained theta.

    Raises:
      ConfigError: the artifact to start from, or some data, cannot be had, or does not fit; or
        LEARNED_OPT_PROGRAMS is no number of gigabytes.
    """
    try:
        kept_bytes()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if type(config.optimizer) not in OPTIMIZERS:
        raise ConfigError(
            "optimizer must be one of learned_opt.OPTIMIZERS, or it could not be exported, got "
            f"{shown(config.optimizer)}: add its class to them"
        )
    start, estimators, sizes = starting_artifact(config), config.estimators, _judge_sizes(config)
    lanes = [one.lanes for one in estimators]
    # One mesh for all of a run: its programs share their arrays.
    try:
        mesh = device_mesh(math.gcd(*lanes, *sizes))
    except ValueError as error:
        unit = config.estimator.unit
        raise ConfigError(f"estimator.{unit} and valid.tasks: {error}") from error

    def problem(spec: AnySpec, where: str) -> MetaProblem:
        try:
            family = spec.build().without_test()
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
        return MetaProblem(family, config.optimizer, config.objective, mesh, untrained=untrained)

    trainer = Trainer(
        config.optimizer,
        estimators,
        tuple(one / sum(lanes) for one in lanes),
        config.outer.build(config.run.outer_steps) if config.outer else optax.sgd(1.0),
        config.run.seed,
        start,
    )
    untrained = theta_shapes(config.optimizer) if config.objective.untrained else None
    untaught = [
        problem(source.spec, config.suite or f"{config.where(i)}.data")
        for i, source in enumerate(config.sources)
    ]
    judged = [(one, None, config.valid.horizon) for one in untaught]
    references = config.references or [None] * len(sizes)
    if config.judged:
        judged = [
            (problem(t.spec, "valid.suite"), t.member, min(t.horizon, config.valid.horizon))
            for t in config.judged
        ]
    key = jax.random.fold_in(jax.random.key(config.run.seed), 0x7A11D)
    judges = []
    for i, ((one, task, horizon), size, known) in enumerate(
        zip(judged, sizes, references, strict=True)
    ):
        rivals = None
        if known:  # The objective has no part in the score then.
            one = dataclasses.replace(one, objective=Objective(), untrained=None)
            rivals = jnp.asarray(known, jnp.float32)
        place = jax.random.fold_in(key, i)
        judges.append(Judge(one, task, jnp.int32(horizon), place, size, rivals))
    taught = tuple(dataclasses.replace(one, teacher=config.teacher) for one in untaught)
    return Setup(trainer, taught, tuple(judges))


def starting_artifact(config: Config) -> Artifact | None:
    """What the run starts from; ConfigError if it cannot be read or its theta does not fit."""
    if not config.run.start:
        return None
    try:
        found = load(config.run.start)
    except ArtifactError as error:
        raise ConfigError(f"run.start: {error}") from error
    shapes = [
        jax.eval_shape(o.init, jax.random.key(0)) for o in (found.optimizer, config.optimizer)
    ]
    if type(found.optimizer) is not type(config.optimizer) or shapes[0] != shapes[1]:
        raise ConfigError(
            "run.start must be an artifact whose theta fits [optimizer], "
            f"{config.optimizer}, got one of {found.optimizer}"
        )
    return found


def _judge_sizes(config: Config) -> list[int]:
    """Runs of each judge."""
    if config.judged:
        return [config.valid.tasks] * len(config.judged)
    count = len(config.sources)
    return [math.ceil(config.valid.tasks / count)] * count
