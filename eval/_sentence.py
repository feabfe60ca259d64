"""The verdict in one sentence, made of intervals only."""

from typing import Any

from ._compared import verdict

RIVALS = ("lion", "adabelief", "muon")
UNSEEN = "new network, new data"


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
        f"validation loss {_interval(found['valid_ratio'])} times AdamW's, target reached "
        f"{_interval(found['score'])} times as fast (a miss counts as 4 times)"
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
    """Where runs diverged, and else the worst task if it is worse than the headline there."""
    diverged = [t["name"] for t in report["tasks"] if t["results"]["learned"]["diverged"]]
    if diverged:
        return f"runs diverged on {', '.join(diverged)}"
    ratios = {
        task["name"]: task["against"][report["headline"]]["valid_ratio"] for task in report["tasks"]
    }
    worst = max(ratios, key=lambda name: ratios[name]["mid"])
    if verdict(ratios[worst]) == "worse":
        return f"no run diverged, the worst task is {worst} with {_interval(ratios[worst])}"
    return "no run diverged, and it is on no task worse than AdamW"


def _label(label: str) -> str:
    return label.partition(",")[0]


def _interval(found: dict[str, float]) -> str:
    return f"{found['mid']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
