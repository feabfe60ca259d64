"""Two reports on the same tasks and seeds: which learned optimizer is better, and by how much."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from learned_opt.checkpoints import markdown_text, write_atomic

from ..statistics._intervals import geometric_ratio
from ..statistics._pairwise import speedup_json
from ..statistics._verdict import speed as speed_in_words
from . import _cells, _curves
from ._cards import card
from ._colours import INK, LEAKAGE_COLOURS
from ._draw import STYLE
from ._forest import Row, forest
from ._format import escape, faster, loss, mid, misses, plain, ratio, span, title, verdict
from ._frame import document, figure, part
from ._markdown import grid, speed
from ._markdown import plain as marked
from ._stored import ReportError
from ._write import to_json

Report = dict[str, Any]
SCHEMA = 1
RUNG = "90"


def write_comparison(found: Report, out: Path) -> None:
    """Write `compare.html`, `compare.md` and `compare.json` of what `compare_reports` found."""
    write_atomic(out / "compare.json", to_json(found))
    write_atomic(out / "compare.html", comparison_html(found))
    write_atomic(out / "compare.md", comparison_markdown(found))


def compare_reports(a: Report, b: Report) -> Report:
    """The learned optimizer of `a` against that of `b`, paired by task and seed.

    Args:
      a, b: reports of schema 2.

    Returns: {"names", "sentence", "all", "verdict", "tasks": [...]}; of each task and of all
      together `valid_ratio` and `test_ratio`, geometric means of a / b, and `speedup`, steps to the
      90 % target that b needs over those that a needs: intervals.

    Raises:
      ReportError: suites, tiers, seeds, tasks or targets differ, so nothing can be paired.
    """
    _same(a, b)
    pairs = list(zip(a["tasks"], b["tasks"], strict=True))
    sides = [[task["results"]["learned"] for task in tasks] for tasks in zip(*pairs, strict=True)]
    tasks = [
        {
            "name": ours["name"], "leakage": [ours["leakage"], theirs["leakage"]],
            "horizon": ours["horizon"], **_against([sides[0][i]], [sides[1][i]]),
            "valid_loss": [side[i]["valid_loss"] for side in sides],
            "test_loss": [side[i]["test_loss"] for side in sides],
            "diverged": [side[i].get("diverged", 0) for side in sides],
            "results": [{k: side[i][k] for k in ("steps", "curves")} for side in sides],
        }
        for i, (ours, theirs) in enumerate(pairs)
    ]  # fmt: skip
    words = [verdict(task["valid_ratio"]) for task in tasks]
    names = [title(a), title(b)]
    if names[0] == names[1]:
        names = [
            f"{n} ({str(r['subject'].get('identity'))[:8]})"
            for n, r in zip(names, (a, b), strict=True)
        ]
    found = {
        "schema": SCHEMA, "names": names, "subjects": [a["subject"], b["subject"]],
        "suite": a["suite"], "suite_hash": a.get("suite_hash"), "tier": a.get("tier"),
        "seeds": a["seeds"], "codes": [a.get("code"), b.get("code")],
        "tasks": tasks, "all": _against(*sides),
        "verdict": {word: words.count(word) for word in ("better", "worse", "undecided")},
    }  # fmt: skip
    return found | {"sentence": _sentence(found)}


def _same(a: Report, b: Report) -> None:
    """Refuse what cannot be paired, in one sentence."""
    for report in (a, b):
        if report.get("schema") != 2:
            raise ReportError(
                f"reports must have schema 2 to be compared, got {report.get('schema')!r}; "
                "evaluate again"
            )
    facts = [("suite", "suite"), ("suite_hash", "hash of the suite"), ("tier", "tier"),
             ("seeds", "number of seeds")]  # fmt: skip
    found = [(word, a.get(key), b.get(key)) for key, word in facts]
    found.append(("tasks", [t["name"] for t in a["tasks"]], [t["name"] for t in b["tasks"]]))
    for word, ours, theirs in found:
        if ours != theirs:
            raise ReportError(
                f"the reports differ in {word}: {plain(ours)} and {plain(theirs)}; evaluate both "
                "optimizers with the same command"
            )
    for ours, theirs in zip(a["tasks"], b["tasks"], strict=True):
        for key, word in (("horizon", "horizon"), ("targets", "target losses")):
            if ours.get(key) != theirs.get(key):
                raise ReportError(
                    f"the reports differ in the {word} of {ours['name']}: {plain(ours.get(key))} "
                    f"and {plain(theirs.get(key))}; evaluate both with the same baselines"
                )


def _against(ours: list[Report], theirs: list[Report]) -> Report:
    made = {}
    for which in ("valid", "test"):
        sides = [_array([r["seed_losses"][which] for r in side]) for side in (ours, theirs)]
        made[f"{which}_ratio"] = geometric_ratio(*sides)._asdict()
    times = [_array([r["times"][RUNG] for r in side]) for side in (ours, theirs)]
    limits = [np.array([r["steps"][-1] for r in side], float) for side in (ours, theirs)]
    return made | {"speedup": speedup_json(*times, *limits)}


def _array(rows: list[list[float | None]]) -> np.ndarray:
    return np.array([[np.inf if x is None else x for x in row] for row in rows], float)


def _sentence(found: Report) -> str:
    first, second = found["names"]
    words, pooled, count = found["verdict"], found["all"], len(found["tasks"])
    return (
        f"{first} is better than {second} on {words['better']} of {count} "
        f"task{'s' * (count != 1)}, worse on {words['worse']}, undecided on {words['undecided']}; "
        f"final validation loss {ratio(pooled['valid_ratio'])} times {second}'s, "
        f"{speed_in_words(pooled['speedup'])} "
        f"(95 % intervals over {found['seeds']} seeds, paired)."
    )


def comparison_html(found: Report) -> str:
    """The comparison as one HTML file."""
    with matplotlib.rc_context(STYLE):
        return document(
            f"{found['names'][0]} against {found['names'][1]}", _body(found), found, ("a", "b")
        )


def _body(found: Report) -> str:
    first, second = found["names"]
    # Drawn as a report with two optimizers: the second in the headline's colour.
    report = {
        "optimizers": {"learned": {"label": first}, "adamw": {"label": second}},
        "headline": "adamw",
        "tasks": [t | {"results": dict(zip(("learned", "adamw"), t["results"], strict=True))}
                  for t in found["tasks"]],
    }  # fmt: skip
    curves = "".join(
        figure(task["name"], _curves.losses(report, task, "valid")) for task in report["tasks"]
    )
    pooled = found["all"]
    cards = card(
        verdict(pooled["valid_ratio"]), mid(pooled["valid_ratio"]), span(pooled["valid_ratio"]),
        f"{first}'s final validation loss over {second}'s", "all tasks, geometric mean",
    ) + card(
        verdict(pooled["test_ratio"]), mid(pooled["test_ratio"]), span(pooled["test_ratio"]),
        "the same on the test split", "never read by anything that chooses",
    ) + card(
        "speed-up", faster(pooled["speedup"]), span(pooled["speedup"]),
        "steps to the 90 % target", misses(pooled["speedup"]) or "above 1x: the first is faster",
    )  # fmt: skip
    rows = [
        [escape(t["name"]), _cells.tag(verdict(t["valid_ratio"])), *map(loss, t["valid_loss"]),
         escape(ratio(t["valid_ratio"])), escape(ratio(t["test_ratio"])),
         _cells.speed(t["speedup"]), " / ".join(map(str, t["diverged"]))]
        for t in found["tasks"]
    ]  # fmt: skip
    head = [
        "task", "verdict", *(_cells.named(report, n) for n in report["optimizers"]),
        "validation loss, ratio", "test loss, ratio", "speed-up", "diverged runs",
    ]  # fmt: skip
    where = [found["suite"], f"tier {found['tier']}", f"{found['seeds']} seeds, paired"]
    return f"""<header><p class="kicker">{escape(" · ".join(where))}</p>
<h1>{escape(first)} against {escape(second)}</h1>
<p class="verdict">{escape(found["sentence"])}</p></header>
<div class="cards">{cards}</div>
<section><h2>Task by task</h2>{_cells.table(head, rows)}</section>
<section><h2>How much faster, and how much lower the loss</h2><div class="pair">
{figure("Steps to the same loss", _forest(found, "speedup", "speed"))}
{figure("Final validation loss", _forest(found, "valid_ratio", "ratio"))}</div></section>
<section><h2>Validation loss falls, step by step</h2>
<p>{_cells.named(report, "learned")} &emsp; {_cells.named(report, "adamw")}</p>
<div class="panels">{curves}</div><p class="note">Median and middle half of the seeds.</p></section>
{part("provenance", "Where both come from", _subjects(found))}"""


def _forest(found: Report, field: str, scale: str) -> str:
    rows = [Row("all tasks", found["all"][field], INK, "pooled")] if len(found["tasks"]) > 1 else []
    rows += [
        Row(t["name"], t[field], LEAKAGE_COLOURS.get(t["leakage"][0], INK)) for t in found["tasks"]
    ]
    first, second = found["names"]
    axis = {
        "speed": f"times as fast as {second}   (right: {first} is better)",
        "ratio": f"loss over {second}'s   (left: {first} is better)",
    }[scale]
    return forest(rows, f"compare{scale}", axis, axis=axis, scale=scale)


def _subjects(found: Report) -> str:
    keys = ["identity", *sorted({k for s in found["subjects"] for k in s.get("card") or {}})]
    rows = [
        [escape(key.replace("_", " "))]
        + [escape(plain((s.get("card") or {}).get(key, s.get(key)))) for s in found["subjects"]]
        for key in keys
    ]
    return _cells.table(["fact", *map(escape, found["names"])], rows, text=[1, 2])


def comparison_markdown(found: Report) -> str:
    """The comparison as Markdown."""
    rows = [
        [marked(name), verdict(r["valid_ratio"]), marked(ratio(r["valid_ratio"])),
         marked(ratio(r["test_ratio"])), speed(r["speedup"])]
        for name, r in (("all tasks", found["all"]), *((t["name"], t) for t in found["tasks"]))
    ]  # fmt: skip
    table = grid(
        ["task", "verdict", "validation loss, ratio", "test loss, ratio", "speed-up"], rows
    )
    heading = " against ".join(map(markdown_text, found["names"]))
    return f"# {heading}\n\n{markdown_text(found['sentence'])}\n\n{table}\n"
