"""A shelf of earlier runs to go on from: long horizons without long unrolls.

Moudgil et al. 2026 (ELO): a share of the runs that begin go on from an earlier inner state.
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from learned_opt._fields import Count, Share, Within, check_fields


class Shelf(NamedTuple):
    """`stored`: pairs, leaves (pairs, slots, ...); `filled`: bool (pairs, slots)."""

    stored: Any
    filled: Any


@dataclasses.dataclass(frozen=True)
class Continuation:
    """With probability `share` a pair whose run is over takes up one it has finished before.

    The run goes on for another horizon drawn as usual: the optimizer is told the new total and
    finds the state of a shorter run.

    Args:
      share: probability; 0 switches the shelf off.
      slots: finished runs a pair keeps; a new one replaces one at random.
      longest: a run beyond this many steps is not taken up again.
      unbiased: both sides go on from their own states and the sum of their perturbations is kept,
        so that estimates stay unbiased for the longer run, with the variance of one. Otherwise
        both go on from the state of the + side, as from given initial weights: the effect of theta
        on the earlier part is left out, as ELO does.
    """

    share: Share = 0.0
    slots: Annotated[int, Within(1, 10**4)] = 4
    longest: Count = 10_000
    unbiased: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def shelf(self, pairs: Any) -> Shelf:
        """An empty one for the pairs of an estimator; of nothing if it is never used."""
        if not self.share:
            return Shelf((), ())
        rows = pairs.over.shape[0]
        stored = jax.tree.map(
            lambda x: jnp.broadcast_to(x[:, None], (rows, self.slots, *x.shape[1:])), pairs
        )
        return Shelf(stored, jnp.zeros((rows, self.slots), bool))

    def swap(self, keys: jax.Array, over: Any, fresh: Any, shelf: Shelf) -> tuple[Any, Shelf]:
        """Put the pairs that are `over` on the shelf; take others in place of the `fresh` ones.

        For every row; what becomes of those that are not over is not used.
        """
        if not self.share:
            return fresh, shelf
        return jax.vmap(self._swap)(keys, over, fresh, shelf)

    def _swap(self, key: jax.Array, over: Any, fresh: Any, shelf: Shelf) -> tuple[Any, Shelf]:
        slot_key, choice_key, share_key = jax.random.split(jax.random.fold_in(key, 0x5E1F), 3)
        slot = jax.random.randint(slot_key, (), 0, self.slots)
        sound = jnp.all(over.runs.finite) & (over.age >= 0) & (over.episode.t < self.longest)
        stored = jax.tree.map(
            lambda all_, new: all_.at[slot].set(jnp.where(sound, new, all_[slot])),
            shelf.stored,
            over,
        )
        filled = shelf.filled.at[slot].set(sound | shelf.filled[slot])
        odds = jnp.where(filled, 0.0, -jnp.inf)
        chosen = jax.random.categorical(choice_key, odds)
        taken = jax.tree.map(lambda all_: all_[chosen], stored)
        old, steps = taken.episode, fresh.episode.horizon
        taken = taken._replace(
            episode=old._replace(horizon=old.t + steps),
            runs=taken.runs._replace(tail=jnp.zeros_like(taken.runs.tail)),
            over=jnp.array(False),
        )
        if not self.unbiased:
            taken = taken._replace(
                runs=jax.tree.map(lambda x: jnp.concatenate([x[:1], x[:1], x[2:]]), taken.runs),
                noise=jnp.zeros_like(taken.noise),
                xi=jnp.zeros_like(taken.xi),
                age=jnp.zeros_like(taken.age),
            )
        resumed = jnp.any(filled) & jax.random.bernoulli(share_key, self.share)
        pair = jax.tree.map(lambda a, b: jnp.where(resumed, a, b), taken, fresh)
        return pair, Shelf(stored, filled)
