"""Tables of results: final losses, all tasks pooled, task by task, every loss, variants."""

from ...statistics import Comparison
from .._html import estimate, named, speed, table, tag
from .._numbers import MISSING, escape, loss, number, percent, ratio, times
from .._report import Report
from .._report_tasks import TaskReport
from ..figures import LEAKAGE_COLOURS


def final_losses(report: Report) -> str:
    """T1: median final losses, columns by track, tinted by who won."""
    names = [name for _, members in report.columns for name in members]
    first = {members[0] for _, members in report.columns}
    top = "".join(
        f'<th class="track" colspan="{len(members)}">{escape(title)}</th>'
        for title, members in report.columns
    )
    head = "".join(
        f'<th class="{"edge" if n in first else ""}">{named(report, n)}</th>' for n in names
    )
    body = []
    for leakage in dict.fromkeys(task.leakage for task in report.tasks):
        colour = LEAKAGE_COLOURS.get(leakage, "#5b6570")
        body.append(
            f'<tr class="group"><th class="text" colspan="{len(names) + 1}">'
            f'<span><i style="background:{colour}"></i>{escape(leakage)}</span></th></tr>'
        )
        body += [
            _losses_row(task, names, first) for task in report.tasks if task.leakage == leakage
        ]
    return (
        '<div class="scroll" tabindex="0"><table class="headline"><thead>'
        f'<tr><th class="text" rowspan="2">task</th>{top}</tr><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _losses_row(task: TaskReport, names: list[str], first: set[str]) -> str:
    best, cells = lowest(task), []
    for name in names:
        found = task.results[name]
        word = task.against[name].valid_ratio.verdict if name in task.against else "undecided"
        marks = [
            mark
            for mark, there in (
                ("edge", name in first),
                ("best", found.valid_loss is not None and found.valid_loss == best),
                (f"tint-{word}", word != "undecided"),
                ("ours", name == "learned"),
            )
            if there
        ]
        test = "" if found.test_loss is None else f"<small>test {loss(found.test_loss)}</small>"
        cells.append(f'<td class="{" ".join(marks)}">{loss(found.valid_loss)}{test}</td>')
    facts = f"{number(task.parameters)} parameters, {task.horizon:,} steps"
    return (
        f'<tr><td class="text"><b>{escape(task.name)}</b><small>{escape(facts)}</small>'
        f"</td>{''.join(cells)}</tr>"
    )


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
    for name, found in whole.against.items():
        if name != report.headline:
            rows.append((whole.label, len(whole.tasks), name, found))
    if report.oracle:
        rows.append((whole.label, len(whole.tasks), "oracle", report.oracle.against))
    return rows


def pooled(report: Report) -> str:
    """The pooled comparisons, with the pairs of runs that both missed, and the score."""
    rows = []
    for i, (where, count, name, found) in enumerate(comparisons(report)):
        of_group = f"{escape(where)} ({count})" if i < len(report.groups) else escape(where)
        rows.append([
            of_group, named(report, name), *_compared(found, why=False),
            _of(found.speedup.both_missed, found.speedup.pairs),
            estimate(ratio(found.score)), _of(found.score.even, found.score.pairs),
        ])  # fmt: skip
    score = ["both missed the 90 % target", "score", "counted as even"]
    return table(["tasks", "against", *_COMPARED, *score], rows, text=[1], stacked=True)


def _of(count: int | None, pairs: int | None) -> str:
    return MISSING if count is None else f"{count} <small>of {pairs}</small>"


_COMPARED = [
    "verdict",
    "validation loss, ratio",
    "test loss, ratio",
    "speed-up",
    "chance to beat it",
]


def _compared(found: Comparison, why: bool = True) -> list[str]:
    chance = found.improvement
    return [
        tag(found.valid_ratio.verdict),
        estimate(ratio(found.valid_ratio)),
        estimate(ratio(found.test_ratio)),
        speed(found.speedup, why),
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
            *_compared(found),
            *(speed(found.ladder[rung]) for rung in rungs),
        ]
        for task in report.tasks
        for name, found in task.against.items()
    ]
    head = ["task", "against", *_COMPARED, *rungs.values()]
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
