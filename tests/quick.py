"""Flags for XLA under which the programs of tests compile faster."""

from jaxlib.version import __version__

# A test's programs run for milliseconds and compile for seconds: one module of LLVM for them all.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if __version__.startswith("0.10."):
    # Kernels of fusions from the older emitter, which takes fewer passes than MLIR's. Later
    # releases have dropped it, and abort at the name.
    QUICK += " --xla_cpu_use_fusion_emitters=false"
