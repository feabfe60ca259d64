"""The step size that `small` chooses on three tasks, as a picture.

Of a matrix: root mean square of the update over 0.2, that of its direction. Of a vector: over that
of Adam's step at learning rate 1. Dashed: the schedule, the step size if no tensor had its own.

python docs/pictures/step_sizes.py [OUT.svg]
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import learned_opt
from learned_opt.eval.cost._trace import CLASSES, trace
from learned_opt.tasks import EvalTask, load_suite

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


def step_sizes(task: EvalTask) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of one training with `small`: steps, and what it chose at each of them."""
    artifact = learned_opt.load("small")
    tx = learned_opt.learned(artifact, num_steps=task.horizon)
    schedule = artifact.optimizer.schedule(artifact.theta, num_steps=task.horizon)
    seen = trace(task, tx, seed=0)
    return seen.steps, {
        "matrices": seen.update[:, CLASSES.index("matrices")] / RMS,
        "vectors": seen.rate[:, CLASSES.index("vectors")],
        "schedule": np.array([schedule(step - 1) for step in seen.steps]),
    }


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
