"""What is printed is the text that was given; a reader that leaves stops nothing."""

import subprocess
import sys

PRINTS = """
import sys
from learned_opt.checkpoints import plain_console
console = plain_console()
console.print("a:b:c/run:x:1 [bold]12[/bold] " + "x" * 200)
sys.stdout.flush()
"""
GOES_ON = """
import sys, time
from learned_opt.checkpoints import plain_console
console = plain_console()
for i in range(3000):
    console.print("a line of text " * 10)
print("done", file=sys.stderr)
"""


def test_text_is_printed_as_it_is():
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "a:b:c/run:x:1 [bold]12[/bold] " + "x" * 200 + "\n"


def test_what_runs_goes_on_after_its_reader_has_left():
    process = subprocess.Popen(
        [sys.executable, "-c", GOES_ON], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "done\n"
    assert process.wait(60) == 0
    process.stderr.close()
