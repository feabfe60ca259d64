"""Runs packed into one file, and those that the package ships."""

import time
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from made_runs import RULE, Recorder, packable, trials
from processes import ROOT

from learned_opt.eval.running import Archive, run_from_json
from learned_opt.eval.running._packed import ArchiveError, pack, unpack


def packed(path, rows):
    path.write_bytes(pack(rows))
    return path


@pytest.mark.parametrize("seed", range(3))
def test_packing_loses_nothing(tmp_path, seed):
    rows = list(packable(200, np.random.default_rng(seed)))
    back = unpack(packed(tmp_path / "runs.npz", rows))
    assert back == sorted(rows, key=lambda run: run.key)
    assert unpack(packed(tmp_path / "none.npz", [])) == []


def test_values_that_six_digits_cannot_hold_are_kept_whole(tmp_path):
    odd = [0.1234567, 1e300, 1e-300, 7, True, "text", {"a": [1, None]}, [1, 2.5], [0.1234567]]
    (one,) = packable(1, np.random.default_rng(0))
    rows = [replace(one, key=f"{i:016x}", more={"x": x}) for i, x in enumerate(odd)]
    rows.append(replace(one, key="no hex", more={"x": 0.5}))
    assert unpack(packed(tmp_path / "runs.npz", rows)) == rows


def test_equal_rows_make_equal_bytes(monkeypatch):
    rng = np.random.default_rng(0)
    rows = list(packable(50, rng))
    shuffled = [
        run_from_json(dict(reversed(rows[i].to_json().items()))) for i in rng.permutation(50)
    ]
    first = pack(rows)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *a: pytest.fail("looked at the clock"))
    assert pack(shuffled) == first
    assert pack(rows[1:]) != first


def test_a_number_takes_less_than_four_bytes():
    rng = np.random.default_rng(0)
    (one,) = packable(1, rng)
    rows = [
        replace(
            one,
            key=rng.bytes(8).hex(),
            valid_curve=tuple(float(f"{x:.6g}") for x in rng.lognormal(size=40)),
        )
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
        Archive(tmp_path / "runs.jsonl", [tmp_path])


def test_shipped_runs_come_first_and_are_not_copied(tmp_path):
    made = Archive(tmp_path / "made.jsonl").run(RULE, Recorder(), trials(4), curves=True)
    base = packed(tmp_path / "base.npz", made)
    path = tmp_path / "out" / "runs.jsonl"
    path.parent.mkdir()
    archive, recorder = Archive(path, [base]), Recorder()
    assert archive.run(RULE, recorder, trials(4), curves=True) == made
    assert recorder.asked == []
    assert not path.exists()
    archive.run(RULE, recorder, trials(6), curves=True)
    assert [t.seed for t in recorder.asked] == [4, 5]
    assert len(path.read_text().splitlines()) == 2
    assert archive.facts().items() >= {"runs": 6, "shipped": 4, "conflicts": 0}.items()
    # Rows of one's own, made before the package had them, give way.
    Archive(path).run(RULE, Recorder(1.5), trials(4), curves=True)
    both = Archive(path, [base])
    assert both.run(RULE, Recorder(), trials(4), curves=True) == made
    assert both.conflicts == 4


def test_the_package_ships_every_packed_file():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    shipped = {
        path
        for package, patterns in table["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.removeprefix("learned_opt.").replace(".", "/")).glob(pattern)
    }
    kinds = (".npz", ".css", ".json")
    assert {path for path in (ROOT / "eval").rglob("*") if path.suffix in kinds} <= shipped
