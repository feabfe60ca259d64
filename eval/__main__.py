"""python -m eval ARTIFACT_OR_NAME | baselines: compare a learned optimizer with tuned baselines."""

import argparse
import sys
from collections.abc import Sequence

import rich.console


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Compare a learned optimizer, untuned, with Adam, AdamW, Lion and AdaBelief "
        "tuned for each task, on fresh seeds, and write a report.",
        epilog="The folder receives report.html (one file, opens offline), report.json and "
        "runs.jsonl (every run that does not ship with the package). Interrupted, the same command "
        "goes on where it stopped; with runs.jsonl of another machine copied there as "
        "runs-NAME.jsonl, it takes those runs too. Baselines alone: python -m eval baselines -h",
    )
    parser.add_argument(
        "artifact",
        metavar="ARTIFACT_OR_NAME",
        help="a .safetensors file, or the name of a pretrained optimizer "
        '(python -c "import learned_opt; print(learned_opt.available())")',
    )
    _add_suite(parser)
    parser.add_argument("--out", metavar="DIR", required=True, help="output folder")
    return parser


def baselines_parser() -> argparse.ArgumentParser:
    """The command line of `baselines`."""
    parser = argparse.ArgumentParser(
        prog="python -m eval baselines",
        description="Tune the baselines on a suite, run them on fresh seeds, and pack all runs "
        "into one file. In the package it spares every evaluation these runs.",
        epilog="Runs are kept in FILE.d as they are made: interrupted, the same command goes on "
        "where it stopped. Runs in FILE that still mean the same are not made again; delete FILE "
        "to make all anew.",
    )
    _add_suite(parser)
    parser.add_argument("--only", metavar="NAME", nargs="+", default=(), help="these baselines")
    parser.add_argument("--out", metavar="FILE", help="default: eval/archive/SUITE-TIER.npz")
    return parser


def _add_suite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", default="quickstart", help="tasks (default: quickstart)")
    parser.add_argument(
        "--tier", choices=("cpu", "gpu"), default="cpu", help="of its tasks (default: cpu)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    baselines = argv[:1] == ["baselines"]
    args = baselines_parser().parse_args(argv[1:]) if baselines else parser().parse_args(argv)
    from tasks import load_suite, use_all_cores

    use_all_cores()
    import learned_opt
    from checkpoints import FolderError

    from ._pack import ArchiveError
    from ._ship import chosen_baselines

    console = rich.console.Console()
    try:
        for task in load_suite(args.suite, args.tier):
            task.spec.build()
        if baselines:
            chosen_baselines(args.only)
    except ValueError as error:
        return _fail(str(error))
    try:
        (_baselines if baselines else _evaluate)(args, console)
    except (ArchiveError, FolderError, learned_opt.ArtifactError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def _evaluate(args: argparse.Namespace, console: rich.console.Console) -> None:
    import learned_opt

    from ._evaluate import evaluate

    artifact = learned_opt.load(args.artifact)
    report = evaluate(artifact, args.suite, args.out, tier=args.tier, console=console)
    console.print(f"\n{report['sentence']}\n", highlight=False, markup=False)
    console.print(f"Evaluated in {report['seconds']:.0f} s. Report: {args.out}/report.html")


def _baselines(args: argparse.Namespace, console: rich.console.Console) -> None:
    from ._ship import pack_baselines

    file = pack_baselines(args.suite, tier=args.tier, only=args.only, out=args.out, console=console)
    console.print(f"Packed: {file}", highlight=False, soft_wrap=True)


def _fail(message: str) -> int:
    rich.console.Console(stderr=True).print(
        f"error: {message}", style="red", markup=False, soft_wrap=True
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
