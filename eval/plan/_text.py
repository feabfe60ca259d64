"""A plan for people."""

from collections.abc import Sequence

from learned_opt.tasks import EvalTask, parameter_count

from ..running import span
from ._extent import LEVELS
from ._plan import Plan, Row


def plan_text(plan: Plan, tasks: Sequence[EvalTask]) -> str:
    """How many runs of whom, how long, what memory, and what a budget leaves out."""
    lines = [_task(plan, task) for task in tasks]
    untuned = [row for row in plan.rows if row.untuned]
    together = Row(
        f"{len(untuned)} others, untuned",
        sum(row.runs for row in untuned),
        sum(row.seconds for row in untuned),
        sum(row.compiling for row in untuned),
        True,
    )
    rows = [*(row for row in plan.rows if not row.untuned), *([together] if untuned else [])]
    width = max(len(row.label) for row in rows)
    for row in rows:
        took = span(row.seconds + row.compiling)
        lines.append(f"  {row.label:{width}}  {_runs(row.runs):>10}  {took:>8}")
    at_once = "Two optimizers run" if plan.at_once > 1 else "One optimizer runs"
    lines.append(
        f"In all {_runs(plan.runs)}, about {span(plan.seconds)}, of which compiling "
        f"{span(plan.compiling)}. {at_once} at a time."
    )
    lines.append(f"Memory: about {plan.memory / 2**30:.2g} GiB.")
    if plan.budget is not None:
        left = "; ".join(plan.extent.left_out) or "nothing is left out"
        lines.append(f"Budget {span(plan.budget)}: level {plan.level} of {len(LEVELS)}: {left}.")
    return "\n".join(lines)


def _task(plan: Plan, task: EvalTask) -> str:
    probes, size = plan.probes[task.name], parameter_count(task.member)
    parts = [f"{task.name}: {size:,} parameter{'s' * (size > 1)}, {task.horizon:,} steps"]
    for name, who in (("adamw", "AdamW"), ("learned", "the learned one")):
        cost = probes[name]
        alone, many = (
            cost.seconds(task.horizon, timed.width, curves=True) / timed.width
            for timed in (cost.alone, cost.wide)
        )
        text = f"a run of {who} takes {alone:.2g} s with its evaluations"
        if cost.wide.width > 1:
            text += f", or {many:.2g} s where {cost.wide.width} run side by side"
        parts.append(text)
    return "; ".join(parts)


def _runs(count: int) -> str:
    return f"{count:,} run{'s' * (count != 1)}"
