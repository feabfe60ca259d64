"""What tells a program from others, besides the shapes of its arguments."""

import dataclasses
import re
from typing import Any

import jax

from learned_opt.devices import versions
from learned_opt.tasks import Facts

from .._unroll import MetaProblem


def facts_of(*parts: Any) -> Any:
    """JSON types that differ wherever the programs that the parts make may differ.

    Of problems and judges all but arrays and mesh; of functions and classes of somebody's own
    their sources, what they hold, and the versions of packages that they use.
    """
    plain, facts = [_static(part) for part in parts], Facts()
    told = facts.of(plain)
    # In words too: of what is neither a dataclass nor a function, `Facts` knows the type alone.
    return [
        told,
        facts.source,
        versions(facts.packages),
        re.sub(" at 0x[0-9a-f]+", "", repr(plain)),
    ]


def _static(tree: Any) -> Any:
    def bare(part: Any) -> Any:
        if not isinstance(part, MetaProblem):
            return None if isinstance(part, jax.Array) else part
        return dataclasses.replace(jax.tree.map(lambda _: None, part), mesh=None)

    return jax.tree.map(bare, tree, is_leaf=lambda part: isinstance(part, MetaProblem))
