"""Pallas kernels of `Nominal` against XLA's path; on CPU they are interpreted."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learned_opt import Nominal
from learned_opt.optimizers._nominal_kernel import has_kernels
from learned_opt.parts import _pack, _path, update_path
from learned_opt.parts._accumulators import init_accumulators
from learned_opt.parts._blocks import PLATFORMS

SHAPES = {
    "ragged": (300, 130),
    "wide": (64, 960),
    "even": (256, 128),
    "vector": (1000,),
    "conv": (3, 3, 16, 24),
}


@pytest.fixture(autouse=True)
def no_packs(monkeypatch):
    monkeypatch.setattr(_pack, "PACK_BELOW", 0)


@pytest.fixture
def on_cpu_alone(monkeypatch):
    """Traces no kernels for other platforms, which takes as long again for each."""
    monkeypatch.setattr(_path, "PATHS", {"cpu": "xla"})


ON_CPU = pytest.mark.usefixtures("on_cpu_alone")


def tree(seed, shapes, scale=0.1, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(scale * rng.normal(size=s), dtype) for k, s in shapes.items()}


def trained_theta(optimizer, seed=0, size=0.3):
    """A theta with every entry off its initial value."""
    rng = np.random.default_rng(seed)
    shift = lambda x: x + jnp.asarray(size * rng.normal(size=x.shape), jnp.float32)  # noqa: E731
    return jax.tree.map(shift, optimizer.init(jax.random.key(seed)))


def build(path, optimizer=None):
    optimizer = optimizer or Nominal()
    with update_path(path):
        return optimizer.transform(trained_theta(optimizer), num_steps=20)


def count_kernels(tx, params):
    """In the update as it is traced."""
    traced = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
    return str(traced).count("pallas_call[")


def descend(tx, params, steps=5, dtype=jnp.float32):
    state, update = tx.init(params), jax.jit(tx.update)
    shapes = {k: p.shape for k, p in params.items()}
    for seed in range(1, steps + 1):
        updates, state = update(tree(seed, shapes, 0.01, dtype), state, params)
        params = jax.tree.map(jnp.subtract, params, updates)
    return updates, state, params


def assert_close(got, want, error=1e-6):
    """Relative to an entry, or to the tensor's root mean square where an entry is small."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert x.dtype == y.dtype
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        np.testing.assert_allclose(x, y, rtol=error, atol=error * np.sqrt(np.mean(y**2)))


@ON_CPU
@pytest.mark.parametrize(
    ("momenta", "names", "error"),
    # Of numbers with few bits XLA's sums are 5e-6 off in tests, with one addend after the other.
    [("float32", ("ragged", "wide", "vector"), 1e-6), ("bfloat16", ("even", "conv"), 4e-6)],
)
def test_kernels_agree_with_xla_over_5_steps(momenta, names, error):
    """Steps, states and parameters, for shapes that blocks divide and that they do not."""
    optimizer = Nominal(momenta=momenta, feedback=momenta == "float32")
    params = tree(0, {name: SHAPES[name] for name in names})
    kernels, loops = build("pallas", optimizer), build("xla", optimizer)
    assert count_kernels(kernels, params) == 2 * len(names)
    assert count_kernels(loops, params) == 0
    (steps, state, params), (steps_by_loops, loops, wanted) = (
        descend(tx, params) for tx in (kernels, loops)
    )
    bare = lambda s: s._replace(inner=s.inner._replace(memory=()))  # noqa: E731
    assert_close((steps, bare(state), params), (steps_by_loops, bare(loops), wanted), error)
    # Cosines, hence of unit scale.
    for got, want in zip(*(jax.tree.leaves(x.inner.memory) for x in (state, loops)), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=error)


@ON_CPU
@pytest.mark.parametrize(
    ("platform", "rows", "cols", "shape", "dtype", "error"),
    [
        ("tpu", 64, 256, (100, 640), jnp.float32, 1e-6),
        # A step in bfloat16 agrees to its last bit.
        ("cuda", 16, 64, (40, 70), jnp.bfloat16, 2**-8),
    ],
)
def test_blocks_of_other_platforms_agree_with_xla_too(
    monkeypatch, platform, rows, cols, shape, dtype, error
):
    like = dataclasses.replace(PLATFORMS[platform], rows=rows, cols=cols)
    like = dataclasses.replace(like, options=PLATFORMS["cpu"].options)
    monkeypatch.setitem(PLATFORMS, "cpu", like)
    params = tree(0, {"w": shape}, dtype=dtype)
    (got, state, _), (want, loops, _) = (
        descend(build(path), params, 1, dtype) for path in ("pallas", "xla")
    )
    assert_close(got, want, error)
    assert_close(state, loops)


@pytest.mark.parametrize("rows", [1, 3, 16, 1000])
@pytest.mark.parametrize("cols", [1, 5, 64, 5000])
def test_blocks_with_masks_have_powers_of_two_and_the_asked_size_where_the_matrix_has(rows, cols):
    platform = PLATFORMS["cuda"]
    height, width = platform.block(rows, cols)
    assert height & (height - 1) == width & (width - 1) == 0
    assert height < 2 * rows
    assert width < 2 * cols
    size = platform.rows * platform.cols
    assert height * width == min(size, 2 ** (rows - 1).bit_length() * 2 ** (cols - 1).bit_length())


@ON_CPU
def test_a_gradient_that_is_not_a_number_keeps_the_state_and_gives_no_step():
    tx, params = build("pallas"), tree(0, {"w": (40, 70)})
    update = jax.jit(tx.update)
    _, state = update(tree(1, {"w": (40, 70)}), tx.init(params), params)
    bad = tree(2, {"w": (40, 70)})
    bad["w"] = bad["w"].at[3, 5].set(jnp.nan)
    updates, after = update(bad, state, params)
    assert (updates["w"] == 0).all()
    assert int(after.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, after.inner, state.inner)


@pytest.mark.parametrize(
    ("platform", "call"), [("cuda", "__gpu$xla.gpu.triton"), ("tpu", "tpu_custom_call")]
)
@pytest.mark.parametrize(
    ("shape", "lanes"),
    [
        ((300, 130), None),
        ((130, 300), None),
        ((130, 300), 2),
        ((3, 3, 24, 16), None),
        ((999,), None),
    ],
)
def test_kernels_lower_for_accelerators_and_update_the_state_in_place(shape, platform, call, lanes):
    """On TPU the vector, and what is kept transposed there, stay with XLA."""
    optimizer = Nominal(momenta="bfloat16")
    tx = build("pallas", optimizer)
    params = {"w": jax.ShapeDtypeStruct(shape, jnp.bfloat16)}
    state = jax.eval_shape(tx.init, params)
    update = tx.update
    if lanes:
        stack = lambda x: jax.ShapeDtypeStruct((lanes, *x.shape), x.dtype)  # noqa: E731
        params, state = jax.tree.map(stack, (params, state))
        update = jax.vmap(update)
    traced = jax.jit(update).trace(params, state, params)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    wanted = 2 if platform == "cuda" or shape == (130, 300) else 0
    assert len(re.findall(f"custom_call @{re.escape(call)}", text)) == wanted
    # The three momenta and the second moment.
    assert len(re.findall("output_operand_alias<output_tuple_indices", text)) == 2 * wanted


def test_without_being_asked_for_no_platform_has_kernels():
    assert set(_path.PATHS.values()) == {"xla"}
    optimizer = Nominal()
    tx = optimizer.transform(trained_theta(optimizer), num_steps=20)
    assert count_kernels(tx, tree(0, SHAPES)) == 0
    with update_path("pallas"):
        assert _path.kernel_platforms() == ("cpu", "cuda", "tpu")
    assert _path.kernel_platforms() == ()


def test_a_platform_of_the_table_runs_kernels_unless_xla_is_asked_for(monkeypatch):
    monkeypatch.setitem(_path.PATHS, "cuda", "pallas")
    assert _path.kernel_platforms() == ("cuda",)
    with update_path("xla"):
        assert _path.kernel_platforms() == ()


def test_another_path_is_refused():
    with pytest.raises(ValueError, match='path must be "xla" or "pallas", got \'triton\''):
        update_path("triton").__enter__()


@pytest.mark.parametrize(
    ("shapes", "factored", "platforms"),
    [
        ([(300, 130)], False, {"cpu", "cuda"}),  # transposed on TPU: 32 tiles instead of 38
        ([(64, 960)], False, {"cpu", "cuda", "tpu"}),
        ([(3, 3, 64, 128)], False, {"cpu", "cuda", "tpu"}),
        ([(20_000,)], False, {"cpu", "cuda"}),
        ([(512, 8, 64)], False, set()),
        ([()], False, set()),
        ([(300, 130)], True, set()),
        ([(30, 13), (30, 13)], False, set()),
    ],
)
def test_which_tensors_have_kernels(shapes, factored, platforms):
    pack = _pack.Pack(tuple(range(len(shapes))), tuple(shapes))
    acc = init_accumulators(pack, [jnp.zeros(s) for s in shapes], factored=factored)
    assert {name for name in PLATFORMS if has_kernels(name, pack, acc)} == platforms


@ON_CPU
def test_lanes_of_a_vmap_agree_with_xla():
    """One of them with a gradient that is refused."""
    params = {"w": jnp.stack([tree(seed, {"w": (40, 70)})["w"] for seed in range(3)])}
    grads = jax.tree.map(lambda p: (0.1 * p).at[1, 0, 0].set(jnp.inf), params)

    def two_steps(tx):
        update = jax.jit(jax.vmap(tx.update))
        _, state = update(
            jax.tree.map(lambda p: 0.3 * p, params), jax.vmap(tx.init)(params), params
        )
        return update(grads, state, params)

    got, want = two_steps(build("pallas")), two_steps(build("xla"))
    assert got[1].skipped.tolist() == [0, 1, 0]
    assert_close(got, want)


@ON_CPU
def test_derivatives_are_those_of_xla():
    params, optimizer = tree(0, {"w": (9, 7)}), Nominal(hidden=2, controller_hidden=1)

    def loss(theta, path):
        with update_path(path):
            tx = optimizer.transform(theta, num_steps=20)
        updates, _ = tx.update(params, tx.init(params), params)
        return jnp.sum((params["w"] - updates["w"]) ** 2)

    theta = trained_theta(optimizer)
    got, want = (jax.jit(jax.grad(loss), static_argnums=1)(theta, p) for p in ("pallas", "xla"))
    assert float(jnp.abs(want["gate"]["b3"]).max()) > 0
    assert_close(got, want)
