"""The file that counts how often a test suite was read."""

import json
import subprocess

import pytest
from reports import bare
from test_report_tables import cells

import learned_opt
import learned_opt.eval._readings as readings
from learned_opt.checkpoints import _origin
from learned_opt.eval import _evaluate
from learned_opt.eval.contestants import Subject, artifact_subject
from learned_opt.eval.report import report_from_json
from learned_opt.eval.report.tables import provenance
from learned_opt.eval.running import Identity, shipped_file

SUITE = "META_TEST_V3"


def subject(name, digest="ab" * 32, source="1"):
    facts = {"artifact": digest, "source": source}
    return Subject(name, "artifact", Identity(name, facts), None, {})


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """A file of readings, empty, and how to read it; code of a version that is known."""
    path = tmp_path / f"{SUITE}-cpu.readings.jsonl"
    path.touch()
    monkeypatch.setattr(readings, "shipped_file", lambda *names: tmp_path / f"{SUITE}-cpu.npz")
    monkeypatch.setattr(readings, "code_version", lambda: "c0de")
    said = []

    def read(who, *rivals):
        return readings.count_readings([who, *rivals], SUITE, "cpu", tmp_path, said.append)

    return path, read, said


def names(found):
    return [one["name"] for one in found["before"]]


def test_each_optimizer_is_counted_once(counted):
    """Again, resumed or rerun, it finds what it found first; of changed sources it is another."""
    path, read, said = counted
    assert read(subject("a")) == {"before": [], "damaged": 0, "counted": True}
    (line,) = map(json.loads, path.read_text().splitlines())
    assert {*line} == {"date", "name", "digest", "code", "rule"}
    assert (line["name"], line["digest"], line["code"]) == ("a", "ab" * 32, "c0de")
    assert names(read(subject("b", "cd" * 32))) == ["a"]
    assert names(read(subject("a"))) == []
    assert names(read(subject("b", "cd" * 32))) == ["a"]
    found = read(subject("a", source="2"))
    assert found["before"][1] == {
        "date": line["date"], "name": "b", "digest": "cd" * 32, "code": "c0de",
    }  # fmt: skip
    assert len(path.read_text().splitlines()) == 3
    assert said == []


def test_rivals_are_read_as_well(counted):
    """An optimizer that is its own rival, tuned, is read once."""
    path, read, _ = counted
    a, b = subject("a"), subject("b", "cd" * 32)
    assert names(read(a, b, a)) == []
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["a", "b"]
    assert names(read(b)) == ["a"]


def test_two_at_the_same_time_are_one(counted):
    path, read, _ = counted
    read(subject("a"))
    path.write_text(2 * path.read_text())
    assert names(read(subject("b", "cd" * 32))) == ["a"]


def test_a_damaged_line_is_a_reading_of_somebody(counted):
    """So is one that was cut short; what is appended behind it is whole."""
    path, read, said = counted
    path.write_bytes(b'{"name": "x"}\n\xff\n{"date": "2026')
    assert read(subject("a"))["damaged"] == 2
    assert said == [f"{path}: lines 1, 2 of 2 are damaged and left out; each counts as a reading"]
    found = read(subject("b", "cd" * 32))
    assert (found["damaged"], names(found)) == (3, ["a"])
    assert path.read_bytes().startswith(b'{"name": "x"}\n\xff\n{"date": "2026\n{"date":')


@pytest.mark.parametrize("function", ["_append", "read_lines"])
def test_where_it_cannot_be_counted_the_folder_keeps_it(counted, monkeypatch, tmp_path, function):
    path, read, said = counted

    def refuse(*args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(readings, function, refuse)
    assert read(subject("a")) == {"before": [], "damaged": 0, "counted": False}
    assert path.read_bytes() == b""
    assert [one["name"] for one in json.loads((tmp_path / "readings.json").read_text())] == ["a"]
    assert said == [
        f"this reading of {SUITE} is not counted, for {path} cannot be used (Permission denied); "
        f"it is kept in {tmp_path / 'readings.json'}"
    ]


def test_a_suite_without_a_file_of_readings_is_not_counted(tmp_path):
    assert readings.count_readings([subject("a")], "quickstart", "cpu", tmp_path, print) is None
    assert list(tmp_path.iterdir()) == []


def test_released_files_are_of_suites_and_of_readings():
    """Beside the archive; every line is whole."""
    files = sorted(shipped_file(SUITE, "cpu").parent.glob("*.readings.jsonl"))
    assert [path.name for path in files] == [f"{SUITE}-cpu.readings.jsonl"]
    for path in files:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert all({*row} == {*readings.FACTS, "rule"} for row in rows)


def test_readings_are_no_change_of_the_code(monkeypatch, tmp_path):
    folder = tmp_path / "eval" / "archive"
    folder.mkdir(parents=True)
    module, count = tmp_path / "module.py", folder / "X-cpu.readings.jsonl"
    module.touch(), count.touch()

    def git(*words):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "all")
    monkeypatch.setattr(_origin, "__file__", str(module))
    clean = _origin.code_version()
    count.write_text("{}\n")
    assert _origin.code_version() == clean
    module.write_text("x = 1\n")
    assert _origin.code_version() == f"{clean}+changes"


# --- the report --------------------------------------------------------------------------------


def said(before=(), **more):
    found = bare(readings={"before": list(before), **more})
    return dict(cells(provenance(report_from_json(found)))[1:])["readings"]


def test_the_report_says_how_often_the_suite_was_read():
    one = {"date": "2026-12-01", "name": "small", "digest": "ab" * 32, "code": "c0de"}
    two = one | {"date": "2026-12-02", "code": "c0de2"}
    other = one | {"name": "big", "digest": "cd" * 32}
    assert said() == "This suite has not been read before."
    assert said([one]) == (
        "This suite has been read 1 time before, by 1 optimizer: small (2026-12-01, abababab)."
    )
    assert said([one, two, other], damaged=1) == (
        "This suite has been read 4 times before, by 2 optimizers: small (2026-12-01, abababab), "
        "small (2026-12-02, abababab), big (2026-12-01, cdcdcdcd); 1 by nobody knows whom."
    )
    assert said(counted=False).endswith(
        " This reading could not be counted: the package cannot be written to."
    )
    assert "readings" not in dict(cells(provenance(report_from_json(bare())))[1:])
    assert "readings" not in report_from_json(bare()).to_json()


# --- the evaluation ----------------------------------------------------------------------------


class StopError(Exception):
    pass


@pytest.mark.parametrize("smoke", [False, True])
def test_an_evaluation_counts_itself_before_its_first_run(monkeypatch, tmp_path, smoke):
    """But for a smoke test, which reads nothing."""
    calls = []

    def run(*args):
        calls.append("run")
        raise StopError

    def count(subjects, *args):
        calls.append(([who.name for who in subjects], *args[:2]))

    monkeypatch.setattr(_evaluate, "count_readings", count)
    monkeypatch.setattr(_evaluate, "run_jobs", run)
    who, lean, free = map(learned_opt.load, ("small", "lean", "small-free"))
    with pytest.raises(StopError):
        _evaluate.evaluate(
            artifact_subject(who), "quickstart", tmp_path / "out", rivals=[lean],
            tuned_rivals=[free], smoke=smoke,
        )  # fmt: skip
    counted = (["small", "lean", "small-free"], "quickstart", "cpu")
    assert calls == ["run"] if smoke else calls == [counted, "run"]
