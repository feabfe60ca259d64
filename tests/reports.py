"""Reports of schema 3 made up so that every number is known, as JSON types."""

import math
from typing import Any

from learned_opt.eval.statistics._time_to_target import Bounds

STEPS = sorted({round(10 ** (k / 12)) for k in range(1, 40)} - {1414})
LABELS = {
    "adam_default": "Adam 1e-3, untuned",
    "adam": "Adam constant, tuned",
    "adamw": "AdamW, tuned",
    "lion": "Lion, tuned",
    "adabelief": "AdaBelief, tuned",
    "muon": "Muon, tuned",
    "sgdm": "SGD momentum, tuned",
    "schedule_free": "Schedule-free AdamW, tuned",
    "adamw_frozen": "AdamW, one setting",
    "rival:celo": "Celo (imported)",
}
FREE = ("adam_default", "adam", "schedule_free")
WHERE = (
    ("letters-mlp", "mlp", "letters", "seen network, new data"),
    ("digits-mlp", "mlp", "digits", "seen network, seen data"),
    ("shapes-conv", "conv", "shapes", "new network, new data"),
    ("digits-conv", "conv", "digits", "new network, seen data"),
    ("bytes-transformer", "transformer", "bytes", "new network, new data"),
    ("diabetes-regression", "mlp", "diabetes", "seen network, new data"),
)
WORTH = {
    "learned": 1.0, "adam_default": 1.9, "adam": 1.4, "adamw": 1.15, "lion": 1.22,
    "adabelief": 1.3, "muon": 1.02, "sgdm": 1.6, "schedule_free": 1.2, "adamw_frozen": 1.35,
    "rival:celo": 1.5,
}  # fmt: skip
"""Final loss of each, as a multiple of the learned optimizer's, before a task's own factor."""


ROLES = {"adam_default": "default", "adamw_frozen": "calibrated", "rival:celo": "rival"}

ADDED = (
    "seconds", "device", "jax", "code", "date", "grid", "traces", "cost", "meta_training", "merged",
)  # fmt: skip
"""What `summarise` passes on or never sees."""


def interval(mid: float, width: float = 0.08, **more: Any) -> dict[str, Any]:
    """The interval mid / (1 + width) .. mid (1 + width)."""
    return {"mid": mid, "low": mid / (1 + width), "high": mid * (1 + width), **more}


def speedup(mid: float, width: float = 0.1, bound: str = "") -> dict[str, Any]:
    """As `interval`; measured, or with a `bound` of "<" or ">"."""
    low, high = mid / (1 + width), mid * (1 + width)
    least, most = (0.0 if bound == "<" else mid), (math.inf if bound == ">" else mid)
    ends = {
        "low": low if least else None, "least": least or None,
        "most": None if bound == ">" else most, "high": None if bound == ">" else high,
        "pairs": 10, "missed": 0, "both_missed": 0,
    }  # fmt: skip
    return ends | {"mid": mid, "bound": bound, "text": Bounds(low, least, most, high).text}


def advantage(index: int, name: str) -> float:
    """Loss of the learned optimizer on the index-th task over that of `name`: known."""
    if name == "learned":
        return 1.0
    return 1 / (WORTH[name] * (1.0, 0.78, 1.3, 0.9, 1.12, 0.87)[index % 6])


def against(index: int, name: str) -> dict[str, Any]:
    ratio = advantage(index, name)
    bound = ">" if index % 6 == 2 else ("<" if (index, name) == (1, "muon") else "")
    speed = 1.5 if bound == ">" else ratio**-1.7
    return {
        "clipped": interval(min(2.0, max(0.5, ratio))),
        "median": interval(min(2.0, max(0.5, ratio))),
        "valid_ratio": interval(ratio),
        "clipped_test": interval(min(2.0, max(0.5, ratio * 1.01))),
        "test_ratio": interval(ratio * 1.01),
        "score": interval(min(4.0, max(0.25, speed)), 0.12, pairs=10, even=1),
        "speedup": speedup(min(4.0, max(0.25, speed)), 0.12, bound),
        "improvement": {"mid": 0.8 if ratio < 1 else 0.3, "low": 0.25, "high": 0.9},
        "ladder": {k: speedup(1.2) for k in ("50", "75", "90", "best")},
        "speedup_seconds": speedup(1.1),
    }


def result(index: int, name: str, horizon: int, diverged: bool) -> dict[str, Any]:
    ours = name == "learned"
    floor = 0.3 * (1 + index % 6) / advantage(index, name)
    ends = [s * 1.5 * horizon / 1778 for s in STEPS]
    steps = sorted({max(1, round(s)) for s in ends if ours or s <= horizon} | {horizon})
    known = [floor * (1 + 8 * math.exp(-s / 60 / WORTH[name]) + 4 * s**-0.5) for s in steps]
    cut = len(steps) // 2 if diverged else len(steps)
    middle = [y if i < cut else None for i, y in enumerate(known)]

    def curves(factor: float) -> list[list[float | None]]:
        return [[y and round(y * factor * side, 6) for y in middle] for side in (0.9, 1, 1.14)]

    final = None if diverged else round(known[steps.index(horizon)], 6)
    lrs = [10 ** (k / 2) for k in range(-8, -1)]
    tuned = name not in ("learned", "adam_default")
    made = {
        "valid_loss": final,
        "valid_quartiles": [final and final * 0.96, final and final * 1.05],
        "train_loss": final and final * 0.8,
        "test_loss": final and final * 1.02,
        "best_valid_loss": min(y for y in middle if y),
        "steps": steps,
        "curves": {"train": curves(0.8), "valid": curves(1.0), "test": curves(1.02)},
        "times": {k: [None if diverged else 100.0 * WORTH[name] + s for s in range(10)]
                  for k in ("best", "90", "75", "50")},
        "seed_losses": {
            which: [None if diverged and s == 3 else
                    floor * f * (1 + 0.02 * math.sin(3 * s + index)) for s in range(10)]
            for which, f in (("valid", 1.0), ("test", 1.02))
        },
        "diverged": 4 if diverged else 0,
        "step_us": 300.0 * (1.3 if ours else 1.0),
        "hyper": {"lr": 1.0 if ours else 10**-2.5, "wd": 0.01 if tuned else 0.0,
                  "cosine": float(name not in FREE),
                  "extra": 1e-8 if name == "adabelief" else None},
        "trials": 26 if tuned else 0,
        "extensions": 1 if name == "lion" else 0,
        "at_edge": name == "lion",
        "edge": 0 if name == "lion" else 2,
        "tune_loss": final and final * 0.99,
        "sensitivity": [[lr, None if lr > 0.03 and name == "sgdm" else
                         floor * (1.2 + 0.5 * (math.log10(lr) + 2.5) ** 2)] for lr in lrs]
        if tuned else [],
        "best_of": [floor * (1.2 + 2 / k) for k in range(1, 27)] if tuned else [],
    }  # fmt: skip
    if WHERE[index % 6][2] != "diabetes":
        made["test_accuracy"] = None if diverged else 0.91
    return made


def make(
    tasks: int = 6,
    baselines: tuple[str, ...] = tuple(LABELS),
    diverged: tuple[tuple[int, str], ...] = ((3, "sgdm"),),
    name: str = "quickstart",
    suite: str = "META_TEST_V1",
) -> dict[str, Any]:
    """A full report. `diverged`: (index of the task, optimizer)."""
    names = ("learned", *baselines)
    made = []
    for index in range(tasks):
        task, network, data, leakage = WHERE[index % 6]
        horizon = 1000 * (1 + index % 2)
        made.append({
            "name": task if index < 6 else f"{task}-{index // 6 + 1}", "network": network,
            "datasets": [data], "leakage": leakage, "horizon": horizon, "parameters": 12345,
            "targets": {"best": 0.31, "90": 0.35, "75": 0.5, "50": 0.9},
            "results": {n: result(index, n, horizon, (index, n) in diverged) for n in names},
            "against": {n: against(index, n) for n in baselines},
        })  # fmt: skip
    groups = {"all tasks": list(range(tasks))}
    for index, task in enumerate(made):
        groups.setdefault(task["leakage"], []).append(index)

    def pooled(found: list[int], n: str) -> dict[str, Any]:
        mean = math.exp(sum(math.log(advantage(i, n)) for i in found) / len(found))
        return {
            "clipped": interval(mean**0.9, 0.05),
            "median": interval(mean**0.8, 0.05),
            "valid_ratio": interval(mean, 0.07),
            "clipped_test": interval(mean**0.9, 0.06),
            "test_ratio": interval(mean, 0.08),
            "score": interval(min(4.0, mean**-1.6), 0.1, pairs=10 * tasks, even=tasks),
            "speedup": speedup(min(4.0, mean**-1.6)),
            "improvement": {"mid": 0.71, "low": 0.62, "high": 0.8},
            "ladder": {k: speedup(1.2) for k in ("50", "75", "90", "best")},
            "speedup_seconds": speedup(1.1),
        }

    tau = [1 + k / 10 for k in range(31)]
    words = {n: {"better": 0, "worse": 0, "undecided": 0} for n in baselines}
    for task in made:
        for n, found in task["against"].items():
            ratio = found["clipped"]
            word = "better" if ratio["high"] < 1 else "worse" if ratio["low"] > 1 else "undecided"
            words[n][word] += 1
    counts = words.get("adamw", {"better": 0, "worse": 0, "undecided": 0})
    return {
        "schema": 3, "suite": suite, "suite_hash": "0123456789abcdef", "tier": "cpu",
        "smoke": False, "device": "2 x cpu (x86_64)", "jax": "0.10.2", "code": "6806aaa",
        "date": "2026-11-21", "seeds": 10, "tune_seeds": 3, "headline": "adamw", "seconds": 167.0,
        "subject": {"name": name, "kind": "artifact", "identity": "ab" * 32, "trials": 0,
                    "horizon_free": False, "card": {
                        "name": name, "optimizer": "GatedAdam", "outer_steps": 2000,
                        "meta_training_hours": 1.25, "device": "1 x H200",
                        "trained_on": {"networks": ["mlp"], "datasets": ["digits", "wine"]}}},
        "optimizers": {"learned": {"label": f"{name}, untuned", "role": "learned",
                                   "horizon_free": False, "trials": 0}} | {
            n: {"label": LABELS[n], "horizon_free": n in FREE,
                "role": ROLES.get(n, "baseline"),
                "trials": {"adam_default": 0, "adamw_frozen": 35, "rival:celo": 0}.get(n, 26)}
            for n in baselines},
        "sentence": f"{name}, untuned, is better than tuned AdamW on {counts['better']} of {tasks} "
        f"tasks, worse on {counts['worse']}, undecided on {counts['undecided']}; pooled final "
        "validation loss 0.90 [0.86, 0.95] times AdamW's; 1.3 times as slow per step at 1M "
        "parameters (95 % intervals over 10 fresh seeds).",
        "tasks": made,
        "groups": [{"label": label, "tasks": [made[i]["name"] for i in found],
                    "against": {n: pooled(found, n) for n in baselines}}
                   for label, found in groups.items()],
        "oracle": {"against": {k: x for k, x in pooled(groups["all tasks"], "muon").items()
                               if k != "speedup_seconds"},
                   "choice": {t["name"]: "muon" if i % 2 else "adamw"
                              for i, t in enumerate(made)}},
        "verdict": words,
        "profile": {"names": list(names), "tau": tau,
                    "rho": {n: [min(1.0, t / 4 / WORTH[n]) for t in tau] for n in names},
                    "area": {n: round(0.7 / WORTH[n], 4) for n in names},
                    "gated": {n: round(0.6 / WORTH[n], 4) if n != "rival:celo" else None
                              for n in names}},
        "tracks": {"known": [n for n in names if n not in FREE],
                   "free": [n for n in names if n in FREE]},
        "budgets": {
            "multipliers": [1.0, 0.3, 3.0, 0.1, 10.0, 0.03, 30.0, 0.01],
            "settings": {n: [8, 8] if n == "learned" else [26, 28]
                         for n in names if n in ("learned", "adamw", "muon")},
            "rows": {n: [{"trials": k, "loss": interval(1 + worth / k)} for k in counts]
                     for n, worth, counts in (("learned", 0.1, (1, 2, 4, 8)),
                                              ("adamw", 0.4, (1, 2, 4, 8, 26)),
                                              ("muon", 0.3, (1, 2, 4, 8, 26))) if n in names},
        },
        "misinformed": [{"told": told, "against_told_right": interval(1 + abs(math.log2(told)) / 8),
                         "against_headline": interval(0.9 + abs(math.log2(told)) / 8),
                         "diverged": 0} for told in (0.5, 2, 10)],
        "variants": [{"name": f"{made[0]['name']}~gain", "of": made[0]["name"],
                      "results": {n: {"valid_loss": 0.5 * WORTH[n], "diverged": 0,
                                      "slower": WORTH[n], "missed": False} for n in names}},
                     {"name": f"{made[0]['name']}~loss-scale", "of": made[0]["name"],
                      "results": {n: {"valid_loss": None if n == "sgdm" else 0.5,
                                      "diverged": 10 if n == "sgdm" else 0, "slower": None,
                                      "missed": True} for n in names}}],
        "grid": [{"axis": axis, "value": value, "task": f"grid~{axis}-{value}",
                  "retuned": None if (axis, value) == ("init", "x10") else interval(f),
                  "transferred": None if (axis, value) == ("init", "x10") else interval(f * 0.85),
                  "diverged": 10 if (axis, value) == ("init", "x10") else
                  (2 if value == "2048" else 0), "seeds": 10}
                 for axis, values in {
                     "base": {"base": 0.9}, "horizon": {"x2": 0.95, "x5": 1.1, "x10": 1.6},
                     "width": {"x4": 0.8, "x16": 0.7}, "depth": {"x2": 0.9, "x4": 1.05},
                     "batch": {"32": 0.95, "128": 0.9, "512": 1.0, "2048": 1.3},
                     "init": {"x0.1": 1.0, "x10": 0.0},
                     "architecture": {"conv": 1.02, "lstm": 2.6, "transformer": 0.45},
                 }.items() for value, f in values.items()],
        "traces": {t["name"]: {n: {
            "steps": STEPS, "update_rms": [1e-2 * s**-0.2 for s in STEPS],
            "relative": [1e-2 * WORTH[n] * s**-0.3 for s in STEPS],
            "effective_lr": [3e-3 * WORTH[n] * s**-0.15 for s in STEPS],
            "cosine": [(1.0 if n != "learned" else 0.6 - 0.3 * i / len(STEPS))
                       for i, s in enumerate(STEPS)]}
            for n in names[:1] + (("adamw",) if "adamw" in names else ())} for t in made[:2]},
        "cost": {"device": "2 x cpu (x86_64)", "rows": [
            {"network": f"mlp-1e{k}-{batch}", "kind": "mlp", "parameters": 10**k, "batch": batch,
             "optimizer": n, "step": 10.0 ** (k - 2) * (1 + batch / 64) * (1.3 if ours else 1),
             "spread": 5.0, "update": None, "share": None, "state": 4.0 if ours else 2.0,
             "temporary": 10**k * 8 if k < 6 else None, "compile": 3.0 if ours else 1.5,
             "steps": 500}
            for k in (4, 5, 6) for batch in (32, 128)
            for n, ours in (("learned", True), ("adamw", False))]},
        "meta_training": {"outer_steps": list(range(0, 2001, 100)),
                          "valid_loss": [1.2 - 0.8 * (1 - math.exp(-s / 400))
                                         for s in range(0, 2001, 100)]},
        "break_even": {"meta_steps": 3_200_000, "tuning_steps_per_task": 78_000, "tasks": 41.03},
        "failures": [{"stage": "report", "task": made[i]["name"], "optimizer": n,
                      "lr": 0.1, "weight_decay": 0.0, "cosine": 1.0,
                      "seed": 100 + s, "told": 1.0} for i, n in diverged if i < tasks
                     for s in (7, 3, 1, 5)],
        "merged": {"runs": 1234, "shipped": 1200, "conflicts": 0},
        "arguments": ["quickstart", "--suite", "META_TEST_V1"],
    }  # fmt: skip


def bare(**more: Any) -> dict[str, Any]:
    """One task, one baseline, none of the optional parts."""
    made = make(1, ("adamw",), ())
    for key in (
        "oracle", "verdict", "budgets", "profile", "misinformed", "variants", "grid", "traces",
        "cost", "meta_training", "merged",
    ):  # fmt: skip
        del made[key]
    made["break_even"] = None
    made["subject"] |= {"kind": "factory", "card": {}}
    for found in made["tasks"][0]["results"].values():
        found |= {"sensitivity": [], "best_of": [], "step_us": None, "tune_loss": None}
        nothing = [[None] * len(found["steps"])] * 3
        found["curves"] |= {"train": nothing, "test": nothing}
    return made | more
