"""What the fields of optimizers may hold: every optimizer, every field, every kind of nonsense."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learned_opt import OPEN, OPTIMIZERS, Celo2, HyperAdam, NNAdam, Nominal

NAN, INF = float("nan"), float("inf")
WRONG = {
    bool: (0, 1, 1.0, None, "true", [], 10**5000),
    int: (-1, 10**9, 10**30, 10**5000, 2.0, True, False, None, "3", [], NAN, INF, 1j),
    float: (-1.0, 1e7, 1e308, 10**400, NAN, INF, -INF, True, None, "0.1", [], {}, np.float32(0.1)),
    str: (0, None, True, [], b"float32", NAN),
}
LEAST, MOST = "from 1 to 16384", "from 1e-12 to 1000000.0"
SENTENCES = (
    # Of each kind one, and the borders.
    (Nominal, {"hidden": -1}, "hidden must be an integer from 0 to 16384, got -1; leave it out"),
    (
        Nominal,
        {"momenta": ""},
        'momenta must be "float32" or "bfloat16", got \'\'; leave it out for',
    ),
    (Nominal, {"factored": 1}, "factored must be True or False, got 1; leave it out for False"),
    (Nominal, {"warmup": NAN}, "warmup must be a number from 0.0 to 1.0, got nan; leave it out"),
    (Nominal, {"learning_rate": 0.0}, f"learning_rate must be a number {MOST}, got 0.0; leave it"),
    (
        HyperAdam,
        {"b1": 1.0},
        "b1 must be a number from 0.0 to 0.9999999, got 1.0; leave it out for",
    ),
    (HyperAdam, {"eps": 0.0}, "eps must be a number from 1e-12 to 10000.0, got 0.0; leave it out"),
    (NNAdam, {"hidden": 10**9}, f"hidden must be an integer {LEAST}, got 1000000000; leave it out"),
    (NNAdam, {"b2": -0.5}, "b2 must be a number from 0.0 to 0.99995.*, got -0.5; leave it out for"),
    (Celo2, {"adam_ratio": INF}, f"adam_ratio must be a number {MOST}, got inf; leave it out for"),
    (
        Celo2,
        {"embeddings": 5},
        "embeddings must be a string, got 5; leave it out for '\\(\\?i\\)emb",
    ),
    (OPEN, {"seed": 2**32}, "seed must be an integer from 0 to 4294967295, got 4294967296; leave"),
    (OPEN, {"gru": 10**5000}, f"gru must be an integer {LEAST}, got a value of type int; leave it"),
)


FIELDS = [(cls, field) for cls in OPTIMIZERS for field in dataclasses.fields(cls)]
FLAGS = ("feedback", "fading", "damped", "bounded", "selective", "paced")


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=lambda x: x.name)
def test_nonsense_is_refused_in_one_sentence_that_names_the_field(cls, field):
    for value in WRONG[field.type]:
        if field.name == "seed" and value == 10**9:
            continue
        with pytest.raises(
            ValueError, match=rf"^{field.name} must be .*, got .*; leave it"
        ) as error:
            cls(**{field.name: value})
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) < 200


@pytest.mark.parametrize(("cls", "arguments", "sentence"), SENTENCES)
def test_the_sentence(cls, arguments, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        cls(**arguments)


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_the_largest_sizes_are_known_at_once_and_an_integer_will_do_for_a_float(cls):
    sizes = {f.name: 64 if f.name == "layers" else 16_384 for f in dataclasses.fields(cls)
             if f.type is int and f.name != "seed"}  # fmt: skip
    rates = {f.name: 1 for f in dataclasses.fields(cls) if f.name in ("learning_rate", "magnitude")}
    theta = jax.eval_shape(cls(**sizes, **rates).init, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(theta)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_theta_is_float32_and_the_same_whatever_x64_says(cls):
    found = []
    for on in (False, True):
        with jax.enable_x64(on):
            optimizer = Nominal(**dict.fromkeys(FLAGS, True)) if cls is Nominal else cls()
            found.append(jax.device_get(optimizer.init(jax.random.key(3))))
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
