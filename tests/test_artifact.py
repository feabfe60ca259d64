"""Artifacts: exact round trips, and one sentence for every way a file can be wrong."""

import errno
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from signed import read, sign, write

import learned_opt
from learned_opt import Artifact, ArtifactError, GatedAdam, Spectral
from learned_opt.artifacts import _artifact

CARD = {"name": "test", "horizon": [1, 2], "nested": {"a": 1.5}}


@pytest.fixture
def artifact():
    optimizer = GatedAdam(hidden=3, learning_rate=0.123)
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


FLAGS = ("bounded", "damped", "fading", "feedback", "orthogonal", "selective")
OLDER = {
    "gated adam": (GatedAdam(hidden=3), {"hidden": 3, "controller_hidden": 16}),
    "gated adam, free": (GatedAdam(horizon_free=True), {"horizon_free": True}),
    "spectral": (
        Spectral(learning_rate=0.05),
        dict.fromkeys(FLAGS, True) | {"hidden": 0, "controller_hidden": 0, "learning_rate": 0.05},
    ),
    "one flag": (GatedAdam(), {"damped": True}),
    "no gates": (GatedAdam(), {"hidden": 0}),
    "a rule that is gone": (Spectral(), dict.fromkeys((*FLAGS, "paced"), True) | {"hidden": 0}),
    "gates in spectral": (Spectral(), dict.fromkeys(FLAGS, True)),
}


@pytest.mark.parametrize("case", OLDER)
def test_what_was_called_nominal_is_one_of_two_or_refused_in_a_sentence(case, tmp_path):
    """And its digest is that of then."""
    (optimizer, config), path = OLDER[case], tmp_path / "made.safetensors"
    made = Artifact(optimizer, optimizer.init(jax.random.key(3)), CARD)
    made.save(path)
    header, tensors = read(path)
    write(path, header | {"optimizer": "nominal", "config": config}, tensors)
    if case in ("one flag", "no gates", "a rule that is gone", "gates in spectral"):
        with pytest.raises(
            ArtifactError, match=r"cannot be used: nominal with .*; use the version"
        ):
            learned_opt.load(path)
        return
    again = learned_opt.load(path)
    assert again.optimizer == optimizer
    assert again.sha256 == made.sha256
    plain = {"learning_rate": 3e-3, "weight_decay": 0.1, "warmup": 0.05, "momenta": "float32",
             "factored": False, "hidden": 4, "controller_hidden": 16}  # fmt: skip
    said = {"optimizer": "nominal", "config": plain | config}
    assert made.sha256 == sign(said, tensors)["sha256"]


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
