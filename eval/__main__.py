"""learned-opt eval NAME | baselines | calibrate | compare | render | card: judge optimizers."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import rich.console

import learned_opt
from learned_opt._checks import name_fault
from learned_opt._durations import seconds_of
from learned_opt.checkpoints import FolderError, WriteError, plain_console
from learned_opt.devices import use_all_cores
from learned_opt.tasks import load_suite, load_task

from ._evaluate import evaluate
from ._own import everyone, plan_own
from ._own_flags import check_own
from ._pack_baselines import pack_baselines
from ._parsers import (
    baselines_parser,
    calibrate_parser,
    card_parser,
    compare_parser,
    parser,
    render_parser,
)
from ._signals import ANEW, GOES_ON, end_on_signals
from .contestants import artifact_subject, check_rivals, factory_subject
from .plan import plan_text
from .running import ArchiveError
from .tuning import calibrate

NAMES = {
    "artifact": ("ARTIFACT", "file"),
    "optimizer": ("--optimizer", "function"),
    "report": ("REPORT", "file"),
    "reports": ("REPORT.json", "file"),
    "rival": ("--rival", "file"),
    "tuned_rival": ("--tuned-rival", "file"),
    "out": ("--out", "folder"),
}
"""What the words of a command name, by argument."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    commands = {
        "baselines": (baselines_parser, _baselines),
        "calibrate": (calibrate_parser, _calibrate),
        "compare": (compare_parser, _compare),
        "render": (render_parser, _render),
        "card": (card_parser, _card),
    }
    make, run = commands.get(argv[0] if argv else "", (parser, _evaluate))
    chosen = make()
    args = chosen.parse_args(argv if run is _evaluate else argv[1:])
    args.words = without_folder(argv)
    if run is _evaluate and (args.artifact is None) == (args.optimizer is None):
        chosen.error("give either an artifact or --optimizer MODULE:FUNCTION")
    with end_on_signals(ANEW if getattr(args, "plan", False) else GOES_ON):
        return _guarded(run, args)


def without_folder(words: Sequence[str]) -> list[str]:
    """The words of a command without --out and what it is."""
    kept, rest = [], iter(words)
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return kept


def _guarded(run: Callable[..., None], args: argparse.Namespace) -> int:
    use_all_cores()
    try:
        _check_names(args)
        run(args, plain_console())
    except (ArchiveError, FolderError, OSError, ValueError) as error:
        return _fail(str(error), 2)
    except WriteError as error:
        return _fail(str(error), 3)
    return 0


def _check_names(args: argparse.Namespace) -> None:
    """ValueError for a name that nothing can have."""
    for argument, (flag, what) in NAMES.items():
        given = getattr(args, argument, None)
        for name in given if isinstance(given, list) else [given]:
            if fault := name_fault(flag, what, name):
                raise ValueError(fault)


def _evaluate(args: argparse.Namespace, console: rich.console.Console) -> None:
    check_own(args)
    tasks = [t for where in args.own for t in load_task(where, args.num_steps)]
    suite = None if tasks else args.suite or "quickstart"
    for task in load_suite(suite, args.tier) if suite else tasks:
        task.spec.build()  # what is wrong with its data is said before anything is made
    if args.optimizer:
        subject = factory_subject(args.optimizer)
    else:
        subject = artifact_subject(learned_opt.load(args.artifact))
    rivals, tuned_rivals = (
        [learned_opt.load(name) for name in names] for names in (args.rival, args.tuned_rival)
    )
    check_rivals(subject, rivals, tuned_rivals)
    budget = None if args.budget is None else seconds_of(args.budget)
    if args.plan:
        plan = plan_own(everyone(subject, rivals, tuned_rivals), tasks, console,
                        budget=budget, all_tuned=args.all)  # fmt: skip
        console.print(plan_text(plan, tasks))
        return
    report = evaluate(
        subject,
        suite,
        args.out,
        tasks=tasks,
        tier=args.tier,
        rivals=rivals,
        tuned_rivals=tuned_rivals,
        quick=args.quick,
        smoke=args.smoke,
        budget=budget,
        all_tuned=args.all,
        arguments=args.words,
        console=console,
    )
    if args.smoke:
        console.print("\nA smoke run: its numbers say nothing about the optimizer.")
    console.print(f"\n{report.sentence}\n")
    took = "" if report.seconds is None else f" in {report.seconds:.0f} s"  # of a resumed one
    console.print(f"Evaluated{took}. Report: {args.out}/report.html")


def _baselines(args: argparse.Namespace, console: rich.console.Console) -> None:
    file = pack_baselines(args.suite, tier=args.tier, only=args.only, out=args.out, console=console)
    console.print(f"Packed: {file}")


def _calibrate(args: argparse.Namespace, console: rich.console.Console) -> None:
    calibrate(args.out, console=console)


def _compare(args: argparse.Namespace, console: rich.console.Console) -> None:
    from learned_opt.checkpoints import make_folder, writing

    from .report import compare_reports, read_report, write_comparison

    found = compare_reports(*(read_report(Path(path)) for path in args.reports))
    with writing(args.out, lambda: "the reports are as they were"):
        write_comparison(found, make_folder(args.out))
    console.print(f"\n{found.sentence}\n")
    console.print(f"Side by side: {args.out}/compare.html")


def _render(args: argparse.Namespace, console: rich.console.Console) -> None:
    import learned_opt
    from learned_opt.checkpoints import make_folder, writing

    from .report import read_report, with_declared, write_report

    report = read_report(Path(args.report))
    made = with_declared(report, [learned_opt.load(name) for name in args.artifact])
    with writing(args.out, lambda: f"{args.report} is as it was"):
        write_report(made, make_folder(args.out))
    console.print(f"Report: {args.out}/report.html")


def _card(args: argparse.Namespace, console: rich.console.Console) -> None:
    from learned_opt.checkpoints import writing

    from .report import add_results, load_file, read_report, save_with_card

    path, artifact = load_file(args.artifact)
    reports = [read_report(Path(name)) for name in args.reports]
    made = add_results(artifact, reports, args.limits)
    with writing(path, lambda: "it and its card are as they were"):
        card = save_with_card(made, path)
    console.print(f"Kept in {path} and {card}")


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # where the disk is full, so may be the log
        plain_console(stderr=True).print(f"error: {message}", style="red")
    return status


if __name__ == "__main__":
    sys.exit(main())
