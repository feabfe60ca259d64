"""The runs that ship: complete, current, and what running them gives; the grid's among them."""

import io

import jax
import numpy as np
import pytest
import rich.console
from made_runs import Recorder, check, trial_of

import learned_opt.eval.grid._run
from learned_opt import Artifact, GatedAdam
from learned_opt.eval import BASELINES, Hyper, Runner, artifact_subject, pack_baselines
from learned_opt.eval._evaluate import ladder, whole
from learned_opt.eval.contestants import REPORT_SEEDS, Protocol, baseline_jobs
from learned_opt.eval.grid import GRID, grid, run_grid
from learned_opt.eval.running import (
    Archive,
    baseline_identity,
    run_key,
    shipped_file,
    unpack,
)
from learned_opt.eval.running._packed import FOLDER
from learned_opt.tasks import load_suite
from learned_opt.tasks._spec import data_fingerprint

SILENT = rich.console.Console(file=io.StringIO(), width=200)


def test_the_baselines_side_of_the_grid_ships_too(monkeypatch, tmp_path):
    """Then an evaluation runs the learned optimizer alone."""
    base, *others = grid()
    monkeypatch.setattr(learned_opt.eval.grid._run, "grid", lambda: (base, *others[:2]))
    recorder = Recorder()
    monkeypatch.setattr(Runner, "__call__", lambda runner, trials, **kind: recorder(trials, **kind))
    file = pack_baselines(GRID, out=tmp_path / "grid-cpu.npz", console=SILENT)
    assert {run.optimizer for run in unpack(file)} == {"adamw"}
    made = len(recorder.asked)
    optimizer = GatedAdam()
    subject = artifact_subject(Artifact(optimizer, optimizer.init(jax.random.key(0)), {}))
    archive = Archive(tmp_path / "runs.jsonl", [file])
    text = io.StringIO()
    console = rich.console.Console(file=text, width=200)
    found, fresh = run_grid(archive, console, subject)
    assert len(found) == 3
    assert {run.seed for run in fresh} == set(REPORT_SEEDS)
    assert len({run.key for run in fresh}) == len(fresh)
    assert text.getvalue().startswith("1/1 optimizers, ")
    assert text.getvalue().endswith(" runs, grid done\n")
    assert len(recorder.asked) - made == 3 * len(REPORT_SEEDS)
    assert {run.optimizer for run in archive.runs.values()} == {"adamw", subject.identity.name}


def test_runs_of_a_cell_that_diverge_are_failures(monkeypatch, tmp_path):
    """One cell: every run of fresh seeds is handed on, with its losses that are not finite."""
    monkeypatch.setattr(learned_opt.eval.grid._run, "grid", lambda: grid()[:1])
    healthy, diverging = Recorder(), Recorder(np.nan)

    def runner(runner, trials, **kind):
        learned = trials[0].hyper == Hyper(1.0)
        return (diverging if learned else healthy)(trials, **kind)

    monkeypatch.setattr(Runner, "__call__", runner)
    optimizer = GatedAdam()
    subject = artifact_subject(Artifact(optimizer, optimizer.init(jax.random.key(0)), {}))
    (cell,), rows = run_grid(Archive(tmp_path / "runs.jsonl"), SILENT, subject)
    bad = [run for run in rows if run.valid_loss == np.inf]
    assert cell.diverged == len(bad) == len(REPORT_SEEDS)
    assert {(run.optimizer, run.task) for run in bad} == {(subject.identity.name, "grid")}
    assert [run.seed for run in bad] == list(REPORT_SEEDS)
    # AdamW's are retuned and transferred at once in the base: once each.
    assert len(rows) == 2 * len(REPORT_SEEDS)


TEXTS = {"prose": "83ea14f5df5451a8", "prose/24": "5249c88eaeb4a8d8"}
"""Fingerprints of the data of the shipped runs that depend on the interpreter."""


def readable(task):
    """Whether this machine and this interpreter have the data of the shipped runs."""
    name = task.spec.data
    try:
        found = data_fingerprint(name)
    except ValueError:  # a set of tensorflow-datasets that is not prepared
        assert name.startswith("tfds:")
        return False
    return found == TEXTS.get(name, found)


OF_OLD = (
    "adam_default", "adam", "adamw", "lion", "adabelief", "muon", "sgdm", "schedule_free",
)  # fmt: skip
"""Baselines whose runs ship for every suite that has an archive; for WHOLE all do."""

WHOLE = ("quickstart", "META_TEST_V3")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_the_shipped_runs_are_complete_and_current(monkeypatch, tmp_path, path):
    """All that an evaluation wants, of everyone but its subject, is found by its key."""
    suite, tier = path.stem.rsplit("-", 1)
    asked = []

    def runner(runner, trials, **kind):
        made = [trials[i] for i in kind["needed"]]
        asked.extend(f"{trial.task.name}, seed {trial.seed}" for trial in made)
        return Recorder()(trials, **kind)

    monkeypatch.setattr(Runner, "__call__", runner)
    archive = Archive(tmp_path / "runs.jsonl", [path])
    if suite == GRID:
        cells = tuple(cell for cell in grid() if readable(cell.task))
        monkeypatch.setattr(learned_opt.eval.grid._run, "grid", lambda: cells)
        run_grid(archive, SILENT)
    else:
        everything = whole(suite, tier)
        tasks, variants = (
            tuple(filter(readable, some)) for some in (everything.tasks, everything.variants)
        )
        names = {task.name for task in tasks}
        protocol = Protocol(tasks, tuple(v for v in variants if v.variant_of in names))
        for name, job in baseline_jobs(BASELINES).items():
            if suite in WHOLE or name in OF_OLD:
                job.make(protocol, archive)
    assert not asked, f"{len(asked)} runs are missing; make them: learned-opt eval baselines"


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_a_sample_of_the_shipped_runs_is_what_running_them_gives(path):
    """Two short ones, to 5 %: other machines round otherwise, and training amplifies it.

    At settings that tuning chose: at the largest learning rates training is chaotic. A run of other
    data than this machine's, such as texts of another Python, is passed over.
    """
    suite, tier = path.stem.rsplit("-", 1)
    tasks = [cell.task for cell in grid()] if suite == GRID else load_suite(suite, tier)
    tasks = [task for task in tasks if readable(task)]
    horizon, names = min(task.horizon for task in tasks), {task.name for task in tasks}
    known = {row.name: baseline_identity(row) for row in BASELINES}
    some = [
        run
        for run in unpack(path)
        if run.horizon == horizon
        and bool(run.steps) == (suite != GRID)  # The grid has none with curves.
        and run.task in names
        and np.isfinite(run.valid_loss)
        and run.key == run_key(known[run.optimizer], trial_of(run, tasks), curves=bool(run.steps))
    ]
    assert some
    check(np.random.default_rng().choice(some, 2, replace=False), tasks, 5e-2)


def test_tuned_rows_are_those_whose_runs_ship_for_the_suite(tmp_path):
    """What nobody tunes is cheap, and takes part whether it ships or not."""
    later = ["nadamw", "adan", "laprop", "adafactor"]
    for suite, more in {"META_TEST_V1": [], **dict.fromkeys(WHOLE, later)}.items():
        archive = Archive(tmp_path / "runs.jsonl", [shipped_file(suite, "cpu")])
        rows = ladder(archive)
        tuned = {row.name for row in rows if row.tuned}
        old = {"adam", "adamw", "lion", "adabelief", "muon", "sgdm", "schedule_free"}
        assert tuned == {*old, *more}
        assert [row for row in rows if not row.tuned] == [row for row in BASELINES if not row.tuned]
