"""Tensors of one shape updated as a stack, and averages in bfloat16."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_optimizers import per_param_mlp
from rows import few
from sharded import SMALL as SIZES
from steps import descend, limits, moved_theta, tree

from learned_opt import OPEN, OPTIMIZERS, Axes, Celo, Celo2, GatedAdam, Hypernet, PerParamMLP
from learned_opt.layouts._layout import Layout
from learned_opt.transformation import _transformation as _shell
from learned_opt.transformation._stacks import SMALL, make_places, make_stacks, stack, unstack

# Twins and a triplet, in an order that mixes them; (7, 3) lies on its side in the features.
SHAPES = {
    "a": (7,), "b": (5, 6), "c": (2, 3, 4), "d": (7,), "e": (5, 6), "f": (7, 3), "g": (7,),
    "h": (2, 3, 4), "i": (7, 3), "j": (),
}  # fmt: skip
GROUPS = [(0, 3, 6), (1, 4), (2, 7), (5, 8), (9,)]
FEW = {k: SHAPES[k] for k in "abdej"}
STEPS = 6

FEATURES = [PerParamMLP(), Celo(lstm=8), Celo2(), Hypernet(lstm=8, bank=4)]
"""Optimizers of features for each element."""
OTHERS = [
    GatedAdam(factored=True),
    OPEN(stochastic=True),
    *(
        cls(**SIZES.get(cls, {}))
        for cls in OPTIMIZERS
        if cls not in (PerParamMLP, Celo, Celo2, Hypernet, GatedAdam, OPEN)
    ),
]
family = pytest.mark.parametrize("optimizer", FEATURES, ids=lambda x: x.name)

LARGE, BELOW = (128, 128), (128, 127)
STACK = Axes(batch=(0,), inputs=(1,), outputs=(2,))


def path(optimizer, shapes):
    """The update rule and the parameters after each step."""
    tx = optimizer.transform(moved_theta(optimizer, 0.1), num_steps=STEPS)
    values = list(jnp.linspace(2.0, 1.0, STEPS))
    return tx, descend(tx, tree(0, shapes=shapes), gradients(shapes), value=values)


# Two tests compare with it.
together = functools.cache(lambda optimizer: path(optimizer, SHAPES))


def gradients(shapes):
    """Of a size of its own for every tensor, so that none passes for another."""
    keys = [tree(i + 1, shapes=shapes) for i in range(STEPS)]
    return [{k: g * 10.0 ** (i % 4 - 2) for i, (k, g) in enumerate(t.items())} for t in keys]


def stacks_of(shapes, kinds=None, types=None, leaves=None, cheap=False):
    layouts = [x if isinstance(x, Layout) else Layout(x) for x in shapes]
    kinds, types = (x or [None] * len(layouts) for x in (kinds, types))
    return make_stacks(layouts, kinds, types, leaves or range(len(layouts)), cheap)


@pytest.mark.parametrize(
    ("shapes", "other", "leaves"),
    [
        (SHAPES.values(), {}, GROUPS),
        (SHAPES.values(), {"cheap": True}, GROUPS),
        # Apart where the rule, or the type of the arrays, says so.
        ([(7,)] * 4, {"kinds": ["x", None, "y", "x"]}, [(0, 3), (1,), (2,)]),
        ([(7,)] * 4, {"types": ["x", "y", "x", "y"]}, [(0, 2), (1, 3)]),
        # A column, and a vector in the rank of what it multiplies.
        ([Layout((7, 1), Axes(outputs=(0, 1))), (7,), (7, 1)], {}, [(0, 1), (2,)]),
        # From `SMALL` elements on a rule that costs little has no stacks.
        ([BELOW, LARGE, BELOW, LARGE], {}, [(0, 2), (1, 3)]),
        ([BELOW, LARGE, BELOW, LARGE], {"cheap": True}, [(0, 2), (1,), (3,)]),
        # Leaves that are stacks of matrices, and one of the matrices.
        ([Layout((3, 5, 6), STACK), (5, 6), Layout((2, 5, 6), STACK)], {}, [(0, 1, 2)]),
        ([*[(7,)] * 3, (5,), (7,)], {"leaves": [1, 3, 4]}, [(1, 4), (3,)]),
    ],
)
def test_which_tensors_are_a_stack(shapes, other, leaves):
    assert np.prod(LARGE) == SMALL
    assert [x.leaves for x in stacks_of(shapes, **other)] == leaves


def test_large_tensors_are_a_stack_as_far_as_it_may_hold_them():
    """Of twice their size: two in each, one over; small ones do not count."""
    with limits(stacked=2 * SMALL):
        found = stacks_of([LARGE, *[BELOW] * 3, *[LARGE] * 4])
        # A leaf that is a stack itself stays whole.
        whole = stacks_of([Layout((3, *LARGE), STACK), LARGE])
    assert [x.leaves for x in found] == [(0, 4), (1, 2, 3), (5, 6), (7,)]
    assert [x.leaves for x in whole] == [(0,), (1,)]
    with limits(small=0, stacked=0):
        assert [x.leaves for x in stacks_of([(7,)] * 3)] == [(0,), (1,), (2,)]


def test_rows_are_those_of_the_tensors_that_have_a_gradient():
    shapes = [(7,), Layout((3, 5, 6), STACK), (7,), (5, 6), (4,)]
    found = stacks_of(shapes, leaves=[1, 2, 3, 4])
    assert [(x.rows, x.alone) for x in found] == [((0, 1, 2, 4), False), ((3,), True), ((5,), True)]


def test_a_stack_comes_apart_as_it_was():
    """Of gradients, averages of fewer axes, averages with more, and one number a tensor."""
    oi = Axes(batch=(2,), inputs=(1,), outputs=(0,))
    layouts = [Layout((6, 5, 3), oi), Layout((4,)), Layout((5, 6))]
    both, four = stacks_of(layouts)
    assert both.leaves == (0, 2)
    rng = np.random.default_rng(0)

    def leaf(shape, batch=()):
        shapes = shape, (*shape, 8), batch
        return [jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes]

    trees = [leaf((6, 5, 3), (3,)), leaf((4,)), leaf((5, 6))]
    held = stack(both, layouts, trees)
    assert [x.shape for x in held] == [(4, 5, 6), (4, 5, 6, 8), (4,)]
    np.testing.assert_array_equal(held[0][1], trees[0][0][:, :, 1].T)
    np.testing.assert_array_equal(held[1][3], trees[2][1])
    found, places = {}, make_places(jnp.array(1), 4)
    assert [int(x) for x in places] == [0, 1, 2, 3]
    unstack(both, layouts, held, found, places)
    unstack(four, layouts, stack(four, layouts, trees), found, places)
    for i, want in enumerate(trees):
        for x, y in zip(found[i], want, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("optimizer", [PerParamMLP(), GatedAdam()], ids=lambda x: x.name)
def test_a_stack_may_hold_tensors_of_several_types(optimizer):
    """They are updated as one by one, in float32; each step has the type of its gradient."""
    shapes = {"a": (5, 6), "b": (5, 6), "c": (5, 6)}
    params, grads = tree(0, shapes=shapes), tree(1, shapes=shapes)
    params["b"], grads["c"] = (x.astype(jnp.bfloat16) for x in (params["b"], grads["c"]))
    tx, found = optimizer.transform(moved_theta(optimizer, 0.1), num_steps=STEPS), []
    for sizes in ({}, {"small": 0, "stacked": 0}):
        with limits(**sizes):
            found.append(tx.update(grads, tx.init(params), params)[0])
    for name in shapes:
        got, want = (np.asarray(x[name].astype(jnp.float32)) for x in found)
        assert {x[name].dtype for x in found} == {grads[name].dtype}
        rounding = 2**-8 if name == "c" else 1e-6
        np.testing.assert_allclose(got, want, rtol=0, atol=rounding * np.abs(want).max())


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(x, id=x.name, marks=pytest.mark.slow) for x in FEATURES]
    + [pytest.param(x, id=x.name) for x in OTHERS],
)
def test_a_stack_moves_like_its_tensors_one_by_one(optimizer, monkeypatch):
    shapes, made = SHAPES if optimizer in FEATURES else FEW, []

    def recorded(*args):
        made.append(make_stacks(*args))
        return made[-1]

    params = tree(0, shapes=shapes)
    _, got = together(optimizer) if optimizer in FEATURES else path(optimizer, shapes)
    monkeypatch.setattr(_shell, "make_stacks", recorded)
    with limits(small=0, stacked=0):
        _, want = path(optimizer, shapes)
    assert {len(x) for x in made} == {len(shapes)}
    for name in shapes:
        moved = np.linalg.norm(want[-1][name] - params[name])
        assert moved > 0
        assert np.linalg.norm(got[-1][name] - want[-1][name]) < 1e-5 * moved, name


def check_momenta(state, names):
    kept = state.elements
    for name in names:
        assert [m[name].dtype for m in kept.momenta] == ["bfloat16", "bfloat16", "float32"]
        others = [kept.second, *kept.rows, *kept.cols]
        assert {x[name].dtype.name for x in others} == {"float32"}


def test_bfloat16_momenta_agree_with_a_reference_that_rounds_them():
    """To 2^-9 of a step: a last bit that float32 and float64 round differently moves it so far."""
    optimizer = PerParamMLP(momenta="bfloat16")
    params, grads = tree(0, shapes=SHAPES), gradients(SHAPES)
    tx, walked = path(optimizer, SHAPES)
    got = walked[-1]
    check_momenta(tx.init(params), SHAPES)
    theta = moved_theta(optimizer, 0.1)
    want, exact = (per_param_mlp(theta, params, grads, b)[-1] for b in (jnp.bfloat16, np.float64))
    for name in SHAPES:
        moved = np.linalg.norm(want[name] - np.asarray(params[name], np.float64))
        error = np.linalg.norm(np.asarray(got[name], np.float64) - want[name])
        assert error < 2**-9 * moved, name
        # And the rounding is there to be seen.
        assert np.linalg.norm(exact[name] - want[name]) > 1e-6 * moved, name


@pytest.mark.slow
@family
def test_bfloat16_momenta_change_a_step_by_little(optimizer):
    """By less than 2 % of the way gone in 6 steps: an eighth bit of two features in thirty."""
    params = tree(0, shapes=SHAPES)
    tx, got = path(dataclasses.replace(optimizer, momenta="bfloat16"), SHAPES)
    _, want = together(optimizer)
    learned = {k for k, x in SHAPES.items() if not isinstance(optimizer, Celo2) or len(x) >= 2}
    check_momenta(tx.init(params), learned)
    for name in learned:
        moved = np.linalg.norm(want[-1][name] - params[name])
        assert 0 < np.linalg.norm(got[-1][name] - want[-1][name]) < 0.02 * moved, name


COSTLY = {"dot_general", "exp", "log", "tanh", "logistic", "rsqrt", "sqrt", "pow"}
"""What rules are made of, beside averages of a leaf."""


def costly(jaxpr):
    """How many operations of those kinds on whole tensors there are, in programs within it too."""
    count = 0
    for eqn in jaxpr.eqns:
        options = jax.tree.leaves(tuple(eqn.params.values()))
        inner = [
            getattr(x, "jaxpr", x) for x in options if hasattr(x, "jaxpr") or hasattr(x, "eqns")
        ]
        count += eqn.primitive.name in COSTLY and eqn.outvars[0].aval.size >= 8000
        count += sum(costly(x) for x in inner)
    return count


@few
def test_a_program_does_not_grow_with_the_number_of_tensors_of_a_shape(cls):
    tx = cls(**SIZES.get(cls, {}))
    tx, counts = tx.transform(tx.init(jax.random.key(0)), num_steps=10), []
    for tensors in (4, 12):
        params = [jnp.ones((80, 100)), jnp.ones(8000)] * (tensors // 2)
        program = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
        counts.append(costly(program.jaxpr))
    assert counts[0] == counts[1] > 0
