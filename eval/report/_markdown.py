"""The report as Markdown, to be pasted into a README, an issue or a paper."""

import re
from typing import Any

from learned_opt.checkpoints import markdown_text

from ._cards import step_over_adam
from ._format import (
    MISSING,
    faster,
    known,
    label,
    loss,
    misses,
    percent,
    ratio,
    rival,
    short,
    span,
    times,
    title,
    verdict,
)
from ._parts import reproduce
from ._tables import tracks

Report = dict[str, Any]


def to_markdown(report: Report) -> str:
    """Verdict, losses, pooled results, cost, how to reproduce."""
    parts = [
        f"# {plain(title(report))} on {plain(report['suite'])}",
        "**A smoke run: its numbers say nothing about the optimizer.**"
        if report.get("smoke")
        else "",
        markdown_text(report["sentence"]),
        f"![Final validation loss over {plain(rival(report))}'s, task by task](report.svg)",
        f"Median final validation loss over {report['seeds']} fresh seeds; bold: lowest.",
        _losses(report),
        "95 % intervals; ratios below 1, speed-ups and scores above 1 favour the learned "
        "optimizer. Speed-up: to the 90 % target, as far as the runs tell. Score: to the hardest "
        "one, where a miss counts as a factor of 4 and two as even.",
        _pooled(report),
        _cost(report),
        f"```\n{reproduce(report)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def grid(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def plain(text: Any) -> str:
    """Text within a line or a cell that Markdown leaves as it is, on one line."""
    text = "".join("\\" + mark if mark in "\\`*_|~" else mark for mark in str(text))
    text = re.sub(r"&(?=#|\w)", r"\\&", text)  # of an entity
    return " ".join(text.replace("<", "&lt;").replace("](", "]\\(").split())


def _losses(report: Report) -> str:
    names = [name for _, members in tracks(report) for name in members]
    free = {n for where, members in tracks(report) for n in members if where.startswith("Not")}
    head = ["task", "leakage"]
    head += [plain(label(report, n)) + (" (not told the horizon)" if n in free else "")
             for n in names]  # fmt: skip
    head.append(f"speed-up over {plain(rival(report))}")
    rows = []
    for task in report["tasks"]:
        values = [task["results"].get(n, {"valid_loss": ""})["valid_loss"] for n in names]
        best = min((v for v in values if known(v)), default=None)
        cells = [
            f"**{loss(v)}**" if known(v) and v == best else (MISSING if v == "" else loss(v))
            for v in values
        ]
        found = task["against"].get(report["headline"], {}).get("speedup")
        rows.append([plain(task["name"]), plain(task["leakage"]), *cells, speed(found)])
    return grid(head, rows)


def speed(found: Report | None) -> str:
    """A speed-up with its interval, or with what it is unknown for."""
    why = misses(found)
    beside = span(found) or (f"({why})" if why else "")
    return plain(f"{faster(found)} {beside}".strip())


def _pooled(report: Report) -> str:
    rows = []

    def add(where: str, name: str, found: Report) -> None:
        improvement = found.get("improvement")
        rows.append([
            plain(where), plain(label(report, name)), verdict(found.get("valid_ratio")),
            plain(ratio(found.get("valid_ratio"))), plain(ratio(found.get("test_ratio"))),
            speed(found.get("speedup")), plain(ratio(found.get("score"))),
            percent(improvement["mid"]) if improvement else MISSING,
        ])  # fmt: skip

    for group in report["groups"]:
        if found := group["against"].get(report["headline"]):
            add(group["label"], report["headline"], found)
    for name, found in report["groups"][0]["against"].items():
        if name != report["headline"]:
            add(report["groups"][0]["label"], name, found)
    if oracle := (report.get("oracle") or {}).get("against"):
        add(report["groups"][0]["label"], "oracle", oracle)
    head = [
        "tasks", "against", "verdict", "validation loss, ratio", "test loss, ratio", "speed-up",
        "score", "chance to beat it",
    ]  # fmt: skip
    return grid(head, rows)


def _cost(report: Report) -> str:
    found = step_over_adam(report)
    if not found:
        return ""
    where = report["cost"].get("device") or report.get("device") or ""
    text = f"A training step takes {times(found[0])} times Adam's {found[1]}, on {plain(where)}."
    even = report.get("break_even")
    if even and known(even.get("tasks")):
        text += (
            f" Meta-training took {short(even['meta_steps'])} steps and has paid for itself after "
            f"{even['tasks']:.3g} tasks that need no tuning."
        )
    return text
