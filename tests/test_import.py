"""Published weights: read as their authors wrote them, and one sentence for every other file."""

import builtins
import hashlib

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest

import learned_opt
from learned_opt import OPEN, ArtifactError, Celo2, import_published
from learned_opt.artifacts import _artifact

GROUPS = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)


def flax_bytes(tree):
    """As flax.serialization writes a dict of arrays."""

    def array(x):
        content = msgpack.packb((x.shape, x.dtype.name, x.tobytes()))
        return msgpack.ExtType(1, content)

    return msgpack.packb(tree, default=array, strict_types=True)


def filled(shapes):
    """Nested arrays of those shapes, no number in them twice."""
    shapes, treedef = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    numbers = (np.random.default_rng(0).permutation(ends[-1]) / ends[-1] - 0.5).astype(np.float32)
    parts = np.split(numbers, ends[:-1])
    return treedef.unflatten([x.reshape(s) for x, s in zip(parts, shapes, strict=True)])


def mlp(hidden, leading=()):
    shapes = {f"w0__{i}": (*leading, size, hidden) for i, size in enumerate(GROUPS)}
    shapes |= {"b0": (*leading, hidden), "w1": (*leading, hidden, hidden), "b1": (*leading, hidden)}
    return shapes | {"w2": (*leading, hidden, 3), "b2": (*leading, 3)}


CELO_ADAM = {
    "lstm_init_state": {"hidden": (1, 64), "cell": (1, 64)},
    "rnn_params": {
        "linear": {"w": (18, 64), "b": (64,)},
        "linear_1": {"w": (18, 64), "b": (64,)},
        "linear_2": {"w": (18, 64), "b": (64,)},
        "rnn/linear": {"w": (128, 256), "b": (256,)},
        "step_size": {"w": (64, 1), "b": (1,)},
    },
}
CELO = {
    "ff_mod_stack": {"~": mlp(4, (1,))},
    "lstm_init_state": CELO_ADAM["lstm_init_state"],
    "rnn_params": CELO_ADAM["rnn_params"] | {"rnn_to_controls": {"w": (64, 1), "b": (1,)}},
}
CELO2 = filled({"ff_mod_stack": {"~": mlp(8)}})
FLAT = {f"ff_mod_stack/~/{k}": x for k, x in CELO2["ff_mod_stack"]["~"].items()}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "celo2.msgpack"
    path.write_bytes(flax_bytes(CELO2))
    return path


def close(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_all_containers_give_the_same_numbers(path, tmp_path):
    np.savez(tmp_path / "slashes.npz", **FLAT)
    np.savez(tmp_path / "dots.npz", **{k.replace("/", "."): x for k, x in FLAT.items()})
    want = Celo2.from_published(FLAT)
    for file in (path, tmp_path / "slashes.npz", tmp_path / "dots.npz", str(path)):
        artifact = import_published("celo2", file)
        assert artifact.optimizer == Celo2(as_published=True)
        close(artifact.theta, want)


def test_the_card(path):
    card = import_published("celo2", path).card
    assert card["name"] == "published-celo2"
    assert card["kind"] == "celo2"
    assert card["file"] == "celo2.msgpack"
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "2026, Celo2: Towards Learned Optimization Free Lunch" in card["source"]
    assert "The authors' weights" in card["note"]
    assert "not redistributed" in card["note"]


def test_what_was_imported_is_an_artifact(path, tmp_path, monkeypatch):
    monkeypatch.setattr(_artifact, "OPTIMIZERS", (Celo2,))
    artifact = import_published("celo2", path)
    artifact.save(tmp_path / "celo2.safetensors")
    again = learned_opt.load(tmp_path / "celo2.safetensors")
    assert again.sha256 == artifact.sha256
    assert again.card == artifact.card
    params = {"w": jnp.ones((4, 3))}
    tx = learned_opt.learned(again, num_steps=10, learning_rate=100.0)
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(np.sqrt(np.mean(updates["w"] ** 2)), 0.1, rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "shapes", "count"),
    # Of its 37,089 and 36,865 numbers 1,281 and 1,216 never reach a step.
    [("celo", CELO, 35_808), ("celo-adam", CELO_ADAM, 35_649)],
)
def test_every_used_number_of_celo_arrives(kind, shapes, count, tmp_path):
    tree = filled(shapes)
    (tmp_path / "theta").write_bytes(flax_bytes(tree))
    artifact = import_published(kind, tmp_path / "theta")
    assert artifact.optimizer.as_published
    assert "faults of the published code" in artifact.card["use"]
    theta = artifact.theta
    found = np.concatenate([np.ravel(x) for x in jax.tree.leaves(theta)])
    wanted = np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    assert found.size == np.unique(found).size == count
    assert np.isin(found, wanted).all()


@pytest.mark.parametrize(
    ("size", "optimizer"),
    [(1211, OPEN(stochastic=True)), (3571, OPEN.published(stochastic=True))],
)
def test_every_number_of_open_arrives_and_its_noise_stays(size, optimizer, tmp_path):
    vector = np.random.default_rng(0).normal(size=size).astype(np.float32)
    np.save(tmp_path / "open.npy", vector)
    artifact = import_published("open", tmp_path / "open.npy")
    assert artifact.optimizer == optimizer
    assert "noise on the parameters of the actor" in artifact.card["use"]
    theta = artifact.theta
    found = np.concatenate([np.ravel(x) for x in jax.tree.leaves(theta)])
    np.testing.assert_array_equal(np.sort(found), np.sort(vector))


def one_sentence(kind, file, start):
    with pytest.raises(ArtifactError, match=start) as error:
        import_published(kind, file)
    assert "\n" not in str(error.value)


def test_truncated_anywhere(path, tmp_path):
    np.savez(tmp_path / "x.npz", **FLAT)
    np.save(tmp_path / "x.npy", np.ones(3571, np.float32))
    for kind, file in (
        ("celo2", path),
        ("celo2", tmp_path / "x.npz"),
        ("open", tmp_path / "x.npy"),
    ):
        whole = file.read_bytes()
        for size in [0, 1, 6, 100, len(whole) // 2, len(whole) - 1]:
            file.write_bytes(whole[:size])
            one_sentence(kind, file, "is not a readable flax msgpack, .* truncated or damaged")


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html></html>",
        msgpack.packb([1, 2]),
        msgpack.packb({"a": {"b": 1}}),
        msgpack.packb({"a": msgpack.ExtType(2, msgpack.packb((1.0, 2.0)))}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((3,), "float32", b"123")))}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((3,), "float33", b"123")))}),
        flax_bytes(CELO2) + b"more",
        flax_bytes({"a": np.zeros(3, np.int32)}),
    ],
)
def test_other_files(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    one_sentence("celo2", tmp_path / "x", "is not a readable flax msgpack, .* damaged; fetch it")


def test_pickles_are_not_opened(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    one_sentence("open", tmp_path / "x.npy", "is not a readable .*Object arrays cannot be")


def test_another_layout(tmp_path):
    tree = {"ff_mod_stack": {"~": {"w9": np.zeros((2, 2), np.float32)}}}
    (tmp_path / "x").write_bytes(flax_bytes(tree))
    one_sentence("celo2", tmp_path / "x", r"x does not have the layout of celo2 \(.*w9")
    np.save(tmp_path / "x.npy", np.zeros(5, np.float32))
    one_sentence("celo2", tmp_path / "x.npy", "it must hold arrays by name, got one array; pass")
    np.savez(tmp_path / "x.npz", a=np.zeros(5), b=np.zeros(5))
    one_sentence("open", tmp_path / "x.npz", "it must hold one vector, got 2 arrays by name; pass")


def test_numbers_that_are_not_finite(tmp_path):
    np.savez(tmp_path / "x.npz", **(FLAT | {"ff_mod_stack/~/b2": np.array([0, np.nan, 0])}))
    one_sentence("celo2", tmp_path / "x.npz", "holds numbers that are not finite")


def test_unknown_kind_and_missing_file(tmp_path):
    one_sentence("celo3", tmp_path, "kind must be one of celo, .*, got 'celo3'; did you mean 'cel")
    one_sentence("celo2", tmp_path / "nowhere.npz", "cannot read .*nowhere.npz: No such file")
    one_sentence("celo2", tmp_path, "cannot read .*: Is a directory")


def test_without_msgpack(path, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "msgpack":
            raise ModuleNotFoundError("No module named 'msgpack'", name="msgpack")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    one_sentence("celo2", path, "reading .* needs the package msgpack, which is not installed: pip")
    np.savez(tmp_path / "x.npz", **FLAT)
    assert import_published("celo2", tmp_path / "x.npz").card["kind"] == "celo2"


@pytest.mark.parametrize(
    ("kind", "path", "error", "message"),
    [
        ("celo2", None, TypeError, "path must be a string or a path, got None"),
        ("celo2", b"x.npz", TypeError, "path must be a string or a path, got b'x.npz'"),
        ("celo2", 3, TypeError, "path must be a string or a path, got 3"),
        ("celo2", "x" * 5000, ArtifactError, "cannot read 'xx.*xx': File name too long"),
        ("celo2", "a\0b", ArtifactError, r"cannot read 'a\\x00b': embedded null byte"),
        ("celo2", "a\nb", ArtifactError, r"cannot read 'a\\nb': No such file"),
        (None, "x", ArtifactError, "kind must be one of celo, .*, got None"),
        ([], "x", ArtifactError, r"kind must be one of celo, .*, got \[\]"),
        (10**30, "x", ArtifactError, "kind must be one of celo, .*, got 10000"),
    ],
)
def test_names_of_another_kind(kind, path, error, message):
    with pytest.raises(error, match=message) as found:
        import_published(kind, path)
    assert str(found.value).isprintable()


def test_numbers_that_cannot_be_used(tmp_path):
    """Beyond float32, or so large that no update would be finite."""
    np.savez(tmp_path / "x.npz", **(FLAT | {"ff_mod_stack/~/b2": np.array([0, 1e300, 0])}))
    one_sentence("celo2", tmp_path / "x.npz", "holds numbers that are not finite in float32")
    np.save(tmp_path / "x.npy", np.full(1211, 1e20, np.float32))
    one_sentence("open", tmp_path / "x.npy", "does not hold weights of open that can be used .*1e")


def test_an_array_that_is_there_twice(tmp_path):
    tree = {"a": {"b": np.zeros(3, np.float32)}, "a/b": np.ones(3, np.float32)}
    (tmp_path / "x").write_bytes(flax_bytes(tree))
    one_sentence("celo2", tmp_path / "x", "it holds two arrays called 'a/b'")
