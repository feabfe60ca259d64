"""Rows of runs against their schema: what is written passes, what is damaged is remade."""

import json
import math

import numpy as np
import optax
import pytest
from made_runs import RULE, Recorder, trials

from learned_opt.eval import Hyper, Runner, Trial
from learned_opt.eval.running import Archive
from learned_opt.eval.running._packed import FOLDER, unpack
from learned_opt.eval.running._run import (
    ALWAYS,
    REPORTED,
    line_fault,
    row_fault,
    run_from_json,
)
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP

NETWORK = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
TINY = EvalTask("tiny", FamilySpec(NETWORK, "digits"), (("activation", 0),), 4)
SETTINGS = ("weight_decay", "cosine", "extra", "beyond", "told")
"""Fields that lines from before they were there lack."""

BAD = {
    "word": "xx", "empty": "", "unprintable": "a\nb", "true": True, "list": [], "mixed": [1, "1"],
    "object": {}, "negative": -1, "fraction": 0.5, "huge": 10**400, "long": "x" * 2000,
    "infinite": math.inf, "nan": math.nan, "null": None, "nested": [[1.0]],
}  # fmt: skip
"""What may stand in any field."""

HARMLESS = {
    ("optimizer", "word"), ("optimizer", "empty"), ("optimizer", "unprintable"),
    ("optimizer", "long"), ("task", "word"), ("device", "word"), ("jax", "word"),
    *((name, x) for name in ("lr", "weight_decay", "cosine", "extra") for x in
      ("negative", "fraction")),
    *((name, x) for name in ("valid_loss", "train_loss", "test_loss") for x in
      ("negative", "fraction", "null")),
    *((f"{split}_accuracy", x) for split in ("train", "valid", "test") for x in
      ("negative", "fraction", "null")),
    ("told", "fraction"),
}  # fmt: skip
"""What is right in its field, or nothing to the run."""


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A row of each stage, of real runs."""
    path = tmp_path_factory.mktemp("real") / "runs.jsonl"
    runner = Runner(lambda hyper, steps: optax.with_extra_args_support(optax.sgd(hyper.lr)))
    some = [Trial(TINY, Hyper(0.1), 0)]
    kinds = (False, True)
    rows = [Archive(path).run(RULE, runner, some, curves=kind)[0].to_json() for kind in kinds]
    assert Archive(path).notes == []
    return dict(zip(("tune", "report"), rows, strict=True))


def test_what_a_run_writes_has_the_fields_of_the_schema(real):
    tune, report = real.values()
    settings = {*ALWAYS, *SETTINGS}
    assert tune.keys() == settings | {"valid_accuracy"}
    metrics = {f"{split}_accuracy" for split in ("train", "valid", "test")}
    assert report.keys() == {*settings, *REPORTED, *metrics}
    assert [row_fault(row) for row in (tune, report)] == ["", ""]


@pytest.mark.parametrize("stage", ["tune", "report"])
def test_every_field_that_is_lost_or_of_another_kind_is_named_or_harmless(real, stage):
    row = real[stage]
    for name in row:
        less = {key: value for key, value in row.items() if key != name}
        optional = name in SETTINGS or (stage, name) == ("tune", "valid_accuracy")
        assert row_fault(less) == ("" if optional else f"{name} is missing")
        for kind, value in BAD.items():
            fault = row_fault(row | {name: value})
            right = (name, kind) in HARMLESS
            assert (fault == "") == right, (name, kind, fault)
            assert right or fault.startswith(f"{name} must "), fault
            assert "\n" not in fault
            assert len(fault) < 150


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295, got -1"),
        ({"valid_loss": True}, "valid_loss must be a finite number or null, got True"),
        ({"steps": "xx"}, "steps must be a list of increasing positive integers, got 'xx'"),
        ({"steps": [1, 2, 2, 4]}, "steps must be a list of increasing positive integers, got [1, "
                                  "2, 2, 4]"),
        ({"steps": [0, 1, 2, 4]}, "steps must be a list of increasing positive integers, got [0, "
                                  "1, 2, 4]"),
        ({"steps": [1, 2, 3, 5]}, "steps must be those of a run of 4 steps, got [1, 2, 3, 5]"),
        ({"valid_curve": [1.0] * 3}, "valid_curve must have a value for each of 4 steps, got 3"),
        ({"valid_curve": ["1"] * 4}, "valid_curve must be a list of finite numbers and nulls, got "
                                     "['1', '1', '1', '1']"),
        ({"test_curve": [1.0, True, 1.0, 1.0]}, "test_curve must be a list of finite numbers and "
                                                "nulls, got [1.0, True, 1.0, 1.0]"),
        ({"train_curve": [1.0, 10**400, 1.0, 1.0]}, "train_curve must be a list of finite numbers "
                                                    "and nulls, got [1.0, 10000000"),
        ({"stage": "tune"}, "train_loss is for rows of the stage report"),
        ({"stage": "Report"}, 'stage must be "tune" or "report", got \'Report\''),
        ({"key": "g" * 16}, "key must be 16 hex digits, got 'gggggggggggggggg'"),
        ({"key": "0" * 17}, "key must be 16 hex digits, got '00000000000000000'"),
        ({"horizon": 8}, "steps must be those of a run of 8 steps, got [1, 2, 3, 4]"),
        ({"valid_brier": 0.5}, "train_brier is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_row(real, changed, fault):
    found = row_fault(real["report"] | changed)
    assert found.startswith(fault)
    # A field that nothing reads may be there.
    assert row_fault(real["report"] | {"lanes": "xx"}) == ""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_rows_that_ship_have_no_fault(path):
    assert {row_fault(run.to_json()) for run in unpack(path)} == {""}


@pytest.mark.parametrize("stage", ["tune", "report"])
def test_a_line_is_its_run_and_back(real, stage):
    """Unknown fields too; those that an old line lacks have their defaults."""
    row = real[stage] | {"later": {"x": [1, None]}, "valid_accuracy": None}
    run = run_from_json(row)
    assert (run.to_json(), run.final["valid_accuracy"]) == (row, np.inf)
    old = run_from_json({name: x for name, x in row.items() if name not in SETTINGS})
    assert (old.to_json(), old.told, old.beyond) == (row, 1.0, 1.0)


def damaged(row, **changed):
    return json.dumps(row | changed).encode()


@pytest.mark.parametrize("curves", [False, True])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda row: b'{"key": "cut sh', "no JSON object can be read, got b'{\"key\": \"cut sh'"),
        (lambda row: b"\x00\x00\xff\xfe", r"no JSON object can be read, got b'\x00\x00\xff\xfe'"),
        (lambda row: b"[1, 2]", "no JSON object can be read, got b'[1, 2]'"),
        (lambda row: b"[" * 10**6, "no JSON object can be read, got b'[[[[[["),
        (lambda row: b'{"a":' * 10**5, "no JSON object can be read, got b'{\"a\":{"),
        (lambda row: b'{"seed": 1' + b"0" * 5000 + b"}", "no JSON object can be read, got b'{\"se"),
        (lambda row: b'{"key": "x"}', "stage is missing"),
        (lambda row: damaged(row, key=[]), "key must be 16 hex digits, got []"),
        (lambda row: damaged(row, valid_loss=True), "valid_loss must be a finite number or null, "
                                                    "got True"),
        (lambda row: damaged(row, valid_loss=0).replace(b'"valid_loss": 0', b'"valid_loss": 1e999'),
         "valid_loss must be a finite number or null, got inf"),
        (lambda row: damaged(row, seed=None), "seed must be an integer from 0 to 4294967295, got "
                                              "None"),
        (lambda row: damaged(row, device=3), "device must be printable text, got 3"),
        (lambda row: damaged(row, task="x" * 10**6), "task must be printable text, got 'xxxxx"),
    ],
)  # fmt: skip
def test_a_damaged_row_is_named_set_aside_and_run_again(tmp_path, curves, make, why):
    path = tmp_path / "runs.jsonl"
    whole = Archive(path).run(RULE, Recorder(), trials(3), curves=curves)
    lines = path.read_bytes().splitlines()
    lines[1] = make(json.loads(lines[1]))
    path.write_bytes(b"\n".join(lines) + b"\n")
    archive, recorder = Archive(path), Recorder()
    (note,) = archive.notes
    start = f"{path}: line 2 of 3 is damaged and left out; kept in runs.jsonl.damaged (of line 2"
    assert note.startswith(f"{start} {why}")
    assert note.endswith("); what is missing runs again")
    assert len(note) < len(start) + 200
    assert (tmp_path / "runs.jsonl.damaged").read_bytes() == lines[1] + b"\n"
    assert archive.run(RULE, recorder, trials(3), curves=curves) == whole
    assert [t.seed for t in recorder.asked] == [1]
    assert Archive(path).notes == []
    assert sorted(path.read_bytes().splitlines()) == sorted(
        json.dumps(archive.runs[run.key].to_json()).encode() for run in whole
    )


def test_what_is_set_aside_is_never_lost(tmp_path):
    """A second damage is appended to the first."""
    path = tmp_path / "runs.jsonl"
    for text in ("one\n", "two\nthree\n"):
        path.write_text(text)
        assert len(Archive(path).notes) == 1
    assert (tmp_path / "runs.jsonl.damaged").read_text() == "one\ntwo\nthree\n"


def test_a_number_that_json_has_not_is_a_loss_that_is_not_finite(tmp_path):
    path = tmp_path / "runs.jsonl"
    (run,) = Archive(path).run(RULE, Recorder(), trials(1), curves=False)
    loss = json.dumps(run.valid_loss)
    path.write_text(path.read_text().replace(f'"valid_loss": {loss}', '"valid_loss": NaN'))
    archive = Archive(path)
    assert archive.notes == []
    assert archive.runs[run.key].valid_loss == np.inf


def test_damaged_rows_of_another_machine_are_named_and_its_file_stays(tmp_path):
    path, other = tmp_path / "runs.jsonl", tmp_path / "runs-other.jsonl"
    Archive(other).run(RULE, Recorder(), trials(3), curves=True)
    rows = [json.loads(line) for line in other.read_text().splitlines()]
    rows[0]["steps"] = "xx"
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    content, archive = other.read_bytes(), Archive(path)
    assert archive.notes == [
        f"{other}: line 1 of 3 is damaged and left out (of line 1 steps must be a list of "
        "increasing positive integers, got 'xx'); what is missing runs again"
    ]
    assert other.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["runs-other.jsonl"]
    recorder = Recorder()
    archive.run(RULE, recorder, trials(3), curves=True)
    assert [t.seed for t in recorder.asked] == [0]


def test_of_a_row_that_is_there_twice_the_first_counts(tmp_path):
    path = tmp_path / "runs.jsonl"
    (run,) = Archive(path).run(RULE, Recorder(), trials(1), curves=False)
    row = run.to_json()
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"valid_loss": 9.0}) + "\n")
    archive = Archive(path)
    assert archive.runs == {run.key: run}
    assert archive.conflicts == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_run_has_no_fault(tmp_path, bad):
    (run,) = Archive(tmp_path / "runs.jsonl").run(RULE, Recorder(bad), trials(1), curves=True)
    row = run.to_json()
    assert row_fault(row) == ""
    assert line_fault(json.dumps(row).encode()) == ""
