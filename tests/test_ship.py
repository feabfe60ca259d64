"""Baselines tuned, run and packed by one command; evaluations that are spared these runs."""

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
import rich.console
from made_runs import RULE, TASK, Recorder, trials
from processes import ROOT

import eval._contest
import eval._evaluate
import eval._frozen
import eval._measured
import eval._progress
import eval._ship
from checkpoints import FolderError
from eval import BASELINES, Baseline, Hyper, Runner, Trial
from eval.__main__ import main
from eval._archive import Archive
from eval._contest import (
    REPORT_SEEDS,
    Entry,
    Job,
    Plan,
    baseline_job,
    baseline_jobs,
    run_jobs,
)
from eval._cost import Cost, CostRow
from eval._evaluate import evaluate, suite_plan
from eval._frozen import frozen_setting
from eval._grid import GRID, grid
from eval._keys import COLUMNS, baseline_identity, data_fingerprint, run_key
from eval._pack import FOLDER, shipped_file, unpack
from eval._progress import Progress
from eval._results import Contestant
from eval._ship import pack_baselines
from eval._subject import artifact_subject
from eval._tune import Tuned
from learned_opt import Artifact, Nominal
from tasks import EvalTask, FamilySpec, load_suite
from tasks.families import MLP

NETWORK = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
TASKS = (EvalTask("tiny", FamilySpec(NETWORK, "digits"), (("activation", 0),), 45),)
CHOSEN = tuple(row for row in BASELINES if row.name in ("adam_default", "adamw"))
PLAN = Plan(TASKS)
FAKE = Baseline("fake", "fake", lambda *a: optax.identity(), (1e-3, 1e-1), (0.1, 1.0))
SILENT = rich.console.Console(file=io.StringIO(), width=200)


def trial_of(row, tasks):
    """The trial that a row is of."""
    (task,) = (task for task in tasks if task.name == row["task"])
    names = {name: COLUMNS.get(name, name) for name in Hyper._fields}
    hyper = Hyper(**{name: row[column] for name, column in names.items() if column in row})
    fields = {field.name for field in dataclasses.fields(Trial)} - {"task", "hyper"}
    return Trial(task, hyper, **{name: row[name] for name in fields & row.keys()})


def check(rows, tasks, rtol):
    """Rows are what their runs give, and are found by their keys."""
    known = {row.name: row for row in BASELINES}
    runners = {row.name: Runner(row.transform, row.eval_params) for row in BASELINES}
    for row in rows:
        baseline, trial = known[row["optimizer"]], trial_of(row, tasks)
        assert row["key"] == run_key(baseline_identity(baseline), trial, row["stage"])
        (curve,) = runners[baseline.name]([trial], report=row["stage"] == "report")
        np.testing.assert_allclose(curve.final["valid_loss"], row["valid_loss"], rtol=rtol)
        if row["stage"] == "report":
            np.testing.assert_array_equal(curve.steps, row["steps"])
            np.testing.assert_allclose(curve.valid, row["valid_curve"], rtol=rtol)


@contextlib.contextmanager
def tiny_suite(shipped=None):
    """A suite of one tiny task, and two baselines, in all threads."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (eval._ship, eval._evaluate):
            patch.setattr(module, "suite_plan", lambda name, tier: PLAN)
            patch.setattr(module, "BASELINES", CHOSEN)
        patch.setattr(eval._evaluate, "shipped_file", lambda suite, tier: shipped)
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

    def interrupted(runner, trials, *, report=False):
        if len(made) >= 2:
            raise KeyboardInterrupt
        made.append(len(trials))
        return real(runner, trials, report=report)

    def counted(runner, trials, *, report=False):
        made.append(len(trials))
        return real(runner, trials, report=report)

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


@pytest.fixture
def tiny(packed):
    with tiny_suite(packed[0]) as patch:
        yield patch


def test_a_sample_of_packed_runs_is_what_running_them_gives(tiny, packed):
    _, rows = packed
    some = [row for row in rows if row["optimizer"] == "adamw" and row["valid_loss"] is not None]
    sample = np.random.default_rng(0).choice(some, 6, replace=False)
    assert {row["stage"] for row in sample} == {"tune", "report"}
    check(sample, TASKS, 1e-4)


def test_packed_runs_are_all_of_the_protocol(packed):
    _, rows = packed
    report = [row for row in rows if row["stage"] == "report"]
    # The frozen AdamW's too.
    keys = {row["key"] for row in report}
    for seed in REPORT_SEEDS:
        trial = Trial(TASKS[0], frozen_setting(), seed)
        assert run_key(baseline_identity(CHOSEN[1]), trial, "report") in keys
    assert {row["optimizer"] for row in rows} == {"adam_default", "adamw"}
    tune = [row for row in rows if row["stage"] == "tune"]
    assert {row["seed"] for row in tune} == {0, 1, 2}
    assert all("steps" not in row for row in tune)


def test_packing_again_makes_nothing_and_gives_the_same_bytes(tiny, packed, tmp_path):
    """Also where only the file is there, as in a fresh clone."""
    out, _ = packed
    tiny.setattr(Runner, "__call__", lambda *a, **k: pytest.fail("ran"))
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
    identity = eval._contest.baseline_identity
    tiny.setattr(
        eval._contest,
        "baseline_identity",
        lambda row: identity(row)._replace(facts={"new": row.name}),
    )
    tiny.setattr(Runner, "__call__", lambda runner, trials, **options: recorder(trials, **options))
    pack_baselines("tiny", out=copy, only=["adam_default"], console=SILENT)
    assert len(recorder.asked) == len(TASKS) * len(REPORT_SEEDS)
    old = {row["key"]: row for row in rows}
    new = {row["key"]: row for row in unpack(copy)}
    assert len(new) == len(old)
    assert {old[key]["optimizer"] for key in old.keys() - new.keys()} == {"adam_default"}
    assert all(new[key] == old[key] for key in old.keys() & new.keys())


def test_an_evaluation_makes_only_the_runs_that_do_not_ship(tiny, packed, tmp_path):
    _, rows = packed
    cost = {name: Cost(1.0, 0.1, 1.0, 0.5, 1.0, 8, 8, 1.0, 5) for name in ("learned", "adamw")}
    watched = []
    tiny.setattr(
        eval._measured, "measure_costs", lambda *a, **k: (CostRow("1M", 1, 128, "", cost),)
    )
    tiny.setattr(eval._evaluate, "grid", lambda: ())
    tiny.setattr(eval._evaluate, "grid_results", lambda *a, **k: ())
    trace = eval._measured.trace
    tiny.setattr(eval._measured, "trace", lambda *a, **k: watched.append(a) or trace(*a, **k))
    optimizer = Nominal()
    artifact = Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "mine"})
    subject, folder = artifact_subject(artifact), tmp_path / "report"
    arguments = ["mine", "--suite", "quickstart"]
    report = evaluate(subject, "quickstart", folder, arguments=arguments, console=SILENT)
    seeds = len(TASKS) * len(REPORT_SEEDS)
    # Of its own: at the right horizon and at three wrong ones.
    count = 4 * seeds
    want = {"runs": len(rows) + count, "shipped": len(rows), "conflicts": 0}
    assert report["merged"].items() >= want.items()
    assert report["merged"]["machines"] == [f"cpu, jax {jax.__version__}"]
    assert report["arguments"] == ["mine", "--suite", "quickstart"]
    lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    assert {line["optimizer"] for line in lines} == {"mine"}
    assert len(lines) == count
    assert {line.get("told", 1.0) for line in lines} == {1.0, 0.5, 2.0, 10.0}
    assert report["verdict"].keys() == {"adam_default", "adamw", "adamw_frozen"}
    assert {path.name for path in folder.iterdir() if path.name.startswith("report")} == {
        "report.html", "report.json", "report.md", "report.svg",
    }  # fmt: skip
    assert len(watched) == 2
    tiny.setattr(Runner, "__call__", lambda *a, **k: pytest.fail("ran"))
    again = evaluate(subject, "quickstart", folder, arguments=arguments, console=SILENT)
    assert {**again, "seconds": 0} == {**report, "seconds": 0}
    assert len(watched) == 2  # neither runs nor measurements are repeated
    with pytest.raises(FolderError, match="already holds another run"):
        evaluate(subject, "quickstart", folder, smoke=True, console=SILENT)


def test_the_baselines_side_of_the_grid_ships_too(monkeypatch, tmp_path):
    """Then an evaluation runs the learned optimizer alone."""
    base, *others = grid()
    monkeypatch.setattr(eval._ship, "grid", lambda: (base, *others[:2]))
    monkeypatch.setattr(eval._evaluate, "grid", lambda: (base, *others[:2]))
    recorder = Recorder()
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    file = pack_baselines(GRID, out=tmp_path / "grid-cpu.npz", console=SILENT)
    assert {row["optimizer"] for row in unpack(file)} == {"adamw"}
    made = len(recorder.asked)
    optimizer = Nominal()
    subject = artifact_subject(Artifact(optimizer, optimizer.init(jax.random.key(0)), {}))
    archive = Archive(tmp_path / "runs.jsonl", [file])
    text = io.StringIO()
    console = rich.console.Console(file=text, width=200)
    found, fresh = eval._evaluate._grid(subject, archive, console)
    assert len(found) == 3
    assert {row["seed"] for row in fresh} == set(REPORT_SEEDS)
    assert len({row["key"] for row in fresh}) == len(fresh)
    assert text.getvalue().startswith("1/1 optimizers, ")
    assert text.getvalue().endswith(" runs, grid done\n")
    assert len(recorder.asked) - made == 3 * len(REPORT_SEEDS)
    assert {row["optimizer"] for row in archive.rows.values()} == {"adamw", subject.identity.name}


def test_runs_of_a_cell_that_diverge_are_failures(monkeypatch, tmp_path):
    """One cell: every run of fresh seeds is handed on, with its losses that are not finite."""
    monkeypatch.setattr(eval._evaluate, "grid", lambda: grid()[:1])
    healthy, diverging = Recorder(), Recorder(np.nan)

    def runner(runner, trials, *, report=False):
        learned = trials[0].hyper == Hyper(1.0)
        return (diverging if learned else healthy)(trials, report=report)

    monkeypatch.setattr(Runner, "__call__", runner)
    optimizer = Nominal()
    subject = artifact_subject(Artifact(optimizer, optimizer.init(jax.random.key(0)), {}))
    (cell,), rows = eval._evaluate._grid(subject, Archive(tmp_path / "runs.jsonl"), SILENT)
    bad = [row for row in rows if row["valid_loss"] is None]
    assert cell["diverged"] == len(bad) == len(REPORT_SEEDS)
    assert {(row["optimizer"], row["task"]) for row in bad} == {(subject.identity.name, "grid")}
    assert [row["seed"] for row in bad] == list(REPORT_SEEDS)
    # AdamW's are retuned and transferred at once in the base: once each.
    assert len(rows) == 2 * len(REPORT_SEEDS)


def test_measurements_are_made_again_where_what_they_depend_on_differs(monkeypatch):
    optimizer = Nominal()
    artifact = Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "mine"})
    subject = artifact_subject(artifact)

    def headline(lr):
        tuned = {"tiny": Tuned(Hyper(lr), 1, 0, ())}
        return Contestant("adamw", "", "baseline", False, tuned, [])

    def key():
        return eval._measured._key(subject, headline(0.1), "whole")

    first = key()
    assert json.loads(json.dumps(first)) == first == key()
    others = [
        eval._measured._key(subject, headline(0.2), "whole"),
        eval._measured._key(subject, headline(0.1), "quick"),
    ]
    for owner, name, value in (
        (eval._measured.platform, "node", lambda: "elsewhere"),
        (eval._measured, "describe_device", lambda: "1 x gpu (H100)"),
        (eval._measured, "source_hash", lambda *paths: "changed"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            others.append(key())
    assert all(other != first for other in others)


TEXTS = {"prose": "83ea14f5df5451a8", "prose/24": "5249c88eaeb4a8d8"}
"""Fingerprints of the data of the shipped runs that depend on the interpreter."""


def readable(task):
    """Whether this interpreter has the data of the shipped runs."""
    name = task.spec.data
    return name not in TEXTS or data_fingerprint(name) == TEXTS[name]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_the_shipped_runs_are_complete_and_current(monkeypatch, tmp_path, path):
    """All that an evaluation wants, of everyone but its subject, is found by its key."""
    suite, tier = path.stem.rsplit("-", 1)
    asked = []

    def runner(runner, trials, *, report=False):
        asked.extend(f"{trial.task.name}, seed {trial.seed}" for trial in trials)
        return Recorder()(trials, report=report)

    monkeypatch.setattr(Runner, "__call__", runner)
    archive = Archive(tmp_path / "runs.jsonl", [path])
    if suite == GRID:
        cells = tuple(cell for cell in grid() if readable(cell.task))
        monkeypatch.setattr(eval._ship, "grid", lambda: cells)
        eval._ship._run_grid(archive, SILENT)
    else:
        whole = suite_plan(suite, tier)
        tasks, variants = (tuple(filter(readable, some)) for some in (whole.tasks, whole.variants))
        names = {task.name for task in tasks}
        plan = Plan(tasks, tuple(v for v in variants if v.variant_of in names))
        for job in baseline_jobs(BASELINES).values():
            job.make(plan, archive)
    assert not asked, f"{len(asked)} runs are missing; make them: python -m eval baselines"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_a_sample_of_the_shipped_runs_is_what_running_them_gives(path):
    """Two short ones, to 5 %: other machines round otherwise, and training amplifies it.

    A row of other data than this machine's, such as texts of another Python, is passed over.
    """
    suite, tier = path.stem.rsplit("-", 1)
    tasks = [cell.task for cell in grid()] if suite == GRID else load_suite(suite, tier)
    horizon, names = min(task.horizon for task in tasks), {task.name for task in tasks}
    known = {row.name: baseline_identity(row) for row in BASELINES}
    some = [
        row
        for row in unpack(path)
        if row["horizon"] == horizon
        and row["task"] in names
        and row["valid_loss"] is not None
        and row["key"] == run_key(known[row["optimizer"]], trial_of(row, tasks), row["stage"])
    ]
    assert some
    check(np.random.default_rng().choice(some, 2, replace=False), tasks, 5e-2)


# --- jobs and progress -------------------------------------------------------------------------


def test_planned_runs_are_those_of_an_optimum_in_the_middle():
    """5 learning rates, 3 of them x 2 decays, 3 seeds each; 10 seeds of the best."""
    assert baseline_job(FAKE).runs(PLAN) == 3 * (5 + 3 * 2) + 10
    untuned = next(row for row in BASELINES if row.name == "adam_default")
    assert baseline_job(untuned).runs(PLAN) == 10


def test_an_error_of_one_job_stops_the_others(tmp_path):
    archive, recorder = Archive(tmp_path / "runs.jsonl"), Recorder()
    started = concurrent.futures.Future()

    def failing(plan, archive):
        started.result(timeout=30)
        raise ArithmeticError("no")

    def long(plan, archive):
        def runner(some, *, report):
            started.set_result(None) if not recorder.asked else archive._stopped.wait(30)
            return recorder(some, report=report)

        five = [dataclasses.replace(TASK, horizon=horizon) for horizon in range(100, 105)]
        wanted = [trial for task in five for trial in trials(3, task)]
        rows = archive.run(RULE, runner, wanted, "tune")
        return Entry(Contestant("long", "long", "baseline", False, {}, rows), [])

    progress = Progress(rich.console.Console(file=io.StringIO()), "Evaluating", 2, 15)
    jobs = {"long": Job(long, lambda plan: 15), "failing": Job(failing, lambda plan: 0)}
    with pytest.raises(ArithmeticError):
        run_jobs(jobs, PLAN, archive, progress)
    assert len(recorder.asked) <= 2 * 3
    assert len(Archive(archive.path).rows) == len(recorder.asked)


def test_notes_on_the_files_are_shown(tmp_path):
    path, text = tmp_path / "runs.jsonl", io.StringIO()
    path.write_text("no\n")
    archive = Archive(path)
    run_jobs({}, PLAN, archive, Progress(rich.console.Console(file=text, width=40), "", 0, 0))
    assert text.getvalue() == f"note: {archive.notes[0]}\n"


def test_progress_says_how_far_and_how_long(monkeypatch):
    now, text = [100.0], io.StringIO()
    monkeypatch.setattr(eval._progress.time, "monotonic", lambda: now[0])
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


def test_the_choice_of_the_frozen_setting_says_how_far_it_is(monkeypatch, tmp_path):
    text, recorder = io.StringIO(), Recorder()
    monkeypatch.setattr(eval._frozen, "load_suite", lambda name: TASKS)
    monkeypatch.setattr(eval._frozen, "FILE", tmp_path / "frozen.json")
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    console = rich.console.Console(file=text, width=200)
    chosen = eval._frozen.choose_setting(tmp_path / "runs", console=console)
    # The least loss that is made up is that of the least rate.
    assert chosen.lr == 1e-4
    assert len(recorder.asked) == 7 * 5 * 3
    assert text.getvalue().startswith("1/1 optimizers, 105 of 105 runs, AdamW, tuned done\n")


# --- the command -------------------------------------------------------------------------------


def test_the_command_packs_what_it_is_told(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(
        eval._ship, "pack_baselines", lambda suite, **k: asked.append((suite, k)) or tmp_path / "f"
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
        (["--only", "nope"], "a baseline must be one of adam_default, adam, adamw"),
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


def test_help():
    done = subprocess.run(
        [sys.executable, "-m", "eval", "baselines", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(word in done.stdout for word in ("--suite", "--tier", "--only", "--out", "FILE.d"))
