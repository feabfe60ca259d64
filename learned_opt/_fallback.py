"""A guard: race a learned optimizer against a hand-made one and keep the better.

Premont-Schwarz, Vitku, Feyereisl 2022, "A Simple Guard for Learned Optimizers" (LGL2O): what
decides between the two is only the loss that each reaches from the same point.
"""

import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from ._base import check_num_steps, select
from .transformation._guard import all_stay_finite
from .transformation._trees import check_params

REIGN, FIRST, SECOND = 0, 1, 2  # phases: no race; the challenger's leg; the leader's leg
TRIES = 3
"""Most steps a way back may take beyond its first: params + step is rounded, so one may not do."""
FORGETTING = 4.0
"""The smoothed loss forgets within the window over this many steps."""
LAST_WINDOWS = 4
"""No race starts this close to the end: what it leads to must still pay."""
SLACK = 2.0
"""How far a reign may end above its best, in mean deviations of the loss from its smoothed self."""


class Anchor(NamedTuple):
    """Where to go back to: parameters, both optimizers' states, smoothed loss and its spread."""

    params: optax.Params
    learned: optax.OptState
    fallback: optax.OptState
    mean: jax.Array
    spread: jax.Array


class FallbackState(NamedTuple):
    """State of `with_fallback`: scalars (int32 unless said), two inner states and an anchor.

    `steps`: updates so far; `wasted`: of those, the ones that were taken back; `learned_leads`:
    whether the learned optimizer has the lead (bool); `phase`, `left`: what is going on and for
    how many more steps; `wins`: races the leader won in a row; `since`: steps since the anchor;
    `back`: tries left on a way back; `mean`: smoothed loss, `spread`: the mean deviation from it,
    `rival`: the challenger's smoothed loss (float32).
    """

    steps: jax.Array
    wasted: jax.Array
    learned_leads: jax.Array
    phase: jax.Array
    left: jax.Array
    wins: jax.Array
    since: jax.Array
    back: jax.Array
    mean: jax.Array
    spread: jax.Array
    rival: jax.Array
    learned: optax.OptState
    fallback: optax.OptState
    anchor: Anchor


def with_fallback(
    learned: optax.GradientTransformation,
    fallback: optax.GradientTransformation,
    *,
    num_steps: Any = None,
    window: int = 20,
    longest: int = 16,
    rise: float = 2.0,
) -> optax.GradientTransformationExtraArgs:
    """`learned` where it does better than `fallback`, and `fallback` where it does not.

    In a race the challenger makes `window` steps, which are taken back, and the leader makes
    `window` steps from the same parameters and states; the lower smoothed loss has the lead, a tie
    is the fallback's. The next race comes 2, 4, 8, ... windows later, at most `longest`, counted
    anew when the lead changes. The first race comes at once, with `learned` in the lead. Both
    optimizers see every gradient on the trajectory that is kept, so both are ready to take over.
    `learned` loses the lead without a race, and is taken back to its lowest smoothed loss, when
    the loss, the gradient or its step is not finite, when the smoothed loss is above
    best + (rise - 1) |best|, or when, at the time of a race, it is above the best by more than
    twice the mean deviation of the loss from it.

    What is certain, for a loss without noise:

    - If `learned` loses every race, the trajectory that is kept is the fallback's own, late by
      `wasted` <= (window + 1) (2 + log2(longest) + steps / (window longest)) steps. If it wins
      every race, it is the learned optimizer's own, late by no more than that. (Up to three steps
      more for each way back over a distance that rounding spoils.)
    - The parameters stay finite. A gradient that is not is skipped while the fallback leads.
    - If `learned` stops making progress while it leads, it leads for about 2 `longest` windows
      more at most, even if the fallback loses the races: from one race to the next without a new
      lowest smoothed loss, and the lead is the fallback's.

    A race sees one window ahead: an optimizer that does well for a window at a time and badly in
    the long run keeps the lead. With noise, take windows long enough that the loss averaged over
    a quarter of one shows the difference. Schedules inside follow the steps that are kept.

    `update` takes the loss at `params` as the keyword `value`. Both arguments are whole
    optimizers, and this is the last link of a chain: the updates lead back only if they are added
    as they are. A step costs the steps of both; the state holds a copy of the parameters and of
    both inner states.

    Args:
      learned: for instance `learned_opt.learned(...)`.
      fallback: for instance `optax.adamw(...)` at a rate to be trusted.
      num_steps: updates the whole run will make, at least 4 windows (may be traced): no race
        starts in the last 4 windows. Without it, the run may end among a challenger's steps.
      window: steps of one leg of a race, at least 2.
      longest: windows between two races, at least 1.
      rise: above 1, how far the smoothed loss may be above its best while `learned` leads.

    Raises:
      ValueError: an argument out of range; at `update`, no `value`, a `value` that is not a
        scalar, or parameters that are None or hold integer or empty leaves.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from learned_opt import with_fallback
      >>> broken = optax.sgd(-1.0)
      >>> tx = with_fallback(broken, optax.sgd(0.1), num_steps=60, window=5)
      >>> params = jnp.ones(3)
      >>> state = tx.init(params)
      >>> for _ in range(60):
      ...     value, grads = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
      ...     updates, state = tx.update(grads, state, params, value=value)
      ...     params = optax.apply_updates(params, updates)
      >>> bool(jnp.sum(params**2) < 1e-3), bool(state.learned_leads)
      (True, False)
    """
    _check(window, longest, rise)
    horizon = None if num_steps is None else _check_horizon(num_steps, window)
    learned, fallback = (optax.with_extra_args_support(tx) for tx in (learned, fallback))

    def init(params: optax.Params) -> FallbackState:
        check_params(params)

        # Every array a buffer of its own, so that a training step may donate the state.
        def inner() -> tuple[optax.OptState, optax.OptState]:
            return jax.tree.map(jnp.array, (learned.init(params), fallback.init(params)))

        def zeros(count: int, dtype: Any) -> list[jax.Array]:
            return [jnp.zeros((), dtype) for _ in range(count)]

        steps, wasted, *counts = zeros(7, jnp.int32)
        anchor = Anchor(jax.tree.map(jnp.array, params), *inner(), *zeros(2, jnp.float32))
        numbers = zeros(3, jnp.float32)
        start = [steps, wasted, jnp.array(True), *counts, *numbers, *inner(), anchor]
        return FallbackState(*start)

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        value: Any = None,
        **extra_args,
    ) -> tuple[optax.Updates, FallbackState]:
        assert isinstance(state, FallbackState)
        check_params(params)
        assert params is not None
        loss = _check_value(value)
        extra_args["value"] = value
        ours, new_learned = learned.update(updates, state.learned, params, **extra_args)
        theirs, new_fallback = fallback.update(updates, state.fallback, params, **extra_args)

        returning = state.back > 0
        away = returning & ~_close(params, state.anchor.params)
        finite = jnp.isfinite(loss)
        # The loss at the anchor is in the anchor's mean already.
        old = jnp.where(state.steps == 0, loss, state.mean)
        rate = jnp.where(returning | ~finite, 0.0, min(1.0, FORGETTING / window))
        error = jnp.where(finite, loss - old, 0.0)
        mean = old + rate * error
        spread = state.spread + rate * (jnp.abs(error) - state.spread)

        # A reign of the learned one must end about as low as it ever was; on the way it may rise.
        leads, phase, best = state.learned_leads, state.phase, state.anchor.mean
        ends = (phase == REIGN) & (state.left <= 0) & (state.left % window == 0)
        limit = (rise - 1) * jnp.abs(best)
        limit = jnp.where(ends, jnp.minimum(limit, SLACK * spread), limit)
        risen = (state.steps > 0) & (mean > best + limit)

        # One that had no new best at all hands over: it may stand where the fallback, by its
        # momentum, loses the same race again and again.
        reigned = window * _windows(state.wins, longest)
        stalls = ~away & finite & ends & leads & ~risen & (state.since >= reigned) & (mean >= best)
        leads &= ~stalls
        wins = jnp.where(stalls, 1, state.wins)
        left = jnp.where(stalls, window * _windows(wins, longest), state.left)

        # A race starts where a reign ends, unless it ended badly or the run is about to end.
        start = ~away & finite & ends & ~stalls & ~(leads & risen)
        if horizon is not None:
            start &= horizon - state.steps.astype(jnp.float32) >= LAST_WINDOWS * window
        phase = jnp.where(start, FIRST, phase)
        left = jnp.where(start, window, left)
        best = jnp.where(start, mean, best)

        # Whose turn it is, and whether that goes wrong. Alone, the fallback is not judged by the
        # loss: it must go on as it would without a guard.
        acts = leads ^ (phase == FIRST)
        step = select(acts, _like(ours, updates), _like(theirs, updates))
        broken = ~(_finite(updates) & all_stay_finite(params, step))
        alone = (phase == REIGN) & ~leads
        fails = ~away & (broken | (~alone & ~finite) | (acts & risen & ~start))

        over = ~away & (fails | (left <= 0))
        first, second = over & (phase == FIRST), over & (phase == SECOND)
        score = jnp.where(fails, jnp.inf, mean)
        holds = jnp.where(leads, score < state.rival, score <= state.rival)
        kept = second & holds & ~fails
        lost = fails & (phase == REIGN) & leads
        skip = fails & alone
        back = first | (second & ~kept) | lost
        moves = ~(away | back | skip)

        decided = second | lost
        leads = jnp.where(second & ~holds, ~leads, leads) & ~lost
        wins = jnp.where(decided, jnp.where(kept, wins + 1, 1), wins)
        phase = jnp.where(first, SECOND, jnp.where(decided, REIGN, phase))
        left = jnp.where(first, window, jnp.where(decided, window * _windows(wins, longest), left))

        better = moves & (phase == REIGN) & leads & (left % window == 0) & (mean < best)
        here = Anchor(params, state.learned, state.fallback, mean, spread)
        anchor = select(start | better, here, state.anchor)
        since = jnp.where(start | better, 0, state.since)

        home = _like(jax.tree.map(jnp.subtract, anchor.params, params), updates)
        step = select(skip, jax.tree.map(jnp.zeros_like, step), step)
        inner = (state.learned, state.fallback)
        inner = select(moves, (new_learned, new_fallback), inner)
        inner = select(back, (anchor.learned, anchor.fallback), inner)
        gone = jnp.where(back, since + 1, jnp.where(moves, 0, 1))
        return select(away | back, home, step), FallbackState(
            steps=state.steps + 1,
            wasted=state.wasted + gone,
            learned_leads=leads,
            phase=phase,
            left=left - jnp.where(moves, 1, 0),
            wins=wins,
            since=jnp.where(back, 0, since + jnp.where(moves, 1, 0)),
            back=jnp.where(back, TRIES, jnp.where(away, state.back - 1, 0)),
            mean=jnp.where(back, anchor.mean, mean),
            spread=jnp.where(back, anchor.spread, spread),
            rival=jnp.where(first, score, state.rival),
            learned=inner[0],
            fallback=inner[1],
            anchor=anchor,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _check(window: Any, longest: Any, rise: Any) -> None:
    for name, given, least in (("window", window, 2), ("longest", longest, 1)):
        integral = isinstance(given, numbers.Integral) and not isinstance(given, bool)
        if not integral or given < least:
            raise ValueError(
                f"{name} must be an integer of at least {least}, got {given!r}; "
                "leave it out for the default"
            )
    if not isinstance(rise, numbers.Real) or not float(rise) > 1:
        raise ValueError(
            f"rise must be a number above 1, got {rise!r}; 2 lets the smoothed loss double"
        )


def _check_horizon(num_steps: Any, window: int) -> jax.Array:
    horizon = check_num_steps(num_steps)
    if not isinstance(horizon, Tracer) and horizon < LAST_WINDOWS * window:
        raise ValueError(
            f"num_steps must be at least {LAST_WINDOWS} windows of {window} steps, got "
            f"{num_steps!r}; pass a shorter window"
        )
    return horizon


def _check_value(value: Any) -> jax.Array:
    if value is None:
        raise ValueError(
            "with_fallback judges by the loss, got none; "
            "call update(grads, state, params, value=loss)"
        )
    if jnp.shape(value) != ():
        raise ValueError(
            f"value must be a scalar, got shape {jnp.shape(value)}; pass the mean loss of the batch"
        )
    return jnp.asarray(value).astype(jnp.float32)


def _windows(wins: jax.Array, longest: int) -> jax.Array:
    """2, 4, 8, ... windows between races, at most `longest`."""
    return jnp.minimum(jnp.left_shift(jnp.ones_like(wins), jnp.minimum(wins, 30)), longest)


def _like(tree: Any, other: Any) -> Any:
    return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, other)


def _finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.array([True, *(jnp.isfinite(x).all() for x in jax.tree.leaves(tree))]))


def _close(params: optax.Params, target: optax.Params) -> jax.Array:
    """Whether `params` is `target` up to rounding, judged by each tensor's largest entry."""
    good = jnp.array(True)
    for p, t in zip(jax.tree.leaves(params), jax.tree.leaves(target), strict=True):
        eps = float(jnp.finfo(t.dtype).eps)
        good &= jnp.all(jnp.abs(p - t) <= 4 * eps * jnp.max(jnp.abs(t)))
    return good
