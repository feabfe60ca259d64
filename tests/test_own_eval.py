"""Tasks of one's own, judged: interrupted and resumed, what is refused, what an owner is told."""

import dataclasses
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from made_runs import LATER, TASK, Recorder
from own_runs import judge, make_up, probes
from processes import environment

import learned_opt
import learned_opt.eval._own as own
from learned_opt import tasks
from learned_opt.eval import BASELINES, Hyper, Runner, artifact_subject, read_report
from learned_opt.eval.__main__ import main
from learned_opt.eval.plan import LEVELS, check_start, choose_plan
from learned_opt.eval.report import to_html
from learned_opt.eval.report.owner import code, owner_sentences
from learned_opt.eval.statistics import Estimate

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def subject():
    return artifact_subject(learned_opt.load("small"))


@pytest.fixture
def made_up(monkeypatch):
    """Evaluations that are made up: what they were asked, and probes."""
    recorder, kinds = Recorder(), [probes()]
    make_up(monkeypatch, recorder, kinds)
    return recorder, kinds


def untimed(report):
    return dataclasses.replace(report, seconds=None, own=dataclasses.replace(report.own, seconds=0))


def test_the_module_of_the_page_is_a_task(monkeypatch):
    monkeypatch.chdir(ROOT)
    with jax.numpy_rank_promotion("allow"):
        (letters,) = tasks.load_task("docs/examples/letters.py:letters")
        assert check_start(letters) == ""
    assert (letters.name, letters.horizon, letters.spec.batch_size) == ("letters", 300, 64)


def test_it_goes_on_with_the_level_that_it_began_with(subject, made_up, tmp_path, monkeypatch):
    recorder, kinds = made_up
    monkeypatch.setattr(own, "write_report", lambda report, folder: None)
    budget = choose_plan(own.everyone(subject), [TASK], probes()).seconds / 4
    whole, text = judge(subject, tmp_path / "whole", budget=budget)
    assert whole.own.level > 1
    assert re.search(r"runs, .* left", text)
    count = len(recorder.asked)
    recorder.asked.clear()

    def stops(runner, trials, **kind):
        if len(recorder.asked) > count // 3:
            raise KeyboardInterrupt
        return recorder(trials, **kind)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "__call__", stops)
        with pytest.raises(KeyboardInterrupt):
            judge(subject, tmp_path / "out", budget=budget)
    assert 0 < len(recorder.asked) < count
    kinds.append(probes(step=1e-6))  # a machine that is faster now would take more
    again, _ = judge(subject, tmp_path / "out", budget=budget)
    assert len(recorder.asked) == count
    assert untimed(again) == untimed(whole)


@pytest.fixture(scope="module")
def judged(subject, tmp_path_factory):
    """The folder and the report of an evaluation that is made up, in which `small` is bad."""
    out = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        make_up(patch, Recorder(), [probes()])
        report, _ = judge(subject, out, budget=1e9, arguments=["small", "--task", "a:b"])
    return out, report


def test_the_report_of_an_owner_is_made_of_intervals(judged):
    out, report = judged
    assert read_report(out / "report.json") == report
    (task,) = report.tasks
    best = min(
        (n for n, f in report.optimizers.items() if f.role in ("calibrated", "default")),
        key=lambda n: task.results[n].valid_loss,
    )

    def told(low, mid, high):
        one = Estimate(mid=mid, low=low, high=high)
        far = Estimate(mid=0.1, low=0.1, high=0.1)
        against = {
            name: dataclasses.replace(found, valid_ratio=one if name == best else far)
            for name, found in task.against.items()
        }
        return dataclasses.replace(report, tasks=[dataclasses.replace(task, against=against)])

    for interval, said in {
        (0.8, 0.9, 0.95): r"small: after 100 steps its loss is 0\.90 \[0\.80, 0\.95\] times",
        (1.1, 1.2, 1.3): r"after 100 steps the loss of small is 1\.20 \[1\.10, 1\.30\] times its",
        (0.9, 1.0, 1.1): r"or with small, whose loss after 100 steps is 1\.00 \[0\.90, 1\.10\] ",
    }.items():
        (first,), second, _ = owner_sentences(told(*interval))
        assert re.search(f"^Train task with .*{said}", first)
        assert (
            "A run of small takes 0.01 s and 1.00 times the memory of AdamW, state, parameters and "
            "temporary arrays counted."
        ) in second
    page = to_html(told(0.8, 0.9, 0.95))
    assert page.count('<details id="all"') == 1
    assert page.index("Loss, step by step") < page.index("What tuning would have bought you")
    line = "tx = learned_opt.learned(&quot;small&quot;, num_steps=100)"
    assert line in page
    assert line not in to_html(told(1.1, 1.2, 1.3))
    assert "learned-opt eval small --task a:b --out OUT" in (out / "report.md").read_text()


def test_of_several_tasks_each_gets_its_sentence_also_where_nobody_is_tuned(
    subject, made_up, tmp_path, monkeypatch
):
    both = [TASK, LATER]
    kinds = probes() | probes(name="later")
    monkeypatch.setattr(own, "probe", lambda task, runs: kinds[task.name])
    monkeypatch.setattr("learned_opt.eval.plan._plan.LEVELS", LEVELS[-1:])
    report, _ = judge(subject, tmp_path, tasks=both)
    assert (report.budgets, report.seeds, len(report.optimizers)) == (None, 3, 3)
    (one,), soon, (two,), later, last = owner_sentences(report)
    assert [said[:11] for said in (one, two)] == ["Train task ", "Train later"]
    for said in (soon, later):
        assert "as AdamW cosine at learning rate 0.01 in steps" in said[0]
    assert last[0].startswith(
        "Within the budget 3 fresh seeds instead of 10; nobody is tuned; only AdamW and NAdamW "
        "stand for what needs no tuning; "
    )
    assert [title for title, _ in report.kinds] == ["Nobody tuned, told the number of steps"]
    page = (tmp_path / "report.html").read_text()
    assert "Final validation loss, task by task" in page
    assert 'id="all"' not in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("momo_adam", "tx.update(grads, state, params, value=loss)"),
        ("schedule_free_default", "row.eval_params(state, params)"),
        ("muon_calibrated", None),
    ],
)
def test_the_lines_to_paste_say_what_else_a_loop_must_do(judged, name, said):
    (task,) = judged[1].tasks
    last = code(judged[1], task, name).splitlines()[-1]
    assert last.startswith("tx = row.transform(") if said is None else said in last
    assert last.startswith("#") is (said is not None)


@pytest.mark.parametrize("name", ["adamw_calibrated", "lion_calibrated", "adam_default", "muon"])
def test_the_lines_to_paste_are_what_ran(judged, name):
    (task,) = judged[1].tasks
    row = next(row for row in BASELINES if row.name in (name, name.removesuffix("_calibrated")))
    found = {}
    exec(code(judged[1], task, name), found)
    params = {"layer": {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}}
    hyper = {key: value or 0.0 for key, value in task.results[name].hyper.items()}
    made = row.transform(Hyper(**hyper), task.horizon)

    def trained(tx):
        state, x = tx.init(params), params
        for i in range(3):
            grads = jax.tree.map(lambda p, i=i: jnp.sin(7.0 * p + i), x)
            update, state = tx.update(grads, state, x)
            x = optax.apply_updates(x, update)
        return jax.tree.leaves(x)

    with jax.numpy_dtype_promotion("standard"):
        for ours, theirs in zip(trained(found["tx"]), trained(made), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_what_cannot_be_judged_by_is_refused(project, said):
    for name, message in {
        "mine:negative": "the loss of negative must be above 0, for losses are compared by their "
        "ratio, got -6.8",
        "mine:infinite": "the loss of infinite must be finite at the start, got nan",
        "mine:nothing": "--task mine:nothing cannot be imported",
        "nowhere:line": "--task nowhere:line cannot be imported",
    }.items():
        status, error = said("small", "--task", name, "--plan", "--out", "none")
        assert (status, error[: len(message)]) == (2, message)
    for words, message in {
        "--budget 3m": "--budget is for tasks of your own: add --task MODULE:NAME",
        "--task mine:line --suite FAR_V1": "--suite and --task exclude each other: leave one out",
        "--task mine:line --num-steps 0": "--num-steps must be from 1 to 100,000,000, got 0",
        "--task mine:line --budget 3": "--budget must be a time such as 90s, 30m or 2h, got '3'",
        "--task mine:line --all --budget 3m": "--all and --budget exclude each other: leave one",
    }.items():
        status, error = said("small", *words.split(), "--out", "none")
        assert (status, error[: len(message)]) == (2, message)
    assert not (project / "none").exists()
    status, error = said("small", *["--task", "mine:line"] * 2, "--plan", "--out", "none")
    assert (status, error) == (
        2, "tasks must have different names, got line more than once; give each its name="
    )  # fmt: skip
    (task,) = tasks.load_task("mine:small")
    assert "has 60 examples: below 100 what it says is" in check_start(task)


def test_a_loss_that_falls_below_0_ends_it_and_is_said(subject, made_up, tmp_path):
    made_up[0].factor = -1.0
    with pytest.raises(ValueError, match=r"the loss of task must not be below 0, .* a constant"):
        judge(subject, tmp_path)


def test_a_folder_in_which_nothing_was_run_is_free_for_a_changed_task(subject, made_up, tmp_path):
    with pytest.raises(ValueError, match="--budget must be"):
        judge(subject, tmp_path, budget=1.0)
    report, _ = judge(subject, tmp_path, [dataclasses.replace(TASK, horizon=50)])
    assert report.tasks[0].horizon == 50


def test_a_plan_is_timed_and_printed_and_nothing_is_written(project, capsys):
    words = "small --task mine:line --num-steps 80 --budget 10h --plan --out none"
    jax.config.update("jax_numpy_dtype_promotion", "standard")  # of all threads
    try:
        assert main(words.split()) == 0
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")
    text = capsys.readouterr().out
    assert "line: 1 parameter, 80 steps; a run of AdamW takes " in text
    assert re.search(r"\n  AdamW, tuned +88 runs +\d", text)
    assert "level 1 of 7: nothing is left out" in text
    assert not (project / "none").exists()


@pytest.mark.slow
def test_a_killed_one_goes_on_in_an_empty_folder(project):
    """The whole command: killed after some runs it ends with the same plan and every run once."""
    words = "eval small --task mine:line --budget 10h --out report"

    def launch():
        return subprocess.Popen(
            [sys.executable, "-m", "learned_opt", *words.split()],
            cwd=project, env=environment(), text=True, stdout=subprocess.PIPE,
        )  # fmt: skip

    file, end = project / "report" / "runs.jsonl", time.monotonic() + 600
    process = launch()
    while not (file.exists() and file.read_bytes().count(b"\n") >= 60):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.communicate()
    plan, before = (project / "report" / "plan.json").read_bytes(), file.read_text().splitlines()
    process = launch()
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0
    assert "level 1 of 7: nothing is left out" in output
    assert (project / "report" / "plan.json").read_bytes() == plan
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [json.dumps(row) for row in rows][: len(before) - 1] == before[:-1]
    assert len({row["key"] for row in rows}) == len(rows)
    report = read_report(project / "report" / "report.json")
    assert report.tasks[0].leakage == "yours"
    assert report.sentence.startswith("Train line with ")
    assert {"muon", "learned:multiplied", "nadamw_calibrated", "prodigy"} < set(report.optimizers)
