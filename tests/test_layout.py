"""What the axes of parameters are: told, by name where there is no doubt, and unknown."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from learned_opt import Axes, describe_layouts
from learned_opt.layouts._layout import Layout
from learned_opt.layouts._layouts import layouts

P = PartitionSpec


def shapes(tree):
    """Arrays of a tree of shapes."""
    return jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s, jnp.float32), tree, is_leaf=lambda x: type(x) is tuple
    )


CANONICAL = [
    # shape, axes, count, tensor, fans; fan-in 0 of a vector
    ((3, 4), Axes(inputs=(0,), outputs=(1,)), 1, (3, 4), (3, 4)),
    ((4, 3), Axes(inputs=(-1,), outputs=(0,)), 1, (3, 4), (3, 4)),
    ((4, 2, 3, 5), Axes((), (2, 3), (1,), (0,)), 1, (3, 5, 2, 4), (30, 4)),
    ((5, 3, 4), Axes((0,), (), (1,), (2,)), 5, (3, 4), (3, 4)),
    ((3, 5, 4), Axes((1,), (), (0,), (2,)), 5, (3, 4), (3, 4)),
    ((5, 2, 3, 4), Axes((0, 1), (), (2,), (3,)), 10, (3, 4), (3, 4)),
    ((6, 2, 4), Axes(inputs=(0,), outputs=(1, 2)), 1, (6, 8), (6, 8)),
    ((2, 4, 6), Axes(inputs=(0, 1), outputs=(2,)), 1, (8, 6), (8, 6)),
    ((5, 6, 2, 4), Axes((0,), (), (1,), (2, 3)), 5, (6, 8), (6, 8)),
    ((10, 4), Axes(outputs=(0, 1)), 1, (40,), (1, 40)),
    ((5, 4), Axes(batch=(0,), outputs=(1,)), 5, (4,), (1, 4)),
    ((5,), Axes(batch=(0,)), 5, (), (1, 1)),
    ((), Axes(), 1, (), (1, 1)),
    ((3, 4), Axes(batch=(1,), inputs=(0,)), 4, (3, 1), (3, 1)),
    ((8, 1, 1), Axes(outputs=(0, 1, 2)), 1, (8,), (1, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axes", "count", "tensor", "fans"), CANONICAL)
def test_a_layout_brings_a_tensor_in_order_and_back(shape, axes, count, tensor, fans):
    layout, x = Layout(shape, axes), jnp.arange(math.prod(shape)).reshape(shape)
    y = layout.to_tensors(x)
    assert (layout.count, layout.tensor) == (count, tensor)
    assert y.shape == (count, *tensor)
    assert (layout.fan_in, layout.fan_out) == fans
    assert layout.is_matrix == bool(axes.inputs)
    np.testing.assert_array_equal(layout.from_tensors(y), x)
    order = Layout(tensor)
    assert order.plain
    if layout.plain:
        assert layout == order
        np.testing.assert_array_equal(y[0], x)
    if axes.inputs or len(tensor) < 2:
        assert (order.fan_in, order.fan_out, order.is_matrix) == (*fans, layout.is_matrix)


def test_entries_go_where_the_axes_say():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    kernel = Layout(x.shape, Axes(window=(2, 3), inputs=(1,), outputs=(0,))).to_tensors(x)
    assert kernel[0, 3, 4, 2, 1] == x[1, 2, 3, 4]
    heads = Layout(x.shape, Axes(batch=(3,), inputs=(0,), outputs=(1, 2))).to_tensors(x)
    assert heads[4, 1, 2 * 4 + 3] == x[1, 2, 3, 4]
    swapped = Layout(x.shape, Axes(batch=(3,), inputs=(0,), outputs=(2, 1))).to_tensors(x)
    assert swapped[4, 1, 3 * 3 + 2] == x[1, 2, 3, 4]


UNKNOWN = [
    # shape, is a matrix, fans
    ((), False, (1, 1)),
    ((7,), False, (1, 7)),
    ((5, 6), True, (5, 6)),
    ((1, 6), True, (1, 6)),
    ((1, 1), True, (1, 1)),
    ((3, 4, 2), True, (12, 2)),
    ((3, 3, 2, 4), True, (18, 4)),
    ((8, 1, 1, 1), False, (1, 8)),
    ((1, 1, 1, 8), False, (1, 8)),
    ((1, 32, 16), True, (32, 16)),
]


@pytest.mark.parametrize(("shape", "is_matrix", "fans"), UNKNOWN)
def test_of_an_unknown_tensor_the_shape_decides(shape, is_matrix, fans):
    layout = Layout(shape)
    assert layout.plain
    assert (layout.count, layout.tensor) == (1, shape)
    assert (layout.is_matrix, layout.fan_in, layout.fan_out) == (is_matrix, *fans)
    x = jnp.arange(math.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(layout.to_tensors(x), x[None])
    np.testing.assert_array_equal(layout.from_tensors(x[None]), x)


def test_layouts_are_values():
    assert Layout((3, 4)) == Layout((3, 4), Axes(inputs=(-2,), outputs=(-1,)))
    assert hash(Layout((3, 4))) == hash(Layout((3, 4), Axes(inputs=(0,), outputs=(1,))))
    assert Layout((4,)) == Layout((4,), Axes(outputs=(0,)))
    assert Layout((4, 4)) != Layout((4, 4), Axes(inputs=(1,), outputs=(0,)))


@pytest.mark.parametrize("spec", [P("a"), P(None, "b"), P("a", "b"), P(None, None, "b")])
def test_types_on_a_mesh_with_explicit_axes(spec):
    """Merged axes come back whole, others as they were."""
    mesh = jax.sharding.AbstractMesh((2, 1), ("a", "b"), axis_types=(AxisType.Explicit,) * 2)
    layout = Layout((4, 6, 2, 4), Axes((0,), (), (1,), (2, 3)))
    with jax.sharding.use_abstract_mesh(mesh):
        x = jax.ShapeDtypeStruct(layout.shape, jnp.float32, sharding=NamedSharding(mesh, spec))
        y = jax.eval_shape(layout.to_tensors, x)
        z = jax.eval_shape(layout.from_tensors, y)
    assert (y.shape, z.shape) == ((4, 6, 8), layout.shape)
    kept = [*spec, None, None][:2]
    assert list(y.sharding.spec) == [*kept, None]
    assert list(z.sharding.spec) == [*kept, None, None]


UNTOLD = {
    "matrix": (5, 6), "tensor": (3, 4, 2), "conv": (3, 3, 2, 4), "w1": (4, 4, 4), "b1": (4, 4),
    "w": (3, 4, 2), "b": (2,), "a": {"b": (3, 4)}, "c": {"w": (8, 1, 1)}, "weight": (4, 3),
    "embedding": {"w": (95, 16), "b": (16,)}, "head": {"kernel": (4, 4, 4)},
    "group_norm": {"scale": (8, 1, 1, 1), "offset": (8, 1, 1, 1)}, "~": {"positions": (1, 5, 4)},
    "query": {"w": (4, 4), "b": (4,)}, "out": {"kernel": (4, 2, 3)},
}  # fmt: skip


def test_names_that_do_not_tell_leave_a_tensor_as_it_is():
    params = shapes(UNTOLD)
    found = layouts(None, params)
    assert found == tuple(Layout(x.shape) for x in jax.tree.leaves(params))
    assert all(x.plain for x in found)


@pytest.mark.parametrize(
    ("tree", "want"),
    [
        # Kernels and biases: a stack, of one output too; heads by name; two readings, none taken.
        ({"kernel": (5, 3, 4), "bias": (5, 4)}, ["5 of vector 4", "5 of 3 -> 4"]),
        ({"kernel": (5, 3, 1), "bias": (5, 1)}, ["5 of vector 1", "5 of 3 -> 1"]),
        ({"query": {"kernel": (4, 4, 3), "bias": (4, 3)}}, ["vector 12", "4 -> 12"]),
        ({"query": {"kernel": (5, 4, 4), "bias": (5, 4)}}, ["5 of vector 4", "5 of 4 -> 4"]),
        ({"dense": {"kernel": (4, 4, 3), "bias": (4, 3)}}, ["vector 12", "4x4 -> 3"]),
        # Neighbours decide.
        (
            {
                "a": {"kernel": (4, 4, 3), "bias": (4, 3)},
                "b": {"kernel": (4, 3, 2), "bias": (4, 2)},
            },
            ["4 of vector 3", "4 of 4 -> 3", "4 of vector 2", "4 of 3 -> 2"],
        ),
        (
            {"a": {"kernel": (4, 4, 3), "bias": (4, 3)}, "b": {"kernel": (3, 2), "bias": (2,)}},
            ["vector 12", "4 -> 12", "vector 2", "3 -> 2"],
        ),
        (
            {"a": {"w": (4, 2, 3), "b": (4, 3)}, "n": {"scale": (4, 3)}, "gain": (4,)},
            ["4 of vector 3", "4 of 2 -> 3", "4 of scalar", "4 of vector 3"],
        ),
        # Of another count, or of two counts: not of the stack.
        (
            {"a": {"w": (4, 2, 3), "b": (4, 3)}, "n": {"table": (5, 3)}},
            ["4 of vector 3", "4 of 2 -> 3", "5 -> 3"],
        ),
        (
            {"a": {"w": (4, 2, 3), "b": (4, 3)}, "c": {"w": (6, 2), "b": (2,)}, "t": (4, 3)},
            ["4 of vector 3", "4 of 2 -> 3", "vector 2", "6 -> 2", "4 -> 3"],
        ),
        # No bias fits: nothing is known.
        ({"kernel": (4, 3, 5), "bias": (7,)}, ["vector 7", "4x3 -> 5"]),
    ],
)  # fmt: skip
def test_what_shapes_show_of_stacks(tree, want):
    assert [str(x) for x in layouts(None, shapes(tree))] == want


PARAMS = {"a": {"w": (4, 3), "b": (4,)}, "c": (2, 5)}
OUT_IN = Axes(inputs=(1,), outputs=(0,))


@pytest.mark.parametrize(
    "axes",
    [
        {"a": {"w": OUT_IN, "b": None}, "c": None},
        {"a": {"w": OUT_IN, "b": Axes(outputs=(0,))}, "c": Axes(inputs=(0,), outputs=(1,))},
        lambda params: {"a": {"w": OUT_IN, "b": None}, "c": None},
        lambda params: jax.tree.map(lambda x: OUT_IN if x.shape == (4, 3) else None, params),
    ],
)
def test_trees_prefixes_and_functions(axes):
    assert [str(x) for x in layouts(axes, shapes(PARAMS))] == ["vector 4", "3 -> 4", "2 -> 5"]


def test_one_entry_serves_all_leaves_below_it():
    params = shapes({"a": {"v": (4, 3), "w": (2, 3)}, "c": (2, 5)})
    assert [str(x) for x in layouts({"a": OUT_IN, "c": None}, params)] == [
        "3 -> 4", "3 -> 2", "2 -> 5",
    ]  # fmt: skip
    assert [str(x) for x in layouts(OUT_IN, jnp.ones((2, 3)))] == ["3 -> 2"]


def test_masked_and_missing_leaves_are_none():
    axes = {"a": OUT_IN, "b": OUT_IN, "c": None}
    params = {"a": optax.MaskedNode(), "b": jnp.ones((2, 3)), "c": None}
    assert [str(x) for x in layouts(axes, params)] == ["3 -> 2"]
    assert layouts(None, {}) == layouts("flax", {}) == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layouts("torch", {}), "axes must be one of flax, haiku, equinox, .* got 'torch'"),
        (
            lambda: layouts({"a": {"w": OUT_IN}, "c": None}, shapes(PARAMS)),
            "axes must be a tree like params .* without an entry for a/b; make it with",
        ),
        (
            lambda: layouts({"a": {"w": OUT_IN, "b": None, "x": None}, "c": None}, shapes(PARAMS)),
            "with an entry a/x that params has not; make it with",
        ),
        (lambda: layouts([None, None], shapes(PARAMS)), "without an entry for a/b"),
        (
            lambda: layouts({"a": OUT_IN, "c": None}, shapes(PARAMS)),
            r"each of the 1 axes of a/b of shape \(4,\) once, got Axes.*; correct the entry of a/b",
        ),
        (
            lambda: layouts({"a": None, "c": Axes(inputs=(0,))}, shapes(PARAMS)),
            r"each of the 2 axes of c of shape \(2, 5\) once, got",
        ),
        (
            lambda: layouts({"a": None, "c": Axes(inputs=(0, 0), outputs=(1,))}, shapes(PARAMS)),
            r"each of the 2 axes of c of shape \(2, 5\) once, got",
        ),
        (
            lambda: layouts({"a": None, "c": Axes(inputs=(0,), outputs=(2,))}, shapes(PARAMS)),
            r"each of the 2 axes of c of shape \(2, 5\) once, got",
        ),
        (
            lambda: layouts({"a": None, "c": Axes(window=(0,), outputs=(1,))}, shapes(PARAMS)),
            r"the window of c of shape \(2, 5\) needs inputs, got .* channels batch",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Axes(inputs=0), r"inputs must be a tuple of axis numbers, got 0; write \(0,\)"),
        (lambda: Axes(batch=(True,)), r"batch must be a tuple of axis numbers, got \(True,\)"),
        (
            lambda: layouts({"a": {"w": "out_in", "b": None}, "c": None}, shapes(PARAMS)),
            "axes must hold Axes or None, got str at a/w; write learned_opt.Axes",
        ),
        (lambda: layouts(3, shapes(PARAMS)), "axes must hold Axes or None, got int at the only"),
    ],
)
def test_another_type_is_one_sentence(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_the_description_is_a_line_a_leaf():
    assert describe_layouts(shapes(PARAMS), {"a": {"w": OUT_IN, "b": None}, "c": None}) == (
        "a/b  (4,)    vector 4\na/w  (4, 3)  3 -> 4\nc    (2, 5)  2 -> 5"
    )
    assert describe_layouts({}) == ""
