"""Words of `learned-opt eval` that go together, or do not, where tasks are one's own."""

import argparse


def check_own(args: argparse.Namespace) -> None:
    """ValueError for flags that would have no effect, or that contradict one another."""
    if not args.own:
        given = {"--num-steps": args.num_steps is not None, "--budget": args.budget is not None,
                 "--plan": args.plan}  # fmt: skip
        for flag, there in given.items():
            if there:
                raise ValueError(f"{flag} is for tasks of your own: add --task MODULE:NAME")
        return
    given = {"--suite": args.suite is not None, "--quick": args.quick, "--smoke": args.smoke}
    for flag, there in given.items():
        if there:
            raise ValueError(f"{flag} and --task exclude each other: leave one out")
    if args.all and args.budget is not None:
        raise ValueError("--all and --budget exclude each other: leave one out")
    if args.num_steps is not None and not 1 <= args.num_steps <= 10**8:
        raise ValueError(f"--num-steps must be from 1 to 100,000,000, got {args.num_steps}")
