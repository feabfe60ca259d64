"""The words of `learned-opt eval` and of its other commands."""

import argparse
from typing import Any

COMMANDS = """other commands, each with its own --help:
  learned-opt eval compare     two reports side by side
  learned-opt eval render      draw the pages of a report anew from its data
  learned-opt eval card        write what reports say of an artifact into its card
  learned-opt eval baselines   make all runs of the baselines on a suite, for the package
  learned-opt eval calibrate   choose the settings that are used on all tasks

The folder receives report.html (one file, opens offline), report.md, report.json and runs.jsonl.
Interrupted, the same command goes on where it stopped; with runs.jsonl of another machine copied
there as runs-NAME.jsonl, it takes those runs too.

exit status: 0 done, 2 a mistake in what was given, 3 a file could not be written (the runs made
before are kept), 130 or 143 stopped by Ctrl-C or SIGTERM (the same).
Every message, and what to do: docs/what-can-go-wrong.md.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = _parser(
        "",
        "Compare an optimizer, untuned, with those that need no tuning and with AdamW, Muon, Lion\n"
        "and others tuned for each task, on fresh seeds, and write a report.",
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
        help="instead of an artifact: any function num_steps -> optax.GradientTransformation",
    )
    _add_suite(parser, default=None)
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder that receives the report"
    )
    own = parser.add_argument_group(
        "tasks of your own", "in place of a suite, see docs/judge-your-own.md"
    )
    own.add_argument(
        "--task", metavar="MODULE:NAME", action="append", default=[], dest="own",
        help="a task, or a list of tasks, in a module of yours, such as my_project.tasks:letters; "
        "repeatable",
    )  # fmt: skip
    own.add_argument(
        "--num-steps", type=int, metavar="N", help="steps of a training run (default: the task's)"
    )
    own.add_argument(
        "--budget", metavar="TIME", help="90s, 30m or 2h: fewer seeds and settings, so that it fits"
    )
    own.add_argument(
        "--plan", action="store_true", help="only say how many runs, how long and in what memory"
    )
    parser.add_argument(
        "--rival", metavar="ARTIFACT", action="append", default=[],
        help="another learned optimizer, untuned, beside the baselines; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--tuned-rival", metavar="ARTIFACT", action="append", default=[],
        help="another one whose learning rate, schedule and weight decay are tuned for each task, "
        "as AdamW's are; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--all", action="store_true",
        help="every tuned baseline: also those whose runs on the suite do not ship; on tasks of "
        "your own not AdamW and Muon alone, and wrong horizons too",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true",
        help="leave out the generalisation grid (one task with one thing changed at a time), and "
        "time training steps at two loads only",
    )  # fmt: skip
    parser.add_argument(
        "--smoke", action="store_true",
        help="two tasks of 40 steps, in about a minute: does everything work?",
    )  # fmt: skip
    return parser


def baselines_parser() -> argparse.ArgumentParser:
    """The command line of `baselines`."""
    parser = _parser(
        "baselines",
        "Tune the baselines on a suite, run them on fresh seeds, and pack all runs into one file. "
        "In the package it spares every evaluation these runs. The suite `grid` is the "
        "generalisation grid.",
        epilog="Runs are kept in the folder FILE.d as they are made: interrupted, the same command "
        "goes on where it stopped. Runs in FILE that are still current are not made again; delete "
        "FILE to make all anew.",
    )
    _add_suite(parser)
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", default=(), help="these baselines, such as adamw"
    )
    parser.add_argument("--out", metavar="FILE", help="default: eval/archive/SUITE-TIER.npz")
    return parser


def calibrate_parser() -> argparse.ArgumentParser:
    """The command line of `calibrate`."""
    parser = _parser(
        "calibrate",
        "Choose, on tasks of the validation suites, the one setting that each of NAdamW, AdamW, "
        "Muon and Lion has on all tasks, and write them to eval/archive/calibrated.json.",
        epilog="Interrupted, the same command goes on where it stopped.",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder that keeps the runs")
    return parser


def compare_parser() -> argparse.ArgumentParser:
    """The command line of `compare`."""
    parser = _parser("compare", "Two reports of one suite side by side, run by run.")
    parser.add_argument("reports", metavar="REPORT.json", nargs=2, help="made by learned-opt eval")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder that receives compare.html and .md"
    )
    return parser


def render_parser() -> argparse.ArgumentParser:
    """The command line of `render`."""
    parser = _parser(
        "render",
        "Draw the pages of a report anew from its data, without a run: as today's code draws them, "
        "and with what its artifacts say of themselves.",
    )
    parser.add_argument("report", metavar="REPORT", help="a report.json or a report.html")
    parser.add_argument(
        "--artifact", metavar="FILE", action="append", default=[],
        help="an optimizer of the report that is not in the package; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder that receives the pages"
    )
    return parser


def card_parser() -> argparse.ArgumentParser:
    """The command line of `card`."""
    parser = _parser(
        "card", "Write what reports say of an artifact into its card and the .md beside it."
    )
    parser.add_argument("artifact", metavar="FILE.safetensors", help="receives the results")
    parser.add_argument(
        "reports", metavar="REPORT.json", nargs="+", help="made by learned-opt eval"
    )
    parser.add_argument("--limits", metavar="TEXT", help="what to know before it is used")
    return parser


def _parser(command: str, description: str, **options: Any) -> argparse.ArgumentParser:
    prog = f"learned-opt eval {command}".rstrip()
    return argparse.ArgumentParser(prog=prog, description=description, **options)


def _add_suite(parser: argparse.ArgumentParser, default: str | None = "quickstart") -> None:
    parser.add_argument(
        "--suite", default=default, metavar="NAME",
        help="the tasks, such as quickstart or META_TEST_V1 (default: quickstart)",
    )  # fmt: skip
    parser.add_argument(
        "--tier", choices=("cpu", "gpu"), default="cpu",
        help="those of its tasks that suit a CPU, or an accelerator (default: cpu)",
    )  # fmt: skip
