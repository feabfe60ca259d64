"""Several processes of the command line become one run, and end together."""

import argparse
import contextlib
import functools
import json
import os
import platform
import socket
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import rich.console
from jaxlib.version import __version__ as jaxlib_version

from learned_opt.checkpoints import unwritten

from .._errors import ProcessLostError
from ..processes import BEAT, LOST, Watch, enter, failed_saves, gather, relay
from ..run import CHECKPOINTS, GO_ON, code_identity, saved_so_far
from ..settings import Config, ConfigError
from ._flags import check_address

WAIT = 300.0
"""Seconds in which all processes must have come."""
NOTICED = 1.0
"""Seconds after which a connection that closed has been noticed."""


class Others:
    """The other processes of this run: none, until `join`.

    Args:
      told: prints why this process ends.
    """

    def __init__(self, told: Callable[[str], Any]) -> None:
        self._told, self._watch, self._folder = told, None, Path()

    @property
    def alone(self) -> bool:
        """Whether this process is alone."""
        return self._watch is None

    def join(self, args: argparse.Namespace, config: Config, out: str) -> None:
        """Wait for the other processes that the flags name.

        From here on this process ends, with status 4, when another one is lost.

        Args:
          args: of the command line.
          config: what it says, the same in all processes.
          out: the folder of the run.

        Raises:
          ConfigError: the processes were not started alike. ProcessLostError: some did not come.
        """
        address, count, which, local = _detect(args)
        host, port = address.rsplit(":", 1)
        host = host.strip("[]")
        mine = {
            "process": which,
            "processes": count,
            "host": socket.gethostname(),
            "facts": _facts(args, config, out),
        }
        self._folder = Path(out)
        if which:
            links = [enter(host, int(port), mine, WAIT)]
            address = relay(host, int(port))
        else:
            server = _listen(int(port))
            if count > 1:
                print(f"Waiting for {count - 1} more, {WAIT:g} s at most.", flush=True)
            links = gather(server, mine, WAIT)
        self._watch = Watch(links, which == 0, self._end)
        self._place = address, count, which, local

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        """Within, JAX knows the devices of all.

        Raises:
          ConfigError: JAX cannot join them. ProcessLostError: what failed is another process.
        """
        watch = self._watch
        if not watch:
            yield
            return
        try:
            _initialize(*self._place)
            with failed_saves(self._folder / CHECKPOINTS, self._unsaved):
                yield
        except BaseException as error:
            # A lost process is noticed now, and ends this one; one that hangs, later.
            collective = isinstance(error, jax.errors.JaxRuntimeError)
            end = time.monotonic() + (LOST + 3 * BEAT if collective else NOTICED)
            while not watch.failed and time.monotonic() < end:
                time.sleep(0.05)
            if collective and watch.failed:
                raise ProcessLostError(self._sentence(watch.failed)) from error
            raise

    def leave(self, status: int) -> int:
        """End this process with the others, or tell them that it failed; alone, return `status`."""
        if not self._watch:
            return status
        if status:
            self._watch.fail(status)
        else:
            self._watch.finish()
        # At once: JAX's barrier at the end would wait for those that are gone.
        return _exit(status)

    def _unsaved(self, error: OSError) -> None:
        kept = functools.partial(saved_so_far, self._folder)
        self._told(f"error: {unwritten(error, self._folder, kept, GO_ON)}")
        self.leave(3)

    def _end(self, what: str) -> None:
        self._told(f"error: {self._sentence(what)}")
        _exit(4)

    def _sentence(self, what: str) -> str:
        found: list[str] = []
        look = threading.Thread(
            target=lambda: found.append(saved_so_far(self._folder)), daemon=True
        )
        look.start()
        look.join(2 * BEAT)  # the folder may have been on the host that was lost
        saved = found[0] if found else f"{self._folder} cannot be read"
        return (
            f"another process of this run was lost ({what}); {saved}: continue with the same "
            "command and --resume"
        )


def _facts(args: argparse.Namespace, config: Config, out: str) -> dict[str, Any]:
    """What must be the same in all processes."""
    return {
        "--out": str(Path(out).absolute()),
        "--resume": args.resume,
        "--accept-new-code": args.accept_new_code,
        "--start-over": args.start_over,
        "--plan": args.plan,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "jaxlib": jaxlib_version,
        "code": code_identity(),
        **json.loads(json.dumps(config.to_dict())),
    }


def _detect(args: argparse.Namespace) -> tuple[str, int, int, Sequence[int] | None]:
    """Address of process 0, how many there are, which this is, and its devices, None for all."""
    address = args.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address:
        check_address("JAX_COORDINATOR_ADDRESS", address)
    try:
        # Not public, but what `jax.distributed.initialize` asks.
        from jax._src.clusters import ClusterEnv

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a package that is not needed here
            found = ClusterEnv.auto_detect_unset_distributed_params(
                address, args.processes, args.process, None, None, int(WAIT)
            )
    except Exception as error:  # whatever a cluster that is not as JAX expects makes it raise
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ConfigError(
            f"--distributed did not find its way in this cluster ({reason}): name the processes "
            "with --coordinator HOST:PORT, --processes N and --process I"
        ) from error
    address, count, which, local = found
    if address is None or count is None or which is None:
        raise ConfigError(
            "--distributed found no cluster (TPU pod, SLURM, Open MPI or Kubernetes): name the "
            "processes with --coordinator HOST:PORT, --processes N and --process I"
        )
    return address, count, which, local


def _listen(port: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both,
            backlog=1024,
        )  # fmt: skip
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(
            f"process 0 cannot listen on port {port} ({reason}): choose another in --coordinator"
        ) from error


def _initialize(address: str, count: int, which: int, local: Sequence[int] | None) -> None:
    # We agree on stopping ourselves; JAX's service would take SIGTERM from us.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(address, count, which, local)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"cannot join the other processes: {reason}") from error
    counts = Counter(device.process_index for device in jax.devices())
    for which, count in counts.items():
        if count != counts[0]:
            raise ConfigError(
                f"all processes must have the same number of devices, got {counts[0]} in process "
                f"0 and {count} in process {which}: on CPU set XLA_FLAGS="
                f"--xla_force_host_platform_device_count={min(counts.values())} everywhere"
            )


def _exit(status: int) -> NoReturn:
    with contextlib.suppress(OSError):
        rich.console.Console().show_cursor()  # which a progress bar has hidden
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
