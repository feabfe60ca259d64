"""One network stored in several ways: the same updates, to rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sharded import SMALL
from steps import losses, moved_theta, run, tree

import learned_opt
from learned_opt import OPTIMIZERS, Axes

STEPS, BLOCKS = 4, ("block0", "block1", "block2")
SHAPES = {
    **{name: {"w": (6, 5), "b": (5,)} for name in BLOCKS},
    "conv": {"w": (3, 3, 2, 4), "b": (4,)},
    "query": {"w": (6, 8), "b": (8,)},
    "query_out": {"w": (8, 6), "b": (6,)},
    "scale": {"scale": (6,)},
}
"""Lists of layers, (*window, in, out), fused heads."""


def oihw(net):
    return {**net, "conv": {**net["conv"], "w": net["conv"]["w"].transpose(3, 2, 0, 1)}}


def from_oihw(net):
    return {**net, "conv": {**net["conv"], "w": net["conv"]["w"].transpose(2, 3, 1, 0)}}


def out_in(net):
    """The blocks; the inverse of itself."""
    return {**net, **{name: {**net[name], "w": net[name]["w"].T} for name in BLOCKS}}


def split(net):
    query, out = net["query"], net["query_out"]
    return {
        **net,
        "query": {"w": query["w"].reshape(6, 2, 4), "b": query["b"].reshape(2, 4)},
        "query_out": {**out, "w": out["w"].reshape(2, 4, 6)},
    }


def fused(net):
    query, out = net["query"], net["query_out"]
    return {
        **net,
        "query": {"w": query["w"].reshape(6, 8), "b": query["b"].reshape(8)},
        "query_out": {**out, "w": out["w"].reshape(8, 6)},
    }


def stacked(net, axis=0):
    others = {name: layer for name, layer in net.items() if name not in BLOCKS}
    blocks = [net[name] for name in BLOCKS]
    return {"block": jax.tree.map(lambda *xs: jnp.stack(xs, axis), *blocks)} | others


def unstacked(net, axis=0):
    others = {name: layer for name, layer in net.items() if name != "block"}
    rows = [jax.tree.map(lambda x, i=i: x.take(i, axis), net["block"]) for i in range(len(BLOCKS))]
    return dict(zip(BLOCKS, rows, strict=True)) | others


def everything(net):
    return split(oihw(stacked(out_in(net))))


def from_everything(net):
    return out_in(unstacked(from_oihw(fused(net))))


VECTOR = Axes(outputs=(0,))
TURNED = {"w": Axes(inputs=(1,), outputs=(0,)), "b": VECTOR}
OIHW = {"w": Axes(window=(2, 3), inputs=(1,), outputs=(0,)), "b": VECTOR}
STACK = {"w": Axes((0,), (), (1,), (2,)), "b": Axes(batch=(0,), outputs=(1,))}
LAST = {"w": Axes((2,), (), (0,), (1,)), "b": Axes(batch=(1,), outputs=(0,))}
TURNED_STACK = {**STACK, "w": Axes((0,), (), (2,), (1,))}
HEADS = {
    "query": {"w": Axes(inputs=(0,), outputs=(1, 2)), "b": Axes(outputs=(0, 1))},
    "query_out": {"w": Axes(inputs=(0, 1), outputs=(2,)), "b": VECTOR},
}


def axes(**layers):
    """Of every leaf; None where nothing is told."""
    return lambda params: {name: layers.get(name) for name in params}


LAYOUTS = {
    "oihw": (oihw, from_oihw, axes(conv=OIHW)),
    "out_in": (out_in, out_in, axes(**dict.fromkeys(BLOCKS, TURNED))),
    "stacked": (stacked, unstacked, axes(block=STACK)),
    "stacked, by name": (stacked, unstacked, None),
    "stacked last": (lambda x: stacked(x, -1), lambda x: unstacked(x, -1), axes(block=LAST)),
    "heads": (split, fused, axes(**HEADS)),
    "all": (everything, from_everything, axes(block=TURNED_STACK, conv=OIHW, **HEADS)),
}
"""How it is stored, the way back, and what is told of it."""

NET = tree(0, shapes=SHAPES)
GRADS = [tree(seed, 0.1, SHAPES) for seed in range(1, 1 + STEPS)]


def steps(make, told, net, grads):
    return [x.step for x in run(make(told), net, grads, value=losses(STEPS))]


def check(make, *layouts):
    """`make`: axes -> transformation."""
    want = steps(make, None, NET, GRADS)
    for there, back, told in map(LAYOUTS.get, layouts):
        got = steps(make, told, there(NET), [there(g) for g in GRADS])
        for x, y in zip(got, want, strict=True):
            largest = max(float(jnp.abs(u).max()) for u in jax.tree.leaves(y))
            assert largest > 0
            jax.tree.map(
                lambda a, b, atol=1e-5 * largest: np.testing.assert_allclose(a, b, 1e-3, atol),
                back(x),
                y,
            )


def test_the_ways_back_are_inverses():
    for there, back, _ in LAYOUTS.values():
        jax.tree.map(np.testing.assert_array_equal, back(there(NET)), NET)


def artifact(name):
    return lambda told: learned_opt.learned(name, num_steps=10, axes=told)


def test_all_at_once():
    check(artifact("quickstart"), "all")


@pytest.mark.slow
def test_each_by_itself():
    check(artifact("small"), *LAYOUTS)


@pytest.mark.slow
@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.name)
def test_every_optimizer(cls):
    optimizer = cls(**SMALL.get(cls, {}))
    theta = moved_theta(optimizer, 0.1)
    make = lambda told: optimizer.transform(theta, num_steps=10, axes=told)  # noqa: E731
    check(make, "all", "stacked last")


@pytest.mark.slow
@pytest.mark.parametrize("name", learned_opt.available())
def test_every_artifact(name):
    check(artifact(name), "all")
