"""What the fields of optimizers may hold: every optimizer, every field, every kind of nonsense."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learned_opt import OPEN, OPTIMIZERS, Celo2, GatedAdam, HyperAdam, NNAdam

NAN, INF = float("nan"), float("inf")
WRONG = {
    bool: (0, 1, 1.0, None, "true", [], 10**5000),
    int: (-1, 10**10, 10**30, 10**5000, 2.0, True, False, None, "3", [], NAN, INF, 1j),
    float: (-1.0, 1e7, 1e308, 10**400, NAN, INF, -INF, True, None, "0.1", [], {}),
    str: (0, None, True, [], b"float32", NAN),
}
SENTENCES = (
    # Of each kind one, and the borders.
    (GatedAdam, {"hidden": 0}, "hidden must be from 1 to 16,384, got 0"),
    (GatedAdam, {"momenta": ""}, "momenta must be one of 'float32', 'bfloat16', got ''"),
    (GatedAdam, {"factored": 1}, "factored must be of type bool, got 1"),
    (GatedAdam, {"warmup": NAN}, "warmup must be a finite number, got nan"),
    (GatedAdam, {"learning_rate": 0.0}, r"learning_rate must be from 1e-12 to 1e\+06, got 0.0"),
    (HyperAdam, {"b1": 1.0}, "b1 must be from 0 to 0.9999999, got 1.0"),
    (HyperAdam, {"eps": 0.0}, "eps must be from 1e-12 to 10000, got 0.0"),
    (NNAdam, {"hidden": 10**9}, "hidden must be from 1 to 16,384, got 1000000000"),
    (NNAdam, {"b2": -0.5}, "b2 must be from 0 to 0.99995.*, got -0.5"),
    (Celo2, {"adam_ratio": INF}, "adam_ratio must be a finite number, got inf"),
    (Celo2, {"embeddings": 5}, "embeddings must be of type str, got 5"),
    (OPEN, {"seed": 2**32}, "seed must be from 0 to 4,294,967,295, got 4294967296"),
    (OPEN, {"gru": 10**5000}, "gru must be from 1 to 16,384, got a value of type int"),
)


def kind(cls, name):
    """The plain type of a field; str of a choice among strings."""
    hint = typing.get_type_hints(cls)[name]
    return str if typing.get_origin(hint) is typing.Literal else hint


FIELDS = [(cls, field.name) for cls in OPTIMIZERS for field in dataclasses.fields(cls)]


@pytest.mark.parametrize(("cls", "name"), FIELDS)
def test_nonsense_is_refused_in_one_sentence_that_names_the_field(cls, name):
    for value in WRONG[kind(cls, name)]:
        with pytest.raises(ValueError, match=rf"^{name} must be .*, got .*") as error:
            cls(**{name: value})
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) < 200


@pytest.mark.parametrize(("cls", "arguments", "sentence"), SENTENCES)
def test_the_sentence(cls, arguments, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        cls(**arguments)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_the_largest_sizes_are_known_at_once_and_an_integer_will_do_for_a_float(cls):
    names = [f.name for f in dataclasses.fields(cls)]
    sizes = {x: 64 if x == "layers" else 16_384 for x in names
             if kind(cls, x) is int and x != "seed"}  # fmt: skip
    rates = {name: 1 for name in names if name in ("learning_rate", "magnitude")}
    theta = jax.eval_shape(cls(**sizes, **rates).init, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(theta)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_theta_is_float32_and_the_same_whatever_x64_says(cls):
    found = []
    for on in (False, True):
        with jax.enable_x64(on):
            found.append(jax.device_get(cls().init(jax.random.key(3))))
    for x in jax.tree.leaves(found):
        assert x.dtype == np.float32
    jax.tree.map(np.testing.assert_array_equal, *found)


@pytest.mark.parametrize(("cls", "width"), [(OPEN, None), (Celo2, 8)])
def test_published_weights_are_float32_whatever_x64_says(cls, width):
    if width is None:
        given = np.linspace(-1, 1, 1211)
    else:
        groups = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
        shapes = {f"w0__{i}": (size, width) for i, size in enumerate(groups)}
        shapes |= {"b0": (8,), "w1": (8, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}
        given = {f"ff_mod_stack/~/{k}": np.full(s, 0.1) for k, s in shapes.items()}
    with jax.enable_x64(True):
        theta = cls.from_published(given)
    assert {x.dtype for x in jax.tree.leaves(theta)} == {jnp.dtype("float32")}
