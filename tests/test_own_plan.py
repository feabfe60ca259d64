"""What an evaluation of tasks of one's own would take, and what of it a budget allows."""

import io
import json

import numpy as np
import pytest
import rich.console
from made_runs import TASK, Recorder
from own_runs import make_up, probes, timed

import learned_opt
import learned_opt.eval._own as own
import learned_opt.eval.running._batching as batching
from learned_opt._durations import seconds_of
from learned_opt.eval import artifact_subject
from learned_opt.eval.baselines import ADAMW
from learned_opt.eval.plan import (
    EVERYTHING,
    LEVELS,
    Probe,
    choose_plan,
    own_jobs,
    own_protocol,
    plan_from_json,
    plan_text,
    plan_to_json,
)
from learned_opt.eval.running import eval_steps, even_width
from learned_opt.eval.tuning import few_settings


@pytest.fixture(scope="module")
def subject():
    return artifact_subject(learned_opt.load("small"))


def test_a_budget_is_a_number_and_a_unit():
    assert [seconds_of(x) for x in ("45s", "30m", "1.5h")] == [45, 1800, 5400]
    for bad in ("30", "m", "-3m", "0s", "1d", "nan", ""):
        with pytest.raises(ValueError, match=r"^--budget must be a time such as 90s, 30m or 2h, g"):
            seconds_of(bad)


def test_what_runs_take_is_a_straight_line_between_the_widths_that_were_timed():
    cost = Probe(timed(1, 0.1, 0.2), timed(5, 0.3, 0.6), (100, 50, 1000))
    assert cost.seconds(200, 3, curves=False) == pytest.approx(200 * 0.2 + 0.4)
    points = len(eval_steps(200))
    assert cost.seconds(200, 3, curves=True) == pytest.approx(40 + points * 0.4 * 1.5 + 0.4 * 10)
    assert cost.seconds(200, 1, curves=False) == pytest.approx(200 * 0.1 + 0.2)
    assert cost.compiling_evaluations == 3
    one = Probe(timed(1, 0.1, 0.2), timed(1, 0.1, 0.2), (1, 1, 1))
    assert one.seconds(10, 1, curves=False) == pytest.approx(1.2)


def test_the_first_level_that_fits_is_chosen(subject):
    jobs = own.everyone(subject)
    times = [choose_plan(jobs, [TASK], probes(), budget=1e9).seconds]
    assert choose_plan(jobs, [TASK], probes()).level == 1
    for level in range(2, len(LEVELS) + 1):
        plan = choose_plan(jobs, [TASK], probes(), budget=times[-1] - 1e-6)
        assert plan.level == level
        assert plan.rows == choose_plan(jobs, [TASK], probes(), budget=plan.seconds).rows
        assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan
        assert plan.extent.left_out
        assert plan.runs == sum(
            job.runs(own_protocol([TASK], plan.extent))
            for job in own_jobs(jobs, plan.extent).values()
        )
        times.append(plan.seconds)
    assert times == sorted(times, reverse=True)
    least = int(np.ceil(times[-1]))
    wanted = rf"^--budget must be {least}s or more for the least .* got 1s"
    with pytest.raises(ValueError, match=wanted) as caught:
        choose_plan(jobs, [TASK], probes(), budget=1.0)
    tried = str(caught.value).rpartition("; try --budget ")[2]
    assert choose_plan(jobs, [TASK], probes(), budget=seconds_of(tried)).level == 7
    whole = choose_plan(jobs, [TASK], probes(), all_tuned=True)
    assert (whole.level, whole.extent) == (None, EVERYTHING)
    assert whole.seconds > times[0]
    text = plan_text(choose_plan(jobs, [TASK], probes(), budget=times[3]), [TASK])
    assert "task: 3,466 parameters, 100 steps; a run of AdamW takes " in text
    assert "level 4 of 7: 5 fresh seeds instead of 10; tuning tries 7 settings on 1 seed" in text


def test_less_is_tuned_with_fewer_settings_and_seeds(subject):
    jobs = own_jobs(own.everyone(subject), LEVELS[3])
    asked = []

    def losses(trials):
        asked.extend(trials)
        return [abs(np.log10(trial.hyper.lr) + 2) + 1 for trial in trials]

    tuned = jobs["adamw"].choose([TASK], losses)["task"]
    assert (tuned.hyper.lr, tuned.trials, len(asked)) == (0.01, 7, 7)
    assert {trial.seed for trial in asked} == {0}
    assert [h.lr for h in few_settings(ADAMW, 3)] == [0.003162, 0.001, 0.01]
    assert {(h.cosine, h.wd) for h in few_settings(ADAMW, 14)} == {(1.0, 0.0), (1.0, 0.1)}
    none = own_jobs(own.everyone(subject), LEVELS[-1])
    assert set(none) == {"learned", "adamw", "nadamw_calibrated"}  # one row of AdamW
    choice, same = (
        those["adamw" + end].choose([TASK], losses)["task"]
        for those, end in ((none, ""), (own.everyone(subject), "_calibrated"))
    )
    assert (choice.hyper, choice.trials) == (same.hyper, 0)
    assert none["adamw"].label == f"AdamW cosine at learning rate {choice.hyper.lr:.2g}"
    assert jobs["prodigy"].label == "Prodigy at its defaults"


def test_what_fills_memory_runs_one_at_a_time(subject, monkeypatch):
    kinds = [probes()]
    make_up(monkeypatch, Recorder(), kinds)
    monkeypatch.setattr(batching, "memory_budget", lambda: 3e9)
    assert batching.useful_width(int(2e9), int(2e9)) == 1
    assert even_width(10, 1) == 1
    jobs, console = own.everyone(subject), rich.console.Console(file=io.StringIO())
    assert own.plan_own(jobs, [TASK], console).at_once == 2
    kinds.append(probes(memory=10**15))
    plan = own.plan_own(jobs, [TASK], console)
    assert (plan.at_once, plan.memory) == (1, 10**15)
