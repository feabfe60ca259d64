"""Artifacts: exact round trips, and one sentence for every way a file can be wrong."""

import errno
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from signed import read

import learned_opt
from learned_opt import Artifact, ArtifactError, Nominal
from learned_opt.artifacts import _artifact

CARD = {"name": "test", "horizon": [1, 2], "nested": {"a": 1.5}}


@pytest.fixture
def artifact():
    optimizer = Nominal(hidden=3, learning_rate=0.123)
    return Artifact(optimizer, optimizer.init(jax.random.key(3)), CARD)


@pytest.fixture
def path(artifact, tmp_path):
    artifact.save(tmp_path / "test.safetensors")
    return tmp_path / "test.safetensors"


def test_round_trip_is_exact(artifact, path):
    again = learned_opt.load(path)
    assert again.optimizer == artifact.optimizer
    assert again.card == CARD
    assert jax.tree.structure(again.theta) == jax.tree.structure(artifact.theta)
    jax.tree.map(np.testing.assert_array_equal, again.theta, artifact.theta)
    assert again.sha256 == artifact.sha256


def test_an_option_that_an_optimizer_gained_leaves_older_artifacts_what_they_were(tmp_path):
    """Digest and file know `horizon_free`, which came after the first release, only where on."""
    kept, theta = {}, Nominal().init(jax.random.key(3))
    for on in (False, True):
        optimizer = Nominal(horizon_free=on)
        made = Artifact(optimizer, theta, CARD)
        made.save(tmp_path / "made.safetensors")
        assert learned_opt.load(tmp_path / "made.safetensors").optimizer == optimizer
        header, _ = read(tmp_path / "made.safetensors")
        assert header["config"].get("horizon_free") == (True if on else None)
        kept[on] = made.sha256
    assert kept[False] != kept[True]


def test_equal_artifacts_give_equal_bytes(artifact, path, tmp_path):
    artifact.save(tmp_path / "twin.safetensors")
    assert (tmp_path / "twin.safetensors").read_bytes() == path.read_bytes()


def test_a_failed_save_leaves_the_old_file(artifact, path, monkeypatch):
    before = path.read_bytes()
    full = OSError(errno.ENOSPC, "full")
    monkeypatch.setattr("pathlib.Path.replace", lambda *a: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="full"):
        artifact.save(path)
    assert path.read_bytes() == before


def test_truncated_anywhere(path):
    whole = path.read_bytes()
    for size in [0, 4, 8, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError, match="truncated or damaged"):
            learned_opt.load(path)


def test_every_flipped_bit_is_refused_or_harmless(path, artifact):
    """400 single-bit errors all over the file: never a wrong theta, configuration or card."""
    whole, refused = path.read_bytes(), 0
    rng = np.random.default_rng(0)
    for position in rng.choice(len(whole), 400, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = learned_opt.load(path)
        except ArtifactError:
            refused += 1
            continue
        assert loaded.optimizer == artifact.optimizer
        assert loaded.card == artifact.card
        jax.tree.map(np.testing.assert_array_equal, loaded.theta, artifact.theta)
    assert refused > 380


def test_a_safetensors_file_that_is_no_artifact(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.numpy.save({"w": np.zeros(3, np.float32)}))
    with pytest.raises(ArtifactError, match="not a learned-opt artifact"):
        learned_opt.load(path)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(ArtifactError, match=r"'quickstrt'; did you mean 'quickstart'\?") as error:
        learned_opt.load("quickstrt")
    assert all(name in str(error.value) for name in learned_opt.available())


def test_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="there is no such file"):
        learned_opt.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("name", learned_opt.available())
def test_zoo_artifacts_load_with_their_cards(name):
    artifact = learned_opt.load(name)
    assert artifact.card["name"] == name
    # The second is what it was called when they were made.
    assert artifact.card["command"].startswith(("learned-opt meta-train ", "python -m meta_train "))
    assert artifact.card["budget"]["inner_steps"] > 0
    card = (_artifact.ZOO / f"{name}.md").read_text()
    assert artifact.sha256 in card
    assert artifact.card["command"] in card


def test_the_zoo_is_not_empty():
    assert "quickstart" in learned_opt.available()


def test_without_a_name_the_recommended_one_is_used():
    for function in (learned_opt.learned, learned_opt.scale_by_learned):
        assert inspect.signature(function).parameters["artifact_or_name"].default == "small"
    params = {"w": jnp.ones((3, 2))}
    updates = []
    for tx in (
        learned_opt.learned(num_steps=10),
        learned_opt.learned("small", num_steps=10),
        learned_opt.learned("quickstart", num_steps=10),
    ):
        updates.append(np.asarray(tx.update(params, tx.init(params), params)[0]["w"]))
    np.testing.assert_array_equal(updates[0], updates[1])
    assert (updates[0] != updates[2]).all()
