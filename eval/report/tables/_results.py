"""Tables of results: final losses, all tasks pooled, task by task, every loss, variants."""

from ...statistics import Comparison
from .._html import estimate, named, speed, table, tag
from .._numbers import MISSING, escape, loss, number, percent, ratio, times
from .._report import Report
from .._report_tasks import TaskReport
from ..figures import LEAKAGE_COLOURS


def final_losses(report: Report) -> str:
    """T1: a row an optimizer, by kind: all tasks pooled, then median final losses task by task,
    tinted by who won.
    """
    groups = dict.fromkeys(task.leakage for task in report.tasks)
    tasks = [task for leakage in groups for task in report.tasks if task.leakage == leakage]
    first = {next(task.name for task in tasks if task.leakage == leakage) for leakage in groups}
    top = "".join(
        f'<th class="track" colspan="{sum(task.leakage == leakage for task in tasks)}"><i '
        f'style="background:{LEAKAGE_COLOURS.get(leakage, "#5b6570")}"></i>{escape(leakage)}</th>'
        for leakage in groups
    )
    head = "".join(
        f'<th class="{"edge" if task.name in first else ""}">{escape(task.name)}<small>'
        f"{number(task.parameters)} parameters<br>{task.horizon:,} steps</small></th>"
        for task in tasks
    )
    pooled = f"loss of {escape(report.name)} over its"
    several, median = len(tasks) > 1, ""
    if several:
        pooled, median = f"{pooled}, all tasks", '<th rowspan="2">median task</th>'
    body = []
    for title, names in report.kinds:
        body.append(
            f'<tr class="group"><th class="text" colspan="{len(tasks) + 2 + several}">'
            f"<span>{escape(title)}</span></th></tr>"
        )
        body += [_losses_row(report, name, tasks, first) for name in names]
    return (
        '<div class="scroll" tabindex="0"><table class="headline"><thead>'
        f'<tr><th class="text" rowspan="2">optimizer</th><th rowspan="2">{pooled}</th>'
        f"{median}{top}</tr><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _losses_row(report: Report, name: str, tasks: list[TaskReport], first: set[str]) -> str:
    cells, several = [], len(tasks) > 1
    if found := report.groups[0].against.get(name):
        word = found.clipped.verdict
        tint = "" if word == "undecided" else f' class="tint-{word}"'
        cells.append(f"<td{tint}>{estimate(ratio(found.clipped))}</td>")
        cells += [f"<td>{times(found.median.mid)}</td>"] * several
    else:
        cells += ['<td class="ours"></td>'] * (1 + several)
    for task in tasks:
        one = task.results[name]
        word = task.against[name].clipped.verdict if name in task.against else "undecided"
        marks = [
            mark
            for mark, there in (
                ("edge", task.name in first),
                ("best", one.valid_loss is not None and one.valid_loss == lowest(task)),
                (f"tint-{word}", word != "undecided"),
                ("ours", name == "learned"),
            )
            if there
        ]
        test = "" if one.test_loss is None else f"<small>test {loss(one.test_loss)}</small>"
        lost = f"<small>{one.diverged} diverged</small>" if one.diverged else ""
        cells.append(f'<td class="{" ".join(marks)}">{loss(one.valid_loss)}{test}{lost}</td>')
    lost = diverged(report, name)
    said = "".join(f"<small>{escape(x)}</small>" for x in (told_apart(report, name), lost) if x)
    return f'<tr><td class="text">{named(report, name)}{said}</td>{"".join(cells)}</tr>'


def told_apart(report: Report, name: str) -> str:
    """That a row is not told the number of steps, where its kind does not say so."""
    kinds = {one: title for title, names in report.kinds for one in names}
    free = report.optimizers[name].horizon_free and not kinds[name].startswith("Nobody")
    return "not told the number of steps" if free else ""


def diverged(report: Report, name: str) -> str:
    """In how many of its runs on the tasks an optimizer diverged; nothing if in none."""
    lost = sum(task.results[name].diverged for task in report.tasks)
    return f"diverged in {lost} of {len(report.tasks) * report.seeds} runs" if lost else ""


def lowest(task: TaskReport) -> float | None:
    """Of the median final losses; None if all diverged."""
    losses = [found.valid_loss for found in task.results.values()]
    return min((x for x in losses if x is not None), default=None)


def comparisons(report: Report) -> list[tuple[str, int, str, Comparison]]:
    """(tasks, their number, optimizer, comparison): every group against the headline baseline,
    then all tasks against every other baseline and the oracle.
    """
    whole, rows = report.groups[0], []
    for group in report.groups:
        count, found = len(group.tasks), group.against[report.headline]
        rows.append((group.label, count, report.headline, found))
    rows += [
        (whole.label, len(whole.tasks), name, whole.against[name])
        for _, names in report.kinds
        for name in names
        if name not in ("learned", report.headline)
    ]
    if report.oracle:
        rows.append((whole.label, len(whole.tasks), "oracle", report.oracle.against))
    return rows


def pooled(report: Report) -> str:
    """The pooled comparisons, with the pairs of runs that both missed, and the score."""
    rows, several = [], len(report.tasks) > 1
    for i, (where, count, name, found) in enumerate(comparisons(report)):
        of_group = f"{escape(where)} ({count})" if i < len(report.groups) else escape(where)
        rows.append([
            of_group, named(report, name), *_compared(found, pooled=True, several=several),
            _of(found.speedup.both_missed, found.speedup.pairs),
            estimate(ratio(found.score)), _of(found.score.even, found.score.pairs),
        ])  # fmt: skip
    score = ["both missed the 90 % target", "score, clipped to a factor of 4", "counted as even"]
    compared = [word for word in _COMPARED if several or word != "median task"]
    return table(["tasks", "against", *compared, *score], rows, text=[1], stacked=True)


def _of(count: int | None, pairs: int | None) -> str:
    return MISSING if count is None else f"{count} <small>of {pairs}</small>"


_COMPARED = [
    "verdict",
    "validation loss, clipped ratio",
    "median task",
    "plain geometric mean",
    "test loss, clipped ratio",
    "speed-up",
    "chance to beat it",
]


def _compared(found: Comparison, *, pooled: bool, several: bool = False) -> list[str]:
    chance = found.improvement
    return [
        tag(found.clipped.verdict),
        estimate(ratio(found.clipped)),
        *([estimate(ratio(found.median))] if several else []),
        estimate(ratio(found.valid_ratio)),
        estimate(ratio(found.clipped_test)),
        speed(found.speedup, not pooled),
        f"{percent(chance.mid)} <small>[{percent(chance.low)}, {percent(chance.high)}]</small>",
    ]


def against(report: Report) -> str:
    """The learned optimizer against each baseline on each task, with the ladder of targets."""
    # That of 90 % is the speed-up itself.
    rungs = {
        "50": "to the 50 % target",
        "75": "to the 75 % target",
        "best": "to the hardest target",
    }
    rows = [
        [
            escape(task.name),
            named(report, name),
            *_compared(found, pooled=False),
            *(speed(found.ladder[rung]) for rung in rungs),
        ]
        for task in report.tasks
        for name, found in task.against.items()
    ]
    compared = [word for word in _COMPARED if word != "median task"]
    head = ["task", "against", *compared, *rungs.values()]
    return table(head, rows, text=[1], stacked=True)


def every_loss(report: Report) -> str:
    """Every final loss with its quartiles."""
    rows = [
        [
            escape(task.name), named(report, name), loss(r.valid_loss),
            MISSING if None in r.valid_quartiles else "–".join(map(loss, r.valid_quartiles)),
            loss(r.best_valid_loss), loss(r.train_loss), loss(r.test_loss),
            percent(r.test_accuracy, 1), str(r.diverged),
        ]
        for task in report.tasks
        for name, r in task.results.items()
    ]  # fmt: skip
    head = [
        "task", "optimizer", "validation, median", "middle half of the seeds",
        "best on the way", "training", "test", "test accuracy", "diverged runs",
    ]  # fmt: skip
    return table(head, rows, text=[1])


def variants(report: Report) -> str:
    """The held-out variants that gate a task."""
    names = [n for n in report.optimizers if any(n in v.results for v in report.variants)]
    rows = []
    for v in report.variants:
        cells = []
        for name in names:
            if name not in v.results:
                cells.append(MISSING)
                continue
            r = v.results[name]
            steps = "no target" if r.slower is None else f"{times(r.slower)}x the steps"
            words = f"{r.diverged} diverged" if r.diverged else steps
            words = f"<b>{words}</b>" if r.missed else words
            cells.append(f"{loss(r.valid_loss)} <small>{words}</small>")
        rows.append([escape(v.name), *cells])
    return table(["variant", *(named(report, n) for n in names)], rows)
