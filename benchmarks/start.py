"""python -m benchmarks.start CONFIG: how long a meta-training takes to begin, cold and warm.

Each in a process of its own: cold with no program kept, warm with all that the cold one kept.
Seconds, and seconds of CPU: until everything is built, until the first outer step can be taken,
until the meta-validation can be. Nothing is trained. With --by-program what each program costs
cold, in seconds of CPU: to trace, to lower, to compile.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from learned_opt._files import cache_folder
from learned_opt.devices import programs_folder, use_all_cores


def programs(name: str, changes: list[str]) -> tuple[Any, Any]:
    """The configuration, and its programs, not compiled."""
    from learned_opt.meta_train import Programs, build, load_config

    config = load_config(name, changes)
    return config, Programs(*build(config), config.run.log_every)


def start(name: str, changes: list[str]) -> dict[str, Any]:
    """When a start in this process has come how far: [seconds, seconds of CPU]."""
    begun, seen = time.perf_counter(), {}

    def lap(what: str) -> None:
        seen[what] = [round(time.perf_counter() - begun, 2), round(time.process_time(), 2)]

    _, found = programs(name, changes)
    lap("built")
    found.compile()
    lap("outer steps")
    found.compile_judges()
    lap("meta-validation")
    training, judging = found.sources()
    count = len(training) + len({id(program) for program, _ in judging})
    return seen | {"programs": count, "kept": found.loaded}


def by_program(name: str, changes: list[str]) -> None:
    """A line a program."""
    config, found = programs(name, changes)
    training, judging = found.sources()
    names = [source.name for source in config.sources] + config.judge_names
    done = set()
    print(f"{'CPU seconds to':32} {'trace':>7} {'lower':>7} {'compile':>8}")
    for what, (source, args) in zip(names, [*training, *judging], strict=True):
        if id(source) in done:
            continue
        done.add(id(source))
        ticks = [time.process_time()]
        made = source.jitted
        for step in (lambda x, a=args: x.trace(*a), lambda x: x.lower(), lambda x: x.compile()):
            made = step(made)
            ticks.append(time.process_time())
        spent = [after - before for before, after in itertools.pairwise(ticks)]
        print(f"{what:32} {spent[0]:>7.2f} {spent[1]:>7.2f} {spent[2]:>8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE", dest="changes")
    parser.add_argument("--by-program", action="store_true")
    parser.add_argument("--here", action="store_true", help="one start, in this process; JSON")
    args = parser.parse_args()
    use_all_cores()
    if args.by_program:
        by_program(args.config, args.changes)
    elif args.here:
        print(json.dumps(start(args.config, args.changes)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            data = cache_folder()
            for entry in data.iterdir() if data.is_dir() else ():
                if entry != programs_folder():  # decoded data stay
                    (Path(folder) / entry.name).symlink_to(entry)
            env = os.environ | {"LEARNED_OPT_CACHE": folder}
            for which in ("cold", "warm"):
                words = [sys.executable, "-m", "benchmarks.start", args.config, "--here", "--set"]
                done = subprocess.run(
                    [*words, *args.changes], env=env, check=True, capture_output=True, text=True
                )
                print(which, done.stdout.strip(), flush=True)
            kept = (Path(folder) / "programs").glob("*")
            print(f"kept: {sum(path.stat().st_size for path in kept) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
