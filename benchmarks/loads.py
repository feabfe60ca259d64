"""python -m benchmarks.loads: a training step over AdamW's, at loads that people have.

At those that `learned-opt eval` times, by the same code: medians of alternating rounds. Printed as
Markdown tables: steps, their spread, compilation and memory.
"""

import argparse
from collections.abc import Callable, Sequence

import jax

import learned_opt
from learned_opt.checkpoints import describe_device
from learned_opt.eval.cost import LOADS, Cost, CostRow, hand_designed, load_name, measure_costs

TABLES: dict[str, Callable[[Cost, Cost], str]] = {
    "training step, times AdamW's": lambda cost, adamw: f"{cost.step / adamw.step:.2f}",
    "interquartile range of the step over its median": lambda cost, _: (
        f"{cost.spread / cost.step:.2f}"
    ),
    "seconds to compile the step": lambda cost, _: f"{cost.compile:.1f}",
    "temporary memory of the step, times AdamW's": lambda cost, adamw: (
        f"{cost.temporary / adamw.temporary:.2f}" if cost.temporary and adamw.temporary else "-"
    ),
    "state, times the parameters": lambda cost, _: f"{cost.state:.2f}",
}


def table(rows: Sequence[CostRow], heading: str, cell: Callable[[Cost, Cost], str]) -> str:
    """Markdown: a row a load, a column an optimizer, AdamW's step in milliseconds first."""
    names = list(rows[0].costs)
    lines = [["load", "AdamW's step", *names], ["---", *["---:"] * (1 + len(names))]]
    for row in rows:
        adamw = row.costs["adamw"]
        load = load_name(row.kind, row.parameters, row.batch_size, row.tokens)
        cells = [cell(cost, adamw) for cost in row.costs.values()]
        lines.append([load, f"{adamw.step / 1000:.3g} ms", *cells])
    return "\n".join([heading, "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifacts", nargs="*", default=list(learned_opt.available()))
    args = parser.parse_args()
    made = hand_designed() | {
        name: learned_opt.learned(name, num_steps=10_000) for name in args.artifacts
    }
    rows: list[CostRow] = []
    for load in LOADS:
        rows += measure_costs(made, (load,), devices=jax.devices()[:1])
        print(f"{load.name}: AdamW {rows[-1].costs['adamw'].step / 1000:.3g} ms", flush=True)
        jax.clear_caches()
    print(f"\n{describe_device()}, jax {jax.__version__}")
    for heading, cell in TABLES.items():
        print(f"\n{table(rows, heading, cell)}")


if __name__ == "__main__":
    main()
