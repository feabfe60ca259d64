"""Lines to paste into a training script: the optimizer that an owner is told to use."""

import itertools
from pathlib import Path

from .._report import Report
from .._report_tasks import TaskReport

CALLS = {
    "adam": "optax.adam({lr})",
    "adamw": "optax.adamw({lr}, weight_decay={wd}{mask})",
    "nadamw": "optax.nadamw({lr}, weight_decay={wd}{mask})",
    "lion": "optax.lion({lr}, weight_decay={wd}{mask})",
}
"""Those that are one call of optax; all others are built as they ran."""

NOTES = {
    "momo_adam": "# Its update needs the loss: tx.update(grads, state, params, value=loss)",
    "schedule_free": "# Evaluate, and keep, row.eval_params(state, params) instead of params.",
}
"""What a training loop must do besides, by row."""

MASK = ", mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)"
"""Biases and norms are not decayed."""

FROM = "# The path is from the folder of the command; give all of it elsewhere."


def code(report: Report, task: TaskReport, name: str) -> str:
    """Python that makes `tx`, as the optimizer ran on the task, with what it imports."""
    steps = task.horizon
    if name == "learned":
        return _learned(report, steps)
    if name.startswith("rival:"):
        return _artifact(_rival(report, name), steps)
    row = name.removesuffix("_calibrated").removesuffix("_default")
    hyper = dict.fromkeys(("lr", "wd", "cosine", "extra"), 0.0) | task.results[name].hyper
    if row in CALLS:
        return _call(CALLS[row], f"{hyper['lr']:g}", hyper["wd"] or 0.0, hyper["cosine"], steps)
    setting = ", ".join(f"{key}={value:g}" for key, value in hyper.items() if value is not None)
    lines = [
        "from learned_opt.eval import BASELINES, Hyper\n",
        f'row = next(row for row in BASELINES if row.name == "{name.removesuffix("_calibrated")}")',
        f"tx = row.transform(Hyper({setting}), {steps})",
    ]
    return "\n".join([*lines, *([NOTES[row]] if row in NOTES else [])])


def _learned(report: Report, steps: int) -> str:
    subject = report.subject
    if subject.kind == "artifact":
        given = report.arguments[0] if report.arguments else ""
        return _artifact(subject.name if given.startswith("-") or not given else given, steps)
    module, _, function = (subject.identity or "").partition(":")
    return f"from {module} import {function}\n\ntx = {function}({steps})"


def _artifact(name: str, steps: int) -> str:
    line = f'import learned_opt\n\ntx = learned_opt.learned("{name}", num_steps={steps})'
    is_file = name.endswith(".safetensors") and not Path(name).is_absolute()
    return f"{line}\n{FROM}" if is_file else line


def _rival(report: Report, name: str) -> str:
    """As the command named it; its title where that is not known."""
    title, words = name.removeprefix("rival:").split(" ")[0], report.arguments
    given = [value for flag, value in itertools.pairwise(words) if flag == "--rival"]
    given += [word.removeprefix("--rival=") for word in words if word.startswith("--rival=")]
    return next((value for value in given if Path(value).stem == title), title)


def _call(form: str, lr: str, wd: float, cosine: float | None, steps: int) -> str:
    """A call of optax, its schedule before it, its imports before that."""
    masked = wd and "{mask}" in form
    needed = {"import jax": masked, "import jax.numpy as jnp": cosine, "import optax\n": True}
    imports = [line for line, there in needed.items() if there]
    made = form.format(lr="schedule" if cosine else lr, wd=f"{wd:g}", mask=MASK if masked else "")
    schedule = [_schedule(lr, steps)] if cosine else []
    return "\n".join([*imports, *schedule, f"tx = {made}"])


def _schedule(lr: str, steps: int) -> str:
    warm = max(1.0, 0.05 * steps)
    return (
        "\ndef schedule(t):\n"
        f"    ramp = jnp.minimum(1, (t + 1) / {warm:g})\n"
        f"    return {lr} * ramp * (1 + jnp.cos(jnp.pi * jnp.minimum(1, t / {steps}))) / 2\n\n"
    )
