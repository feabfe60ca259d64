"""The report as one HTML file: no network, no script, prints well."""

import html
import json
from pathlib import Path
from typing import Any

from ._figures import COLOURS
from ._summary import verdict

CSS = Path(__file__).with_name("report.css")


def to_html(report: dict[str, Any], figures: dict[str, str]) -> str:
    """The page. The whole report is embedded as JSON, so the file is its own data."""
    card = report["artifact"]["card"]
    name = html.escape(str(card.get("name", "artifact")))
    data = json.dumps(report, separators=(",", ":")).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: evaluation on {html.escape(report["suite"])}</title>
<style>{CSS.read_text()}</style>
</head>
<body><main>
<header><p class="kicker">learned-opt · suite {html.escape(report["suite"])} ·
{report["seeds"]} fresh seeds · {html.escape(report["device"])}</p><h1>{name}</h1></header>
<p class="verdict">{html.escape(report["sentence"])}</p>
{_cards(report)}
<section><h2>Final validation loss</h2>{_losses(report)}
<p class="note">Median over {report["seeds"]} seeds that tuning never saw; below it the loss on the
test split, read once. Bold: lowest validation loss. Baselines were tuned on this validation split,
task by task; the learned optimizer was not tuned.</p></section>
<section><h2>Against AdamW with warm-up and cosine, tuned for each task</h2>
<div class="scroll">{figures["forest"]}</div>
<p class="note">Geometric mean of paired ratios with 95 % bootstrap intervals over seeds. Runs are
paired: same initial weights and minibatches.</p></section>
<section><h2>Validation loss against steps</h2>
<div class="scroll">{figures["curves"]}</div>
<p class="note">Median and quartiles over seeds. Both axes are logarithmic.</p></section>
<details><summary>Against every baseline</summary>{_against(report)}</details>
<details><summary>Chosen settings and trials</summary>{_settings(report)}</details>
<details><summary>Cost of a step</summary>{_cost(report)}</details>
<details><summary>Failures ({len(report["failures"])})</summary>{_failures(report)}</details>
<details><summary>Where the optimizer comes from</summary>{_provenance(report)}</details>
<script type="application/json" id="report">{data}</script>
</main></body></html>
"""


def _cards(report: dict[str, Any]) -> str:
    cards = []
    for group in report["groups"]:
        ratio = group["against"][report["headline"]]["valid_ratio"]
        word = verdict(ratio)
        cards.append(
            f'<div class="card"><span class="tag {word}">{word}</span><b>{_ratio(ratio)}</b>'
            "<p>of tuned AdamW's validation loss on "
            f"{html.escape(', '.join(group['tasks']))}"
            f"<br>{html.escape(group['label'])}</p></div>"
        )
    return f'<div class="cards">{"".join(cards)}</div>'


def _losses(report: dict[str, Any]) -> str:
    names = list(report["optimizers"])
    head = ["task", *(_dot(n) + html.escape(report["optimizers"][n]) for n in names)]
    rows = []
    for task in report["tasks"]:
        results = task["results"]
        best = min(names, key=lambda n, r=results: _inf(r[n]["valid_loss"]))
        cells = [
            f"<td{' class=best' if n == best else ''}>{_loss(results[n]['valid_loss'])}"
            f"<small>test {_loss(results[n]['test_loss'])}</small></td>"
            for n in names
        ]
        title = (
            f"{html.escape(task['name'])}<small>{task['leakage']}, {task['horizon']} steps</small>"
        )
        rows.append(f"<tr><td>{title}</td>{''.join(cells)}</tr>")
    return _table(head, rows)


def _against(report: dict[str, Any]) -> str:
    rows = []
    for task in report["tasks"]:
        for name, found in task["against"].items():
            cells = [
                f"<td>{_ratio(found[k])}</td>" for k in ("valid_ratio", "test_ratio", "speedup")
            ]
            rows.append(
                f"<tr><td>{html.escape(task['name'])}</td><td class=text>{_dot(name)}"
                f"{html.escape(report['optimizers'][name])}</td>{''.join(cells)}</tr>"
            )
    note = (
        '<p class="note">Ratios below 1 favour the learned optimizer. Speed-up: steps that the '
        "baseline needs to the target over those that the learned optimizer needs, interquartile "
        "mean of log2, clipped at 4x; above 1 favours the learned optimizer. Target: the best "
        "baseline's median best validation loss. A miss counts as the clip.</p>"
    )
    return _table(["task", "baseline", "validation loss", "test loss", "speed-up"], rows) + note


def _settings(report: dict[str, Any]) -> str:
    rows = []
    for task in report["tasks"]:
        for name, result in task["results"].items():
            hyper = result["hyper"]
            chosen = (
                ("<td>none</td><td>none</td>")
                if name == "learned"
                else f"<td>{hyper['lr']:.3g}</td><td>{hyper['weight_decay']:g}</td>"
            )
            edge = "yes" if result["at_edge"] else "no"
            rows.append(
                f"<tr><td>{html.escape(task['name'])}</td><td class=text>{_dot(name)}"
                f"{html.escape(report['optimizers'][name])}</td>{chosen}"
                f"<td>{result['trials']}</td><td>{result['extensions']}</td><td>{edge}</td></tr>"
            )
    head = [
        "task", "optimizer", "learning rate", "weight decay", "settings tried (3 seeds each)",
        "grid extended", "still at an edge",
    ]  # fmt: skip
    return _table(head, rows)


def _cost(report: dict[str, Any]) -> str:
    rows = []
    for entry in report["cost"]:
        adam = entry["costs"]["adam"]
        for name, cost in entry["costs"].items():
            label = "learned" if name == "learned" else "optax.adam"
            rows.append(
                f"<tr><td>{entry['parameters']:,} parameters, batch {entry['batch_size']}</td>"
                f"<td class=text>{_dot(name)}{label}</td>"
                f"<td>{cost['step']:,.0f} µs ± {cost['spread']:,.0f}</td>"
                f"<td>{cost['step'] / adam['step']:.2f}</td><td>{cost['update']:,.0f} µs</td>"
                f"<td>{cost['update'] / adam['update']:.1f}</td><td>{cost['share']:.0%}</td>"
                f"<td>{cost['state']:.2f}</td>"
                f"<td>{cost['compile']:.1f} s</td></tr>"
            )
    head = [
        "network", "optimizer", "training step (median ± interquartile range)", "over Adam's",
        "update alone", "over Adam's", "of its step", "state / parameters", "compilation",
    ]  # fmt: skip
    return _table(head, rows)


def _failures(report: dict[str, Any]) -> str:
    if not report["failures"]:
        return "<p>No run of any optimizer ended with a loss that is not finite.</p>"
    rows = [
        f"<tr><td>{html.escape(f['task'])}</td><td>{html.escape(f['optimizer'])}</td>"
        f"<td>{f['lr']:.3g}</td><td>{f['weight_decay']:g}</td><td>{f['seed']}</td></tr>"
        for f in report["failures"]
    ]
    return _table(["task", "optimizer", "learning rate", "weight decay", "seed"], rows)


def _provenance(report: dict[str, Any]) -> str:
    card = report["artifact"]["card"]
    facts = {"sha256": report["artifact"]["sha256"], **card}
    rows = [
        f"<tr><td>{html.escape(key)}</td><td class=text>{html.escape(_plain(value))}</td></tr>"
        for key, value in facts.items()
    ]
    return _table(["fact", "value"], rows)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _table(head: list[str], rows: list[str]) -> str:
    left = ("baseline", "optimizer", "value")
    top = "".join(f"<th{' class=text' if cell in left else ''}>{cell}</th>" for cell in head)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _dot(name: str) -> str:
    return f'<span class="dot" style="background:{COLOURS[name]}"></span>'


def _ratio(r: dict[str, float]) -> str:
    return f'{r["mid"]:.2f} <span class="range">[{r["low"]:.2f}, {r["high"]:.2f}]</span>'


def _loss(x: float | None) -> str:
    return "diverged" if x is None else f"{x:.4f}"


def _inf(x: float | None) -> float:
    return float("inf") if x is None else x
