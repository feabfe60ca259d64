"""What all learned optimizers share: one state, one guard, one way through the tensors of a tree.

An optimizer brings its rule, see `Rule`; `as_transformation` makes an optax transformation of it.
"""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._base import Theta, select, zeros_for
from ..devices._axes import reduced_like, sharded_like, typed, varying_like
from ..layouts._layout import Layout
from ..layouts._layouts import AxesLike, layouts
from ._finish import Finish
from ._guard import (
    LARGEST_NORM,
    OnSkips,
    apart,
    check_in_a_row,
    check_on_skips,
    stays_finite,
    sum_squares,
)
from ._rule import Kept, Now, Rule, Tensors
from ._stacks import from_tensors, make_places, make_stacks, stack, to_tensors, unstack
from ._trees import (
    check_params,
    leaf_dtype,
    match_gradients,
    match_memory,
    match_state,
    split_state,
)


class LearnedState(NamedTuple):
    """State of every learned optimizer.

    Attributes:
      count: gradients that went into the averages so far, int32 scalar: those of all steps, and of
        steps that were refused for what they would have made of a parameter.
      skipped: steps refused so far, because a gradient was not finite or too large, or a parameter
        would not have stayed finite, int32 scalar.
      skipped_in_a_row: of those the ones since the last step that was taken, int32 scalar.
      elements: the rule's averages: a named tuple of trees of the parameters' own structure. Their
        arrays have the shapes of the parameters, or, where they are means over axes, less.
      tensors: what the rule keeps of each tensor: arrays with a row for each, in the order of the
        leaves; the tensors of a stack are rows of their own.
      run: what it keeps of the run.
    """

    count: jax.Array  # type: ignore[assignment]
    skipped: jax.Array
    skipped_in_a_row: jax.Array
    elements: Any
    tensors: Any
    run: Any


def as_transformation(
    rule: Rule,
    theta: Theta,
    step_size: optax.Schedule,
    *,
    total: jax.Array | None = None,
    epochs: jax.Array | None = None,
    axes: AxesLike = None,
    kinds: Callable[[Any, Sequence[Layout]], list[Hashable]] | None = None,
    finish: Callable[[Any, jax.Array], Finish] | None = None,
    on_skips: OnSkips = None,
) -> optax.GradientTransformationExtraArgs:
    """The rule at `theta` as an optax transformation with a `LearnedState`.

    A gradient that is not finite, or has a norm of 1e18, makes the step zero, leaves the state as
    it was and is counted. An update that would make a finite parameter infinite, in its own type,
    makes the step zero and is counted, too; averages and `count` have taken its gradient in.
    Everything is computed in float32, whatever the types of theta, of parameters and of gradients,
    and whether x64 is on; updates have the types of the gradients. A gradient of None is that of a
    frozen parameter: its update is None.

    Args:
      rule: see there.
      theta: its meta-parameters.
      step_size: nominal, of the number of steps taken.
      total: steps of the whole run, float32, or None.
      epochs: how often it will see each example, float32, or None.
      axes: see `layouts`.
      kinds: in place of the rule's own `_kinds`.
      finish: of params and count, see there; None for the steps themselves, to be subtracted.
      on_skips: see `learned`.
    """
    check_on_skips(on_skips)
    theta = jax.tree.map(as_float32, theta)
    kinds_of = kinds or rule._kinds

    def init(params: optax.Params) -> LearnedState:
        check_params(params)
        leaves, treedef = jax.tree.flatten(params)
        read = layouts(axes, params)
        of_leaves = kinds_of(params, read)
        with jax.enable_x64(False):
            zeros = [zeros_for(p) for p in leaves]
            kept = [_init_leaf(rule, *leaf) for leaf in zip(zeros, read, of_leaves, strict=True)]
            # Beside parameters that differ by device they will differ too.
            state = varying_like(_first_state(rule, theta, _count(read)), zeros)
        return state._replace(elements=_transposed(rule, treedef, kept))

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, LearnedState]:
        check_params(params)
        if not isinstance(state, LearnedState):
            raise TypeError(
                f"state must be the LearnedState that init gave, got {type(state).__name__}; "
                "pass the state of this very transformation, not of a chain around it"
            )
        grads = match_gradients(params, updates)
        leaves, treedef = jax.tree.flatten(params)
        read = layouts(axes, params)
        of_leaves = tuple(kinds_of(params, read))
        shapes = [_leaf_shapes(rule, *leaf) for leaf in zip(read, of_leaves, strict=True)]
        like = _structure(rule)
        fields = split_state(like, state.elements)
        kept = [like.unflatten(x) for x in match_state(params, fields, shapes)]
        with jax.enable_x64(False):
            first = jax.eval_shape(lambda x: _first_state(rule, x, _count(read)), theta)
        match_memory(state._replace(elements=()), first)
        if all(g is None for g in grads):
            return updates, state
        told = {k: extra_args.get(k) for k in rule.keywords}
        size = as_float32(step_size(state.count))
        gs = [None if g is None else as_float32(g) for g in grads]
        ps = [as_float32(p) for p in leaves]
        with jax.enable_x64(False):
            beside = rule._beside(params, read, told)
            end = None if finish is None else finish(params, state.count)
            facts = total, epochs, size, told, beside, end
            pairs = zip(leaves, grads, strict=True)
            types = tuple(None if g is None else (leaf_dtype(p), leaf_dtype(g)) for p, g in pairs)
            small = state._replace(elements=())
            ok, steps, kept, after = _step(
                rule, read, of_leaves, types, theta, facts, gs, ps, kept, small
            )
            if end is not None:
                steps = {i: end.update(i, u, ps[i]) for i, u in steps.items()}
        for i, u in steps.items():
            u, g = jnp.where(ok, u, jnp.zeros_like(u)), jnp.asarray(grads[i])
            steps[i] = reduced_like(sharded_like(u.astype(g.dtype), g), g)
        after = after._replace(elements=_transposed(rule, treedef, kept))
        check_in_a_row(after.skipped_in_a_row, on_skips)
        return treedef.unflatten([steps.get(i) for i in range(len(grads))]), after

    return optax.GradientTransformationExtraArgs(init, update)


def as_float32(x: Any) -> jax.Array:
    """An array or a number."""
    return jnp.asarray(x).astype(jnp.float32)


# Compiled by itself only where the caller compiles nothing: then one call instead of hundreds.
@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), inline=True)
def _step(
    rule: Rule,
    read: tuple[Layout, ...],
    kinds: tuple[Hashable, ...],
    types: tuple[tuple[Any, Any] | None, ...],
    theta: Theta,
    facts: tuple[Any, Any, jax.Array, dict[str, Any], list[Any], Finish | None],
    grads: list[Any],
    params: list[jax.Array],
    kept: list[Any],
    state: LearnedState,
) -> tuple[jax.Array, dict[int, jax.Array], list[Any], LearnedState]:
    """Whether the step is accepted, steps by leaf, averages of every leaf, and the new state.

    `types`: of each leaf and its gradient, before they were float32.
    """
    total, epochs, size, told, beside, end = facts
    active = [i for i, g in enumerate(grads) if g is not None]
    alike = list(zip(map(typed, params), types, strict=True))
    stacks = make_stacks(read, kinds, alike, active, rule.cheap)
    gs = [stack(x, read, grads) for x in stacks]
    largest = [x.map(sum_squares, g).reshape(-1) for x, g in zip(stacks, gs, strict=True)]
    # One condition: a chain would be compiled into everything that looks at it. And no maximum:
    # of thousands of numbers XLA on CPU loses a NaN.
    largest = jnp.concatenate([reduced_like(x, state.count) for x in largest])
    seen = apart(jnp.all(largest < LARGEST_NORM**2))
    most = max(1 if x.alone else len(x.leaves) for x in stacks)
    places = make_places(jnp.where(state.count < 0, 2, 1), most)
    rows = _active_rows(read, active)
    old = Kept(_rows(state.tensors, rows), state.run)
    count = state.count
    now = Now(count, count.astype(jnp.float32), total, epochs, size, told, theta, old)
    after = list(kept)
    traced: dict[Hashable, Callable[..., Any]] = {}
    for i in active:
        if (read[i], kinds[i]) not in traced:
            see = functools.partial(rule._accumulate, now, kinds[i])
            # Traced once for all leaves that are alike.
            traced[read[i], kinds[i]] = jax.jit(_accumulation(see, read[i], seen), inline=True)
        after[i] = traced[read[i], kinds[i]](kept[i], grads[i])
    tensors = [
        Tensors(
            x,
            g,
            stack(x, read, params),
            stack(x, read, after),
            functools.partial(stack, x, read, kept),
            stack(x, read, beside),
        )
        for x, g in zip(stacks, gs, strict=True)
    ]
    change = rule._update(now, tensors)
    bad = [~jnp.isfinite(x).all() for x in jax.tree.leaves(change.memory) if _is_float(x)]
    for x, u in zip(tensors, change.steps, strict=True):
        u = -u if end is None else end.update_stack(x.stack, read, u, x.p)
        kind: Any = types[x.stack.leaves[0]]
        bad.append(~stays_finite(x.p, u, kind))
    bad = jnp.stack([reduced_like(x, state.count) for x in bad])
    # Of averages the old ones are gone by now: kept, they would double the memory of a state.
    ok = apart(seen & ~jnp.any(bad))
    steps: dict[int, jax.Array] = {}
    for x, u in zip(stacks, change.steps, strict=True):
        if not x.alone:
            # Else XLA would compile all of the step into each slice of it.
            u = jax.lax.cond(ok, lambda u: u, _zeros_like, u)
        unstack(x, read, u, steps, places)
    if change.kept is not None:
        found: dict[int, Any] = {}
        for x, new in zip(stacks, change.kept, strict=True):
            unstack(x, read, new, found, places)
        for i, new in found.items():
            new = jax.tree.map(lambda n, o: o if n is None else n, new, after[i], is_leaf=_is_none)
            after[i] = select(ok, new, kept[i])
    memory = select(ok, change.memory, old)
    new = LearnedState(
        state.count + jnp.where(seen, 1, 0),
        state.skipped + jnp.where(ok, 0, 1),
        jnp.where(ok, 0, state.skipped_in_a_row + 1),
        (),
        _with_rows(state.tensors, rows, memory.tensors),
        memory.run,
    )
    after = jax.tree.map(reduced_like, after, kept)
    return ok, steps, after, jax.tree.map(reduced_like, new, state)


def _accumulation(
    see: Callable[..., Any], layout: Layout, ok: jax.Array
) -> Callable[[Any, jax.Array], Any]:
    """(averages of a leaf, its gradient) -> averages after it, in the shapes that are kept."""

    def accumulate(kept: Any, g: jax.Array) -> Any:
        if layout.plain:
            return select(ok, see(kept, g), kept)
        old = jax.tree.map(functools.partial(to_tensors, layout), kept)
        new = jax.vmap(see)(old, to_tensors(layout, g))
        return select(ok, jax.tree.map(functools.partial(from_tensors, layout), new), kept)

    return accumulate


def _init_leaf(rule: Rule, zeros: jax.Array, layout: Layout, kind: Hashable) -> Any:
    """The averages of a leaf before the first step, likewise."""
    if layout.plain:
        return rule._init_tensor(zeros, kind)
    init = functools.partial(rule._init_tensor, kind=kind)
    every = jax.vmap(init)(to_tensors(layout, zeros))
    return jax.tree.map(functools.partial(from_tensors, layout), every)


@functools.lru_cache(maxsize=4096)
def _leaf_shapes(rule: Rule, layout: Layout, kind: Hashable) -> list[jax.ShapeDtypeStruct]:
    """Of the averages of a leaf."""
    with jax.enable_x64(False):
        zeros = jax.ShapeDtypeStruct(layout.shape, jnp.float32)
        kept = jax.eval_shape(lambda x: _init_leaf(rule, x, layout, kind), zeros)
    return jax.tree.leaves(kept)


def _first_state(rule: Rule, theta: Theta, tensors: int) -> LearnedState:
    """Without averages."""
    count, skipped, in_a_row = (jnp.zeros((), jnp.int32) for _ in range(3))
    return LearnedState(count, skipped, in_a_row, (), *rule._init_memory(theta, tensors))


@functools.lru_cache(maxsize=64)
def _structure(rule: Rule) -> Any:
    """Of the averages of any tensor."""
    with jax.enable_x64(False):
        zeros = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.tree.structure(jax.eval_shape(lambda x: rule._init_tensor(x, None), zeros))


def _transposed(rule: Rule, treedef: Any, kept: Sequence[Any]) -> Any:
    """Averages of every leaf as averages of trees."""
    like = _structure(rule)
    rows = [like.flatten_up_to(x) for x in kept]
    return like.unflatten(
        [treedef.unflatten([row[k] for row in rows]) for k in range(like.num_leaves)]
    )


def _count(read: Sequence[Layout]) -> int:
    return sum(x.count for x in read)


def _active_rows(read: Sequence[Layout], active: Sequence[int]) -> np.ndarray | None:
    """Positions of the tensors of leaves that have a gradient; None for all of them."""
    if len(active) == len(read):
        return None
    starts = np.cumsum([0, *(x.count for x in read)])
    return np.concatenate([np.arange(starts[i], starts[i + 1]) for i in active])


def _rows(tree: Any, rows: np.ndarray | None) -> Any:
    return tree if rows is None else jax.tree.map(lambda x: x[rows], tree)


def _with_rows(tree: Any, rows: np.ndarray | None, new: Any) -> Any:
    return new if rows is None else jax.tree.map(lambda x, y: x.at[rows].set(y), tree, new)


def _zeros_like(x: jax.Array) -> jax.Array:
    return varying_like(jnp.zeros_like(x), [x])


def _is_float(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _is_none(x: Any) -> bool:
    return x is None
