"""Meta-training on for tasks of one's own: settings that nobody gave, and the whole of it."""

import json
import re
import sys

import jax
import pytest
from own_runs import MODULE

import learned_opt
from learned_opt.__main__ import main
from learned_opt.meta_train.command import _fine_tune
from learned_opt.meta_train.command._fine_tune import outer_steps, run_name, table
from learned_opt.meta_train.settings import Config, ConfigError
from learned_opt.tasks import Timed, load_task

SMALL = learned_opt.load("small")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder with a module of one's own in it."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.fixture
def timed(monkeypatch):
    """Tasks of which 16 steps side by side take 10 ms, an evaluation 0.1 s, a program 2 s."""

    class Runs:
        def __init__(self, family, member, tx, width):
            self.width = width

        def timed(self):
            return Timed(self.width, 0.01 * self.width / 16, 0.1, 2.0, 1.0, 1000)

    monkeypatch.setattr(_fine_tune, "TimedRuns", Runs)


def test_outer_steps_fill_the_budget(project, timed):
    """Of 60 steps: 8 s to compile, six meta-validations of 0.7 s, 0.532 s an outer step."""
    tasks = load_task("mine:line")
    assert outer_steps(SMALL, tasks, 12.2 + 0.532 * 12.5) == 10
    assert outer_steps(SMALL, tasks, 1e9) == 500
    with pytest.raises(
        ConfigError,
        match=r"^--budget must be 15s or more for 5 outer steps, got 9s; try --budget 20s",
    ):
        outer_steps(SMALL, tasks, 9.0)
    assert outer_steps(SMALL, (*tasks, *tasks), 2 * (12.2 + 0.532 * 12.5)) == 10


def test_untrained_runs_take_time_too(project, timed):
    """Where the start was trained for its gain: 24 runs, 8 + 6 s to begin with, 0.748 s a step."""
    card = {"config": {"objective": {"name": "gain"}}}
    start = learned_opt.Artifact(SMALL.optimizer, SMALL.theta, card)
    assert outer_steps(start, load_task("mine:line"), 14 + 0.748 * 14.9) == 10
    assert outer_steps(start, load_task("mine:line"), 14 + 0.748 * 15.1) == 15


def test_settings_are_those_that_made_the_start(project):
    tasks = load_task("mine:both", 90)
    made = table("small", SMALL, ["mine:both"], tasks, 25)
    config = Config.from_dict(made)
    assert [source.name for source in config.sources] == ["line", "small"]
    assert (config.estimator.sigma, config.estimator.pairs) == (0.08, 8)
    assert config.estimator.horizon == (45, 90)
    assert (config.outer.learning_rate, config.objective.mean) == (0.01, 0.1)
    assert (config.run.outer_steps, config.run.log_every) == (25, 5)
    assert config.optimizer == SMALL.optimizer
    assert (config.valid.tasks, config.valid.horizon) == (16, 90)
    assert run_name("a b/c d.safetensors", tasks) == "c-d-line"
    plain = learned_opt.Artifact(SMALL.optimizer, SMALL.theta, {"config": {"estimator": 3}})
    assert table("x", plain, ["mine:both"], tasks, 25)["estimator"]["sigma"] == 0.03
    # A clip is in units that the scale says.
    for scale, want in (("family", {"scale": "family", "clip": 2.0}), (3, {"clip": 2.0})):
        card = {"config": {"estimator": {"scale": scale, "clip": 2.0}}}
        scaled = learned_opt.Artifact(SMALL.optimizer, SMALL.theta, card)
        found = table("x", scaled, ["mine:both"], tasks, 25)["estimator"]
        assert {key: found[key] for key in ("scale", "clip") if key in found} == want


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--start small", "--start needs --task MODULE:NAME, what is trained on for"),
        ("quickstart --task mine:line", "--task needs --start NAME, what is trained on from"),
        ("quickstart --budget 3m", "--budget needs --start NAME"),
        ("quickstart --start small --task mine:line", "CONFIG and --start exclude each other"),
        ("--start small --task mine:line --num-steps 0", "--num-steps must be from 1 to 100,"),
        ("--start small --task mine:line --budget 3", "--budget must be a time such as 90s, 30m"),
        ("--start smal --task mine:line", "no pretrained optimizer is named 'smal'"),
        ("--start small --task mine:nothing", "--task mine:nothing cannot be imported"),
    ],
)
def test_mistakes_are_one_sentence(project, capsys, words, message):
    assert main(["meta-train", *words.split(), "--out", "none"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not (project / "none").exists()


def test_it_is_planned(project, timed, capsys, monkeypatch):
    monkeypatch.setattr("learned_opt.meta_train.run.probe_run", lambda plan: None)
    monkeypatch.setattr("learned_opt.meta_train.run.print_probe", lambda probe, console: None)
    words = "--start small --task mine:line --budget 15s --plan --out none"
    assert main(["meta-train", *words.split(), "--set", "estimator.pairs=2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "Timing a few steps\n5 outer steps fit the budget\nPlan of the run small-line"
    )
    assert re.search(r"outer steps +5, a log line every 1\n", text)
    assert re.search(r"line +100% +2 +32\n", text)


@pytest.mark.slow
def test_an_optimizer_is_trained_on_and_judged_beside_its_start(project, capsys):
    """The two commands of the page, in an empty folder."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    try:
        words = "--start small --task mine:line --budget 10m --set run.outer_steps=5 --out tuned"
        words += " --set run.log_every=5"
        assert main(["meta-train", *words.split()]) == 0
        said = capsys.readouterr().out
        (command,) = re.findall(r"Whether it paid: learned-opt (.*)", said)
        assert main([*command.split(), "--budget", "1h"]) == 0
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")
    report = json.loads((project / "tuned-report" / "report.json").read_text())
    assert report["subject"]["name"] == "small-line"
    ratio = report["tasks"][0]["against"]["rival:small"]["valid_ratio"]
    assert 0 < ratio["low"] <= ratio["mid"] <= ratio["high"]
    assert re.search(
        r"small-line ends at [\d.]+ \[.*?\] times the loss of small", report["sentence"]
    )
    assert report["tasks"][0]["leakage"] == "yours"
