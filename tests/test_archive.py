"""Runs on disk: what their keys depend on, kills, races, merging, packing, and the command."""

import concurrent.futures
import dataclasses
import functools
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from made_runs import LATER, RULE, SPEC, TASK, Recorder, packable, trials, value
from processes import ROOT, environment

import eval._archive
import eval._keys
from checkpoints import FolderError, hold_folder
from eval import BASELINES, Hyper, Trial
from eval._archive import Archive
from eval._keys import (
    Identity,
    artifact_identity,
    baseline_identity,
    factory_identity,
    fingerprint,
    run_key,
)
from eval._pack import ArchiveError, pack, unpack
from learned_opt import Artifact, Nominal
from tasks import load_dataset
from tasks.augmentations import LossScale
from tasks.families import MLP

replace = dataclasses.replace
OTHER = replace(TASK, name="other", spec=replace(SPEC, data="breast_cancer"))


# --- keys --------------------------------------------------------------------------------------


def key(task=TASK, hyper=Hyper(0.1, 0.0), seed=0, identity=RULE, stage="tune"):  # noqa: B008
    return run_key(identity, Trial(task, hyper, seed), stage)


CHANGES = {
    "batch size": {"task": replace(TASK, spec=replace(SPEC, batch_size=32))},
    "network": {"task": replace(TASK, spec=replace(SPEC, problem=MLP(max_width=64)))},
    "augmentation": {"task": replace(TASK, spec=replace(SPEC, augmentations=(LossScale(),)))},
    "data": {"task": replace(TASK, spec=replace(SPEC, data="wine"))},
    "a number": {"task": replace(TASK, numbers=(("width", 17), ("gain", 1.0)))},
    "fewer numbers": {"task": replace(TASK, numbers=TASK.numbers[:1])},
    "horizon": {"task": replace(TASK, horizon=101)},
    "rule": {"identity": Identity("rule", {"rule": "b"})},
    "learning rate": {"hyper": Hyper(0.2, 0.0)},
    "weight decay": {"hyper": Hyper(0.1, 0.1)},
    "seed": {"seed": 1},
    "stage": {"stage": "report"},
}


def test_a_key_depends_on_everything_that_makes_a_run(monkeypatch):
    keys = {name: key(**changed) for name, changed in CHANGES.items()}
    monkeypatch.setattr(eval._keys, "RUN_VERSION", -1)
    keys["version"] = key()
    monkeypatch.undo()
    assert len({key(), *keys.values()}) == len(keys) + 1


@pytest.mark.parametrize(
    "same",
    [
        {"task": replace(TASK, name="another name")},
        {"task": replace(TASK, tier="gpu", variant_of="x")},
        {"task": replace(TASK, numbers=TASK.numbers[::-1])},
        {"task": replace(TASK, numbers=(("width", 16.0), ("gain", 1)))},
        {"hyper": Hyper(np.float64(0.1), 0)},
        {"identity": RULE._replace(name="another name")},
    ],
)
def test_names_places_and_types_are_not_in_keys(same):
    assert key(**same) == key()


@dataclasses.dataclass(frozen=True)
class LaterTrial(Trial):
    halved: float = 1.0


class LaterHyper(NamedTuple):
    lr: float
    wd: float = 0.0
    more: float = 0.0


def test_new_fields_at_their_defaults_leave_keys_alone(tmp_path):
    def later(hyper, **more):
        return run_key(RULE, LaterTrial(TASK, hyper, 0, **more), "tune")

    class HyperBefore(NamedTuple):
        lr: float
        wd: float = 0.0

    before = run_key(RULE, Trial(TASK, HyperBefore(0.1), 0), "tune")
    assert later(HyperBefore(0.1)) == later(LaterHyper(0.1)) == before
    assert len({before, later(HyperBefore(0.1), halved=0.5), later(LaterHyper(0.1, 0, 2.0))}) == 3
    # Rows made before have the new fields when they are asked for.
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()
    archive.run(RULE, recorder, [Trial(TASK, HyperBefore(0.1), 0)], "tune")
    (row,) = archive.run(RULE, recorder, [LaterTrial(TASK, LaterHyper(0.1), 0)], "tune")
    assert len(recorder.asked) == 1
    assert (row["halved"], row["more"], row["weight_decay"]) == (1.0, 0.0, 0.0)


def test_a_row_says_what_its_key_is_of(tmp_path):
    late = LaterTrial(TASK, LaterHyper(0.1, 0.01), 3, halved=0.5)
    (row,) = Archive(tmp_path / "runs.jsonl").run(RULE, Recorder(), [late], "tune")
    assert row.items() >= {
        "key": run_key(RULE, late, "tune"), "stage": "tune", "task": "task", "optimizer": "rule",
        "horizon": 100, "lr": 0.1, "weight_decay": 0.01, "more": 0.0, "seed": 3, "halved": 0.5,
        "device": "cpu", "jax": jax.__version__, "valid_loss": value(late),
    }.items()  # fmt: skip


@pytest.mark.parametrize("leaf", range(10))
def test_the_fingerprint_of_data_sees_every_array(leaf):
    """One element more or less by one unit, in any split, in the mean, in the deviation."""
    data = load_dataset("digits")
    leaves, structure = jax.tree.flatten(data)
    assert len(leaves) == 10
    x = np.array(leaves[leaf])
    x[(-1,) * x.ndim] += 1
    changed = jax.tree.unflatten(structure, [*leaves[:leaf], jnp.asarray(x), *leaves[leaf + 1 :]])
    assert fingerprint(changed) != fingerprint(data)
    assert fingerprint(jax.tree.map(jnp.copy, data)) == fingerprint(data)


def test_the_fingerprint_of_data_sees_types_shapes_and_description():
    data = load_dataset("digits")
    train = data.splits["train"]
    flat = train._replace(x=train.x.reshape(-1, 64))
    wide = train._replace(y=train.y.astype(jnp.uint32))
    changed = [
        replace(data, name="x"),
        replace(data, spec=replace(data.spec, outputs=11)),
        *(replace(data, splits=data.splits | {"train": part}) for part in (flat, wide)),
    ]
    assert len({fingerprint(data), *map(fingerprint, changed)}) == 5


def test_a_task_under_another_name_is_the_same_run(tmp_path):
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()
    archive.run(RULE, recorder, trials(2), "tune")
    renamed = trials(2, replace(TASK, name="in another suite"))
    rows = archive.run(RULE._replace(name="by another name"), recorder, renamed, "tune")
    assert len(recorder.asked) == 2
    assert [row["task"] for row in rows] == ["in another suite"] * 2
    assert [row["optimizer"] for row in rows] == ["by another name"] * 2
    twice = archive.run(RULE, recorder, [*trials(3), *trials(3)], "tune")
    assert [t.seed for t in recorder.asked] == [0, 1, 2]
    assert twice[:3] == twice[3:]


@pytest.mark.parametrize("what", ["a task", "a horizon", "a baseline", "data"])
def test_a_change_runs_only_what_it_touches_again(tmp_path, monkeypatch, what):
    tasks, rules = [TASK, OTHER], [RULE, Identity("second", {"rule": "b"})]

    def run(recorder):
        archive = Archive(tmp_path / "runs.jsonl")
        for rule in rules:
            for task in tasks:
                archive.run(rule, recorder, trials(2, task), "tune")
        return recorder.asked

    assert len(run(Recorder())) == 8
    assert run(Recorder()) == []
    if what == "a task":
        tasks[1] = replace(OTHER, spec=replace(OTHER.spec, batch_size=32))
    if what == "a horizon":
        tasks[1] = replace(OTHER, horizon=50)
    if what == "a baseline":
        rules[1] = Identity("second", {"rule": "b", "version": 2})
    if what == "data":
        changed = replace(load_dataset("breast_cancer"), name="changed")
        sets = {"digits": load_dataset("digits"), "breast_cancer": changed}
        monkeypatch.setattr(eval._keys, "load_dataset", sets.get)
        eval._keys.data_fingerprint.cache_clear()
    again = run(Recorder())
    assert len(again) == 4
    assert {t.task.name for t in again} == (
        {"task", "other"} if what == "a baseline" else {"other"}
    )
    assert run(Recorder()) == []
    eval._keys.data_fingerprint.cache_clear()


def test_identities():
    one = baseline_identity(BASELINES[0])
    assert one.name == BASELINES[0].name
    assert one.facts == {"baseline": one.name, "version": one.facts["version"]}
    assert len({json.dumps(baseline_identity(row).facts) for row in BASELINES}) == len(BASELINES)
    optimizer = Nominal()
    thetas = [optimizer.init(jax.random.key(seed)) for seed in (0, 1)]
    first, second = (Artifact(optimizer, theta, {"name": "mine"}) for theta in thetas)
    assert artifact_identity(first) == Identity("mine", {"artifact": first.sha256})
    assert artifact_identity(second).facts != artifact_identity(first).facts


def test_a_factory_is_its_function_and_the_source_of_its_file(tmp_path):
    def load(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("mine", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return factory_identity(module.make)

    one = load("def make(hyper, num_steps): return 1\n")
    assert one.name == one.facts["factory"] == "mine:make"
    assert load("def make(hyper, num_steps): return 1\n") == one
    two = load("def make(hyper, num_steps): return 2\n")
    assert two.facts["factory"] == "mine:make"
    assert two.facts["source"] != one.facts["source"]


@pytest.mark.parametrize("factory", [lambda hyper: 1, functools.partial(optax.adam, 1), print])
def test_a_factory_without_a_source_is_one_sentence(factory):
    with pytest.raises(ValueError, match=r"must be a function at the top of a file, got .*; def"):
        factory_identity(factory)


# --- the file ----------------------------------------------------------------------------------


def test_runs_are_kept_task_by_task_and_never_repeated(tmp_path):
    path, recorder = tmp_path / "runs.jsonl", Recorder()
    seen = []

    def runner(trials, *, report):
        assert report
        seen.append(len(path.read_text().splitlines()) if path.exists() else 0)
        return recorder(trials, report=report)

    wanted = [*trials(38), *trials(3, OTHER), *trials(2, LATER), *trials(1, lr=0.2)]
    rows = Archive(path).run(RULE, runner, wanted, "report")
    assert recorder.calls == [39, 3, 2]
    assert seen == [0, 39, 42]
    for row, trial in zip(rows, wanted, strict=True):
        assert (row["task"], row["seed"]) == (trial.task.name, trial.seed)
        assert row["valid_loss"] == row["valid_curve"][-1] == value(trial)
        assert row["test_loss"] == pytest.approx(3 * row["valid_loss"], rel=1e-5)
    again = Archive(path)
    assert again.run(RULE, recorder, trials(40), "report")[:38] == rows[:38]
    assert recorder.calls == [39, 3, 2, 2]
    assert again.facts() == {"runs": 40, "shipped": 0, "conflicts": 0}


def test_the_tune_stage_keeps_the_final_loss_alone(tmp_path):
    (row,) = Archive(tmp_path / "runs.jsonl").run(RULE, Recorder(), trials(1), "tune")
    assert not {name for name in row if name.endswith("curve")}
    assert {name for name in row if name.endswith("loss")} == {"valid_loss"}


def test_many_runs_are_kept_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(eval._archive, "MOST_AT_ONCE", 4)
    recorder = Recorder()
    Archive(tmp_path / "runs.jsonl").run(RULE, recorder, trials(10), "tune")
    assert recorder.calls == [4, 4, 2]


def test_a_whole_file_is_not_written_when_it_is_read(tmp_path):
    path = tmp_path / "runs.jsonl"
    Archive(path).run(RULE, Recorder(), trials(3), "tune")
    before, content = path.stat(), path.read_bytes()
    assert len(Archive(path).rows) == 3
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    Archive(path).run(RULE, Recorder(), trials(5), "tune")
    assert path.stat().st_ino == before.st_ino
    assert path.read_bytes().startswith(content)


def test_a_last_line_cut_anywhere_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "runs.jsonl"
    whole = Archive(path).run(RULE, Recorder(), trials(3), "tune")
    content = path.read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(content)):
        path.write_bytes(content[:cut])
        archive, recorder = Archive(path), Recorder()
        assert archive.notes == []
        assert archive.run(RULE, recorder, trials(4), "tune")[:3] == whole
        # Cut before its line break alone, the row is whole.
        assert [t.seed for t in recorder.asked] == ([3] if cut == len(content) - 1 else [2, 3])
        assert len([json.loads(line) for line in path.read_text().splitlines()]) == 4


@pytest.mark.parametrize(
    "bad",
    [
        b'{"key": "cut sh',
        b"\x00\x00\xff\xfe",
        b"[1, 2]",
        b'{"key": "x"}',
        b'{"key": [], "stage": "tune", "task": "", "optimizer": "", "seed": 0, "valid_loss": 1}',
        b'{"key": "x", "stage": "tune", "task": "", "optimizer": "", "seed": 0, "valid_loss": ""}',
        b'{"key": "x", "stage": "report", "task": "", "optimizer": "", "seed": 0, "valid_loss": 1}',
    ],
)
def test_a_damaged_line_is_named_and_dropped(tmp_path, bad):
    path = tmp_path / "runs.jsonl"
    Archive(path).run(RULE, Recorder(), trials(3), "tune")
    lines = path.read_bytes().splitlines()
    lines[1] = bad
    path.write_bytes(b"\n".join(lines) + b"\n")
    archive, recorder = Archive(path), Recorder()
    (note,) = archive.notes
    assert note == f"{path}: line 2 of 3 is damaged and left out; what is missing runs again"
    archive.run(RULE, recorder, trials(3), "tune")
    assert [t.seed for t in recorder.asked] == [1]
    assert Archive(path).notes == []
    assert len(Archive(path).rows) == 3


def test_many_damaged_lines_are_one_sentence(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text("no\n" * 9)
    (note,) = Archive(path).notes
    assert "lines 1, 2, 3, 4, 5, ... of 9 are damaged" in note
    assert path.read_text() == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_run_is_a_row(tmp_path, bad):
    path = tmp_path / "runs.jsonl"
    (row,) = Archive(path).run(RULE, Recorder(bad), trials(1), "report")
    assert row["valid_loss"] is None
    assert row["train_curve"] == [None] * len(row["steps"])
    assert Archive(path).rows == {row["key"]: row}
    assert "NaN" not in path.read_text()


def test_stop_ends_runs_after_the_task_they_are_at(tmp_path):
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()

    def runner(trials, *, report):
        archive.stop()
        return recorder(trials, report=report)

    with pytest.raises(concurrent.futures.CancelledError):
        archive.run(RULE, runner, [*trials(5), *trials(5, OTHER)], "tune")
    assert len(Archive(archive.path).rows) == 5


# --- processes ---------------------------------------------------------------------------------


def launch(mode, folder):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "made_runs.py"), mode, str(folder)],
        cwd=ROOT, env=environment() | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_kill_in_the_middle_of_appending_costs_what_it_cut(tmp_path):
    """SIGKILL after half the bytes of the second task; the same command then makes the rest."""
    process = launch("tear", tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == -9
    path = tmp_path / "runs.jsonl"
    content = path.read_bytes()
    whole = content.count(b"\n")
    assert 36 <= whole < 72
    assert not content.endswith(b"\n")
    process = launch("go on", tmp_path)  # the lock of the killed process does not block
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert int(output) == 72 - whole
    archive, recorder = Archive(path), Recorder()
    wanted = [*trials(36), *trials(36, LATER)]
    rows = archive.run(RULE, recorder, wanted, "tune")
    assert recorder.asked == []
    assert [row["valid_loss"] for row in rows] == [value(trial) for trial in wanted]
    assert path.read_bytes().count(b"\n") == 72


def test_of_two_processes_in_one_folder_one_works_and_one_says_why_not(tmp_path):
    both = [launch("race", tmp_path) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    deadline = time.monotonic() + 60
    while not (lost := [p for p in both if p.poll() is not None]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "end").touch()
    (loser,), (winner,) = lost, [p for p in both if p not in lost]
    _, errors = loser.communicate(timeout=60)
    output, _ = winner.communicate(timeout=60)
    assert (loser.returncode, winner.returncode) == (1, 0)
    host = socket.gethostname()
    assert errors == (
        f"error: {tmp_path} is in use by process {winner.pid} on {host}; wait until it ends, or "
        "choose another folder with --out\n"
    )
    assert int(output) == 72
    assert len(Archive(tmp_path / "runs.jsonl").rows) == 72


@pytest.mark.parametrize("command", [["quickstart", "--out"], ["baselines", "--out"]])
def test_the_command_says_who_holds_the_folder(tmp_path, capsys, command):
    from eval.__main__ import main

    out = tmp_path / "out"
    held = out if command[0] == "quickstart" else tmp_path / "out.d"
    held.mkdir()
    with hold_folder(held):
        assert main([*command, str(out)]) == 2
    error = capsys.readouterr().err
    assert f"error: {held} is in use by process {os.getpid()} on {socket.gethostname()}" in error
    assert error.count("\n") == 1
    with hold_folder(held):
        pass


def test_a_folder_that_cannot_be_locked_is_one_sentence(tmp_path):
    with (
        pytest.raises(FolderError, match=r"cannot lock .*\(No such file.*\); choose a folder"),
        hold_folder(tmp_path / "none"),
    ):
        pass


# --- other machines ----------------------------------------------------------------------------


def test_files_beside_it_are_read_and_never_written(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    Archive(here / "runs.jsonl").run(RULE, Recorder(), trials(2), "tune")
    Archive(there / "runs.jsonl").run(RULE, Recorder(), trials(5), "tune")
    copy = here / "runs-there.jsonl"
    content = (there / "runs.jsonl").read_bytes() + b'{"key": "cut sh'
    copy.write_bytes(content)
    archive, recorder = Archive(here / "runs.jsonl"), Recorder()
    assert (archive.notes, archive.conflicts) == ([], 0)
    archive.run(RULE, recorder, trials(6), "tune")
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
    Archive(other).run(RULE, Recorder(factor), trials(3), "tune")
    other.rename(tmp_path / "other")
    first = Archive(path).run(RULE, Recorder(), trials(3), "tune")
    (tmp_path / "other").rename(other)
    archive = Archive(path)
    assert archive.run(RULE, Recorder(), trials(3), "tune") == first
    assert archive.facts()["conflicts"] == archive.conflicts == conflicts
    assert archive.notes == [
        f"{n} runs in {tmp_path} differ from the same run of another machine by more than 0.1% in "
        "validation loss; the first of each counts"
        for n in [conflicts]
        if n
    ]


def test_two_machines_that_both_diverged_agree(tmp_path):
    path = tmp_path / "runs.jsonl"
    Archive(path).run(RULE, Recorder(np.nan), trials(3), "tune")
    (tmp_path / "copy.jsonl").write_bytes(path.read_bytes())
    assert Archive(path).conflicts == 0


# --- packed runs -------------------------------------------------------------------------------


def packed(path, rows):
    path.write_bytes(pack(rows))
    return path


@pytest.mark.parametrize("seed", range(3))
def test_packing_loses_nothing(tmp_path, seed):
    rows = list(packable(200, np.random.default_rng(seed)))
    back = unpack(packed(tmp_path / "runs.npz", rows))
    assert back == sorted(rows, key=lambda row: row["key"])
    assert unpack(packed(tmp_path / "none.npz", [])) == []


def test_values_that_six_digits_cannot_hold_are_kept_whole(tmp_path):
    odd = [0.1234567, 1e300, 1e-300, 7, True, "text", {"a": [1, None]}, [1, 2.5], [0.1234567]]
    rows = [{"key": f"{i:016x}", "x": x} for i, x in enumerate(odd)]
    rows.append({"key": "no hex", "x": 0.5})
    assert unpack(packed(tmp_path / "runs.npz", rows)) == rows


def test_equal_rows_make_equal_bytes(monkeypatch):
    rng = np.random.default_rng(0)
    rows = list(packable(50, rng))
    shuffled = [dict(reversed(rows[i].items())) for i in rng.permutation(50)]
    first = pack(rows)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *a: pytest.fail("looked at the clock"))
    assert pack(shuffled) == first
    assert pack(rows[1:]) != first


def test_a_number_takes_less_than_four_bytes():
    rng = np.random.default_rng(0)
    rows = [
        {
            "key": rng.bytes(8).hex(),
            "valid_curve": [float(f"{x:.6g}") for x in rng.lognormal(size=40)],
        }
        for _ in range(500)
    ]
    assert len(pack(rows)) < 500 * (40 * 4 + 8 + 1)


def test_damaged_packed_runs_are_one_sentence(tmp_path):
    content = bytearray(pack(packable(30, np.random.default_rng(0))))
    want = unpack(packed(tmp_path / "runs.npz", packable(30, np.random.default_rng(0))))
    path = tmp_path / "bad.npz"
    cases = [b"", b"text", bytes(content[: len(content) // 2])]
    for place in np.random.default_rng(1).integers(0, len(content), 200):
        cases.append(bytes(content[:place]) + bytes([content[place] ^ 255]) + content[place + 1 :])
    errors = []
    for case in cases:
        path.write_bytes(case)
        try:
            assert unpack(path) == want  # a byte that nothing depends on, such as a date
        except ArchiveError as error:
            errors.append(str(error))
    assert len(errors) > 150
    assert {error.partition("(")[0] for error in errors} == {
        f"{path} holds no packed runs, or is damaged "
    }
    assert all(error.endswith("; delete it, or fetch it again") for error in errors)
    with pytest.raises(ArchiveError):
        Archive(tmp_path / "runs.jsonl", tmp_path)


def test_shipped_runs_come_first_and_are_not_copied(tmp_path):
    made = Archive(tmp_path / "made.jsonl").run(RULE, Recorder(), trials(4), "report")
    base = packed(tmp_path / "base.npz", made)
    path = tmp_path / "out" / "runs.jsonl"
    path.parent.mkdir()
    archive, recorder = Archive(path, base), Recorder()
    assert archive.run(RULE, recorder, trials(4), "report") == made
    assert recorder.asked == []
    assert not path.exists()
    archive.run(RULE, recorder, trials(6), "report")
    assert [t.seed for t in recorder.asked] == [4, 5]
    assert len(path.read_text().splitlines()) == 2
    assert archive.facts() == {"runs": 6, "shipped": 4, "conflicts": 0}
    # Rows of one's own, made before the package had them, give way.
    Archive(path).run(RULE, Recorder(1.5), trials(4), "report")
    both = Archive(path, base)
    assert both.run(RULE, Recorder(), trials(4), "report") == made
    assert both.conflicts == 4


def test_the_package_ships_every_packed_file():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    shipped = {
        path
        for package, patterns in table["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    kinds = (".npz", ".css", ".json")
    assert {path for path in (ROOT / "eval").rglob("*") if path.suffix in kinds} <= shipped
