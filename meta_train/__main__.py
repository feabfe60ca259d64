"""learned-opt meta-train CONFIG: meta-train a learned optimizer."""

import argparse
import contextlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .command._join import Others
    from .settings import Config


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="learned-opt meta-train",
        description="Meta-train a learned optimizer and export it as one small file.",
        epilog="The folder receives config.toml, metrics.jsonl, tensorboard/, checkpoints/, and "
        "the artifact NAME.safetensors with its card NAME.md. SIGTERM and Ctrl-C save and stop. "
        "Killed at any moment, --resume goes on and ends with the same theta, bit for bit. "
        "Exit status: 0 done, 1 diverged (the best theta is exported), 2 something given is "
        "wrong (a setting, a file, the folder), 3 a file could not be written (what was saved "
        "before is good), 4 another process of a run of several was lost, or did not come (what "
        "was saved is good), 130 or 143 stopped by a signal and saved. Every message, and what to "
        "do: docs/what-can-go-wrong.md. Evaluate the artifact with: "
        "learned-opt eval DIR/NAME.safetensors --suite quickstart --out REPORT_DIR",
    )
    parser.add_argument(
        "config",
        nargs="?",
        help="a TOML file, or the name of one that ships, such as quickstart; may be left out with "
        "--resume: then it is that of the folder --out, or of the newest unfinished run in runs/",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="change one setting, for example --set run.outer_steps=900, or put a whole section in "
        """its place, --set 'optimizer={name="hypernet", lstm=16}'; repeat for more""",
    )
    parser.add_argument(
        "--start",
        metavar="NAME",
        help="in place of a configuration: train on from this artifact, a name or a file, for "
        "--task; see docs/judge-your-own.md",
    )
    parser.add_argument(
        "--task",
        metavar="MODULE:NAME",
        action="append",
        default=[],
        dest="tasks",
        help="with --start: a task, or a list of tasks, in a module of yours; repeatable",
    )
    parser.add_argument(
        "--num-steps", type=int, metavar="N", help="with --start: steps of a training run"
    )
    parser.add_argument(
        "--budget",
        metavar="TIME",
        help="with --start: what it may take, such as 90s, 30m or 2h (default: 15m)",
    )
    parser.add_argument("--out", metavar="DIR", help="output folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="continue a run")
    parser.add_argument(
        "--plan",
        action="store_true",
        help="train nothing: say what would be run, what it needs and what is in the folder; then "
        "compile it, which the run need not do again, and say how long it would take",
    )
    parser.add_argument(
        "--export",
        action="store_true",
        help="only write the best theta so far of the run in --out, to DIR/exports/",
    )
    parser.add_argument(
        "--last",
        action="store_true",
        help="with --export: the newest theta instead, its meta-validation loss computed now",
    )
    parser.add_argument(
        "--accept-new-code",
        action="store_true",
        help="resume although the checkpoint was made by other code",
    )
    parser.add_argument(
        "--start-over",
        action="store_true",
        help="with --resume: begin from the start where the run's checkpoints are gone or none "
        "reads back; what else it has is moved to DIR/earlier-1",
    )
    several = parser.add_argument_group(
        "several processes", "the same command on every host, see docs/scaling.md"
    )
    several.add_argument(
        "--distributed",
        action="store_true",
        help="join the other processes; JAX finds them itself on TPU pods, SLURM and MPI",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which one this is, from 0")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    from learned_opt.devices import use_all_cores

    use_all_cores()
    from .command._join import Others

    others = Others(_say)
    return others.leave(_run(args, argv, others))


def _run(args: argparse.Namespace, argv: Sequence[str], others: "Others") -> int:
    from learned_opt.checkpoints import (
        CheckpointError,
        FolderError,
        WriteError,
        plain_console,
        writing,
    )

    from ._errors import DivergedError, ProcessLostError, StoppedError
    from .command._fine_tune import did_it_pay
    from .command._flags import check_flags
    from .run import (
        export_now,
        load_record,
        meta_train,
        plan_run,
        print_plan,
        print_probe,
        probe_run,
        shell_command,
    )
    from .settings import ConfigError, load_config

    try:
        check_flags(args)
        if args.export:
            out = args.out or newest_unfinished(Path("runs"))
            with writing(out, lambda: "the run is as it was", "--export again"):
                export_now(out, last=args.last)
            return 0
        if args.start:
            config, out = _fine_tuning(args)
        elif not args.resume and not args.config:
            raise ConfigError("a configuration is needed, or --resume to continue a run")
        elif args.config:
            config = load_config(args.config, args.overrides)
            out = args.out or f"runs/{config.run.name}"
        else:
            out = args.out or str(newest_unfinished(Path("runs")))
            config = load_record(out, args.overrides)
        if args.distributed or args.coordinator:
            others.join(args, config, out)
        resuming = {
            "resume": args.resume,
            "accept_new_code": args.accept_new_code,
            "start_over": args.start_over,
        }
        with others.as_one():
            if args.plan:
                plan = plan_run(config, out, **resuming)
                print_plan(plan, plain_console())
                if not plan.refused and plan.done < config.run.outer_steps:
                    print_probe(probe_run(plan), plain_console())
                return 2 if plan.refused else 0
            meta_train(config, out, command=shell_command(argv), **resuming)
        if args.start:
            plain_console().print(did_it_pay(args, out, config.run.name))
    except (ConfigError, FolderError, CheckpointError) as error:
        return _fail(f"error: {error}", 2)
    except WriteError as error:
        return _fail(f"error: {error}", 3)
    except ProcessLostError as error:
        return _fail(f"error: {error}", 4)
    except OSError as error:
        return _fail(f"error: {error.filename or 'a file'}: {error.strerror or error}", 3)
    except DivergedError as error:
        return _fail(f"error: {error}", 1)
    except StoppedError as stop:
        return _fail(f"stopped: {stop}", 128 + stop.signal)
    except KeyboardInterrupt:
        return _fail("stopped at once; continue from the last checkpoint with --resume", 130)
    except Exception:
        if others.alone:
            raise
        traceback.print_exc()  # a fault of ours: the others learn that this process ends
        return 1
    return 0


def _fine_tuning(args: argparse.Namespace) -> "tuple[Config, str]":
    """Configuration and folder; that of a run that goes on is as it was."""
    from learned_opt.checkpoints import plain_console

    from .command._fine_tune import fine_tuning
    from .run import RECORD, load_record

    if args.resume and args.out and (Path(args.out) / RECORD).exists():
        return load_record(args.out, args.overrides), args.out
    console = plain_console()
    console.print("Timing a few steps", style="dim")
    config = fine_tuning(args)
    console.print(f"{config.run.outer_steps} outer steps fit the budget")
    return config, args.out or f"runs/{config.run.name}"


def newest_unfinished(runs: Path) -> Path:
    """The folder in `runs` last written to that holds a run without an artifact."""
    from .run import RECORD
    from .settings import ConfigError

    found = [path.parent for path in runs.glob(f"**/{RECORD}")]
    unfinished = [
        folder for folder in found if not any(p.is_file() for p in folder.glob("*.safetensors"))
    ]
    if not unfinished:
        raise ConfigError(
            f"there is no unfinished run in {runs}/; name one with --out, or a configuration"
        )
    return max(unfinished, key=lambda folder: max(p.lstat().st_mtime for p in folder.iterdir()))


def _fail(message: str, status: int) -> int:
    _say(message)
    return status


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # where the disk is full, so may be the log
        from learned_opt.checkpoints import plain_console

        plain_console(stderr=True).print(message, style="red")


if __name__ == "__main__":
    sys.exit(main())
