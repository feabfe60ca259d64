"""Whatever a signed file holds, a name is or an artifact consists of: one sentence, or usable."""

import json
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from signed import read, write

import learned_opt
from learned_opt import OPTIMIZERS, Artifact, ArtifactError, Celo, GatedAdam, HyperAdam

INF, NAN = float("inf"), float("nan")
OPTIMIZER = GatedAdam(hidden=3)
SKIP = np.zeros((12, 2), np.float32)
DEEP = json.loads("[" * 500 + "]" * 500)

HEADERS = {
    "a list": ([1], "is not a learned-opt artifact: its header has no format"),
    "null": (None, "is not a learned-opt artifact: its header has no format"),
    "a number": (3, "is not a learned-opt artifact: its header has no format"),
    "a string": ("format", "is not a learned-opt artifact: its header has no format"),
    "empty": ({}, "is not a learned-opt artifact: its header has no format"),
}
FIELDS = {
    "newer format": ("format", 2, "format 2, this code reads up to 1: upgrade"),
    "format zero": ("format", 0, "must have a positive integer as its format, got 0"),
    "format true": ("format", True, "must have a positive integer as its format, got True"),
    "format a string": ("format", "1", "must have a positive integer as its format, got '1'"),
    "optimizer a list": ("optimizer", [], r"must have a name as its optimizer, got \[\]"),
    "optimizer null": ("optimizer", None, "must have a name as its optimizer, got None"),
    "unknown optimizer": (
        "optimizer",
        "velo9000",
        "named 'velo9000', this code knows gated_adam, spectral, spec",
    ),
    "another optimizer": ("optimizer", "open", "does not fit this code's open"),
    "no configuration": ("config", None, "must have a table as its config, got None"),
    "configuration a list": ("config", [1], r"must have a table as its config, got \[1\]"),
    "newer configuration": ("config", {"depth": 9}, "does not fit .* gated_adam .*'depth'.*: upg"),
    "self": ("config", {"self": 9}, "does not fit this code's gated_adam .*'self'.*: upgrade"),
    "negative size": ("config", {"hidden": -1}, "hidden must be from 1 to 16,384, got -1"),
    "size a string": ("config", {"hidden": "x"}, "hidden must be of type int, got 'x'"),
    "huge size": ("config", {"hidden": 10**9}, "hidden must be from 1 to .*, got 1000000000"),
    "another size": (
        "config",
        {"hidden": 4},
        r"'gate.b1' .* must have shape \(4,\) .*, got \(3,\)",
    ),
    "long word": ("config", {"momenta": "x" * 5000}, "momenta must be one of .*, got 'xx.*xx"),
    "line break": ("config", {"momenta": "a\nb"}, r"momenta must be one of .*, got 'a\\nb'"),
    "no card": ("card", None, "must have a table as its card, got None"),
    "card a number": ("card", 5, "must have a table as its card, got 5"),
    "card infinite": ("card", {"a": INF}, "is not a readable artifact .*not JSON compliant"),
    "card NaN": ("card", {"a": NAN}, "is not a readable artifact .*not JSON compliant"),
    "card deep": ("card", {"a": DEEP}, ""),
}
LEAVES = {
    "a leaf too many": ({"more": SKIP}, "theta has a leaf 'more', which gated_adam has not"),
    "a leaf below another": (
        {"log_lr.a": SKIP},
        "theta has a leaf 'log_lr.a', which gated_adam h",
    ),
    "a leaf above others": ({"gate": SKIP}, "theta has a leaf 'gate', which gated_adam has not"),
    "a leaf without name": ({"": SKIP}, "theta has a leaf '', which gated_adam has not"),
    "a leaf too few": ({"log_lr": None}, "theta lacks the leaf 'log_lr' of gated_adam"),
    "no leaves": (None, "theta lacks the leaf"),
    "shape": ({"controller.skip": SKIP.T}, r"must have shape \(12, 2\) .*, got \(2, 12\)"),
    "rank": ({"log_lr": SKIP[0, :1]}, r"'log_lr' of theta must have shape \(\) .*, got \(1,\)"),
    "dtype": ({"log_lr": np.float64(0)}, "must have .* dtype float32, got .* float64"),
    "integers": ({"log_lr": np.int32(0)}, "must have .* dtype float32, got .* int32"),
    "NaN": (
        {"log_lr": np.float32(NAN)},
        "must hold finite numbers of at most 10,000 in size, got n",
    ),
    "infinity": (
        {"log_lr": np.float32(-INF)},
        "must hold finite numbers of at most 10,000 .*got inf",
    ),
    "huge": ({"log_lr": np.float32(1e30)}, "must hold finite numbers of at most 10,000 .*got 1e"),
    "step size": (
        {"log_lr": np.float32(40)},
        "'log_lr' .* size 40, with which updates are not fin",
    ),
    "no step": (
        {"log_lr": np.float32(-99)},
        "'log_lr' .* size 99, with which updates are not fini",
    ),
    "decay": ({"log_decay": np.float32(-50)}, ""),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "made.safetensors"
    Artifact(OPTIMIZER, OPTIMIZER.init(jax.random.key(0)), {"name": "made"}).save(path)
    return read(path)


def refused(path, message):
    """In one sentence, or where no message is given usable."""
    if not message:
        assert np.isfinite(updates(learned_opt.load(path))).all()
        return
    with pytest.raises(ArtifactError, match=message) as error:
        learned_opt.load(path)
    text = str(error.value)
    assert text.startswith((str(path), "the configuration in"))
    assert text.isprintable()
    assert len(text) < 800


def updates(artifact):
    tx, p = learned_opt.learned(artifact, num_steps=10), {"w": jnp.full((2, 3), 0.5)}
    return np.asarray(tx.update(p, tx.init(p), p)[0]["w"])


@pytest.mark.parametrize(("header", "message"), HEADERS.values(), ids=HEADERS)
def test_headers(header, message, original, tmp_path):
    path = tmp_path / "made.safetensors"
    write(path, header, original[1])
    refused(path, message)


@pytest.mark.parametrize(("field", "value", "message"), FIELDS.values(), ids=FIELDS)
def test_fields_of_the_header(field, value, message, original, tmp_path):
    path = tmp_path / "made.safetensors"
    header = dict(original[0])
    header[field] = header[field] | value if field == "config" and type(value) is dict else value
    write(path, header, original[1])
    refused(path, message)
    if field != "format":
        del header[field]
        write(path, header, original[1])
        refused(path, f"as its {field}, got None")


@pytest.mark.parametrize(("changes", "message"), LEAVES.values(), ids=LEAVES)
def test_leaves(changes, message, original, tmp_path):
    path = tmp_path / "made.safetensors"
    tensors = {} if changes is None else original[1] | {
        name: None if x is None else np.asarray(x).copy() for name, x in changes.items()
    }  # fmt: skip
    write(path, original[0], {name: x for name, x in tensors.items() if x is not None})
    refused(path, message)


@pytest.mark.parametrize("text", ["{", "NaN", '{"format": 1e999}', "[" * 100_000, "9" * 5000, "\0"])
def test_a_header_that_is_no_json(text, original, tmp_path):
    path = tmp_path / "made.safetensors"
    metadata = {"learned_opt": text}
    path.write_bytes(safetensors.numpy.save(original[1], metadata=metadata))
    refused(path, r"is not a readable artifact|its header has no format")


NAMES = {
    "long": ("x" * 5000, ArtifactError, "cannot read .*File name too long"),
    "long path": ("x" * 5000 + ".safetensors", ArtifactError, "cannot read .*File name too long"),
    "NUL": ("a\0b", ArtifactError, r"no pretrained optimizer is named 'a\\x00b'"),
    "NUL in a path": ("a\0b.safetensors", ArtifactError, "no artifact at 'a.x00b.safetensors'"),
    "line break": ("a\nb.safetensors", ArtifactError, r"no artifact at 'a\\nb.safetensors'"),
    "surrogate": ("\udc80", ArtifactError, r"no pretrained optimizer is named '\\udc80'"),
    "empty": ("", ArtifactError, "no pretrained optimizer is named ''; available"),
    "folder": ("/", ArtifactError, "no artifact at /: there is no such file"),
    "bytes": (b"small", TypeError, "name_or_path must be a string or a path, got b'small'"),
    "None": (None, TypeError, "name_or_path must be a string or a path, got None"),
    "number": (3, TypeError, "name_or_path must be a string or a path, got 3"),
    "list": (["small"], TypeError, r"name_or_path must be a string or a path, got \['small'\]"),
}


@pytest.mark.parametrize(("name", "kind", "message"), NAMES.values(), ids=NAMES)
def test_names(name, kind, message):
    for function in (learned_opt.load, lambda name: learned_opt.learned(name, num_steps=10)):
        with pytest.raises(kind, match=message) as error:
            function(name)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 400


def test_a_path_object_that_gives_bytes():
    class Bytes(os.PathLike):
        def __fspath__(self):
            return b"small"

    with pytest.raises(TypeError, match="must be a string or a path, got <"):
        learned_opt.load(Bytes())


UNSAVED = {
    "another optimizer": ({"theta": {"log_lr": np.zeros((), np.float32)}}, "lacks the leaf"),
    "no theta": ({"theta": None}, "theta lacks the leaf"),
    "a list": ({"theta": [np.zeros(3)]}, "theta has a leaf '0', which hyper_adam has not"),
    "NaN": ({"theta": "nan"}, "must hold finite numbers"),
    "float64": ({"theta": "double"}, "dtype float32, got .* float64"),
    "card of objects": ({"card": {"a": object()}}, "its card must consist of JSON types .*object"),
    "card of NaN": (
        {"card": {"a": NAN}},
        "its card must consist of JSON types .*not JSON complian",
    ),
    "card of mixed keys": (
        {"card": {"a": 1, 2: 3}},
        "its card must consist of JSON types .*'<' no",
    ),
}


@pytest.mark.parametrize(("changes", "message"), UNSAVED.values(), ids=UNSAVED)
def test_what_could_not_be_loaded_is_not_saved(changes, message, tmp_path):
    good = HyperAdam().init(jax.random.key(0))
    thetas = {
        "nan": {**good, "log_lr": jnp.float32(NAN)},
        "double": {**good, "log_lr": np.float64(0)},
    }
    theta = changes.get("theta", good)
    theta = thetas[theta] if isinstance(theta, str) else theta
    path = tmp_path / "made.safetensors"
    with pytest.raises(ArtifactError, match=message) as error:
        Artifact(HyperAdam(), theta, changes.get("card", {})).save(path)
    assert str(error.value).isprintable()
    assert str(error.value).startswith(str(path))
    assert not path.exists()


def test_an_optimizer_that_this_code_does_not_know_is_not_saved(tmp_path):
    class Mine(HyperAdam):
        pass

    artifact = Artifact(Mine(), Mine().init(jax.random.key(0)), {})
    with pytest.raises(ArtifactError, match=r"must be one of learned_opt.OPTIMIZERS, got "):
        artifact.save(tmp_path / "mine.safetensors")


@pytest.mark.parametrize(
    ("optimizer", "card", "message"),
    [
        (
            "gated_adam",
            {},
            r"optimizer must be a learned optimizer such as GatedAdam\(\), got 'gated_adam'",
        ),
        (GatedAdam, {}, r"optimizer must be a learned optimizer such as GatedAdam\(\), got <class"),
        (None, {}, "optimizer must be a learned optimizer such as .*, got None"),
        (HyperAdam(), None, "card must be a dict, got None; pass {}"),
        (HyperAdam(), [1], r"card must be a dict, got \[1\]; pass {}"),
    ],
)
def test_what_is_no_artifact(optimizer, card, message):
    with pytest.raises(ArtifactError, match=message):
        Artifact(optimizer, {}, card)


def test_cards_come_back_as_json_has_them(tmp_path):
    path = tmp_path / "made.safetensors"
    card = {10: (1, 2), 9: {"a": None, "b": [True, "\udc80\n"]}}
    Artifact(HyperAdam(), HyperAdam().init(jax.random.key(0)), card).save(path)
    assert learned_opt.load(path).card == {"10": [1, 2], "9": {"a": None, "b": [True, "\udc80\n"]}}


def test_large_numbers_that_work_are_loaded_also_while_traced(tmp_path):
    """Twelve as a bias of Celo's step size is far from what was trained, and finite."""
    optimizer, path = Celo(lstm=4), tmp_path / "made.safetensors"
    theta = optimizer.init(jax.random.key(0))
    theta["scheduler"]["step_size"]["b"] = jnp.full(1, 12.0)
    Artifact(optimizer, theta, {}).save(path)
    artifact = learned_opt.load(path)
    np.testing.assert_array_equal(artifact.theta["scheduler"]["step_size"]["b"], 12.0)
    found = jax.jit(lambda x: x * learned_opt.load(path).theta["scheduler"]["step_size"]["b"])(2.0)
    np.testing.assert_array_equal(found, 24.0)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_every_optimizer_comes_back_with_x64_too(cls, tmp_path):
    path = tmp_path / "made.safetensors"
    with jax.enable_x64(True):
        made = Artifact(cls(), cls().init(jax.random.key(0)), {"name": "made"})
        made.save(path)
        again = learned_opt.load(path)
    assert again.optimizer == made.optimizer
    assert again.sha256 == learned_opt.load(path).sha256 == made.sha256
    assert {x.dtype for x in jax.tree.leaves(again.theta)} == {jnp.dtype("float32")}
    assert re.fullmatch("[0-9a-f]{64}", made.sha256)
