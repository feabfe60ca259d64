"""Configurations and output folders: every mistake is one sentence, before anything compiles."""

from pathlib import Path

import pytest

from checkpoints import FolderError, claim_folder
from meta_train import Config, ConfigError, load_config
from meta_train._config import from_dict

QUICKSTART = Path(__file__).parent.parent / "meta_train" / "configs" / "quickstart.toml"


def test_every_shipped_configuration_loads_and_round_trips():
    paths = sorted(QUICKSTART.parent.glob("*.toml"))
    assert QUICKSTART in paths
    for path in paths:
        config = load_config(path)
        assert from_dict(Config, config.to_dict()) == config


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
        ("estimator.horizon=[9, 5]", "with 1 <= low <= high, got [9, 5]"),
        ("estimator.sigma=0", "estimator.sigma must be positive, got 0.0"),
        ("run.chunk=7", "run.outer_steps must be a multiple of run.chunk (7), got"),
        ("family.problem=mpl", "family.problem must be one of quadratic, rosenbrock, saddle"),
        ("family.options.widht=4", "unknown key family.options.widht; did you mean family.opt"),
        (
            "family.options.widths=[8, 64]",
            "mlp.widths must be [low, high] with 1 <= low <= high <= 32",
        ),
        (
            "family.options.gains=[2, 1]",
            "mlp.gains must be [low, high] with 0 < low <= high, got [2.0, 1.0]",
        ),
        ("family.augment.noise.x=1", "family.augment must be one of reparametrise, loss_scale"),
        (
            "family.augment.reparametrise.per=row",
            "reparametrise.per must be one of 'task', 'tensor', 'element', got 'row'",
        ),
        ("nonsense", "--set expects section.key=value, got 'nonsense'"),
        ("run.seed.x=3", "seed must be a section, got 0"),
        ("family.options=3", "family.options must be a section, got 3"),
        ("run=3", "--set expects section.key=value, got 'run=3'"),
    ],
)
def test_bad_settings_are_named(override, message):
    with pytest.raises(ConfigError) as error:
        load_config(QUICKSTART, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("pairs", "tasks", "devices"), [(4, 2, 2), (3, 2, 1), (4, 3, 1)])
def test_a_run_has_one_mesh_that_fits_pairs_and_validation(pairs, tasks, devices):
    config = load_config(QUICKSTART, [f"estimator.pairs={pairs}", f"valid.tasks={tasks}"])
    trainer, _ = config.build()
    assert trainer.mesh == trainer.estimator.mesh
    assert trainer.mesh.size == devices


def test_unknown_data_is_found_when_the_run_is_built():
    config = load_config(QUICKSTART, ["family.data=imagenet"])
    with pytest.raises(
        ConfigError, match=r"family.data: data set must be one of breast_cancer, .*imagenet"
    ):
        config.build()


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


@pytest.mark.parametrize("resume", [False, True])
def test_foreign_files_are_left_alone(tmp_path, resume):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FolderError, match="files that are not a run; choose another folder"):
        claim(tmp_path, resume=resume)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(FolderError, match="--out must be a folder, got the file"):
        claim(tmp_path / "thesis.txt", resume=resume)
