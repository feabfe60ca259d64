"""The step size that `small` chooses on three tasks, as a picture.

Of a matrix: root mean square of the update over 0.2, that of its direction. Of a vector: over that
of Adam's step at learning rate 1. Dashed: the schedule, the step size if no tensor had its own.

python docs/pictures/step_sizes.py [OUT.svg]
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

import learned_opt
from learned_opt.eval.running import eval_steps
from learned_opt.tasks import EvalTask, begin_run, load_suite, run_step

TASKS = {
    "An MLP learns digits": ("quickstart", "digits-mlp-32"),
    "A transformer learns text": ("META_VALID_V7", "stdlib-16-transformer"),
    "An MLP fits waves": ("META_VALID_V3", "waves-mlp"),
}
COLOURS = {"matrices": "#2e6f9e", "vectors": "#b4531a", "schedule": "#5b6570"}
PAPER = "#fbfbf9"
STYLE = {"svg.hashsalt": "learned-opt", "svg.fonttype": "none", "font.size": 11}
RMS = 0.2
"""Of a matrix's direction."""


def tasks() -> dict[str, EvalTask]:
    """Title -> task."""
    return {
        title: next(task for task in load_suite(suite) if task.name == name)
        for title, (suite, name) in TASKS.items()
    }


class Watched(NamedTuple):
    """State of the optimizer, of the Adam beside it, and the step sizes of the last update."""

    inner: optax.OptState
    adam: optax.OptState
    sizes: dict[str, jax.Array]


def watch(tx: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """The same updates, with their step sizes in the state."""
    adam = optax.scale_by_adam()

    def init(params: Any) -> Watched:
        sizes = {"matrices": jnp.zeros(()), "vectors": jnp.zeros(())}
        return Watched(tx.init(params), adam.init(params), sizes)

    def update(grads: Any, state: Watched, params: Any = None, **extra: Any) -> Any:
        steps, adam_state = adam.update(grads, state.adam)
        updates, inner = tx.update(grads, state.inner, params, **extra)
        matrices = rms([x for x in jax.tree.leaves(updates) if x.ndim >= 2])
        vectors, theirs = (
            rms([x for x in jax.tree.leaves(tree) if x.ndim < 2]) for tree in (updates, steps)
        )
        sizes = {"matrices": matrices / RMS, "vectors": vectors / theirs}
        return updates, Watched(inner, adam_state, sizes)

    return optax.GradientTransformationExtraArgs(init, update)


def rms(leaves: list[jax.Array]) -> jax.Array:
    """Over all elements of all of them."""
    return jnp.sqrt(sum(jnp.sum(x * x) for x in leaves) / sum(x.size for x in leaves))


def step_sizes(task: EvalTask) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of one training with `small`: steps, and what it chose at each of them."""
    artifact = learned_opt.load("small")
    tx = watch(learned_opt.learned(artifact, num_steps=task.horizon))
    schedule = artifact.optimizer.schedule(artifact.theta, num_steps=task.horizon)
    key = jax.random.key(0)

    @jax.jit
    def run(family: Any, member: Any) -> Any:
        def body(state: Any, t: jax.Array) -> Any:
            state, _ = run_step(family, tx, state, key, t)
            return state, state.opt_state.sizes

        start = begin_run(member, tx, key)
        return jax.lax.scan(body, start, jnp.arange(task.horizon))[1]

    steps = np.unique(eval_steps(task.horizon))
    sizes = {name: np.array(x)[steps - 1] for name, x in run(task.family, task.member).items()}
    return steps, sizes | {"schedule": np.array([schedule(step - 1) for step in steps])}


def draw(tasks: dict[str, EvalTask], path: str | Path) -> None:
    """All tasks, side by side, into a file."""
    figure = Figure(figsize=(10.5, 3.4), layout="constrained", facecolor=PAPER)
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axes, (title, task) in zip(panels, tasks.items(), strict=True):
        steps, found = step_sizes(task)
        for name, sizes in found.items():
            line = "--" if name == "schedule" else "-"
            axes.plot(steps, sizes, line, color=COLOURS[name], linewidth=1.8, label=name)
            print(f"{title}: {name} at most {np.nanmax(sizes):.3f}")
        axes.set(title=title, xlabel="step", yscale="log", ylim=(1e-4, 0.3), facecolor=PAPER)
        axes.grid(color="#e4e7ea")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("step size")
    panels[0].legend(frameon=False, loc="lower left")
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(tasks(), sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg"))
