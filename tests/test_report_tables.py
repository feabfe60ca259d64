"""What the page prints in its tables and notes, value by value."""

import dataclasses
import html
import re

import pytest
from reports import bare, make

from learned_opt.eval.report import report_from_json, to_html, to_markdown
from learned_opt.eval.report._cost_sentence import cost_range
from learned_opt.eval.report._numbers import span
from learned_opt.eval.report._sections import in_seconds, meta_training
from learned_opt.eval.report.figures import LEAKAGE_COLOURS
from learned_opt.eval.report.tables import command, cost, failures, pooled, settings, task_steps
from learned_opt.eval.statistics import Estimate, Speedup


@pytest.fixture(scope="module")
def full():
    return report_from_json(make(2, ("adamw", "lion", "adamw_frozen"), ()))


@pytest.fixture(scope="module")
def page(full):
    return to_html(full)


def cells(table):
    """Rows of a table, each a list of texts; what a cell repeats of the one above is empty."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.S)
    plain = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]*>", "", x)).strip() for x in row] for row in plain]


def column(table, name, key):
    """Column `name` of the rows whose second cell begins with `key`."""
    head, *rows = cells(table)
    return [row[head.index(name)] for row in rows if row[1].startswith(key)]


# --- T2 ----------------------------------------------------------------------------------------


def test_distance_to_the_edge_is_that_of_the_result():
    """In half decades, within the rates tried with the chosen schedule."""
    made = make(1, ("adamw", "lion"), ())
    made["tasks"][0]["results"]["adamw"]["edge"] = 3
    made["tasks"][0]["results"]["learned"]["edge"] = None
    table = settings(report_from_json(made))
    assert column(table, "to the grid's edge", "AdamW") == ["factor 31.6"]
    assert column(table, "to the grid's edge", "Lion") == ["at the edge"]
    assert column(table, "to the grid's edge", "quickstart") == ["–"]


def test_how_the_choice_held_on_fresh_seeds():
    made = make(1, ("adamw",), ())
    made["tasks"][0]["results"]["adamw"] |= {"valid_loss": 0.53, "tune_loss": 0.5}
    made["tasks"][0]["results"]["learned"] |= {"valid_loss": 0.5, "tune_loss": None}
    table = settings(report_from_json(made))
    assert column(table, "fresh over tuning loss", "AdamW") == ["+6.0 %"]
    assert column(table, "fresh over tuning loss", "quickstart") == ["–"]


def test_settings_tried_are_those_of_each_row(full):
    table = settings(full)
    assert column(table, "settings tried", "AdamW, tuned") == ["26", "26"]
    assert column(table, "settings tried", "AdamW, one") == ["35 once, on other tasks"] * 2
    assert column(table, "settings tried", "quickstart") == ["0", "0"]
    tuned = make(1, ("adamw",), ())
    tuned["optimizers"]["learned"]["trials"] = 12
    assert column(settings(report_from_json(tuned)), "settings tried", "quickstart") == ["12"]


# --- T3, T4, T5 --------------------------------------------------------------------------------


def test_cost_of_a_step_over_adamws(full):
    head, first, second, *_ = cells(cost(full, full.cost.rows))
    ours, adamw = dict(zip(head, first, strict=True)), dict(zip(head, second, strict=True))
    assert ours["load"] == "MLP, 10k parameters, batch 32"
    assert (ours["optimizer"], adamw["optimizer"]) == ("quickstart", "AdamW")
    # 10 ** 2 * 1.5 us, and 1.3 of it.
    assert adamw["training step, ± interquartile range"] == "0.15 ms ± 0.005"
    assert ours["training step, ± interquartile range"] == "0.195 ms ± 0.005"
    assert [cell for cell, name in zip(first, head, strict=True) if name == "over AdamW's"] == [
        "1.30", "1.00",
    ]  # fmt: skip
    assert (ours["state over parameters"], adamw["state over parameters"]) == ("4.00", "2.00")
    assert ours["temporary memory"] == "78.1 KiB"
    assert ours["compilation"] == "3 s"
    assert ours["steps timed"] == "500"


def test_steps_of_the_tasks_are_over_adamws(full):
    head, first, second, *_ = cells(task_steps(full))
    assert head == ["task", "parameters", "optimizer", "training step", "over AdamW's"]
    assert first[1:] == ["12,345", "quickstart, untuned", "0.39 ms", "1.30"]
    assert second[2:] == ["AdamW, tuned", "0.3 ms", "1.00"]
    assert task_steps(report_from_json(bare())) == ""


def timed(*loads):
    """A report with steps of so many times AdamW's: (kind, parameters, batch, tokens, times)."""
    row = make(1, ("adamw",))["cost"]["rows"][0]
    rows = [
        row | {"network": f"{i}", "kind": kind, "parameters": size, "batch": batch,
               "tokens": tokens, "optimizer": name, "step": step}
        for i, (kind, size, batch, tokens, factor) in enumerate(loads)
        for name, step in (("adamw", 70.0), ("learned", 70.0 * factor))
    ]  # fmt: skip
    return report_from_json(bare(cost={"device": "cpu", "rows": rows}))


def test_the_range_of_costs_is_from_the_cheapest_load_to_the_dearest():
    mlps = [("mlp", 994_570, 1024, None, 3.4), ("mlp", 994_570, 128, None, 16.02)]
    found = timed(*mlps, ("transformer", 116_511, 128, 8192, 1.03), ("conv", 96_026, 128, None, 2))
    assert cost_range(found) == (
        "its training step costs 1.03 times AdamW's on a transformer of 100k parameters at 8,192 "
        "tokens a step to 16.0 times on an MLP of 1M parameters at batch 128"
    )
    page = to_html(found)
    assert "<b>1.03 to 16.0 <span>times</span></b>" in page
    assert page.count('aria-label="time of a training step over AdamW&#x27;s, by load"') == 1
    assert "Its training step costs 1.03 times AdamW's on a transformer" in to_markdown(found)
    assert cost_range(timed(mlps[1])) == (
        "its training step costs 16.0 times AdamW's on an MLP of 1M parameters at batch 128"
    )
    assert cost_range(report_from_json(bare())) == ""
    # Nor against nobody.
    lonely = dataclasses.replace(found.cost, rows=found.cost.rows[1::2])
    assert cost_range(dataclasses.replace(found, cost=lonely)) == ""


def test_costs_of_every_device_have_a_table_of_their_own():
    made = bare(cost=make(1, ("adamw",))["cost"])
    slow = [row | {"step": 7 * row["step"]} for row in made["cost"]["rows"]]
    made["cost"]["elsewhere"] = [{"device": "cpu (riscv)", "rows": slow}]
    page = to_html(report_from_json(made))
    part = re.findall(r'<details id="cost">.*?</details>', page, re.S)[0]
    assert [part.count(f"Measured on {x}.") for x in ("2 x cpu (x86_64)", "cpu (riscv)")] == [1, 1]
    assert (part.count(">0.195 ms"), part.count(">1.36 ms")) == (1, 1)


def test_provenance_says_where_everything_comes_from(page):
    part = re.findall(r'<details id="provenance">.*?</details>', page, re.S)[0]
    found = dict(cells(part)[1:])
    assert found["evaluated"] == "quickstart (artifact)"
    assert found["identity"] == "ab" * 32
    assert found["meta training hours"] == "1.25"
    assert found["trained on"] == "networks: mlp; datasets: digits, wine"
    assert found["suite"] == "META_TEST_V1, hash 0123456789abcdef"
    assert found["seeds"] == "10 to report, 3 others to tune"
    assert found["code"] == "6806aaa"
    assert found["JAX"] == "0.10.2"
    assert found["duration of the evaluation"] == "2 min 47 s"
    assert found["runs"].startswith("1,234, of which 1,200 shipped; 0 differ")
    assert "3,200,000 training steps" in part
    assert "78,000 a task" in part
    assert "after <b>41 tasks</b>" in part


def test_failures_say_where_and_with_what():
    made = bare()
    made["failures"] = [
        {"stage": "report", "task": "a", "optimizer": "adamw", "lr": 0.1, "weight_decay": 0.5,
         "seed": 103},
    ]  # fmt: skip
    made = report_from_json(made)
    found = cells(failures(made))
    assert found[1] == ["report", "a", "AdamW, tuned", "0.1", "0.5", "103", "–"]
    assert "Failures (1)" in to_html(made)


# --- pooled ------------------------------------------------------------------------------------


def test_the_score_says_how_many_pairs_it_counts_as_even(full, page):
    table = pooled(full)
    score = full.groups[0].against["adamw"].score
    text = f"{score.mid:.2f} [{score.low:.2f}, {score.high:.2f}]"
    assert column(table, "score, clipped to a factor of 4", "AdamW, tuned")[0] == text
    assert column(table, "counted as even", "AdamW, tuned")[0] == "2 of 20"
    assert column(table, "both missed the 90 % target", "AdamW, tuned")[0] == "0 of 10"
    assert 'aria-label="pooled score against each baseline"' in page
    assert text in to_markdown(full)


def test_two_misses_are_no_number_anywhere():
    made = bare()
    nothing = dict.fromkeys(("mid", "low", "high", "least", "most"))
    nothing |= {"bound": "", "text": "unknown", "pairs": 10, "missed": 0, "both_missed": 10}
    for found in (made["tasks"][0], made["groups"][0], made["groups"][1]):
        found["against"]["adamw"]["speedup"] = nothing
    made = report_from_json(made)
    page = to_html(made)
    assert "unknown how fast: both missed in 10 of 10 pairs" in page
    assert 'unknown <small class="why">both missed in 10 of 10 pairs</small>' in page
    assert "unknown (both missed in 10 of 10 pairs)" in to_markdown(made)


def test_a_report_of_earlier_code_has_defaults():
    """Before pairs of runs were counted, and commands and other devices kept."""
    made = bare(cost=make(1, ("adamw",))["cost"])
    del made["arguments"], made["failures"]
    for row in made["cost"]["rows"]:
        del row["kind"]
    for found in (made["tasks"][0], *made["groups"]):
        against = found["against"]["adamw"]
        del against["speedup_seconds"], against["score"]["pairs"], against["score"]["even"]
        for speedup in (against["speedup"], *against["ladder"].values()):
            del speedup["pairs"], speedup["missed"], speedup["both_missed"]
    report = report_from_json(made)
    assert (report.arguments, report.failures, report.cost.elsewhere) == ([], [], [])
    assert {(row.kind, row.tokens) for row in report.cost.rows} == {("mlp", None)}
    assert column(pooled(report), "both missed the 90 % target", "AdamW, tuned") == ["–", "–"]
    assert "None" not in to_markdown(report)
    assert report_from_json(report.to_json()) == report


def test_intervals_that_are_open_at_both_ends():
    bounds = dict.fromkeys(("low", "least", "most", "high"))
    assert span(Estimate(mid=0.58, low=None, high=None)) == "[…, …]"
    assert span(Speedup(**bounds, mid=0.58, bound=">", text=">0.58x")) == "[…, …]"
    assert span(Speedup(**bounds, mid=None, bound="", text="unknown")) == ""


# --- notes and order ---------------------------------------------------------------------------


def test_the_verdict_comes_first_then_curves_losses_and_intervals_then_all_that_unfolds(page):
    marks = [
        '<div class="verdict">', '<div class="cards">', '<section id="curves">',
        '<table class="headline">', '<section id="budgets">',
        'aria-label="speed-up over AdamW, task by task"', "<details",
    ]  # fmt: skip
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)


def test_nothing_claims_that_test_was_read_once(page):
    assert "The test split is never read by anything that chooses." in page
    assert "read once" not in page


def test_who_was_timed_is_said_where_not_all_were(full):
    assert "were timed" not in in_seconds(full)
    made = make(1, ("adamw", "lion"), ())
    made["tasks"][0]["results"]["lion"]["step_us"] = None
    assert in_seconds(report_from_json(made)).startswith(
        "Only quickstart and AdamW were timed. To the 90 % target"
    )


def test_a_curve_that_an_artifact_did_not_keep(full):
    assert "<svg" in meta_training(full)
    lost = dataclasses.replace(full, meta_training=type(full.meta_training)())
    assert "not kept by this artifact" in meta_training(lost)
    assert meta_training(report_from_json(bare())) == ""  # a function was not meta-trained


def test_what_nobody_knows_to_be_new_has_a_colour_of_its_own():
    made = bare()
    made["tasks"][0]["leakage"] = made["groups"][1]["label"] = "unknown"
    page = to_html(report_from_json(made))
    assert f'<i style="background:{LEAKAGE_COLOURS["unknown"]}"></i>unknown' in page
    assert "Unknown: nothing says what this optimizer was trained on." in page


def test_the_command_is_the_one_that_was_given():
    made = bare(arguments=["--optimizer", "a.b:c", "--suite", "X Y", "--quick"])
    told = "learned-opt eval --optimizer a.b:c --suite 'X Y' --quick --out OUT"
    assert command(report_from_json(made)) == told
    del made["arguments"]
    made["subject"]["identity"] = "a.b:c"
    made["smoke"] = True
    told = "learned-opt eval --optimizer a.b:c --suite META_TEST_V1 --tier cpu --smoke --out OUT"
    assert command(report_from_json(made)) == told
