"""python -m benchmarks.compile: what LLVM's effort costs and buys for a meta-training step."""

import time

import jax

from benchmarks import seconds_per_call
from meta_train import load_config
from tasks import compiler_options, use_all_cores


def main() -> None:
    use_all_cores()
    config = load_config("meta_train/configs/quickstart.toml", ["estimator.horizon=[300, 300]"])
    trainer, problems, _ = config.build()
    state = trainer.init(problems)
    print(f"{'LLVM level':>10} {'compile':>9} {'outer step':>11}")
    for level in (3, 2, 1, 0):
        options = compiler_options() | {"xla_backend_optimization_level": level}
        program = jax.jit(lambda p, s: trainer.step(p, s), compiler_options=options)
        tick = time.perf_counter()
        compiled = program.lower(problems, state).compile()
        compile_seconds = time.perf_counter() - tick
        step_seconds = seconds_per_call(compiled, problems, state, rounds=5)
        print(f"{level:>10} {compile_seconds:>7.1f} s {step_seconds:>9.2f} s")


if __name__ == "__main__":
    main()
