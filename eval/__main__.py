"""python -m eval ARTIFACT_OR_NAME: compare a learned optimizer with tuned baselines."""

import argparse
import sys
from collections.abc import Sequence

import rich.console


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Compare a learned optimizer, untuned, with hand-designed ones tuned for "
        "each task, on fresh seeds, and write a report.",
        epilog="The folder receives report.html (one file, opens offline), report.json and "
        "runs.jsonl (every run). Interrupted, the same command goes on where it stopped.",
    )
    parser.add_argument(
        "artifact",
        metavar="ARTIFACT_OR_NAME",
        help="a .safetensors file, or the name of a pretrained optimizer "
        '(python -c "import learned_opt; print(learned_opt.available())")',
    )
    parser.add_argument("--suite", default="quickstart", help="tasks (default: quickstart)")
    parser.add_argument("--out", metavar="DIR", required=True, help="output folder")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = parser().parse_args(argv)
    from tasks import load_suite, use_all_cores

    use_all_cores()
    import learned_opt
    from checkpoints import FolderError

    from ._evaluate import evaluate

    console = rich.console.Console()
    try:
        for task in load_suite(args.suite):
            task.spec.build()
    except ValueError as error:
        return _fail(str(error))
    try:
        report = evaluate(learned_opt.load(args.artifact), args.suite, args.out, console=console)
    except (FolderError, learned_opt.ArtifactError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    console.print(f"\n{report['sentence']}\n", highlight=False, markup=False)
    console.print(f"Evaluated in {report['seconds']:.0f} s. Report: {args.out}/report.html")
    return 0


def _fail(message: str) -> int:
    rich.console.Console(stderr=True).print(
        f"error: {message}", style="red", markup=False, soft_wrap=True
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
