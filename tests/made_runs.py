"""Runs made up at once, for tests of what keeps them; and processes that make them."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from learned_opt.eval import BASELINES, Hyper, Runner, Trial
from learned_opt.eval.running import run_from_json
from learned_opt.eval.running._keys import Identity, baseline_identity, run_key
from learned_opt.eval.running._trials import POINTS, Curve, eval_steps
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP

SPEC = FamilySpec(MLP(), "digits")
TASK = EvalTask("task", SPEC, (("width", 16), ("gain", 1.0)), 100)
LATER = EvalTask("later", SPEC, (("width", 16), ("gain", 1.0)), 200)
RULE = Identity("rule", {"rule": "a"})


def trials(count, task=TASK, lr=0.1):
    return [Trial(task, Hyper(lr, 0.0), seed) for seed in range(count)]


def made_up(trial, factor=1.0, curves=False):
    """A curve that says which trial it is of."""
    horizon = trial.task.horizon
    steps = eval_steps(horizon, trial.beyond) if curves else np.array([horizon])
    valid = (factor * (1 + trial.seed) * trial.hyper.lr / steps).astype(np.float32)
    end = float(valid[np.searchsorted(steps, horizon)])
    final = {"valid_loss": end, "valid_accuracy": 0.5}
    if curves:
        final |= {"test_loss": 3 * end, "test_accuracy": 0.5}
        final |= {"train_loss": 2 * end, "train_accuracy": 0.5}
    return Curve(steps, 2 * valid, valid, 3 * valid if curves else None, final)


def value(trial, factor=1.0):
    return float(f"{float(np.float32(made_up(trial, factor).valid[-1])):.6g}")


class Recorder:
    """A runner that trains nothing and remembers what it was asked."""

    def __init__(self, factor=1.0):
        self.factor, self.asked, self.calls = factor, [], []

    def __call__(self, trials, *, curves=False, needed=None):
        trials = trials if needed is None else [trials[i] for i in needed]
        if trials:
            self.asked += trials
            self.calls.append(len(trials))
        return [made_up(trial, self.factor, curves) for trial in trials]


def packable(count, rng):
    """Runs with curves and without, with losses of six digits, some missing, some extreme."""

    def number():
        x = rng.choice([rng.lognormal(), None, 1e-40, 3.4e38, 0.0], p=[0.9, 0.07, 0.01, 0.01, 0.01])
        return None if x is None else float(f"{np.float32(x):.6g}")

    for i in range(count):
        row = {
            "key": rng.bytes(8).hex(), "stage": "tune", "task": f"t{i % 5}", "optimizer": "o",
            "lr": 10 ** (-i % 7 / 2), "weight_decay": 0.0, "seed": i % 3, "device": "cpu",
            "jax": "0.10.2", "horizon": 100,
            "valid_loss": number(),
        }  # fmt: skip
        if i % 4 == 0:
            row |= {"stage": "report", "steps": eval_steps(100 + i % 2).tolist()}
            row |= {
                f"{split}_curve": [number() for _ in range(POINTS)]
                for split in ("train", "valid", "test")
            }
            row |= {"test_accuracy": number()} if i % 8 else {}
        yield run_from_json(row)


def main(mode, folder):
    """A process that makes 36 runs of each of two tasks in `folder`.

    `tear`: it is killed as it appends the second, after half of the bytes. `race`: it says that it
    is ready, waits for the file `go`, and holds the folder until there is a file `end`.
    """
    from learned_opt.checkpoints import FolderError, hold_folder
    from learned_opt.eval.running import Archive

    folder, recorder = Path(folder), Recorder()

    def wait_for(name):
        while not (folder / name).exists():
            time.sleep(0.01)

    def runner(trials, **kind):
        if mode == "race":
            wait_for("end")
        if mode == "tear" and recorder.calls:
            Path.open = torn
        return recorder(trials, **kind)

    whole = Path.open

    @contextlib.contextmanager
    def torn(path, *args):
        class Torn:
            def write(self, content):
                file.write(content[: len(content) // 2 + 7])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)

        with whole(path, *args) as file:
            yield Torn()

    if mode == "race":
        print("ready", flush=True)
        wait_for("go")
    try:
        with hold_folder(folder):
            Archive(folder / "runs.jsonl").run(
                RULE, runner, [*trials(36), *trials(36, LATER)], curves=False
            )
    except FolderError as error:
        sys.exit(f"error: {error}")
    print(len(recorder.asked))


if __name__ == "__main__":
    main(*sys.argv[1:])


def trial_of(run, tasks):
    """The trial that a run is of."""
    (task,) = (task for task in tasks if task.name == run.task)
    hyper = Hyper(run.lr, run.weight_decay, run.cosine, run.extra)
    return Trial(task, hyper, run.seed, run.told, run.beyond)


def check(runs, tasks, rtol):
    """Kept runs are what running them gives, and are found by their keys."""
    known = {row.name: row for row in BASELINES}
    runners = {row.name: Runner(row.transform, row.eval_params) for row in BASELINES}
    for run in runs:
        baseline, trial, curves = known[run.optimizer], trial_of(run, tasks), bool(run.steps)
        assert run.key == run_key(baseline_identity(baseline), trial, curves=curves)
        (curve,) = runners[baseline.name]([trial], curves=curves)
        np.testing.assert_allclose(curve.final["valid_loss"], run.valid_loss, rtol=rtol)
        if curves:
            np.testing.assert_array_equal(curve.steps, run.steps)
            np.testing.assert_allclose(curve.valid, run.valid_curve, rtol=rtol)
