"""learned-opt list | show NAME | import KIND PATH --out FILE: optimizers there are."""

import argparse
import json
import math
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .artifacts._artifact import OPTIMIZERS, Artifact, ArtifactError, available, load
from .artifacts._published import PUBLISHED, import_published
from .optimizers import Spectral
from .transformation._learned_optimizer import LearnedOptimizer

WIDTH = 100
HORIZON = 100
"""For optimizers that cannot be without one; their state does not depend on it."""

VARIANTS = {Spectral: ({"momenta": "bfloat16", "factored": True},)}
"""Rows of their own in the list."""

FIRST = ("limits", "results", "note", "trained_on", "budget")
"""Entries of a card that `show` prints before the others."""

FACTS = ("command", "source", "date")
"""Of a card, in the list."""


def parser() -> argparse.ArgumentParser:
    """The command lines of all three."""
    parser = argparse.ArgumentParser(prog="learned-opt")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "list",
        description="All optimizers with their meta-parameters, state and operations, and all "
        "pretrained ones with the commands that made them.",
    )
    show = commands.add_parser(
        "show", description="The card of one artifact: what it is and what it was trained on."
    )
    show.add_argument("name", metavar="NAME_OR_PATH", help="see: learned-opt list")
    fetch = commands.add_parser(
        "import",
        description="Convert weights that other authors published into an artifact. Fetch the "
        "file where they offer it.",
    )
    fetch.add_argument("kind", metavar="KIND", help=", ".join(PUBLISHED))
    fetch.add_argument("path", metavar="PATH", help="the authors' file: flax msgpack, .npz or .npy")
    fetch.add_argument("--out", required=True, metavar="FILE.safetensors", help="to be written")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, which is the first word; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        if args.command == "list":
            _list()
        elif args.command == "import":
            _import(args.kind, args.path, args.out)
        else:
            _show(args.name)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _list() -> None:
    size = max(len(cls.name) for cls in OPTIMIZERS)
    print(
        "For a 256 x 256 matrix and its bias: state, in float32s, and operations of an update, a "
        "parameter.\n"
    )
    print(
        f"{'optimizer':{size}}  {'numbers':>9}  {'state':>5}  {'ops':>5}  what it is, when to use "
        "it, its source"
    )
    for cls in OPTIMIZERS:
        head = _figures(cls.name.ljust(size), cls())
        print("\n".join(_wrapped(head, _summary(cls))))
        print("\n".join(_wrapped(" " * len(head), f"Use: {cls.use}")))
        print("\n".join(_wrapped(" " * len(head), _source(cls))))
        for options in VARIANTS.get(cls, ()):
            given = ", ".join(f"{key}={value!r}" for key, value in options.items())
            print("\n".join(_wrapped(_figures(" " * size, cls(**options)), f"With {given}.")))
    print("\npretrained: learned_opt.learned(NAME, num_steps=...)\n")
    for name in available():
        artifact = load(name)
        head = f"{name}  "
        print("\n".join(_wrapped(head, _kind(artifact))))
        for fact in FACTS:
            if fact in artifact.card:
                print("\n".join(_wrapped(" " * len(head), f"{fact}: {artifact.card[fact]}")))
    print("\naround any: learned_opt.scale_by_mup, learned_opt.with_fallback")
    print(f"\nto import: learned-opt import {{{','.join(PUBLISHED)}}} PATH --out FILE")


def _figures(name: str, optimizer: LearnedOptimizer) -> str:
    state, operations = _cost(optimizer)
    return f"{name}  {_numbers(optimizer):>9,}  {state:>5.2f}  {operations:>5.0f}  "


def _import(kind: str, path: str, out: str) -> None:
    if not out.endswith(".safetensors"):
        raise ArtifactError(f"--out must be the name of a .safetensors file, got {out!r}")
    artifact = import_published(kind, path)
    artifact.save(out)
    print(f"{artifact.card['name']}: {_kind(artifact)}\nwritten to {out}")


def _show(name: str) -> None:
    artifact = load(name)
    print("\n".join(_wrapped("", f"{artifact.card.get('name', name)}: {_kind(artifact)}")))
    print("\n".join(_wrapped("", str(artifact.optimizer))))
    print(f"sha256 of theta and configuration: {artifact.sha256}")
    first = {key: artifact.card[key] for key in FIRST if key in artifact.card}
    print("\n".join(_card_lines(first | artifact.card)))


def _kind(artifact: Artifact) -> str:
    numbers = sum(x.size for x in jax.tree.leaves(artifact.theta))
    return f"{artifact.optimizer.name} of {numbers:,} numbers, {artifact.sha256[:12]}"


def _card_lines(card: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A line or more for every entry, those of a dict below it and indented."""
    for key, value in card.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _card_lines(value, indent + "  ")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield from _wrapped(f"{indent}{key}: ", text)


def _wrapped(head: str, text: str) -> list[str]:
    """`head` and `text` in lines of at most `WIDTH`, the later ones indented like the text."""
    indent = " " * min(len(head), WIDTH // 2)
    # Not at hyphens: a command is to be copied.
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False
    )
    return lines or [head.rstrip()]


def _numbers(optimizer: LearnedOptimizer) -> int:
    """Meta-parameters, counted without making any."""
    theta = jax.eval_shape(optimizer.init, jax.random.key(0))
    return sum(math.prod(x.shape) for x in jax.tree.leaves(theta))


def _cost(optimizer: LearnedOptimizer) -> tuple[float, float]:
    """State over 4 bytes, and operations of an update as XLA counts them, for each parameter."""
    params = {"w": jnp.zeros((256, 256)), "b": jnp.zeros(256)}
    theta = jax.eval_shape(optimizer.init, jax.random.key(0))

    def init(theta: Any) -> Any:
        return optimizer.transform(theta, num_steps=HORIZON).init(params)

    def update(theta: Any, state: Any, params: Any, value: jax.Array) -> Any:
        tx = optimizer.transform(theta, num_steps=HORIZON)
        return tx.update(params, state, params, value=value)

    state = jax.eval_shape(init, theta)
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    # Lowered, not compiled: the list is to come at once.
    counted: Any = jax.jit(update).lower(theta, state, params, 1.0).cost_analysis()
    size, held = (sum(x.size * x.dtype.itemsize for x in xs) for xs in (params.values(), floats))
    return held / size, counted["flops"] / (size / 4)


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _source(cls: type) -> str:
    """The first paragraph with a year, of the module behind its first line or of the class."""
    module = (sys.modules[cls.__module__].__doc__ or "").strip().split("\n\n")
    for paragraph in [*module[1:], module[0], *(cls.__doc__ or "").split("\n\n")]:
        if re.search(r"\b(19|20)\d\d\b", paragraph):
            return " ".join(paragraph.split())
    return "source: not given"
