"""Meta-validation: scores over tuned references, their interval, the log, the card."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from problems import FINAL, LearnedSGD, Quadratics, mesh
from processes import TABLE

from learned_opt.meta_train import (
    Config,
    ConfigError,
    Gain,
    Judge,
    MetaProblem,
    Objective,
    build,
    meta_train,
)
from learned_opt.meta_train.run._log import Log, valid_row, validation_curve
from learned_opt.meta_train.run._programs import program_of
from learned_opt.meta_train.run._progress import Progress
from learned_opt.meta_train.run._scores import half_width, score_row
from learned_opt.meta_train.settings import RIVALS, _config
from learned_opt.tasks import PROBLEMS, EvalTask, FamilySpec, load_suite

STEPS = 5
KEY = jax.random.key(4)
FAMILY = Quadratics(jnp.asarray(1.0), noisy=True)
PROBLEM = MetaProblem(FAMILY, LearnedSGD(), FINAL, mesh())


def judge(references=None, runs=4):
    given = None if references is None else jnp.asarray(references)
    return Judge(PROBLEM, None, jnp.int32(STEPS), KEY, runs, given)


def starts(runs=4):
    """Of the runs' tasks: 1 + U(0, 1)."""
    keys = [jax.random.split(jax.random.fold_in(KEY, i))[0] for i in range(runs)]
    return np.array([float(FAMILY.sample(key).start) for key in keys])


def test_scores_are_clipped_logarithms_over_the_references():
    """V = p^2 / 2 + 1 with p = start (1 - lr)^5; references of 1.5, of which some are clipped, and
    of V itself. Rows are runs, whichever device they ran on."""
    ends = 0.5 * (starts() * 0.8**STEPS) ** 2 + 1
    one = judge([1.5, ends[2], 0.4])
    scores = jax.jit(one.scores)({"lr": jnp.asarray(0.2)})
    log2 = np.log(2)
    want = np.clip(np.log(ends[:, None] / [1.5, ends[2], 0.4]), -log2, log2)
    np.testing.assert_allclose(scores, want, atol=1e-6)
    np.testing.assert_allclose(scores[:, 2], log2, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(one.score)({"lr": jnp.asarray(0.2)}), want[:, 0].mean(),
                               rtol=1e-5)  # fmt: skip
    wild = jax.jit(judge([1.5, 1.0]).scores)({"lr": jnp.asarray(np.nan)})
    np.testing.assert_allclose(wild, log2, rtol=1e-6)
    assert jax.eval_shape(judge().scores, {"lr": jnp.asarray(0.2)}).shape == (4, 1)


def test_judges_with_other_references_share_a_program():
    assert program_of(judge([1.5, 1.0])) == program_of(judge([2.5, 2.0]))
    assert program_of(judge([1.5, 1.0])) != program_of(judge())


def test_the_interval_is_that_of_stratified_sampling():
    """In float64; and of 2,000 draws of known tasks 95 % cover the truth, within 3 errors."""
    rng = np.random.default_rng(0)
    tasks = [rng.normal(m, s, n) for m, s, n in ((0.1, 0.3, 10), (-0.5, 0.1, 12), (2, 0.5, 9))]
    want = 1.96 / 3 * np.sqrt(sum(x.var(ddof=1) / len(x) for x in tasks))
    assert half_width(tasks) == pytest.approx(want, rel=1e-12)
    assert half_width([np.ones(1), np.ones(10)]) is None
    hits, truth = 0, (0.1 - 0.5 + 2) / 3
    for _ in range(2000):
        drawn = [rng.normal(m, s, 10) for m, s in ((0.1, 0.3), (-0.5, 0.1), (2, 0.5))]
        hits += abs(np.mean([x.mean() for x in drawn]) - truth) < half_width(drawn)
    # With 10 runs a task the normal quantile covers a little less than 95 %.
    assert 0.92 < hits / 2000 < 0.955


def test_a_row_has_means_intervals_and_paired_differences():
    rng = np.random.default_rng(1)
    first = [rng.normal(size=(10, 2)).astype(np.float32) for _ in range(3)]
    now = [one - np.float32([0.25, 0.5]) for one in first]
    row = score_row(now, first, ["a", "b", "c"])
    chosen = np.array([one[:, 0] for one in now], np.float64)
    assert row["valid_loss"] == pytest.approx(chosen.mean(), rel=1e-12)
    error = 1.96 / 3 * np.sqrt((chosen.var(1, ddof=1) / 10).sum())
    assert row["valid_error"] == pytest.approx(error, rel=1e-12)
    # What the runs have in common cancels: the interval of the difference is no wider than float32.
    assert row["valid_gain"] == pytest.approx(-0.25, abs=1e-6)
    assert row["valid_gain_error"] < 1e-6
    assert row["valid_over_muon"] == pytest.approx(
        np.mean([x[:, 1] for x in now], dtype=float), rel=1e-5
    )
    assert [row[f"valid_loss/{n}"] for n in "abc"] == pytest.approx(chosen.mean(1))
    alone = score_row([now[0][:, :1]], None, ["a"])
    assert set(alone) == {"valid_loss", "valid_error"}
    single = score_row([now[0][:1, :1]], None, ["a"])
    assert set(single) == {"valid_loss"}
    bad = score_row([np.full((4, 1), np.inf)], [first[0][:4]], ["a"])
    assert bad["valid_loss"] == np.inf
    assert np.isnan(bad["valid_error"])


def test_people_see_score_interval_and_difference():
    said = io.StringIO()
    progress = Progress(rich.console.Console(file=said, width=200), 10)
    rest = {
        "nonfinite": 0,
        "meta_loss": 1,
        "inner_steps_per_second": 1,
        "outer_steps_per_second": 1,
    }
    progress.update({"step": 0, "valid_loss": 0.05, "valid_error": 0.0121})
    progress.update({"step": 5, "valid_loss": -0.05, "valid_error": 0.0119, "valid_gain": -0.1,
                     "valid_gain_error": 0.004, **rest})  # fmt: skip
    first, second = said.getvalue().splitlines()
    assert first == "untrained: valid 0.050 ±0.012"
    assert "  valid -0.050 ±0.012 (-0.100 ±0.004)  meta-loss 1.000  " in second


def test_the_log_keeps_them_for_the_card(tmp_path):
    log = Log(tmp_path, 0)
    rows = [{"step": i, "valid_loss": 1.0 - i, "valid_error": 0.5, "loss": 3.0} for i in range(3)]
    for row in rows:
        log.append(row)
    log.close()
    assert validation_curve(tmp_path)["valid_error"] == [0.5, 0.5, 0.5]
    assert valid_row(tmp_path, 2) == {"valid_loss": -1.0, "valid_error": 0.5}
    assert valid_row(tmp_path, 7) == {}
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 3, "valid_loss": 1.0}) + "\n")
    assert "valid_error" not in validation_curve(tmp_path)


@pytest.fixture
def known(monkeypatch):
    """References of the suite quickstart, as if it had some."""
    tasks = load_suite("quickstart")
    rows = {t.name: {"adamw": 0.1 * (i + 1), "muon": 0.2} for i, t in enumerate(tasks)}
    monkeypatch.setattr(_config, "references", {"quickstart": rows}.get)
    return tasks, rows


def configured(suite="quickstart", horizon=100_000, **more):
    return Config.from_dict({"valid": {"suite": suite, "tasks": 2, "horizon": horizon}, **more})


@pytest.mark.slow
def test_references_of_a_suite_are_what_its_judges_score_by(known):
    tasks, rows = known
    config = configured(objective={"name": "gain"})
    assert config.references == [[rows[t.name]["adamw"], 0.2] for t in tasks]
    _, (problem,), judges = build(config)
    assert isinstance(problem.objective, Gain)
    for one, task in zip(judges, tasks, strict=True):
        np.testing.assert_allclose(one.references, [rows[task.name][r] for r in RIVALS], rtol=1e-6)
        assert (one.problem.objective, one.problem.untrained) == (Objective(), None)
        assert int(one.horizon) == task.horizon


def test_they_hold_for_whole_runs_and_for_suites_that_have_all_of_them(known):
    tasks, rows = known
    longest = max(t.horizon for t in tasks)
    with pytest.raises(ConfigError) as error:
        configured(horizon=longest - 1)
    assert str(error.value) == (
        f"valid.horizon must be at least {longest:,}, the longest run of quickstart, whose tuned "
        f"optimizers are known of whole runs alone, got {longest - 1:,}"
    )
    assert configured("quickstart+META_VALID_V3", horizon=10).references is None
    del rows[tasks[0].name]["muon"]
    assert configured(horizon=10).references is None
    assert Config().references is None


@pytest.fixture
def mixed():
    """optax's schedules mix dtypes, and compilation has threads of its own."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    yield
    jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.mark.usefixtures("mixed")
def test_a_run_by_references_logs_its_interval_and_its_gain(tmp_path, monkeypatch):
    """In the card, too, whose page says them."""
    spec = FamilySpec(PROBLEMS["quadratic"](), "points/20", 4)
    tasks = tuple(EvalTask(name, spec, horizon=20) for name in "ab")
    rows = {"a": {"adamw": 2.0, "muon": 3.0}, "b": {"adamw": 1.0, "muon": 0.5}}
    monkeypatch.setattr(_config, "references", {"S": rows}.get)
    monkeypatch.setattr(_config, "load_suite", lambda name: tasks)
    valid = {"suite": "S", "tasks": 4, "horizon": 20}
    table = {k: v for k, v in TABLE.items() if k != "valid"} | {"valid": valid}
    table["run"] = TABLE["run"] | {"outer_steps": 2}
    table |= {"objective": {"name": "gain"}, "optimizer": {"name": "hyper_adam"}}
    table["estimator"] = {"pairs": 4, "horizon": [5, 5]}
    said, out = io.StringIO(), tmp_path / "run"
    console = rich.console.Console(file=said, width=10_000)
    card = meta_train(Config.from_dict(table), out, console=console).card
    first, last = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    names = {"valid_loss", "valid_error", "valid_over_muon", "valid_loss/a", "valid_loss/b"}
    assert {k for k in first if k.startswith("valid")} == names
    assert {k for k in last if k.startswith("valid")} == names | {"valid_gain", "valid_gain_error"}
    both = (first["valid_loss/a"] + first["valid_loss/b"]) / 2
    assert first["valid_loss"] == pytest.approx(both)
    assert last["valid_gain"] == pytest.approx(last["valid_loss"] - first["valid_loss"], abs=1e-6)
    assert abs(first["valid_over_muon"]) <= np.log(2)
    best = last if card["best_step"] == 2 else first
    assert card["meta_valid"] == {k: round(best[k], 5) for k in best if k.startswith("valid")}
    assert card["meta_valid_loss"] == pytest.approx(best["valid_loss"], abs=2e-5)
    assert f" ± {best['valid_error']:.3g} at outer step" in (out / "tiny.md").read_text()
    assert "untrained: valid" in said.getvalue()
    assert f"±{last['valid_error']:.3f} (" in said.getvalue()
