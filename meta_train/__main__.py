"""python -m meta_train CONFIG: meta-train a learned optimizer."""

import argparse
import sys
from collections.abc import Sequence

import rich.console


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m meta_train",
        description="Meta-train a learned optimizer and export it as one small file.",
        epilog="The folder receives config.toml, metrics.jsonl, checkpoints/, and the artifact "
        "NAME.safetensors with its card NAME.md. Killed at any moment, the same command with "
        "--resume goes on and ends with the same theta, bit for bit. Evaluate the artifact with: "
        "python -m eval DIR/NAME.safetensors --suite quickstart --out REPORT_DIR",
    )
    parser.add_argument(
        "config", help="a TOML file, for example meta_train/configs/quickstart.toml"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="change one setting, for example --set run.outer_steps=900; repeat for more",
    )
    parser.add_argument("--out", metavar="DIR", help="output folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the folder")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    from tasks import use_all_cores

    use_all_cores()
    from checkpoints import CheckpointError, FolderError

    from ._config import ConfigError, load_config
    from ._loop import meta_train, shell_command

    try:
        config = load_config(args.config, args.overrides)
        out = args.out or f"runs/{config.run.name}"
        meta_train(config, out, resume=args.resume, command=shell_command(argv))
    except (ConfigError, FolderError, CheckpointError) as error:
        rich.console.Console(stderr=True).print(
            f"error: {error}", style="red", markup=False, soft_wrap=True
        )
        return 2
    except KeyboardInterrupt:
        print("stopped; continue with --resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
