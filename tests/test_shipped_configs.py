"""Configurations that ship are found by name; a file that is there is a file."""

import pytest

from learned_opt.meta_train import ConfigError, load_config
from learned_opt.meta_train.settings import FOLDER, config_path


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_one_is_found_by_name_in_any_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / path.stem).mkdir()
    assert config_path(path.stem) == path


def test_it_is_the_same_configuration():
    named = load_config("quickstart", ["run.seed=3"])
    assert named == load_config(FOLDER / "quickstart.toml", ["run.seed=3"])
    assert named.run.seed == 3


def test_a_file_comes_first_and_a_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").write_text('[run]\nname = "mine"\n')
    assert load_config("small").run.name == "mine"
    for given in ("./quickstart", "quickstart.toml", str(tmp_path / "quickstart")):
        with pytest.raises(ConfigError, match=r"cannot read the configuration .*: No such file"):
            load_config(given)


@pytest.mark.parametrize("given", ["smal", "", "x" * 5_000, "nul\0"])
def test_any_other_name_says_what_ships(given):
    with pytest.raises(ConfigError, match="neither a file nor one that ships; ") as error:
        config_path(given)
    assert ("did you mean 'small'? shipped: celo, celo2, " in str(error.value)) == (given == "smal")
    assert "\0" not in str(error.value)
