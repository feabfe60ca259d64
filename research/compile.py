"""python -m research.compile: what LLVM's effort and vectors cost and buy for an outer step."""

import time

import jax

from benchmarks import seconds_per_call
from learned_opt.devices import compiler_options, use_all_cores
from learned_opt.meta_train import build, load_config

CASES = ((3, 512), (2, 512), (1, 512), (1, 256), (0, 512))
"""LLVM's level and the bits of its vectors; `compiler_options` are the third."""


def main() -> None:
    use_all_cores()
    for widths in ([8, 32], [256, 256]):
        changes = ["estimator.horizon=[300, 300]", f"family.options.widths={widths}"]
        if max(widths) > 32:
            changes += ["family.options.max_width=256", "estimator.pairs=2"]
        config = load_config("meta_train/configs/quickstart.toml", changes)
        trainer, problems, _ = build(config)
        state = trainer.init(problems)
        print(f"\nwidths {widths}")
        print(f"{'LLVM level':>10} {'vectors':>9} {'compile':>9} {'outer step':>11}")
        for level, bits in CASES:
            options = compiler_options() | {
                "xla_backend_optimization_level": level,
                "xla_cpu_prefer_vector_width": bits,
            }
            program = jax.jit(lambda p, s: trainer.step(p, s), compiler_options=options)  # noqa: B023
            tick = time.perf_counter()
            compiled = program.lower(problems, state).compile()
            compile_seconds = time.perf_counter() - tick
            step_seconds = seconds_per_call(compiled, problems, state, rounds=5)
            print(f"{level:>10} {bits:>9} {compile_seconds:>7.1f} s {step_seconds:>9.3f} s")


if __name__ == "__main__":
    main()
