"""The verdict in one sentence, made of intervals only."""

from typing import Any

from ._failures import diverged_runs
from ._pairwise import verdict

RIVALS = ("lion", "adabelief", "muon")
UNSEEN = "new network, new data"
TARGET = "90 % target"


def sentence(report: dict[str, Any]) -> str:
    """Better or worse than tuned AdamW and the others, at what cost, on what it never saw, where
    it fails."""
    optimizers, headline = report["optimizers"], report["headline"]
    pooled, counts = report["groups"][0], report["verdict"][headline]
    count, name = len(report["tasks"]), report["subject"]["name"]
    trials = report["subject"]["trials"]
    tuned = f"tuned in {trials} trials a task" if trials else "untuned"
    found = pooled["against"][headline]
    parts = [
        f"{name}, {tuned}, against AdamW tuned for each task is {_counts(counts, count)}: final "
        f"validation loss {_interval(found['valid_ratio'])} times AdamW's, "
        f"{speed(found['speedup'])}"
    ]
    others = [
        f"{_label(optimizers[other]['label'])} {_interval(pooled['against'][other]['valid_ratio'])}"
        for other in RIVALS
        if other in pooled["against"]
    ]
    if others:
        parts.append(f"over tuned {', '.join(others)}")
    for group in report["groups"][1:]:
        if group["label"] == UNSEEN and len(group["tasks"]) < count:
            ratio = _interval(group["against"][headline]["valid_ratio"])
            parts.append(f"on the {_tasks(len(group['tasks']))} with new network and data {ratio}")
    cost = _cost(report)
    if cost:
        parts.append(cost)
    parts.append(_failing(report))
    return f"{'; '.join(parts)} (95 % intervals over {report['seeds']} fresh seeds)."


def speed(found: dict[str, Any]) -> str:
    """How fast the target was reached, as far as runs tell: no number is made up for a miss."""
    both, pairs = found["both_missed"], found["pairs"]
    if found["least"] is None and found["most"] is None:
        one = f", in {found['missed']} one did" if found["missed"] else ""
        return f"unknown how fast: in {both} of {pairs} pairs of runs both missed the {TARGET}{one}"
    amount = found["text"].replace("x", "")
    amount = amount.replace(">", "more than ").replace("<", "less than ")
    low = "…" if found["bound"] == "<" else _number(found["low"])
    high = "…" if found["bound"] == ">" else _number(found["high"])
    misses = f" (both missed it in {both} of {pairs} pairs of runs)" if both else ""
    return f"{TARGET} reached {amount} [{low}, {high}] times as fast{misses}"


def _counts(counts: dict[str, int], tasks: int) -> str:
    words = [f"{word} on {n}" for word, n in counts.items() if n]
    return f"{', '.join(words)} of {_tasks(tasks)}"


def _tasks(count: int) -> str:
    return f"{count} task{'s' if count > 1 else ''}"


def _cost(report: dict[str, Any]) -> str:
    rows = {
        row["optimizer"]: row
        for row in report.get("cost", {}).get("rows", [])
        if row["network"] == "1M" and row["batch"] == 128
    }
    if not {"learned", "adamw"} <= rows.keys():
        return ""
    ratio = rows["learned"]["step"] / rows["adamw"]["step"]
    return f"its training step costs {ratio:.1f} times AdamW's at 1M parameters, batch 128"


def _failing(report: dict[str, Any]) -> str:
    """How many runs diverged, and the worst task if it is worse than the headline there."""
    stages = diverged_runs(report)
    lost, runs = (sum(counts) for counts in zip(*stages.values(), strict=True))
    text = f"none of its {runs:,} runs diverged"
    if lost:
        where = [f"{n} {stage}" for stage, (n, _) in stages.items() if n]
        text = f"{lost:,} of its {runs:,} runs diverged: {', '.join(where)}"
    ratios = {
        task["name"]: task["against"][report["headline"]]["valid_ratio"] for task in report["tasks"]
    }
    worst = max(ratios, key=lambda name: ratios[name]["mid"])
    if verdict(ratios[worst]) == "worse":
        return f"{text}; its worst task is {worst} with {_interval(ratios[worst])}"
    return f"{text}; on no task was it found to be worse than AdamW"


def _label(label: str) -> str:
    return label.partition(",")[0]


def _interval(found: dict[str, float]) -> str:
    return f"{_number(found['mid'])} [{_number(found['low'])}, {_number(found['high'])}]"


def _number(x: float | None) -> str:
    if x is None:
        return "…"
    return f"{x:.2f}" if x >= 0.095 else f"{x:.2g}"
