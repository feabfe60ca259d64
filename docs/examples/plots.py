"""Run the example scripts and draw their training losses: the figures of their pages.

python docs/examples/plots.py
"""

import importlib
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
SCRIPTS = ("flax_nnx_classifier", "haiku_language_model", "equinox_regression")
COLOURS = {"learned": "#d9480f", "AdamW, 3e-3, cosine": "#3b5bdb"}


def smoothed(losses: list[float]) -> np.ndarray:
    """Means of the last 20 steps, or of as many as there are."""
    sums = np.cumsum(np.insert(losses, 0, 0.0))
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(0, ends - 20)
    return (sums[ends] - sums[starts]) / (ends - starts)


def draw(found: dict[str, tuple[float, list[float]]], path: Path) -> None:
    """Both curves in one figure, with the held-out losses in its legend."""
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "learned-opt", "font.size": 10}
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name, (held_out, losses) in found.items():
        label = f"{name}: {held_out:.3f} held out"
        axes.plot(np.arange(1, len(losses) + 1), smoothed(losses), COLOURS[name], label=label)
    axes.set(xlabel="step", ylabel="training loss, mean of 20 steps", yscale="log")
    axes.grid(which="both", color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    for script in SCRIPTS:
        draw(importlib.import_module(script).main(), HERE / f"{script}.svg")
