"""Reports as JSON: written and read back, and those of an older schema."""

import dataclasses
import json

import pytest
from summaries import TASKS, VARIANT, report, rows

from learned_opt.eval import BASELINES
from learned_opt.eval.report import report_from_json

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_a_report_is_written_and_read_back_as_it_was():
    names = ["learned", *(b.name for b in BASELINES), "adamw_calibrated"]
    made = report(
        diverged=[("a", 104)],
        variants=(VARIANT,),
        variant_runs={name: list(rows(name, 1.0, [VARIANT])) for name in names},
        misinformed={2.0: list(rows("learned", 1.0))},
        step_us={task.name: dict.fromkeys(names, 1.0) for task in TASKS},
    )
    written = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert report_from_json(written) == made
    assert written["tasks"][0]["against"]["adamw"].keys() == {
        "clipped", "median", "valid_ratio", "clipped_test", "test_ratio", "improvement", "score",
        "speedup", "ladder", "speedup_seconds",
    }  # fmt: skip
    assert written["seconds"] is None


def test_a_report_of_schema_2_is_read_with_what_its_runs_tell():
    made = report(diverged=[("a", 103)])
    old = json.loads(json.dumps(made.to_json())) | {"schema": 2, "sentence": "of its time"}
    comparisons = [part["against"] for part in (*old["tasks"], *old["groups"])]
    for found in (*(c for one in comparisons for c in one.values()), old["oracle"]["against"]):
        for name in ("clipped", "median", "clipped_test"):
            del found[name]
    old["optimizers"]["adamw_calibrated"]["role"] = "frozen"
    old["optimizers"]["adam_default"] |= {"role": "baseline", "trials": 0}
    read = report_from_json(old)
    assert read.optimizers["adamw_calibrated"].role == "calibrated"
    assert read.optimizers["adam_default"].role == "default"
    assert dataclasses.replace(read, optimizers=made.optimizers) == made
    del old["tasks"][1]["results"]["adamw"]["seed_losses"]
    with pytest.raises(ValueError, match=r"tasks\.b\.results\.adamw\.seed_losses is missing"):
        report_from_json(old)
