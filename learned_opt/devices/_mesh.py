"""One SPMD program over however many devices there are."""

import os
from collections.abc import Callable
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, PartitionSpec

AXIS = "lanes"


def core_count() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_all_cores() -> None:
    """Show JAX one CPU device a core. Call it before anything touches a device.

    Training runs are independent, so one device a core is faster than one device whose kernels
    are split over the cores. No effect on accelerators, or if XLA_FLAGS sets a device count.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", core_count())


def compiler_options() -> dict[str, Any]:
    """Options of `jax.jit` for programs that hold whole training runs.

    On CPU, LLVM's default effort compiles for almost half as long again and the result is no
    faster (`python -m research.compile`); vectors of 512 bits, where the processor has them,
    help large learned updates.
    """
    if jax.default_backend() != "cpu":
        return {}
    return {"xla_backend_optimization_level": 1, "xla_cpu_prefer_vector_width": 512}


def device_mesh(lanes: int) -> Mesh:
    """A one-axis mesh over the most devices that divide `lanes` evenly; the others stay idle.

    Raises:
      ValueError: there are several processes and their devices do not divide `lanes`.
    """
    count = jax.device_count()
    size = max(n for n in range(1, count + 1) if lanes % n == 0)
    if jax.process_count() > 1 and size < count:
        raise ValueError(
            f"{jax.process_count()} processes with {count} devices need a multiple of {count} "
            f"lanes, got {lanes}"
        )
    return jax.make_mesh((size,), (AXIS,), axis_types=(AxisType.Auto,))


def row_spec() -> PartitionSpec:
    """How arrays with one row a lane are spread over the mesh."""
    return PartitionSpec(AXIS)


def map_blocks(
    mesh: Mesh, fn: Callable[..., tuple[Any, Any]], lanes: Any, *shared: Any
) -> tuple[Any, Any]:
    """fn(block, *shared) on every device, `block` being the device's share of the lanes.

    Args:
      mesh: see `device_mesh`.
      fn: returns a pair of trees of arrays: results with one row a lane of the block, and sums.
      lanes: tree of arrays with a common leading axis, one entry a lane.
      *shared: trees given whole to every device.

    Returns the rows of all lanes, left where they are, and the sums over all blocks (one
    all-reduce), which every device holds.
    """

    def local(lanes: Any, *shared: Any) -> tuple[Any, Any]:
        rows, sums = fn(lanes, *shared)
        # As one vector: between processes every array of a collective waits for its turn.
        flat, unravel = ravel_pytree(sums)
        return rows, unravel(jax.lax.psum(flat, AXIS)) if flat.size else sums

    # check_vma=False: haiku scans with a constant initial carry fail its type check.
    mapped = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(PartitionSpec(AXIS), *(PartitionSpec() for _ in shared)),
        out_specs=(PartitionSpec(AXIS), PartitionSpec()),
        check_vma=False,
    )
    return mapped(lanes, *shared)


def sum_of_blocks(tree: Any) -> Any:
    """The sum over all devices, on every one; to be called by `fn` of `map_blocks`."""
    return jax.lax.psum(tree, AXIS)


def share_of_block(tree: Any) -> Any:
    """What all devices hold alike, as a sum that `fn` of `map_blocks` returns."""
    return jax.tree.map(lambda x: x / jax.lax.axis_size(AXIS), tree)


def map_lanes(
    mesh: Mesh, fn: Callable[..., Any], lanes: Any, *shared: Any, total: bool = False
) -> Any:
    """fn(lane, *shared) for every lane, vectorised on each device and spread over the devices.

    Args:
      mesh: see `device_mesh`.
      fn: what one lane computes: a pytree of arrays.
      lanes: tree of arrays with a common leading axis, one entry a lane.
      *shared: trees given whole to every lane.
      total: return the sum over lanes on every device, instead of the stack of results.

    A lane knows nothing of its device, so results do not depend on their number (sums: by
    rounding only).
    """

    def block(lanes: Any, *shared: Any) -> tuple[Any, Any]:
        rows = jax.vmap(lambda lane: fn(lane, *shared))(lanes)
        return ((), jax.tree.map(lambda x: x.sum(0), rows)) if total else (rows, ())

    rows, sums = map_blocks(mesh, block, lanes, *shared)
    return sums if total else rows
