"""learned-opt eval NAME | baselines | frozen | compare | render | card: judge optimizers."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import rich.console

COMMANDS = """other commands, each with its own --help:
  learned-opt eval baselines   make the runs of all baselines on a suite, once, for the package
  learned-opt eval frozen      choose the one AdamW setting that is used on all tasks
  learned-opt eval compare     two reports side by side
  learned-opt eval render      make the pages of a report anew from its data
  learned-opt eval card        keep what reports say of an artifact in its card

The folder receives report.html (one file, opens offline), report.md, report.json and runs.jsonl.
Interrupted, the same command goes on where it stopped; with runs.jsonl of another machine copied
there as runs-NAME.jsonl, it takes those runs too.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="learned-opt eval",
        description="Compare an optimizer, untuned, with Adam, AdamW, Lion, AdaBelief, Muon, SGD "
        "and schedule-free AdamW tuned for each task, on fresh seeds, and write a report.",
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "artifact",
        nargs="?",
        metavar="ARTIFACT_OR_NAME",
        help="a .safetensors file, or a name that `learned-opt list` shows",
    )
    parser.add_argument(
        "--optimizer",
        metavar="MODULE:FUNCTION",
        help="instead: any function num_steps -> optax.GradientTransformation",
    )
    _add_suite(parser)
    parser.add_argument("--out", metavar="DIR", required=True, help="output folder")
    parser.add_argument(
        "--rival", metavar="ARTIFACT", action="append", default=[],
        help="another learned optimizer, untuned, as a row beside the baselines; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--tuned-rival", metavar="ARTIFACT", action="append", default=[],
        help="the same with learning rate, schedule and weight decay tuned per task, as AdamW's",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true",
        help="without the generalisation grid, and steps timed on one network only",
    )  # fmt: skip
    parser.add_argument(
        "--smoke", action="store_true", help="two tasks of 40 steps: does everything work?"
    )
    return parser


def baselines_parser() -> argparse.ArgumentParser:
    """The command line of `baselines`."""
    parser = argparse.ArgumentParser(
        prog="learned-opt eval baselines",
        description="Tune the baselines on a suite, run them on fresh seeds, and pack all runs "
        "into one file. In the package it spares every evaluation these runs. The suite `grid` "
        "has the cells of the generalisation grid.",
        epilog="Runs are kept in FILE.d as they are made: interrupted, the same command goes on "
        "where it stopped. Runs in FILE that still mean the same are not made again; delete FILE "
        "to make all anew.",
    )
    _add_suite(parser)
    parser.add_argument("--only", metavar="NAME", nargs="+", default=(), help="these baselines")
    parser.add_argument("--out", metavar="FILE", help="default: eval/archive/SUITE-TIER.npz")
    return parser


def frozen_parser() -> argparse.ArgumentParser:
    """The command line of `frozen`."""
    parser = argparse.ArgumentParser(
        prog="learned-opt eval frozen",
        description="Choose, on META_VALID_V1, the one AdamW setting that is used on all tasks, "
        "and write it to eval/archive/frozen.json.",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="keeps the runs")
    return parser


def compare_parser() -> argparse.ArgumentParser:
    """The command line of `compare`."""
    parser = argparse.ArgumentParser(
        prog="learned-opt eval compare",
        description="Two reports of one suite side by side, run by run.",
    )
    parser.add_argument("reports", metavar="REPORT.json", nargs=2, help="made by learned-opt eval")
    parser.add_argument("--out", metavar="DIR", required=True, help="receives compare.html and .md")
    return parser


def render_parser() -> argparse.ArgumentParser:
    """The command line of `render`."""
    parser = argparse.ArgumentParser(
        prog="learned-opt eval render",
        description="Make the pages of a report anew from its data, without a run: as today's code "
        "draws them, and with what its artifacts say of themselves.",
    )
    parser.add_argument("report", metavar="REPORT", help="a report.json or a report.html")
    parser.add_argument(
        "--artifact", metavar="FILE", action="append", default=[],
        help="its subject or a rival in it, where that does not ship; repeatable",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", required=True, help="receives the pages")
    return parser


def card_parser() -> argparse.ArgumentParser:
    """The command line of `card`."""
    parser = argparse.ArgumentParser(
        prog="learned-opt eval card",
        description="Keep what reports say of an artifact in its card and in the .md beside it.",
    )
    parser.add_argument("artifact", metavar="FILE.safetensors", help="receives the results")
    parser.add_argument(
        "reports", metavar="REPORT.json", nargs="+", help="made by learned-opt eval"
    )
    parser.add_argument("--limits", metavar="TEXT", help="what to know before it is used")
    return parser


def _add_suite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", default="quickstart", help="tasks (default: quickstart)")
    parser.add_argument(
        "--tier", choices=("cpu", "gpu"), default="cpu", help="of its tasks (default: cpu)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    commands = {
        "baselines": (baselines_parser, _baselines),
        "frozen": (frozen_parser, _frozen),
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
    from learned_opt.tasks import use_all_cores

    use_all_cores()
    import learned_opt
    from learned_opt.checkpoints import FolderError

    from ._pack import ArchiveError

    try:
        run(args, rich.console.Console())
    except (ArchiveError, FolderError, OSError, ValueError, learned_opt.ArtifactError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def _evaluate(args: argparse.Namespace, console: rich.console.Console) -> None:
    import learned_opt
    from learned_opt.tasks import load_suite

    from ._evaluate import evaluate
    from ._factory import factory_subject
    from ._subject import artifact_subject

    for task in load_suite(args.suite, args.tier):
        task.spec.build()
    if args.optimizer:
        subject = factory_subject(args.optimizer)
    else:
        subject = artifact_subject(learned_opt.load(args.artifact))
    report = evaluate(
        subject,
        args.suite,
        args.out,
        tier=args.tier,
        rivals=[learned_opt.load(name) for name in args.rival],
        tuned_rivals=[learned_opt.load(name) for name in args.tuned_rival],
        quick=args.quick,
        smoke=args.smoke,
        arguments=args.words,
        console=console,
    )
    console.print(f"\n{report['sentence']}\n", highlight=False, markup=False)
    seconds = report["seconds"]  # None of a resumed one
    took = "" if seconds is None else f" in {seconds:.0f} s"
    console.print(f"Evaluated{took}. Report: {args.out}/report.html")


def _baselines(args: argparse.Namespace, console: rich.console.Console) -> None:
    from ._ship import pack_baselines

    file = pack_baselines(args.suite, tier=args.tier, only=args.only, out=args.out, console=console)
    console.print(f"Packed: {file}", highlight=False, soft_wrap=True)


def _frozen(args: argparse.Namespace, console: rich.console.Console) -> None:
    from ._frozen import choose_setting

    choose_setting(args.out, console=console)


def _compare(args: argparse.Namespace, console: rich.console.Console) -> None:
    from .report import write_comparison

    one, two = (json.loads(Path(path).read_text()) for path in args.reports)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    found = write_comparison(one, two, out)
    console.print(f"\n{found['sentence']}\n", highlight=False, markup=False)
    console.print(f"Side by side: {args.out}/compare.html")


def _render(args: argparse.Namespace, console: rich.console.Console) -> None:
    import learned_opt

    from ._render import read_report, with_facts
    from .report import write_report

    report = read_report(Path(args.report))
    made = with_facts(report, [learned_opt.load(name) for name in args.artifact])
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    write_report(made, out)
    console.print(f"Report: {out}/report.html", highlight=False, soft_wrap=True)


def _card(args: argparse.Namespace, console: rich.console.Console) -> None:
    import learned_opt
    from learned_opt.checkpoints import card_markdown

    from ._card import add_results

    path = Path(args.artifact)
    reports = [json.loads(Path(name).read_text()) for name in args.reports]
    artifact = add_results(learned_opt.load(path), reports, args.limits)
    page = card_markdown(artifact)
    artifact.save(path)
    path.with_suffix(".md").write_text(page)
    console.print(f"Kept in {path} and {path.with_suffix('.md')}", soft_wrap=True)


def _fail(message: str) -> int:
    rich.console.Console(stderr=True).print(
        f"error: {message}", style="red", markup=False, soft_wrap=True
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
