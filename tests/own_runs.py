"""A module of one's own, and evaluations on its tasks that are made up."""

import io
import os
from pathlib import Path

import rich.console
from made_runs import TASK

import learned_opt.eval._own as own
from learned_opt.eval import Runner, evaluate
from learned_opt.eval.baselines import ADAMW
from learned_opt.eval.cost import Cost
from learned_opt.eval.plan import Probe
from learned_opt.tasks import Timed

MODULE = """
import jax.numpy as jnp
import numpy as np
from learned_opt.tasks import from_functions

x = np.linspace(-1, 1, 900, dtype=np.float32)[:, None]


def init(key):
    return {"w": jnp.zeros((1, 1))}


def loss(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2) + 0.1


def below(params, batch):
    return loss(params, batch) - 10.0


def lost(params, batch):
    return loss(params, batch) * jnp.nan


data = {"x": x, "y": 3 * x}
line = from_functions(init, loss, data, batch_size=32, valid=0.5, num_steps=60)
negative = from_functions(init, below, data, batch_size=32, valid=0.5)
infinite = from_functions(init, lost, data, batch_size=32, valid=0.5)
small = from_functions(init, loss, data, batch_size=32, valid=0.2)
both = [line, small]
"""


def timed(width, step, evaluation, memory=1000):
    return Timed(width, step, evaluation, 4.0, 1.0, memory)


def probes(step=0.01, memory=1000, name="task"):
    fast = Probe(timed(1, step, 0.1, memory), timed(5, 2 * step, 0.3, memory), (100, 50, 1000))
    return {name: {"learned": fast, ADAMW.name: fast}}


def make_up(patch, recorder, kinds):
    """Runs, probes and costs; `kinds`: probes, of which the last counts."""

    def cost(task, optimizers, *, seconds):
        return {name: Cost(100.0 * (1 + i), 1, 1, 0.5, 2.0, 1000, 10, 1.0, 5)
                for i, name in enumerate(optimizers)}  # fmt: skip

    patch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    patch.setattr(own, "probe", lambda task, runs: kinds[-1][task.name])
    patch.setattr(own, "cache_folder", lambda: Path(os.devnull))
    patch.setattr(own, "check_start", lambda task: "")
    patch.setattr(own, "measure_task", cost)


def judge(subject, out, tasks=(TASK,), **options):
    text = io.StringIO()
    console = rich.console.Console(file=text, width=500)
    return evaluate(subject, out=out, tasks=tasks, console=console, **options), text.getvalue()
