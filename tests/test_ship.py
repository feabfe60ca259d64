"""Baselines tuned, run and packed by one command; evaluations that are spared these runs."""

import contextlib
import dataclasses
import io
import json

import jax
import numpy as np
import pytest
import rich.console
from made_runs import Recorder, check
from processes import ROOT

import learned_opt.eval._evaluate
import learned_opt.eval._pack_baselines
import learned_opt.eval.contestants._jobs
import learned_opt.eval.cost._measurements
from learned_opt import Artifact, GatedAdam
from learned_opt.checkpoints import FolderError
from learned_opt.eval import BASELINES, Runner, Trial
from learned_opt.eval.__main__ import main
from learned_opt.eval._evaluate import evaluate
from learned_opt.eval._pack_baselines import pack_baselines
from learned_opt.eval.contestants import REPORT_SEEDS, Protocol, artifact_subject
from learned_opt.eval.cost import Cost, CostRow
from learned_opt.eval.running import baseline_identity, run_key, shipped_file, unpack
from learned_opt.eval.tuning import calibrated_settings
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP

NETWORK = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
TASKS = (EvalTask("tiny", FamilySpec(NETWORK, "digits"), (("activation", 0),), 45),)
ADAMW, DEFAULT = CHOSEN = tuple(row for row in BASELINES if row.name in ("adam_default", "adamw"))
PROTOCOL = Protocol(TASKS)
SILENT = rich.console.Console(file=io.StringIO(), width=200)


@contextlib.contextmanager
def tiny_suite(shipped=None):
    """A suite of one tiny task, and two baselines, in all threads."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (learned_opt.eval._pack_baselines, learned_opt.eval._evaluate):
            patch.setattr(module, "whole", lambda name, tier: PROTOCOL)
            patch.setattr(module, "BASELINES", CHOSEN)
        patch.setattr(learned_opt.eval._evaluate, "shipped_file", lambda suite, tier: shipped)
        jax.config.update("jax_numpy_dtype_promotion", "standard")  # optax's own code
        try:
            yield patch
        finally:
            jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Its runs, packed by real ones that were interrupted once: the file and the rows."""
    out = tmp_path_factory.mktemp("shipped") / "tiny-cpu.npz"
    made, real = [], Runner.__call__

    def counted(runner, trials, *, curves=False, needed):
        made.extend([len(needed)] if needed else [])
        return real(runner, trials, curves=curves, needed=needed)

    def interrupted(runner, trials, **kind):
        if len(made) >= 2:
            raise KeyboardInterrupt
        return counted(runner, trials, **kind)

    with tiny_suite() as patch:
        patch.setattr(Runner, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack_baselines("tiny", out=out, console=SILENT)
        kept = len((out.parent / "tiny-cpu.npz.d" / "runs.jsonl").read_text().splitlines())
        assert not out.exists()
        assert kept == sum(made) > 0
        patch.setattr(Runner, "__call__", counted)
        assert pack_baselines("tiny", out=out, console=SILENT) == out
    rows = unpack(out)
    assert sum(made) == len(rows)  # none twice
    return out, rows


def never(runner, trials, *, curves=False, needed):
    assert needed == []  # it is told of runs that are there
    return []


@pytest.fixture
def tiny(packed):
    with tiny_suite(packed[0]) as patch:
        yield patch


def test_a_sample_of_packed_runs_is_what_running_them_gives(tiny, packed):
    _, rows = packed
    some = [row for row in rows if row.optimizer == "adamw" and np.isfinite(row.valid_loss)]
    sample = np.random.default_rng(0).choice(some, 6, replace=False)
    assert {bool(row.steps) for row in sample} == {False, True}
    check(sample, TASKS, 1e-4)


def test_packed_runs_are_all_of_the_protocol(packed):
    _, rows = packed
    report = [row for row in rows if row.steps]
    # The calibrated AdamW's too.
    keys = {row.key for row in report}
    for seed in REPORT_SEEDS:
        trial = Trial(TASKS[0], calibrated_settings()["adamw"].hyper, seed)
        assert run_key(baseline_identity(ADAMW), trial, curves=True) in keys
    assert {row.optimizer for row in rows} == {"adam_default", "adamw"}
    assert {row.seed for row in rows if not row.steps} == {0, 1, 2}


def test_packing_again_makes_nothing_and_gives_the_same_bytes(tiny, packed, tmp_path):
    """Also where only the file is there, as in a fresh clone."""
    out, _ = packed
    tiny.setattr(Runner, "__call__", never)
    content = out.read_bytes()
    pack_baselines("tiny", out=out, console=SILENT)
    assert out.read_bytes() == content
    copy = tmp_path / "copy.npz"
    copy.write_bytes(content)
    pack_baselines("tiny", out=copy, only=["adam_default"], console=SILENT)
    assert copy.read_bytes() == content
    assert not (tmp_path / "copy.npz.d" / "runs.jsonl").exists()


def test_a_new_version_of_a_baseline_replaces_its_rows_alone(tiny, packed, tmp_path):
    out, rows = packed
    copy, recorder = tmp_path / "copy.npz", Recorder()
    copy.write_bytes(out.read_bytes())
    identity = learned_opt.eval.contestants._jobs.baseline_identity
    tiny.setattr(
        learned_opt.eval.contestants._jobs,
        "baseline_identity",
        lambda row: identity(row)._replace(facts={"new": row.name}),
    )
    tiny.setattr(Runner, "__call__", lambda runner, trials, **options: recorder(trials, **options))
    pack_baselines("tiny", out=copy, only=["adam_default"], console=SILENT)
    assert len(recorder.asked) == len(TASKS) * len(REPORT_SEEDS)
    old = {row.key: row for row in rows}
    new = {row.key: row for row in unpack(copy)}
    assert len(new) == len(old)
    assert {old[key].optimizer for key in old.keys() - new.keys()} == {"adam_default"}
    assert all(new[key] == old[key] for key in old.keys() & new.keys())


@pytest.mark.slow
def test_an_evaluation_makes_only_the_runs_that_do_not_ship(tiny, packed, tmp_path):
    _, rows = packed
    cost = {name: Cost(1.0, 0.1, 1.0, 0.5, 1.0, 8, 8, 1.0, 5) for name in ("learned", "adamw")}
    watched = []
    tiny.setattr(
        learned_opt.eval.cost._measurements,
        "measure_costs",
        lambda *a, **k: (CostRow("1M", "mlp", 1, 128, None, "", cost),),
    )
    tiny.setattr(learned_opt.eval._evaluate, "run_grid", lambda *a: ((), []))
    trace = learned_opt.eval.cost._measurements.trace
    tiny.setattr(
        learned_opt.eval.cost._measurements,
        "trace",
        lambda *a, **k: watched.append(a) or trace(*a, **k),
    )
    optimizer = GatedAdam()
    artifact = Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "mine"})
    subject, folder = artifact_subject(artifact), tmp_path / "report"
    arguments = ["mine", "--suite", "quickstart"]
    report = evaluate(subject, "quickstart", folder, arguments=arguments, console=SILENT)
    seeds = len(TASKS) * len(REPORT_SEEDS)
    # Of its own: at the right horizon and at three wrong ones.
    count = 4 * seeds
    want = {"runs": len(rows) + count, "shipped": len(rows), "conflicts": 0}
    assert vars(report.merged).items() >= want.items()
    assert report.merged.machines == [f"cpu, jax {jax.__version__}"]
    assert report.arguments == ["mine", "--suite", "quickstart"]
    lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    assert {line["optimizer"] for line in lines} == {"mine"}
    assert len(lines) == count
    assert {line.get("told", 1.0) for line in lines} == {1.0, 0.5, 2.0, 10.0}
    assert report.verdict.keys() == {"adam_default", "adamw", "adamw_calibrated"}
    assert {path.name for path in folder.iterdir() if path.name.startswith("report")} == {
        "report.html", "report.json", "report.md", "report.svg",
    }  # fmt: skip
    assert len(watched) == 2
    text = (folder / "report.html").read_text()
    tiny.setattr(Runner, "__call__", never)
    again = evaluate(subject, "quickstart", folder, arguments=arguments, console=SILENT)
    assert report.seconds > 0
    # What it took all together is not known.
    assert again == dataclasses.replace(report, seconds=None)
    assert "It took" in text
    assert "It took" not in (folder / "report.html").read_text()
    assert len(watched) == 2  # neither runs nor measurements are repeated
    with pytest.raises(FolderError, match="already holds another run"):
        evaluate(subject, "quickstart", folder, smoke=True, console=SILENT)


# --- the command -------------------------------------------------------------------------------


def test_the_command_packs_what_it_is_told(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(
        "learned_opt.eval.__main__.pack_baselines",
        lambda suite, **k: asked.append((suite, k)) or tmp_path / "f",
    )
    assert main(["baselines", "--suite", "quickstart", "--only", "adam", "lion"]) == 0
    (suite, options) = asked.pop()
    del options["console"]
    assert (suite, options) == (
        "quickstart", {"tier": "cpu", "only": ["adam", "lion"], "out": None}
    )  # fmt: skip
    assert f"Packed: {tmp_path / 'f'}" in capsys.readouterr().out
    assert shipped_file("quickstart", "cpu") == ROOT / "eval" / "archive" / "quickstart-cpu.npz"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--only", "nope"], "a baseline must be one of adam, adamw, nadamw, lion"),
        (["--suite", "quickstart", "--tier", "gpu"], "quickstart has no tasks of the tier 'gpu'"),
        (["--suite", "nope"], "suite must be one of quickstart"),
        (["--out", "pyproject.toml"], "pyproject.toml holds no packed runs, or is damaged"),
    ],
)
def test_mistakes_are_one_sentence(monkeypatch, capsys, tmp_path, args, message):
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert main(["baselines", *args]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
