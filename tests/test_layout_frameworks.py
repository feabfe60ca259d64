"""How the layers of Flax, Haiku and Equinox are read, by default and by preset."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from learned_opt import describe_layouts

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def relaxed():
    """The frameworks' own code promotes dtypes and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def read(params, axes=None):
    """Path -> how it is read."""
    rows = [line.split("  ") for line in describe_layouts(params, axes).splitlines()]
    return {row[0].removeprefix("params/"): row[-1].strip() for row in rows}


def layers(kernels, bias="bias", kernel="kernel", **more):
    """Readings of kernels by name, with those of their biases."""
    found = dict(more)
    for name, text in kernels.items():
        count = text[: text.find("of ") + 3] if "of " in text else ""
        found[f"{name}/{kernel}"] = text
        found[f"{name}/{bias}"] = f"{count}vector {text.split('-> ')[1]}"
    return found


def prefixed(name, table):
    return {f"{name}/{key}": text for key, text in table.items()}


def linen(make, *shape, dtype=jnp.float32):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return make()(x)

    return jax.eval_shape(Net().init, KEY, jnp.zeros(shape, dtype))


def scanned(fun):
    """Three blocks, stacked."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return fun(x) * self.param("gain", nn.initializers.ones, (4,)), None

    scan = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
    return lambda x: scan(name="block")(x, None)[0]


def transformer(bias):
    def block(x):
        x = nn.LayerNorm(use_bias=bias, name="norm")(x)
        x = nn.MultiHeadDotProductAttention(2, use_bias=bias, name="attention")(x)
        return nn.Dense(4, use_bias=bias, name="dense")(x)

    def net(x):
        x = scanned(block)(nn.Embed(10, 4, name="embed")(x))
        return nn.Dense(7, use_bias=bias, name="head")(nn.LayerNorm(use_bias=bias, name="norm")(x))

    return linen(lambda: net, 1, 5, dtype=jnp.int32)


HEADS = {"query": "6 -> 8", "key": "6 -> 8", "value": "6 -> 8", "out": "8 -> 6"}
STACKED = {
    **{f"block/attention/{name}": "3 of 4 -> 4" for name in HEADS},
    "block/dense": "3 of 4 -> 4",
    "head": "4 -> 7",
}
REST = {
    "block/norm/scale": "3 of vector 4",
    "block/gain": "3 of vector 4",
    "norm/scale": "vector 4",
    "embed/embedding": "vector 40",
}
NORM_BIASES = {"block/norm/bias": "3 of vector 4", "norm/bias": "vector 4"}


def attention(**options):
    return nn.MultiHeadDotProductAttention(2, qkv_features=8, name="a", **options)


class Model(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.embed = nnx.Embed(5, 3, rngs=rngs)
        self.norm = nnx.LayerNorm(3, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, 6, 8, decode=False, rngs=rngs)
        self.general = nnx.LinearGeneral((2, 3), (4, 5), axis=(-2, -1), rngs=rngs)
        make = nnx.vmap(lambda rngs: nnx.Linear(3, 3, rngs=rngs), in_axes=0, out_axes=0)
        self.stack = make(rngs.split(5))


FLAX = {
    "dense": (lambda: linen(lambda: nn.Dense(4, name="a"), 1, 3), layers({"a": "3 -> 4"})),
    "conv 1d": (
        lambda: linen(lambda: nn.Conv(4, (5,), name="a"), 1, 9, 3),
        layers({"a": "5x3 -> 4"}),
    ),
    "conv 2d": (
        lambda: linen(lambda: nn.Conv(4, (3, 3), name="a"), 1, 9, 9, 2),
        layers({"a": "3x3x2 -> 4"}),
    ),
    "conv of a point": (
        lambda: linen(lambda: nn.Conv(4, (1, 1), name="a"), 1, 9, 9, 1),
        layers({"a": "1x1x1 -> 4"}),
    ),
    "grouped": (
        lambda: linen(lambda: nn.Conv(6, (3, 3), feature_group_count=2, name="a"), 1, 9, 9, 4),
        layers({"a": "3x3x2 -> 6"}),
    ),
    "depthwise": (
        lambda: linen(lambda: nn.Conv(4, (3,), feature_group_count=4, name="a"), 1, 9, 4),
        layers({"a": "3x1 -> 4"}),
    ),
    "transposed": (
        lambda: linen(lambda: nn.ConvTranspose(4, (3, 3), name="a"), 1, 9, 9, 2),
        layers({"a": "3x3x2 -> 4"}),
    ),
    "transposed kernel": (
        lambda: linen(
            lambda: nn.ConvTranspose(4, (3, 3), transpose_kernel=True, name="a"), 1, 9, 9, 2
        ),
        layers({"a": "3x3x2 -> 4"}),
    ),
    "unshared conv": (
        lambda: linen(lambda: nn.ConvLocal(4, (3, 3), name="a"), 1, 5, 5, 2),
        layers({"a": "25 of 18 -> 4"}),
    ),
    "several outputs": (
        lambda: linen(lambda: nn.DenseGeneral((2, 3), name="a"), 1, 5),
        layers({"a": "5 -> 6"}),
    ),
    "attention": (lambda: linen(attention, 1, 5, 6), layers(prefixed("a", HEADS))),
    "attention without bias": (
        lambda: linen(lambda: attention(use_bias=False), 1, 5, 6),
        {f"a/{name}/kernel": text for name, text in HEADS.items()},
    ),
    "embedding": (
        lambda: linen(lambda: nn.Embed(10, 4, name="a"), 1, dtype=jnp.int32),
        {"a/embedding": "vector 40"},
    ),
    "norm": (
        lambda: linen(lambda: nn.GroupNorm(2, name="a"), 1, 9, 4),
        {"a/scale": "vector 4", "a/bias": "vector 4"},
    ),
    "norm of two axes": (
        lambda: linen(
            lambda: nn.LayerNorm(reduction_axes=(1, 2), feature_axes=(1, 2), name="a"), 1, 9, 4
        ),
        {"a/scale": "vector 36", "a/bias": "vector 36"},
    ),
    "box": (
        lambda: linen(
            lambda: nn.Dense(
                4, kernel_init=nn.with_partitioning(nn.initializers.zeros, ("x", "y")), name="a"
            ),
            1,
            3,
        ),
        {"a/kernel/value": "3 -> 4", "a/bias": "vector 4"},
    ),
    "scanned": (lambda: transformer(True), layers(STACKED, **REST, **NORM_BIASES)),
    "scanned without biases": (
        lambda: transformer(False),
        {f"{name}/kernel": text for name, text in STACKED.items()} | REST,
    ),
    "nnx": (
        lambda: nnx.state(nnx.eval_shape(lambda: Model(nnx.Rngs(0))), nnx.Param),
        {
            f"{name}/value": text
            for name, text in layers(
                {
                    "conv": "3x3x2 -> 4",
                    "general": "6 -> 20",
                    "stack": "5 of 3 -> 3",
                    **prefixed("attend", HEADS),
                },
                **{"embed/embedding": "vector 15"},
                **{"norm/scale": "vector 3", "norm/bias": "vector 3"},
            ).items()
        },
    ),
}


def haiku(fun, *shape):
    init = hk.transform_with_state(fun).init
    return jax.eval_shape(lambda key: init(key, jnp.zeros(shape))[0], KEY)


def images(x):
    for make in (
        lambda: hk.Conv2D(4, 3),
        lambda: hk.Conv2D(4, 3, feature_group_count=2),
        lambda: hk.DepthwiseConv2D(2, 3),
        lambda: hk.Conv2DTranspose(6, 3),
        lambda: hk.Conv2DTranspose(6, 3),
        lambda: hk.Conv2D(3, 3, data_format="NCHW"),
        lambda: hk.GroupNorm(3),
    ):
        x = make()(x)
    return hk.BatchNorm(True, True, 0.9)(x, True)


def recurrent(x):
    for core in (hk.LSTM(4), hk.GRU(4)):
        x, _ = core(x, core.initial_state(2))
    hk.Embed(10, 6)(jnp.zeros(2, jnp.int32))
    return x * hk.get_parameter("positions", (1, 5, 4), init=jnp.zeros).sum()


def stacks(x):
    def block(x):
        return hk.LayerNorm(-1, True, True)(hk.nets.MLP([6, 6])(x))

    x = hk.experimental.layer_stack(3)(block)(x)
    x = hk.experimental.layer_stack(3)(lambda x: hk.Linear(6, with_bias=False)(x))(x)
    attend = lambda x: hk.MultiHeadAttention(2, 3, w_init=hk.initializers.Constant(0))(x, x, x)  # noqa: E731
    return hk.experimental.layer_stack(3, name="attend")(attend)(x)


def haiku_layers(kernels, **more):
    return layers(kernels, "b", "w", **more)


BLOCKS = "__layer_stack_no_per_layer"
HAIKU = {
    "images": (
        lambda: haiku(images, 1, 9, 9, 4),
        haiku_layers(
            {
                "conv2_d": "3x3x4 -> 4",
                "conv2_d_1": "3x3x2 -> 4",
                "depthwise_conv2_d": "3x3x1 -> 8",
                "conv2_d_transpose": "3x3x8 -> 6",
                "conv2_d_transpose_1": "3x3x6 -> 6",
                "conv2_d_2": "3x3x9 -> 3",
            },
            **{"group_norm/scale": "vector 6", "group_norm/offset": "vector 6"},
            **{f"batch_norm/{name}": "vector 1x1x1x6" for name in ("scale", "offset")},
        ),
    ),
    "recurrent": (
        lambda: haiku(recurrent, 2, 6),
        haiku_layers(
            {"lstm/linear": "10 -> 16"},
            **{"gru/w_i": "4 -> 12", "gru/w_h": "4 -> 12", "gru/b": "vector 12"},
            **{"embed/embeddings": "vector 60", "~/positions": "1x5 -> 4"},
        ),
    ),
    "stacks": (
        lambda: haiku(stacks, 2, 6),
        haiku_layers(
            {
                f"{BLOCKS}/mlp/~/linear_0": "3 of 6 -> 6",
                f"{BLOCKS}/mlp/~/linear_1": "3 of 6 -> 6",
                **{
                    f"attend/multi_head_attention/{name}": "3 of 6 -> 6"
                    for name in ("query", "key", "value", "linear")
                },
            },
            **{f"{BLOCKS}/layer_norm/{x}": "3 of vector 6" for x in ("scale", "offset")},
            **{f"{BLOCKS}_1/linear/w": "3 of 6 -> 6"},
        ),
    ),
}


def equinox(build):
    return eqx.filter_eval_shape(lambda: eqx.filter(build(KEY), eqx.is_inexact_array))


def stack(build):
    return lambda key: eqx.filter_vmap(build)(jax.random.split(key, 5))


class Wide(eqx.nn.Linear):
    """A layer of someone's own."""


def weights(weight, bias=None):
    return {"weight": weight} | ({} if bias is None else {"bias": bias})


EQUINOX = {
    "linear": (lambda key: eqx.nn.Linear(3, 4, key=key), weights("3 -> 4", "vector 4")),
    "subclass": (lambda key: Wide(3, 4, key=key), weights("3 -> 4", "vector 4")),
    "scalar": (lambda key: eqx.nn.Linear("scalar", 4, key=key), weights("1 -> 4", "vector 4")),
    "conv 1d": (lambda key: eqx.nn.Conv1d(2, 4, 3, key=key), weights("3x2 -> 4", "vector 4")),
    "conv 2d": (
        lambda key: eqx.nn.Conv2d(4, 6, 3, groups=2, key=key),
        weights("3x3x2 -> 6", "vector 6"),
    ),
    "transposed": (
        lambda key: eqx.nn.ConvTranspose2d(4, 6, 3, key=key),
        weights("3x3x4 -> 6", "vector 6"),
    ),
    "embedding": (lambda key: eqx.nn.Embedding(5, 3, key=key), weights("vector 15")),
    "layer norm": (lambda key: eqx.nn.LayerNorm((2, 3)), weights("vector 6", "vector 6")),
    "group norm": (lambda key: eqx.nn.GroupNorm(2, 4), weights("vector 4", "vector 4")),
    "rms norm": (lambda key: eqx.nn.RMSNorm(4), weights("vector 4", "vector 4")),
    "gru": (
        lambda key: eqx.nn.GRUCell(3, 4, key=key),
        {
            "weight_ih": "3 -> 12",
            "weight_hh": "4 -> 12",
            "bias": "vector 12",
            "bias_n": "vector 4",
        },
    ),
    "lstm": (
        lambda key: eqx.nn.LSTMCell(3, 4, key=key),
        {"weight_ih": "3 -> 16", "weight_hh": "4 -> 16", "bias": "vector 16"},
    ),
    "attention": (
        lambda key: eqx.nn.MultiheadAttention(2, 6, output_size=3, key=key),
        {f"{k}_proj/weight": "6 -> 6" for k in ("query", "key", "value")}
        | {"output_proj/weight": "6 -> 3"},
    ),
    "stack": (
        stack(lambda key: eqx.nn.MLP(3, 2, 4, 1, key=key)),
        prefixed("layers/0", weights("5 of 3 -> 4", "5 of vector 4"))
        | prefixed("layers/1", weights("5 of 4 -> 2", "5 of vector 2")),
    ),
    "stack of convs": (
        stack(lambda key: eqx.nn.Conv2d(4, 6, 3, key=key)),
        weights("5 of 3x3x4 -> 6", "5 of vector 6"),
    ),
    "stack of norms": (
        stack(lambda key: eqx.nn.LayerNorm(4)),
        weights("5 of vector 4", "5 of vector 4"),
    ),
}


@pytest.mark.parametrize("case", FLAX)
def test_flax(case):
    build, want = FLAX[case]
    params = build()
    assert read(params) == read(params, "flax") == want


@pytest.mark.parametrize("case", HAIKU)
def test_haiku(case):
    """The preset also sees that scales of a norm are a vector in any rank."""
    build, want = HAIKU[case]
    params = build()
    assert read(params) == want
    told = {name: text.replace("1x1x1x", "") for name, text in want.items()}
    assert read(params, "haiku") == told


@pytest.mark.parametrize("case", EQUINOX)
def test_equinox(case):
    build, want = EQUINOX[case]
    params = equinox(build)
    assert read(params) == read(params, "equinox") == want
    nested = read({"net": [params]})
    assert nested == {f"net/0/{name}": text for name, text in want.items()}


def test_masked_modules_keep_their_types():
    params = equinox(lambda key: eqx.nn.Linear(3, 4, key=key))
    masked = jax.tree.map(lambda x: x if len(x.shape) > 1 else optax.MaskedNode(), params)
    assert read(masked) == {"weight": "3 -> 4"}


def test_updates_are_read_like_parameters():
    """Gradients of modules are modules; those of boxes and states are boxes and states."""
    for params in (equinox(stack(lambda key: eqx.nn.Linear(3, 4, key=key))), FLAX["nnx"][0]()):
        assert read(jax.tree.map(lambda x: jnp.ones(x.shape), params)) == read(params)
