"""Optimizers of features for each element: tensors updated together, and averages in bfloat16."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from reference_optimizers import per_param_mlp
from steps import descend, moved_theta, tree

from learned_opt import Celo, Celo2, Hypernet, PerParamMLP
from learned_opt.parts import _leaves
from learned_opt.parts._leaves import group_leaves
from learned_opt.parts._per_param import TensorState

# Twins and a triplet, in an order that mixes them; (7, 3) lies on its side in the state.
SHAPES = {
    "a": (7,), "b": (5, 6), "c": (2, 3, 4), "d": (7,), "e": (5, 6), "f": (7, 3), "g": (7,),
    "h": (2, 3, 4), "i": (7, 3), "j": (),
}  # fmt: skip
GROUPS = ((0, 3, 6), (1, 4), (2, 7), (5, 8), (9,))
STEPS = 6

family = pytest.mark.parametrize(
    ("cls", "sizes"),
    [(PerParamMLP, {}), (Celo, {"lstm": 8}), (Celo2, {}), (Hypernet, {"lstm": 8, "bank": 4})],
    ids=lambda x: getattr(x, "name", ""),
)


def path(optimizer):
    """The update rule and the parameters after each step."""
    tx = optimizer.transform(moved_theta(optimizer, 0.1), num_steps=STEPS)
    values = list(jnp.linspace(2.0, 1.0, STEPS))
    return tx, descend(tx, tree(0, shapes=SHAPES), gradients(), value=values)


# Two tests compare with it.
grouped = functools.cache(path)


def gradients():
    """Of a size of its own for every tensor, so that none passes for another."""
    keys = [tree(i + 1, shapes=SHAPES) for i in range(STEPS)]
    return [{k: g * 10.0 ** (i % 4 - 2) for i, (k, g) in enumerate(t.items())} for t in keys]


def test_small_leaves_of_one_shape_are_a_group(monkeypatch):
    monkeypatch.setattr(_leaves, "PACK_BELOW", 100)
    params = tree(0, shapes={**SHAPES, "k": (20, 5), "l": (20, 5)})
    assert group_leaves(params).indices == (*GROUPS, (10,), (11,))
    kinds = ["x", None, "", "y", "", "", "x", *[""] * 5]
    assert group_leaves(params, kinds).indices[:4] == ((0, 6), (1,), (2, 7), (3,))


def test_a_group_may_hold_gradients_of_several_types():
    groups, grads = group_leaves([jnp.zeros(3)] * 2), [jnp.ones(3, jnp.bfloat16), jnp.ones(3)]
    steps, _ = groups.update(
        lambda g, p, s: (g + p + s, s), grads, grads, groups.stack(grads[1:] * 2)
    )
    assert [(x.dtype, x.tolist()) for x in steps] == [("bfloat16", [3] * 3), ("float32", [3] * 3)]


@family
def test_a_group_moves_like_its_leaves_one_by_one(cls, sizes, monkeypatch):
    params = tree(0, shapes=SHAPES)
    tx, got = grouped(cls(**sizes))
    together = tx.init(params).inner.tensors
    monkeypatch.setattr(_leaves, "PACK_BELOW", 0)
    tx, want = path(cls(**sizes))
    assert len(tx.init(params).inner.tensors) == len(SHAPES)
    # Celo2's vectors and scalars take Adam, which is one loop a tensor anyway.
    assert len(together) == (len(GROUPS) if cls is not Celo2 else 3 + 4)
    for name in SHAPES:
        moved = np.linalg.norm(want[-1][name] - params[name])
        assert moved > 0
        assert np.linalg.norm(got[-1][name] - want[-1][name]) < 1e-5 * moved, name


def test_bfloat16_momenta_agree_with_a_reference_that_rounds_them():
    """To 2^-9 of a step: a last bit that float32 and float64 round differently moves it so far."""
    optimizer = PerParamMLP(momenta="bfloat16")
    params, grads = tree(0, shapes=SHAPES), gradients()
    got = path(optimizer)[1][-1]
    theta = moved_theta(optimizer, 0.1)
    want, exact = (per_param_mlp(theta, params, grads, b)[-1] for b in (jnp.bfloat16, np.float64))
    for name in SHAPES:
        moved = np.linalg.norm(want[name] - np.asarray(params[name], np.float64))
        error = np.linalg.norm(np.asarray(got[name], np.float64) - want[name])
        assert error < 2**-9 * moved, name
        # And the rounding is there to be seen.
        assert np.linalg.norm(exact[name] - want[name]) > 1e-6 * moved, name


@family
def test_bfloat16_momenta_change_a_step_by_little(cls, sizes):
    """By less than 2 % of the way gone in 6 steps: an eighth bit of two features in thirty."""
    params = tree(0, shapes=SHAPES)
    tx, got = path(cls(**sizes, momenta="bfloat16"))
    _, want = grouped(cls(**sizes))
    for kept in tx.init(params).inner.tensors:
        if isinstance(kept, TensorState):
            assert [m.dtype for m in kept.momenta] == ["bfloat16", "bfloat16", "float32"]
            assert {x.dtype.name for x in (kept.second, kept.rows, kept.cols)} == {"float32"}
    learned = {k for k, shape in SHAPES.items() if cls is not Celo2 or len(shape) >= 2}
    for name in learned:
        moved = np.linalg.norm(want[-1][name] - params[name])
        assert 0 < np.linalg.norm(got[-1][name] - want[-1][name]) < 0.02 * moved, name
