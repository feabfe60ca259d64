"""What a run would cost, from its own programs and a short probe of each."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import rich.console

from ._memory import fits, size_text
from ._plan import Plan, fact_lines, print_lines, table, training_steps
from ._programs import Programs

PART = 10
"""A judge is timed on that part of its steps."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """Costs of the rest of a run; seconds and rates are of the moment, on this machine.

    Attributes:
      names: of the families; `rates`: inner steps a second of each, by itself; `shares`: of the
        time of an outer step.
      programs: compiled for all; `kept`: those of them that were found on disk.
      compile_seconds: until outer steps could be taken and theta be judged.
      outer_seconds: of an outer step; `valid_seconds`: of a meta-validation.
      rate: inner steps a second of an outer step.
      memory: bytes of an outer step on one device.
      hours: to the end of the run; `valid_share`: of these for meta-validation.
    """

    names: tuple[str, ...]
    rates: tuple[float, ...]
    shares: tuple[float, ...]
    programs: int
    kept: int
    compile_seconds: float
    outer_seconds: float
    valid_seconds: float
    rate: float
    memory: int
    hours: float
    valid_share: float


@fits()
def probe_run(plan: Plan) -> Probe:
    """Compile what the run needs and time one outer step, or of one family a log interval.

    Judges are timed on a tenth of their steps. The run finds the programs on disk.

    Raises:
      ConfigError: the run does not fit into memory.
    """
    tick = time.perf_counter()
    with contextlib.closing(Programs(*plan.setup, plan.config.run.log_every)) as programs:
        return _probed(plan, programs, tick)


def _probed(plan: Plan, programs: Programs, tick: float) -> Probe:
    config, (trainer, problems, judges) = plan.config, plan.setup
    steps = config.run.outer_steps
    programs.compile()
    programs.compile_judges()
    compile_seconds = time.perf_counter() - tick
    # First: the steps of one family use the start up.
    valid_seconds = sum(_judge_seconds(programs, i) for i in range(len(judges)))
    memory, state, rates = programs.memory(), programs.start, []
    for i in range(len(problems)):
        tick = time.perf_counter()
        if len(problems) == 1:
            inner = jax.block_until_ready(programs.steps(state))[0].inner_steps
        else:
            inner = jax.block_until_ready(programs.estimate(i, state))[0].inner_steps
        rates.append(float(inner) / (time.perf_counter() - tick))
    each = [
        training_steps(one, config) / rate
        for one, rate in zip(trainer.estimators, rates, strict=True)
    ]
    left = max(0.0, 1 - plan.done / steps)
    training, valid = left * steps * sum(each), left * plan.valids * valid_seconds
    return Probe(
        names=tuple(source.name for source in config.sources),
        rates=tuple(rates),
        shares=tuple(one / sum(each) for one in each),
        programs=sum(plan.programs),
        kept=programs.loaded,
        compile_seconds=compile_seconds,
        outer_seconds=sum(each),
        valid_seconds=valid_seconds,
        rate=plan.inner_steps / sum(each),
        memory=memory,
        hours=(training + valid) / 3600,
        valid_share=valid / max(training + valid, 1e-9),
    )


def _judge_seconds(programs: Programs, i: int) -> float:
    """What judge number i would take: what one step takes and, of the others, a part."""
    judge = programs.judges[i]
    horizon = int(judge.horizon)
    steps = min(horizon, 1 + -(-horizon // PART))
    one, some = (_timed(programs, i, count) for count in (1, steps))
    return one + (max(0.0, some - one) * (horizon - 1) / (steps - 1) if steps > 1 else 0.0)


def _timed(programs: Programs, i: int, steps: int) -> float:
    judge = programs.judges[i]
    some: Any = dataclasses.replace(judge, horizon=jnp.full_like(judge.horizon, steps))
    tick = time.perf_counter()
    jax.block_until_ready(programs.score(i, some, programs.start.theta))
    return time.perf_counter() - tick


def print_probe(probe: Probe, console: rich.console.Console) -> None:
    """For people: a line a family, then a line a fact."""
    print_lines(_lines(probe), console)


def _lines(probe: Probe) -> Iterable[str]:
    rows = [
        [name, f"{rate:,.0f}", f"{share:.0%}"]
        for name, rate, share in zip(probe.names, probe.rates, probe.shares, strict=True)
    ]
    digits = "2g" if probe.hours < 10 else "0f"
    yield from ["", *table([["family", "inner steps/s", "time"], *rows]), ""]
    yield from fact_lines(
        {
            "compiled": f"{probe.programs:,} programs in {probe.compile_seconds:,.0f} s, of which "
            f"{probe.kept:,} were found on disk",
            "speed": f"{probe.rate:,.0f} inner steps/s, {probe.outer_seconds:,.3g} s an outer "
            f"step, {probe.valid_seconds:,.3g} s a meta-validation",
            "memory, compiled": f"{size_text(probe.memory)} on each device",
            "to the end": f"{probe.hours:,.{digits}} hours, {probe.valid_share:.0%} of it "
            "meta-validation",
        }
    )
