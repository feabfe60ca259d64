"""Command lines whose parts contradict one another."""

import argparse
import re

from learned_opt._checks import name_fault, shown

from ..settings import ConfigError


def check_flags(args: argparse.Namespace) -> None:
    """ConfigError for flags that would have no effect, or lack another."""
    for name, what, value in (("--out", "folder", args.out), ("CONFIG", "file", args.config)):
        if fault := name_fault(name, what, value):
            raise ConfigError(fault)
    _check_fine_tuning(args)
    _check_export(args)
    for flag, given in (
        ("--accept-new-code", args.accept_new_code),
        ("--start-over", args.start_over),
    ):
        if given and not args.resume:
            raise ConfigError(f"{flag} says how to continue a run: add --resume, or leave it out")
    _check_processes(args)


def _check_fine_tuning(args: argparse.Namespace) -> None:
    if args.start is None:
        given = {"--task": args.tasks, "--num-steps": args.num_steps, "--budget": args.budget}
        for flag, value in given.items():
            if value:
                raise ConfigError(f"{flag} needs --start NAME, what is trained on from")
        return
    if not args.tasks:
        raise ConfigError("--start needs --task MODULE:NAME, what is trained on for")
    excluded = {
        "CONFIG": args.config, "--export": args.export, "--distributed": args.distributed,
        "--coordinator": args.coordinator,
    }  # fmt: skip
    for flag, value in excluded.items():
        if value:
            raise ConfigError(f"{flag} and --start exclude each other: leave one out")
    if args.num_steps is not None and not 1 <= args.num_steps <= 10**8:
        raise ConfigError(f"--num-steps must be from 1 to 100,000,000, got {args.num_steps}")


def _check_export(args: argparse.Namespace) -> None:
    if not args.export:
        if args.last:
            raise ConfigError(
                "--last says which theta --export writes: add --export, or leave it out"
            )
        return
    given = {
        "CONFIG": args.config, "--set": args.overrides, "--resume": args.resume,
        "--plan": args.plan,
        "--accept-new-code": args.accept_new_code, "--start-over": args.start_over,
        "--distributed": args.distributed, "--coordinator": args.coordinator,
    }  # fmt: skip
    extra = [name for name, value in given.items() if value]
    if extra:
        raise ConfigError(
            f"--export reads the run in --out and trains nothing, got {extra[0]} too: leave one out"
        )


def _check_processes(args: argparse.Namespace) -> None:
    count, which = args.processes, args.process
    if args.coordinator is not None:
        check_address("--coordinator", args.coordinator)
    if count is not None and not 1 <= count <= 10**6:
        raise ConfigError(f"--processes must be from 1 to 1,000,000, got {count}")
    if which is not None:
        if count is None:
            raise ConfigError(
                f"--process says which of several, got {which}: say how many with --processes"
            )
        if not 0 <= which < count:
            raise ConfigError(f"--process must be from 0 to {count - 1}, got {which}")
    parts = (args.coordinator, count, which)
    if not args.distributed and None in parts and parts != (None, None, None):
        raise ConfigError(
            "several processes need --coordinator HOST:PORT, --processes N and --process I "
            "together, or --distributed"
        )


def check_address(name: str, address: str) -> None:
    """ConfigError unless it is HOST:PORT."""
    found = re.fullmatch(r"\S+:(\d{1,5})", address)
    if not found:
        raise ConfigError(f"{name} must be HOST:PORT, got {shown(address)}")
    if not 1 <= int(found[1]) <= 65535:
        raise ConfigError(f"the port of {name} must be from 1 to 65535, got {found[1]}")
