"""Jobs of an evaluation side by side: errors, notes, progress, and what is measured beside them."""

import concurrent.futures
import dataclasses
import io
import json
import typing

import jax
import optax
import pytest
import rich.console
from made_runs import RULE, TASK, Recorder

import learned_opt.eval.cost._measurements
import learned_opt.eval.running._progress
import learned_opt.eval.tuning._calibrated
from learned_opt import Artifact, GatedAdam
from learned_opt.eval import BASELINES, Baseline, Hyper, Runner
from learned_opt.eval.contestants import (
    Contestant,
    Job,
    Protocol,
    Role,
    artifact_subject,
    baseline_jobs,
    run_jobs,
)
from learned_opt.eval.contestants._jobs import baseline_job, fixed
from learned_opt.eval.running import Archive
from learned_opt.eval.running._progress import Progress
from learned_opt.eval.tuning import CALIBRATED, Tuned, calibrated_settings
from learned_opt.eval.tuning._calibrated import TASKS

PROTOCOL = Protocol((TASK,))
ROLES = typing.get_args(Role)
FAKE = Baseline("fake", "fake", lambda *a: optax.identity(), (1e-3, 1e-1), (0.1, 1.0))


def test_planned_runs_are_those_of_an_optimum_in_the_middle():
    """5 learning rates, 3 of them x 2 decays, 3 seeds each; 10 seeds of the best."""
    assert baseline_job(FAKE).runs(PROTOCOL) == 3 * (5 + 3 * 2) + 10
    untuned = next(row for row in BASELINES if row.name == "adam_default")
    assert baseline_job(untuned).runs(PROTOCOL) == 10


def test_roles_and_tracks_of_the_ladder():
    """Tuned rows set targets; those at defaults, and those with one setting, do not."""
    jobs = baseline_jobs(BASELINES)
    roles = {role: {j.name for j in jobs.values() if j.role == role} for role in ROLES}
    assert roles["calibrated"] == {f"{row}_calibrated" for row in CALIBRATED}
    assert {row.name for row in BASELINES} == roles["baseline"] | roles["default"]
    assert {"prodigy", "cocob", "adam_default"} < roles["default"]
    assert {"adamw", "muon", "adan", "laprop"} < roles["baseline"]
    for row in BASELINES:
        assert jobs[row.name].horizon_free == row.horizon_free
    for row in CALIBRATED:
        one, each = jobs[f"{row}_calibrated"], jobs[row]
        assert (one.identity, one.horizon_free) == (each.identity, False)
        tuned = one.choose([TASK], lambda trials: pytest.fail("ran"))[TASK.name]
        assert (tuned.hyper, tuned.trials) == calibrated_settings()[row]
    assert baseline_jobs(BASELINES, calibrated=False).keys() == {row.name for row in BASELINES}
    fewer = [row for row in BASELINES if row.name in ("muon", "sgdm")]
    assert list(baseline_jobs(fewer)) == ["muon", "sgdm", "muon_calibrated"]


def job(name, runner):
    return Job(name, name, "baseline", False, RULE._replace(facts={"rule": name}), lambda: runner,
               fixed(Hyper(0.1)))  # fmt: skip


def test_an_error_of_one_job_stops_the_others(tmp_path):
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()
    started = concurrent.futures.Future()

    def failing(some, **kind):
        started.result(timeout=30)
        raise ArithmeticError("no")

    def long(some, **kind):
        started.set_result(None) if not recorder.asked else archive._stopped.wait(30)
        return recorder(some, **kind)

    console = rich.console.Console(file=io.StringIO())
    five = [dataclasses.replace(TASK, horizon=horizon) for horizon in range(100, 105)]
    jobs = {"long": job("long", long), "failing": job("failing", failing)}
    with pytest.raises(ArithmeticError):
        run_jobs(jobs, Protocol(tuple(five), seeds=(0, 1, 2)), archive, console, "")
    assert len(recorder.asked) <= 2 * 3
    assert len(Archive(archive.path).runs) == len(recorder.asked)


def test_notes_on_the_files_are_shown(tmp_path):
    path, text = tmp_path / "runs.jsonl", io.StringIO()
    path.write_text("no\n")
    archive = Archive(path)
    (note,) = archive.notes
    run_jobs({}, PROTOCOL, archive, rich.console.Console(file=text, width=40), "")
    assert text.getvalue() == f"note: {note}\n"
    archive.say("later")
    assert text.getvalue().endswith("note: later\n")


def test_progress_says_how_far_and_how_long(monkeypatch):
    now, text = [100.0], io.StringIO()
    monkeypatch.setattr(learned_opt.eval.running._progress.time, "monotonic", lambda: now[0])
    progress = Progress(rich.console.Console(file=text, width=30), "Evaluating", 3, 1000)
    assert progress.facts() == "0/3 optimizers, 0 of about 1,000 runs"
    progress.runs(400, 0)  # found on disk: no measure of speed
    now[0] = 150.0
    progress.runs(0, 100)
    assert progress.facts() == "0/3 optimizers, 500 of about 1,000 runs, 4 min left"
    assert text.getvalue() == ""
    now[0] = 170.0
    progress.runs(0, 300)
    assert progress.facts() == "0/3 optimizers, 800 of about 1,000 runs, 35 s left"
    assert text.getvalue() == progress.facts() + "\n"
    progress.runs(0, 400)
    progress.advance("Adam")
    assert text.getvalue().splitlines()[1] == "1/3 optimizers, 1,200 of about 1,200 runs, Adam done"


def test_calibration_says_how_far_it_is_and_writes_what_is_read(monkeypatch, tmp_path):
    text, recorder = io.StringIO(), Recorder()
    module = learned_opt.eval.tuning._calibrated
    monkeypatch.setattr(module, "calibration_tasks", lambda: [TASK])
    monkeypatch.setattr(module, "FILE", tmp_path / "calibrated.json")
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    console = rich.console.Console(file=text, width=200)
    chosen = module.calibrate(tmp_path / "runs", console=console)
    assert module.calibrated_settings() == chosen
    # The least loss that is made up is that of the least rate.
    assert {name: found.hyper.lr for name, found in chosen.items()} == {
        "adamw": 1e-4, "nadamw": 1e-4, "lion": 1e-5, "muon": 1e-3,
    }  # fmt: skip
    # 7 rates with 5 decays, Muon with 3; its default extra.
    assert {name: found.trials for name, found in chosen.items()} == {
        "adamw": 35, "nadamw": 35, "lion": 35, "muon": 21,
    }  # fmt: skip
    assert chosen["muon"].hyper.extra == 0.3
    assert len(recorder.asked) == 126 * 3
    first, *_, last = [line for line in text.getvalue().splitlines() if "optimizers" in line]
    assert first.startswith("1/4 optimizers, 105 of about 378 runs")
    assert last == "4/4 optimizers, 378 of 378 runs, Muon, tuned done"
    record = json.loads((tmp_path / "calibrated.json").read_text())
    assert record["tasks"] == [TASK.name]
    assert record["command"] == "learned-opt eval calibrate"


def test_calibration_tasks_are_of_validation_suites_and_large_enough():
    """Of text every byte counts that is predicted, so long as there is one a place."""
    tasks = learned_opt.eval.tuning._calibrated.calibration_tasks()
    assert len(tasks) == len(TASKS) == 13
    for task in tasks:
        assert task.horizon <= 1000
        assert not task.spec.data.startswith("tfds:")
        examples, *_ = jax.tree.leaves(task.family.full(task.member, "outer_valid"))
        text = task.spec.data.startswith("stdlib")
        assert (examples.size if text else len(examples)) >= 500


def test_measurements_are_made_again_where_what_they_depend_on_differs(monkeypatch):
    optimizer = GatedAdam()
    artifact = Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "mine"})
    subject = artifact_subject(artifact)

    def headline(lr):
        tuned = {"tiny": Tuned(Hyper(lr), 1, 0, ())}
        return Contestant("adamw", "", "baseline", False, tuned, [])

    def key():
        return learned_opt.eval.cost._measurements._key(subject, headline(0.1), "whole")

    first = key()
    assert json.loads(json.dumps(first)) == first == key()
    others = [
        learned_opt.eval.cost._measurements._key(subject, headline(0.2), "whole"),
        learned_opt.eval.cost._measurements._key(subject, headline(0.1), "quick"),
    ]
    for owner, name, value in (
        (learned_opt.eval.cost._measurements.platform, "node", lambda: "elsewhere"),
        (learned_opt.eval.cost._measurements, "describe_device", lambda: "1 x gpu (H100)"),
        (learned_opt.eval.cost._measurements, "source_hash", lambda *paths: "changed"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            others.append(key())
    assert all(other != first for other in others)
