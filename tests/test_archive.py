"""Runs on disk: what is kept, damage, and files of other machines."""

import concurrent.futures
import dataclasses
import json
import threading

import jax
import numpy as np
import pytest
from made_runs import LATER, RULE, SPEC, TASK, Recorder, trials, value

import learned_opt.eval.running._archive
from learned_opt.eval.running import Archive

OTHER = dataclasses.replace(
    TASK, name="other", spec=dataclasses.replace(SPEC, data="breast_cancer")
)


def test_runs_are_kept_task_by_task_and_never_repeated(tmp_path):
    path, recorder = tmp_path / "runs.jsonl", Recorder()
    seen = []

    def runner(trials, **kind):
        assert kind["curves"]
        seen.append(len(path.read_text().splitlines()) if path.exists() else 0)
        return recorder(trials, **kind)

    wanted = [*trials(38), *trials(3, OTHER), *trials(2, LATER), *trials(1, lr=0.2)]
    runs = Archive(path).run(RULE, runner, wanted, curves=True)
    assert recorder.calls == [39, 3, 2]
    assert seen == [0, 39, 42]
    for run, trial in zip(runs, wanted, strict=True):
        assert (run.task, run.seed) == (trial.task.name, trial.seed)
        assert run.valid_loss == run.valid_curve[-1] == value(trial)
        assert run.final["test_loss"] == pytest.approx(3 * run.valid_loss, rel=1e-5)
    again = Archive(path)
    assert again.run(RULE, recorder, trials(40), curves=True)[:38] == runs[:38]
    assert recorder.calls == [39, 3, 2, 2]
    machine = f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    assert again.facts() == {"runs": 40, "shipped": 0, "conflicts": 0, "machines": [machine]}


def test_a_run_without_curves_keeps_its_final_loss_alone(tmp_path):
    (run,) = Archive(tmp_path / "runs.jsonl").run(RULE, Recorder(), trials(1), curves=False)
    assert (run.steps, run.valid_curve) == ((), ())
    assert run.final.keys() == {"valid_loss", "valid_accuracy"}
    assert not {name for name in run.to_json() if name.endswith("curve")}


def test_many_runs_are_kept_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(learned_opt.eval.running._archive, "MOST_AT_ONCE", 4)
    recorder = Recorder()
    Archive(tmp_path / "runs.jsonl").run(RULE, recorder, trials(10), curves=False)
    assert recorder.calls == [4, 4, 2]


def test_a_whole_file_is_not_written_when_it_is_read(tmp_path):
    path = tmp_path / "runs.jsonl"
    Archive(path).run(RULE, Recorder(), trials(3), curves=False)
    before, content = path.stat(), path.read_bytes()
    assert len(Archive(path).runs) == 3
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    Archive(path).run(RULE, Recorder(), trials(5), curves=False)
    assert path.stat().st_ino == before.st_ino
    assert path.read_bytes().startswith(content)


def test_a_last_line_cut_anywhere_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "runs.jsonl"
    whole = Archive(path).run(RULE, Recorder(), trials(3), curves=False)
    content = path.read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(content)):
        path.write_bytes(content[:cut])
        archive, recorder = Archive(path), Recorder()
        assert archive.notes == []
        assert archive.run(RULE, recorder, trials(4), curves=False)[:3] == whole
        # Cut before its line break alone, the run is whole.
        assert [t.seed for t in recorder.asked] == ([3] if cut == len(content) - 1 else [2, 3])
        assert len([json.loads(line) for line in path.read_text().splitlines()]) == 4


def test_many_damaged_lines_are_one_sentence(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text("no\n" * 9)
    (note,) = Archive(path).notes
    assert note == (
        f"{path}: lines 1, 2, 3, 4, 5, ... of 9 are damaged and left out; kept in "
        "runs.jsonl.damaged (of line 1 no JSON object can be read, got b'no'); what is missing "
        "runs again"
    )
    assert (path.read_text(), (tmp_path / "runs.jsonl.damaged").read_text()) == ("", "no\n" * 9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_run_is_kept(tmp_path, bad):
    path = tmp_path / "runs.jsonl"
    (run,) = Archive(path).run(RULE, Recorder(bad), trials(1), curves=True)
    assert run.valid_loss == np.inf
    assert run.train_curve == (np.inf,) * len(run.steps)
    assert Archive(path).runs == {run.key: run}
    assert json.loads(path.read_text())["train_curve"] == [None] * len(run.steps)
    assert "NaN" not in path.read_text()


def test_stop_ends_runs_after_the_task_they_are_at(tmp_path):
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()

    def runner(trials, **kind):
        archive.stop()
        return recorder(trials, **kind)

    with pytest.raises(concurrent.futures.CancelledError):
        archive.run(RULE, runner, [*trials(5), *trials(5, OTHER)], curves=False)
    assert len(Archive(archive.path).runs) == 5


def test_machines_are_those_of_the_runs_that_are_used(tmp_path):
    path = tmp_path / "runs.jsonl"
    Archive(path).run(RULE, Recorder(), trials(3), curves=False)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1] |= {"device": "NVIDIA H100", "jax": "0.9"}
    lines[2] |= {"device": "not used", "jax": "0.9"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    archive = Archive(path)
    assert archive.facts()["machines"] == []
    archive.run(RULE, Recorder(), trials(2), curves=False)
    here = f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    assert archive.facts()["machines"] == sorted(["NVIDIA H100, jax 0.9", here])


def test_two_threads_never_make_the_same_run(tmp_path):
    """The second asks while the first is at it: it waits for the first, and makes the rest."""
    archive, first, second = Archive(tmp_path / "runs.jsonl"), Recorder(), Recorder()
    going, may_end, watched = threading.Event(), threading.Event(), []
    archive.progress = lambda found, made: watched.append((found, made))

    def slow(some, **kind):
        going.set()
        assert may_end.wait(30)
        return first(some, **kind)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one = pool.submit(archive.run, RULE, slow, trials(3), curves=False)
        assert going.wait(30)
        two = pool.submit(archive.run, RULE, second, trials(5), curves=False)
        may_end.set()
        assert two.result(30)[:3] == one.result(30)
    assert [t.seed for t in first.asked] == [0, 1, 2]
    assert [t.seed for t in second.asked] == [3, 4]
    assert [sum(column) for column in zip(*watched, strict=True)] == [3, 5]
    assert len(archive.path.read_text().splitlines()) == 5


@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_thread_fails_to_make_another_makes_unless_all_are_stopped(tmp_path, stopped):
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()
    going, may_end = threading.Event(), threading.Event()

    def failing(some, **kind):
        going.set()
        assert may_end.wait(30)
        archive.stop() if stopped else None
        raise ArithmeticError("no")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one = pool.submit(archive.run, RULE, failing, trials(3), curves=False)
        assert going.wait(30)
        two = pool.submit(archive.run, RULE, recorder, trials(3), curves=False)
        may_end.set()
        with pytest.raises(ArithmeticError):
            one.result(30)
        if stopped:
            with pytest.raises(concurrent.futures.CancelledError):
                two.result(30)
        else:
            assert len(two.result(30)) == 3
    assert len(archive.runs) == len(recorder.asked) == (0 if stopped else 3)


def test_files_beside_it_are_read_and_never_written(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    Archive(here / "runs.jsonl").run(RULE, Recorder(), trials(2), curves=False)
    Archive(there / "runs.jsonl").run(RULE, Recorder(), trials(5), curves=False)
    copy = here / "runs-there.jsonl"
    content = (there / "runs.jsonl").read_bytes() + b'{"key": "cut sh'
    copy.write_bytes(content)
    archive, recorder = Archive(here / "runs.jsonl"), Recorder()
    assert (archive.notes, archive.conflicts) == ([], 0)
    archive.run(RULE, recorder, trials(6), curves=False)
    assert [t.seed for t in recorder.asked] == [5]
    assert copy.read_bytes() == content
    assert len((here / "runs.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("factor", "conflicts"), [(1.0, 0), (1 + 5e-4, 0), (1 + 2e-3, 3), (np.nan, 3)]
)
def test_of_two_rows_of_a_run_the_first_counts_and_differences_are_counted(
    tmp_path, factor, conflicts
):
    path, other = tmp_path / "runs.jsonl", tmp_path / "runs-other.jsonl"
    Archive(other).run(RULE, Recorder(factor), trials(3), curves=False)
    other.rename(tmp_path / "other")
    first = Archive(path).run(RULE, Recorder(), trials(3), curves=False)
    (tmp_path / "other").rename(other)
    archive = Archive(path)
    assert archive.run(RULE, Recorder(), trials(3), curves=False) == first
    assert archive.facts()["conflicts"] == archive.conflicts == conflicts
    assert archive.notes == [
        f"{n} runs in {tmp_path} differ from the same run of another machine by more than 0.1% in "
        "validation loss; the first of each counts"
        for n in [conflicts]
        if n
    ]


def test_two_machines_that_both_diverged_agree(tmp_path):
    path = tmp_path / "runs.jsonl"
    Archive(path).run(RULE, Recorder(np.nan), trials(3), curves=False)
    (tmp_path / "copy.jsonl").write_bytes(path.read_bytes())
    assert Archive(path).conflicts == 0
