"""Configurations and output folders: every mistake is one sentence, before anything compiles."""

from pathlib import Path

import jax
import numpy as np
import pytest

import learned_opt
from learned_opt.checkpoints import FolderError, claim_folder
from learned_opt.meta_train import PES, Config, ConfigError, Continuation, build, load_config
from learned_opt.tasks import SUITES, load_suite

QUICKSTART = Path(__file__).parent.parent / "meta_train" / "configs" / "quickstart.toml"


def test_every_shipped_configuration_loads_and_round_trips():
    paths = sorted(QUICKSTART.parent.glob("*.toml"))
    assert QUICKSTART in paths
    for path in paths:
        config = load_config(path)
        assert Config.from_dict(config.to_dict()) == config


LONG = ("small", "velo", "celo", "celo2", "elo", "mulo", "rival-celo2", "rival-hypernet")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=[pytest.mark.slow] if p.stem in LONG else [], id=p.stem)
        for p in sorted(QUICKSTART.parent.glob("*.toml"))
    ],
)
def test_every_shipped_configuration_describes_an_outer_step(path):
    """Traced, not run: data, problems, optimizer, estimator and outer optimizer fit together."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")  # for optax's own schedules
    try:
        try:
            trainer, problems, judges = build(load_config(path))
        except ConfigError as error:
            if "learned-opt tasks prepare" not in str(error):
                raise
            pytest.skip(f"needs data that are fetched: {error}")
        state = jax.eval_shape(trainer.init, problems)
        after, metrics = jax.eval_shape(trainer.step, problems, state)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert metrics.losses.shape == (len(problems),)
        assert jax.eval_shape(judges[0].score, state.theta).shape == ()
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")


def test_overrides_change_one_value_each():
    config = load_config(
        QUICKSTART, ["run.outer_steps=40", "estimator.horizon=[5, 9]", "family.data=digits"]
    )
    assert config.run.outer_steps == 40
    assert config.estimator.horizon == (5, 9)
    assert config.outer == load_config(QUICKSTART).outer


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.outer_step=4", "unknown key run.outer_step; did you mean run.outer_steps?"),
        ("estimater.pairs=4", "unknown section estimater; did you mean estimator?"),
        ("estimator.pairs=four", "estimator.pairs must be of type int, got 'four'"),
        ("estimator.pairs=4.5", "estimator.pairs must be of type int, got 4.5"),
        ("estimator.pairs=true", "estimator.pairs must be of type int, got True"),
        ("estimator.horizon=5", "estimator.horizon must be a list of 2 numbers, got 5"),
        ("family.problem=mpl", "family.problem must be one of quadratic, rosenbrock, saddle"),
        ("family.options.widht=4", "unknown key family.options.widht; did you mean family.opt"),
        ("family.augment.noise.x=1", "family.augment must be one of reparametrise, loss_scale"),
        (
            "family.augment.reparametrise.per=row",
            "reparametrise.per must be one of 'task', 'tensor', 'element', got 'row'",
        ),
        ("nonsense", "--set expects section.key=value or section={key=value, ...}, got 'nonsense'"),
        ("run.seed.x=3", "seed must be a section, got 0"),
        ("family.options=3", "family.options must be a section, got 3"),
        ("run=3", "--set expects section.key=value or section={key=value, ...}, got 'run=3'"),
    ],
)
def test_bad_settings_are_named(override, message):
    with pytest.raises(ConfigError) as error:
        load_config(QUICKSTART, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_old_names_of_keys_mean_the_new_ones(tmp_path):
    """In a file and in --set, one after the other; what is written has today's names."""
    path = tmp_path / "old.toml"
    path.write_text("[run]\nouter_steps = 40\nchunk = 10\n")
    for overrides, want in (
        ([], 10),
        (["run.chunk=20"], 20),
        (["run.log_every=4"], 4),
        (["run.log_every=4", "run.chunk=5"], 5),
        (["run={outer_steps=9, chunk=3}"], 3),
    ):
        config = load_config(path, overrides)
        assert config.run.log_every == want
        assert config.to_dict()["run"].items() >= {"log_every": want}.items()
    assert Config.from_dict({"run": {"outer_steps": 9, "chunk": 3}}).run.log_every == 3
    for overrides, want in (([], "sign"), (["estimator.sign=false"], "none")):
        path.write_text("[estimator]\nsign = true\n")
        config = load_config(path, overrides)
        assert config.estimator.scale == want
        assert "sign" not in config.to_dict()["estimator"]
    both = "run.chunk is the old name of run.log_every, got both: leave one out"
    path.write_text("[run]\nlog_every = 10\nchunk = 10\n")
    with pytest.raises(ConfigError, match=both):
        load_config(path)


def test_a_whole_section_is_set_in_place_of_the_old_one():
    wanted = 'optimizer={name="hypernet", lstm=16, bank=4}'
    config = load_config(QUICKSTART, ["optimizer.hidden=8", wanted, "optimizer.bank=5"])
    assert config.optimizer == learned_opt.Hypernet(lstm=16, bank=5)


def test_a_run_starts_from_an_artifact_of_its_optimizer_only():
    config = load_config(QUICKSTART, ["run.start=quickstart"])
    trainer, problems, _ = build(config)
    theta = learned_opt.load("quickstart").theta
    jax.tree.map(np.testing.assert_array_equal, trainer.init(problems).theta, theta)
    with pytest.raises(ConfigError, match=r"run\.start must be an artifact whose theta fits"):
        build(load_config(QUICKSTART, ["run.start=quickstart", "optimizer.hidden=8"]))
    lean = build(load_config(QUICKSTART, ["run.start=quickstart", "optimizer.factored=true"]))
    assert lean.trainer.start.sha256 == trainer.start.sha256


@pytest.mark.parametrize(("pairs", "tasks", "devices"), [(4, 2, 2), (3, 2, 1), (4, 3, 1)])
def test_a_run_has_one_mesh_that_fits_pairs_and_validation(pairs, tasks, devices):
    config = load_config(QUICKSTART, [f"estimator.pairs={pairs}", f"valid.tasks={tasks}"])
    _, (problem,), (judge,) = build(config)
    assert problem.mesh == judge.problem.mesh
    assert problem.mesh.size == devices


def test_optimizer_and_estimator_are_chosen_by_name():
    config = load_config(
        QUICKSTART,
        [
            "optimizer.name=gated_adam", "estimator.name=pes", "estimator.truncation=25",
            "estimator.resume.share=0.5", "estimator.sign=true", "teacher.name=muon",
            "outer.optimizer=adamw", "outer.weight_decay=0.1", "outer.warmup=10",
        ],
    )  # fmt: skip
    assert config.estimator == PES(
        pairs=16,
        sigma=0.03,
        horizon=(100, 300),
        truncation=25,
        resume=Continuation(share=0.5),
        scale="sign",
    )
    assert Config.from_dict(config.to_dict()) == config


def test_several_families_share_the_pairs_by_weight():
    table = {
        "estimator": {"name": "pes", "pairs": 4},
        "families": [
            {"problem": "mlp", "weight": 3.0},
            {"problem": "linear", "data": "wine", "weight": 0.5},
        ],
    }
    config = Config.from_dict(table)
    trainer, problems, judges = build(config)
    assert [e.pairs for e in trainer.estimators] == [12, 2]
    assert trainer.weights == (12 / 14, 2 / 14)
    assert problems[0].mesh.size == 2
    assert [judge.runs for judge in judges] == [16, 16]
    assert Config.from_dict(config.to_dict()) == config


def test_a_suite_brings_its_families_and_their_weights():
    config = Config.from_dict({"suite": "META_TRAIN_V2", "estimator": {"pairs": 2}})
    weights = [entry.weight for entry in SUITES["META_TRAIN_V2"].entries]
    assert [e.pairs for e in config.estimators] == [max(1, round(2 * w)) for w in weights]
    assert Config.from_dict(config.to_dict()) == config


def test_meta_validation_on_a_suite_judges_each_of_its_tasks():
    """At most at the horizon that is said; META_VALID_V1 is the same with MNIST prepared."""
    valid = {"suite": "quickstart", "tasks": 4, "horizon": 400}
    config, tasks = Config.from_dict({"valid": valid}), load_suite("quickstart")
    _, (problem,), judges = build(config)
    assert config.judge_names == [task.name for task in tasks]
    assert [int(judge.horizon) for judge in judges] == [min(400, t.horizon) for t in tasks]
    assert all(judge.runs == 4 for judge in judges)
    assert all(judge.problem.mesh == problem.mesh for judge in judges)
    for judge, task in zip(judges, tasks, strict=True):
        jax.tree.map(np.testing.assert_array_equal, judge.task, task.member)
    keys = {tuple(jax.random.key_data(judge.key).tolist()) for judge in judges}
    assert len(keys) == len(tasks)
    both = Config.from_dict({"valid": valid | {"suite": "quickstart+META_VALID_V3"}})
    assert both.judge_names == [t.name for t in (*tasks, *load_suite("META_VALID_V3"))]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"suite": "META_TEST_V1"}, "suite must be one of META_TRAIN_V2, META_TRAIN_V3, "),
        ({"suite": "META_TRAIN_V2", "family": {"data": "wine"}}, "give one of [family], [[famil"),
        ({"valid": {"suite": "V9"}}, "valid.suite must be one of quickstart, META_VALID_V1"),
        ({"families": [{"problem": "mpl"}]}, "families[0].problem must be one of quadratic"),
        ({"families": 3}, "families must be a list, got 3"),
        ({"estimator": {"name": "sps"}}, "estimator.name must be one of full_es, truncated_es"),
        ({"estimator": {"name": "pes", "sigm": 1}}, "key estimator.sigm; did you mean estimator.s"),
        ({"estimator": {"name": "evosax", "strategy": "ES"}}, "estimator.strategy must be an algo"),
        ({"estimator": {"name": "evosax"}, "outer": {"clip": 1}}, "[outer] has no effect on the"),
        ({"outer": {"optimizer": "adamm"}}, "outer.optimizer must be one of 'adam', 'adamw'"),
        ({"outer": {"weight_decay": 0.1}}, "outer.weight_decay needs the optimizer adamw or lion"),
    ],
)
def test_bad_sections_are_named(table, message):
    with pytest.raises(ConfigError) as error:
        Config.from_dict(table)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("family.data=imagenet", r"family.data: data set must be one of breast_cancer, .*imagenet"),
        ("run.start=quickstrat", "run.start: no pretrained optimizer is named 'quickstrat'; did"),
    ],
)
def test_files_are_looked_for_when_the_run_is_built(override, message):
    config = load_config(QUICKSTART, [override])
    with pytest.raises(ConfigError, match=message):
        build(config)


def test_bad_files(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*: No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[run\n")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "flat.toml").write_text("run = 3\n")
    with pytest.raises(ConfigError, match="run must be a section, got 3"):
        load_config(tmp_path / "flat.toml")


FACTS = {"run": {"seed": 0, "name": "a"}, "suite": "s"}


def claim(folder, facts=FACTS, resume=False):
    return claim_folder(folder, "record.toml", facts, what="a run", resume=resume)


def test_a_folder_is_claimed_once_and_recognised(tmp_path):
    claim(tmp_path / "deep" / "out")
    claim(tmp_path / "deep" / "out", resume=True)
    with pytest.raises(FolderError, match="already holds this run; continue it with --resume"):
        claim(tmp_path / "deep" / "out")


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_another_run_is_refused_with_what_differs(tmp_path, resume):
    claim(tmp_path)
    other = {"run": {"seed": 1, "name": "a"}, "suite": "s"}
    with pytest.raises(FolderError, match=r"another run \(run.seed was 0, is now 1\)"):
        claim(tmp_path, other, resume=resume)


@pytest.mark.parametrize("content", [b"[run", b"\xff"])
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / "record.toml").write_bytes(content)
    with pytest.raises(FolderError, match=r"record.toml does not read back \(.*; put it back"):
        claim(tmp_path, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_foreign_files_are_left_alone(tmp_path, resume):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FolderError, match=r"files that are not a run, for it has no record.toml"):
        claim(tmp_path, resume=resume)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(FolderError, match="--out must be a folder, got the file"):
        claim(tmp_path / "thesis.txt", resume=resume)


def test_sections_that_name_the_optimizer_of_older_versions_still_load():
    """As run folders hold them, and as people wrote them."""
    flags = ("bounded", "damped", "fading", "feedback", "orthogonal", "selective")
    older = {"name": "nominal", "hidden": 0, "controller_hidden": 0, "learning_rate": 0.05}
    config = Config.from_dict({"optimizer": older | dict.fromkeys(flags, True) | {"paced": False}})
    assert config.optimizer == learned_opt.Spectral(learning_rate=0.05)
    del older["name"]  # which was that of the default
    assert Config.from_dict({"optimizer": older | dict.fromkeys(flags, True)}) == config
    config = Config.from_dict({"optimizer": {"name": "nominal", "hidden": 3, "damped": False}})
    assert config.optimizer == learned_opt.GatedAdam(hidden=3)
    with pytest.raises(
        ConfigError, match=r"^optimizer: nominal with .*'paced': True.*; use the version"
    ):
        Config.from_dict({"optimizer": {"name": "nominal", "paced": True}})
