"""What every optimizer must do with states as optax's own do: refuse, map, shard, count, skip."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P
from rows import FEW, every, few, optimizers
from sharded import SMALL

import learned_opt
from learned_opt import OPTIMIZERS

PARAMS = {
    "w": jnp.ones((3, 4)) * jnp.arange(1.0, 4.0)[:, None],
    "b": jnp.ones(4),
    "s": jnp.ones(()),
}
GRADS = jax.tree.map(lambda p: 0.1 * p + 0.01, PARAMS)
BAD = {**GRADS, "b": GRADS["b"].at[1].set(jnp.nan)}

every_name = pytest.mark.parametrize("name", learned_opt.available())


def artifact(cls):
    optimizer = cls(**SMALL.get(cls, {}))
    return learned_opt.Artifact(optimizer, optimizer.init(jax.random.key(0)), {"name": "test"})


def learned(cls, **options):
    return learned_opt.learned(artifact(cls), num_steps=10, **options)


def kinds(tree):
    """Shapes and dtypes, with or without values."""
    return jax.tree.map(lambda x: (x.shape, jnp.dtype(x.dtype).name), tree)


# --- The state is that of these parameters and of this optimizer. ---

TREE = {"enc": {"w": jnp.ones((2, 6)), "b": jnp.ones(4)}, "head": jnp.ones(4)}
TURNED = {**TREE, "enc": {**TREE["enc"], "w": jnp.ones((6, 2))}}
RENAMED = {"zenc": TREE["enc"], "head": TREE["head"]}


@every
@pytest.mark.parametrize(
    ("params", "grads", "message"),
    [
        (RENAMED, RENAMED, r"state .* got \['enc'\]\['b'\] of shape \(4,\) in place of \['zenc'\]"),
        (TURNED, TURNED, r"state .* got float32\[.*\] for float32\[.*\] at \['enc'\]\['w'\]"),
        (TREE, jax.tree.leaves(TREE), r"updates .* got \[0\] .* in place of \['enc'\]\['b'\]"),
        (TREE, TURNED, r"updates .* got \(6, 2\) for \(2, 6\) at \['enc'\]\['w'\]"),
        (TREE, RENAMED, r"updates .* got \['zenc'\]\['b'\] of shape \(4,\) in place of"),
    ],
    ids=["renamed", "turned", "list", "shape", "names"],
)
def test_a_state_or_gradients_of_another_tree_are_refused(cls, params, grads, message):
    tx = learned(cls)
    with pytest.raises(ValueError, match=message) as error:
        tx.update(grads, tx.init(TREE), params)
    assert "\n" not in str(error.value)


@every
def test_a_state_of_another_optimizer_is_refused(cls):
    """Unless nothing tells it from one of this."""
    tx = learned(cls)
    own = tx.init(PARAMS)
    for other in OPTIMIZERS:
        state = learned(other).init(PARAMS)
        if jax.tree.structure(state) == jax.tree.structure(own) and kinds(state) == kinds(own):
            continue
        with pytest.raises(ValueError, match="state must be") as error:
            tx.update(GRADS, state, PARAMS)
        assert "\n" not in str(error.value)


def narrow(x):
    return x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x


@every
def test_a_state_of_other_types_is_refused(cls):
    tx = learned(cls)
    state = tx.init(PARAMS)
    message = r"got bfloat16\[.*\] for float32\[.*\] at \['b'\]"
    with pytest.raises(ValueError, match=message):
        tx.update(GRADS, jax.tree.map(narrow, state), PARAMS)
    with pytest.raises(ValueError, match=r"got float32\[\] at \.count for int32\[\] at \.count"):
        tx.update(GRADS, state._replace(count=jnp.zeros(())), PARAMS)
    chain = optax.chain(optax.clip(1.0), tx)
    for wrong in (tuple(state), None, chain.init(PARAMS), optax.adam(0.1).init(PARAMS)):
        name = type(wrong).__name__
        with pytest.raises(TypeError, match=f"state must be the LearnedState .* got {name};"):
            tx.update(GRADS, wrong, PARAMS)
    with pytest.raises(TypeError, match=r"state must be the LearnedState .* got NoneType;"):
        chain.update(GRADS, (optax.EmptyState(), None), PARAMS)


# --- Shapes alone, and what belongs to a parameter. ---


def check_mapping(tx):
    real = tx.init(PARAMS)
    assert kinds(tx.init(jax.eval_shape(lambda: PARAMS))) == kinds(real)
    assert kinds(jax.eval_shape(tx.init, PARAMS)) == kinds(real)
    rest = []

    def other(x):
        rest.append(kinds(x))
        return x

    one = optax.tree_utils.tree_map_params(tx, lambda x: x + 1, real, transform_non_params=other)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y + 1), one.elements, real.elements)
    others = real._replace(elements=())
    assert rest == [kinds(x) for x in jax.tree.leaves(others)]
    jax.tree.map(np.testing.assert_array_equal, one._replace(elements=()), others)
    names = {name: name for name in PARAMS}
    named = optax.tree_utils.tree_map_params(
        tx, lambda _, name: name, real, names, transform_non_params=lambda _: None
    )
    found = jax.tree.leaves(named)
    assert found == sorted(PARAMS) * (len(found) // len(PARAMS)) != []
    assert int(optax.tree.get(real, "count")) == 0


@every
def test_the_state_of_every_optimizer_maps_like_that_of_adam(cls):
    check_mapping(learned(cls, weight_decay=0.1, learning_rate=optax.constant_schedule(1.0)))


@every_name
def test_the_state_of_every_artifact_maps_like_that_of_adam(name):
    check_mapping(learned_opt.learned(name, num_steps=10))


def boxed(**params):
    import flax.linen as nn

    names = {"kernel": ("m", None), "bias": (None,)}
    return {"dense": {k: nn.Partitioned(x, names[k]) for k, x in params.items()}}


@few
def test_boxes_of_flax_are_kept(cls):
    import flax.linen as nn

    tx = learned(cls)
    params = boxed(kernel=jnp.ones((256, 128)), bias=jnp.ones(128))
    specs = nn.get_partition_spec(jax.eval_shape(tx.init, params))
    found = jax.tree.leaves_with_path(specs.elements)
    kernels = [spec for path, spec in found if "kernel" in jax.tree_util.keystr(path)]
    assert kernels == [P("m", None)] * len(kernels) != []
    assert set(jax.tree.leaves(specs._replace(elements=()))) == {P()}
    params = boxed(kernel=PARAMS["w"], bias=PARAMS["b"])
    grads = boxed(kernel=GRADS["w"], bias=GRADS["b"])
    updates, state = tx.update(grads, tx.init(params), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))
    plain = [{"dense": {"kernel": t["w"], "bias": t["b"]}} for t in (GRADS, PARAMS)]
    want, _ = tx.update(plain[0], tx.init(plain[1]), plain[1])
    for x, y in zip(jax.tree.leaves(updates), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(x, y)


def test_boxes_of_flax_name_a_stack_as_plain_trees_do():
    params = boxed(kernel=jnp.ones((2, 3, 4)), bias=jnp.ones((2, 4)))
    lines = learned_opt.describe_layouts(params).splitlines()
    assert [line.split("  ")[-1].strip() for line in lines] == ["2 of vector 4", "2 of 3 -> 4"]


@every
def test_states_of_nnx_are_kept(cls):
    from flax import nnx

    with jax.numpy_rank_promotion("allow"):
        _, params = nnx.split(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))
    params["kernel"][...], params["bias"][...] = PARAMS["w"], PARAMS["b"]
    grads = jax.tree.map(lambda x: 0.1 * x + 0.01, params)
    tx = learned(cls)
    updates, _ = tx.update(grads, tx.init(params), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    plain = [{"kernel": t["w"], "bias": t["b"]} for t in (GRADS, PARAMS)]
    want, _ = tx.update(plain[0], tx.init(plain[1]), plain[1])
    np.testing.assert_allclose(updates["kernel"][...], want["kernel"], rtol=1e-5)


# --- Skipped steps are counted, and heard. ---


def configurations(cls):
    """Every way to a learned optimizer; of these, "inject" has a counter of optax beside ours."""
    tx = learned(cls)

    def build(learning_rate, weight_decay):
        return learned(cls, learning_rate=learning_rate, weight_decay=weight_decay)

    labels = {"w": "learned", "b": "learned", "s": "sgd"}
    inject = optax.inject_hyperparams(build)
    return {
        "plain": tx,
        "decay": learned(cls, weight_decay=0.1),
        "schedules": learned(cls, weight_decay=lambda t: 0.1, schedule=lambda t: 0.5),
        "scale_by": learned_opt.scale_by_learned(artifact(cls), num_steps=10),
        "chain": optax.chain(optax.clip(1.0), optax.chain(tx)),
        "masked": optax.masked(tx, {"w": True, "b": True, "s": False}),
        "partition": optax.partition({"learned": tx, "sgd": optax.sgd(0.1)}, labels),
        "inject": inject(learning_rate=1.0, weight_decay=optax.linear_schedule(0.1, 0.0, 10)),
        "MultiSteps": optax.MultiSteps(tx, 1).gradient_transformation(),
    }


@few
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_skipped_steps_have_one_name_and_place_in_every_configuration(cls):
    for name, tx in configurations(cls).items():
        state = optax.with_extra_args_support(tx).init(PARAMS)
        update = jax.eval_shape(tx.update, GRADS, state, PARAMS)[1]
        assert kinds(update) == kinds(state), name
        found = [optax.tree.get(state, k).shape for k in ("skipped", "skipped_in_a_row")]
        assert found == [(), ()], name
        if name != "inject":
            assert optax.tree.get(state, "count").shape == (), name
        learned_opt.check_skips(state)
        state = optax.tree.set(state, skipped_in_a_row=jnp.asarray(11, jnp.int32))
        with pytest.raises(learned_opt.SkippedError, match="the last 11 steps were skipped"):
            learned_opt.check_skips(state)
        with pytest.warns(learned_opt.SkippedWarning, match="the last 11 steps"):
            learned_opt.check_skips(state, on_skips="warn")
        learned_opt.check_skips(state, at_most=11)


@every
def test_a_long_row_of_skipped_steps_is_heard(cls):
    """At the eleventh; a good step starts a new row."""
    tx = learned(cls, on_skips="raise")
    state = tx.init(PARAMS)
    for grads in (BAD, BAD, GRADS, *[BAD] * 10):
        _, state = tx.update(grads, state, PARAMS)
    counts = [int(optax.tree.get(state, k)) for k in ("count", "skipped", "skipped_in_a_row")]
    assert counts == [1, 12, 10]
    with pytest.raises(learned_opt.SkippedError, match="the last 11 steps were skipped"):
        tx.update(BAD, state, PARAMS)
    with pytest.warns(learned_opt.SkippedWarning, match="the last 11 steps were skipped"):
        learned(cls, on_skips="warn").update(BAD, state, PARAMS)
    with pytest.raises(ValueError, match="on_skips must be"):
        learned(cls, on_skips="loud").update(BAD, state, PARAMS)


def test_steps_that_optax_skips_are_heard():
    tx = optax.apply_if_finite(learned(OPTIMIZERS[0]), 100)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    for _ in range(11):
        _, state = update(BAD, state, PARAMS)
    with pytest.raises(learned_opt.SkippedError, match="the last 11 steps were skipped"):
        learned_opt.check_skips(state)


def run(tx, grads):
    state, params, update = tx.init(PARAMS), PARAMS, jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("cls", optimizers({"gated_adam"}))
@jax.numpy_dtype_promotion("standard")  # optax's own code divides floats by integers
def test_a_bad_micro_batch_is_left_out_or_heard(cls):
    tx = learned(cls)
    want, _ = run(optax.MultiSteps(tx, 2), [GRADS] * 4)
    skip = optax.MultiSteps(tx, 2, should_skip_update_fn=optax.skip_not_finite)
    for wrapped in (learned_opt.multi_steps(tx, 2), skip):
        got, _ = run(wrapped, [GRADS, BAD, GRADS, GRADS, GRADS])
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), got, want)
        assert all((got[k] != PARAMS[k]).any() for k in ("w", "b"))
    got, state = run(optax.MultiSteps(tx, 2), [BAD, *[GRADS] * 23])
    jax.tree.map(np.testing.assert_array_equal, got, PARAMS)
    with pytest.raises(
        learned_opt.SkippedError, match=r"the last 12 steps .* learned_opt\.multi_steps"
    ):
        learned_opt.check_skips(state)
    _, state = run(learned_opt.multi_steps(tx, 2), [BAD] * 12)
    with pytest.raises(learned_opt.SkippedError, match="the last 12 steps"):
        learned_opt.check_skips(state)


@pytest.mark.parametrize(
    ("cls", "make"),
    [
        pytest.param(*cls.values, make, id=f"{cls.id}-{make.__name__}", marks=cls.marks)
        for make, quick in ((learned_opt.learned, None), (learned_opt.scale_by_learned, FEW))
        for cls in optimizers(quick)
    ],
)
def test_axes_are_taken_by_every_optimizer(cls, make):
    """A stack of two matrices moves like the two."""
    optimizer, axes = artifact(cls), {"w": learned_opt.Axes(batch=(0,), inputs=(1,), outputs=(2,))}
    params = {"w": jnp.stack([PARAMS["w"], 2 * PARAMS["w"]])}
    grads = {"w": jnp.stack([GRADS["w"], -GRADS["w"]])}
    tx = make(optimizer, num_steps=10, axes=axes)
    got, state = tx.update(grads, tx.init(params), params)
    assert kinds(state) == kinds(tx.init(params))
    two = [{"0": t["w"][0], "1": t["w"][1]} for t in (grads, params)]
    apart = make(optimizer, num_steps=10)
    want, _ = apart.update(two[0], apart.init(two[1]), two[1])
    if cls.name == "open":
        return  # it counts layers
    for i in range(2):
        scale = float(jnp.abs(want[str(i)]).max())
        np.testing.assert_allclose(got["w"][i], want[str(i)], rtol=1e-5, atol=1e-5 * scale)
