"""Two reports side by side as a page, as Markdown and as JSON."""

from pathlib import Path
from typing import Literal

import matplotlib

from learned_opt.checkpoints import markdown_text, write_atomic

from . import figures
from ._compare import PairedReports, PairedTask
from ._html import card, document, figure, part, speed, swatched, table, tag
from ._json import as_json
from ._markdown import markdown_table
from ._markdown import speed as speed_in_markdown
from ._numbers import escape, loss, misses, plain, ratio, span, times
from ._writer import json_text

SIDES = ("learned", "adamw")
"""Drawn as a report with two optimizers: the second in the headline's colour."""


def write_comparison(found: PairedReports, out: Path) -> None:
    """Write `compare.html`, `compare.md` and `compare.json` of what `compare_reports` found."""
    write_atomic(out / "compare.json", json_text(as_json(found)))
    write_atomic(out / "compare.html", comparison_html(found))
    write_atomic(out / "compare.md", comparison_markdown(found))


def comparison_html(found: PairedReports) -> str:
    """The comparison as one HTML file."""
    with matplotlib.rc_context(figures.STYLE):
        body = _body(found)
    return document(" against ".join(found.names), body, as_json(found), ("a", "b"))


def _body(found: PairedReports) -> str:
    first, second = found.names
    sides = [swatched(side, name) for side, name in zip(SIDES, found.names, strict=True)]
    curves = "".join(figure(task.name, _losses(task, str(i))) for i, task in enumerate(found.tasks))
    pooled = found.all
    valid, test = pooled.clipped, pooled.clipped_test
    cards = card(
        valid.verdict, times(valid.mid), span(valid),
        f"{first}'s final validation loss over {second}'s",
        f"all tasks, clipped to a factor of 2; median task {times(pooled.median.mid)}",
    ) + card(
        test.verdict, times(test.mid), span(test),
        "the same on the test split", "never read by anything that chooses",
    ) + card(
        "speed-up", pooled.speedup.text, span(pooled.speedup), "steps to the 90 % target",
        misses(pooled.speedup) or "above 1x: the first is faster",
    )  # fmt: skip
    rows = [
        [escape(t.name), tag(t.clipped.verdict), *map(loss, t.valid_loss),
         *(escape(ratio(x)) for x in (t.clipped, t.valid_ratio, t.clipped_test)), speed(t.speedup),
         " / ".join(map(str, t.diverged))]
        for t in found.tasks
    ]  # fmt: skip
    head = [
        "task", "verdict", *sides, "validation loss, clipped ratio",
        "plain geometric mean", "test loss, clipped ratio", "speed-up", "diverged runs",
    ]  # fmt: skip
    where = [found.suite, f"tier {found.tier}", f"{found.seeds} seeds, paired"]
    return f"""<header><p class="kicker">{escape(" · ".join(where))}</p>
<h1>{escape(first)} against {escape(second)}</h1>
<p class="verdict">{escape(found.sentence)}</p></header>
<div class="cards">{cards}</div>
<section><h2>Task by task</h2>{table(head, rows)}</section>
<section><h2>How much faster, and how much lower the loss</h2><div class="pair">
{figure("Steps to the same loss", _forest(found, "speedup"))}
{figure("Final validation loss", _forest(found, "clipped"))}</div></section>
<section><h2>Validation loss falls, step by step</h2>
<p>{sides[0]} &emsp; {sides[1]}</p>
<div class="panels lines">{curves}</div>
<p class="note">Median and middle half of the seeds.</p></section>
{part("provenance", "Where both come from", _subjects(found))}"""


def _losses(task: PairedTask, number: str) -> str | None:
    runs = [
        figures.Run(side, f"o{i}", made.steps, made.curves.valid)
        for i, (side, made) in enumerate(zip(SIDES, task.results, strict=True))
    ]
    return figures.loss_panel(
        runs, task.name, "valid", f"steps{number}", horizon=task.horizon, main=SIDES
    )


def _forest(found: PairedReports, field: Literal["speedup", "clipped"]) -> str:
    rows = [
        figures.Row(
            task.name,
            getattr(task, field),
            figures.LEAKAGE_COLOURS.get(task.leakage[0], figures.INK),
        )
        for task in found.tasks
    ]
    if len(rows) > 1:
        rows.insert(0, figures.Row("all tasks", getattr(found.all, field), figures.INK, "pooled"))
    first, second = found.names
    scale, axis = {
        "speedup": ("speed", f"times as fast as {second}   (right: {first} is better)"),
        "clipped": ("ratio", f"loss over {second}'s, clipped   (left: {first} is better)"),
    }[field]
    return figures.forest(rows, f"compare{scale}", axis, axis=axis, scale=scale)


def _subjects(found: PairedReports) -> str:
    cards = [subject.card for subject in found.subjects]
    identities = [escape(plain(subject.identity)) for subject in found.subjects]
    rows = [["identity", *identities]] + [
        [escape(key.replace("_", " ")), *(escape(plain(card.get(key))) for card in cards)]
        for key in sorted({*cards[0], *cards[1]})
    ]
    return table(["fact", *map(escape, found.names)], rows, text=[1, 2])


def comparison_markdown(found: PairedReports) -> str:
    """The comparison as Markdown."""
    rows = [
        [markdown_text(name), r.clipped.verdict, ratio(r.clipped), ratio(r.valid_ratio),
         ratio(r.clipped_test), speed_in_markdown(r.speedup)]
        for name, r in (("all tasks", found.all), *((task.name, task) for task in found.tasks))
    ]  # fmt: skip
    table = markdown_table(
        [
            "task",
            "verdict",
            "validation loss, clipped ratio",
            "plain geometric mean",
            "test loss, clipped ratio",
            "speed-up",
        ],
        rows,
    )
    heading = " against ".join(map(markdown_text, found.names))
    return f"# {heading}\n\n{markdown_text(found.sentence)}\n\n{table}\n"
