"""Lines to paste into a training script: the optimizer that an owner is told to use."""

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


def code(report: Report, task: TaskReport, name: str) -> str:
    """Python that makes `tx`, as the optimizer ran on the task."""
    steps = task.horizon
    if name == "learned":
        return _learned(report, steps)
    row = name.removesuffix("_calibrated").removesuffix("_default")
    hyper = dict.fromkeys(("lr", "wd", "cosine", "extra"), 0.0) | task.results[name].hyper
    if row in CALLS:
        lr, wd = f"{hyper['lr']:g}", hyper["wd"] or 0.0
        call = CALLS[row]
        if not hyper["cosine"]:
            return f"tx = {call.format(lr=lr, wd=f'{wd:g}', mask=MASK if wd else '')}"
        made = call.format(lr="schedule", wd=f"{wd:g}", mask=MASK if wd else "")
        return f"{_schedule(lr, steps)}\ntx = {made}"
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
        name = subject.name if given.startswith("-") or not given else given
        return f'tx = learned_opt.learned("{name}", num_steps={steps})'
    module, _, function = (subject.identity or "").partition(":")
    return f"from {module} import {function}\n\ntx = {function}({steps})"


def _schedule(lr: str, steps: int) -> str:
    warm = max(1.0, 0.05 * steps)
    return (
        "def schedule(t):\n"
        f"    ramp = jnp.minimum(1, (t + 1) / {warm:g})\n"
        f"    return {lr} * ramp * (1 + jnp.cos(jnp.pi * jnp.minimum(1, t / {steps}))) / 2\n"
    )
