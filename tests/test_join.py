"""Processes that meet, or do not; and what each says when another one is lost: no second process.

`test_lost.py` has real ones.
"""

import os
import re
import socket
import subprocess
import sys
import threading

import pytest
from processes import ROOT, environment, write_config

from learned_opt.meta_train import ConfigError
from learned_opt.meta_train.__main__ import main
from learned_opt.meta_train._errors import ProcessLostError
from learned_opt.meta_train.command import _join
from learned_opt.meta_train.processes import _meeting, _watch
from learned_opt.meta_train.processes._meeting import Link, enter, gather
from learned_opt.meta_train.processes._watch import Watch

NAMED = "name the processes with --coordinator HOST:PORT, --processes N and --process I"
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "two",
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
}  # fmt: skip


@pytest.fixture
def listening():
    """A socket where somebody listens who knows nothing of us."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def nowhere(monkeypatch):
    """No cluster that JAX knows, and half a second to meet."""
    for name in list(os.environ):
        if re.match("SLURM|OMPI|KUBERNETES|JAX_COORDINATOR", name):
            monkeypatch.delenv(name)
    monkeypatch.setattr(_join, "WAIT", 0.5)
    monkeypatch.setattr(_meeting, "LINGER", 0.2)


@pytest.fixture
def said(tmp_path, capsys, nowhere):
    def run(*flags):
        status = main([str(write_config(tmp_path)), "--out", str(tmp_path / "run"), *flags])
        assert not (tmp_path / "run").exists()
        return status, capsys.readouterr().err

    return run


def test_bare_distributed_where_there_is_no_cluster(said):
    message = f"--distributed found no cluster (TPU pod, SLURM, Open MPI or Kubernetes): {NAMED}"
    assert said("--distributed") == (2, f"error: {message}\n")


def test_a_cluster_that_says_nonsense(said, monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    status, text = said("--distributed")
    assert status == 2
    assert text == (
        "error: --distributed did not find its way in this cluster (ValueError: invalid literal "
        f"for int() with base 10: 'two'): {NAMED}\n"
    )


def test_a_coordinator_of_the_environment_that_is_none(said, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "here")
    message = "JAX_COORDINATOR_ADDRESS must be HOST:PORT, got 'here'"
    assert said("--distributed") == (2, f"error: {message}\n")


@pytest.mark.parametrize(
    ("host", "why"),
    [("127.0.0.1", "Connection refused"), ("nowhere.invalid", "Name or service not known")],
)
def test_nobody_is_there(said, free, monkeypatch, host, why):
    def unknown(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    if host != "127.0.0.1":
        monkeypatch.setattr(socket, "create_connection", unknown)  # asks no server of names
    flags = "--coordinator", f"{host}:{free}", "--processes", "2", "--process", "1"
    assert said(*flags) == (
        4,
        f"error: waited 0.5 s for process 0 at {host}:{free} ({why}); start it with the same "
        "command, or correct --coordinator\n",
    )


def test_something_else_is_there(said, listening):
    port = listening.getsockname()[1]
    flags = "--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process"
    assert said(*flags, "1") == (
        4,
        f"error: waited 0.5 s for process 0 at 127.0.0.1:{port} (what listens there is no process "
        "0); start it with the same command, or correct --coordinator\n",
    )
    assert said(*flags, "0") == (
        2,
        f"error: process 0 cannot listen on port {port} (Address already in use): choose another "
        "in --coordinator\n",
    )


def test_the_others_do_not_come(said, free):
    flags = "--coordinator", f"127.0.0.1:{free}", "--processes", "4", "--process", "0"
    assert said(*flags) == (
        4,
        "error: waited 0.5 s, and of 4 processes these did not come: 1, 2, 3; start them with the "
        "same command\n",
    )


def hello(which, count=2, **facts):
    return {"process": which, "processes": count, "host": f"h{which}", "facts": facts}


def meet(*hellos, before=lambda port: None, seconds=20):
    """What comes to each process, the first of which is process 0: its links or its error."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    found = [None] * len(hellos)

    def run(i, fn):
        try:
            found[i] = fn()
        except Exception as error:
            found[i] = type(error), str(error)

    before(port)
    jobs = [threading.Thread(target=run, args=(0, lambda: gather(server, hellos[0], seconds)))]
    for i, one in enumerate(hellos[1:], 1):
        came = lambda one=one: [enter("127.0.0.1", port, one, seconds)]  # noqa: E731
        jobs.append(threading.Thread(target=run, args=(i, came)))
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    return found


def close(found):
    for links in found:
        for link in links:
            link.sock.close()


def test_processes_that_are_alike_meet(nowhere):
    found = meet(*(hello(i, 3, seed=1, run={"a": [1]}) for i in range(3)))
    assert sorted(link.name for link in found[0]) == ["process 1 on h1", "process 2 on h2"]
    assert [link.name for links in found[1:] for link in links] == ["process 0", "process 0"]
    close(found)


def test_strangers_and_those_that_come_again_do_no_harm(nowhere):
    def others(port):
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"process": -1}\n', b"\xff\n", b""):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(said)
        sock = socket.create_connection(("127.0.0.1", port))
        Link(sock).send(**hello(1, 3))  # and is killed
        sock.close()

    found = meet(hello(0, 3), hello(1, 3), hello(2, 3), before=others)
    assert sorted(link.name for link in found[0]) == ["process 1 on h1", "process 2 on h2"]
    close(found)


CURE = "; start the same command, with the same versions, everywhere"
UNLIKE = [
    ([hello(0, run={"seed": 1}), hello(1, run={"seed": 2})], "run.seed is 2 and 1" + CURE),
    ([hello(0, **{"--resume": True}), hello(1, **{"--resume": False})],
     "--resume is False and True" + CURE),
    ([hello(0, code={"jax": "0.10.2"}), hello(1, code={"jax": "0.11"})],
     "code.jax is '0.11' and '0.10.2'" + CURE),
    ([hello(0, a=1), hello(1)], "a is None and 1" + CURE),
    ([hello(0, 2), hello(1, 3)], "process 1 was started with --processes 3, process 0 with "
     "--processes 2: give all the same number"),
    ([hello(0, 3), hello(2, 3), hello(2, 3)], "two processes were started as --process 2: give "
     "each a number of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("hellos", "message"), UNLIKE, ids=range(len(UNLIKE)))
def test_processes_that_are_not_alike_all_learn_why(nowhere, hellos, message):
    if "alike" not in message and message.endswith(CURE):
        message = f"process 1 and process 0 must be alike: {message}"
    found = meet(*hellos)
    assert found[0] == (ConfigError, message)
    assert set(found[1:]) == {(ConfigError, f"{message} (said process 0)")}


def test_one_that_came_learns_that_another_did_not(nowhere):
    message = "waited 0.5 s, and of 3 processes these did not come: 2; start them with the same"
    found = meet(hello(0, 3), hello(1, 3), seconds=0.5)
    assert [error for error, _ in found] == [ProcessLostError, ProcessLostError]
    assert [text[: len(message)] for _, text in found] == [message, message]


def connected():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname()), server.accept()[0]


@pytest.fixture
def watched(monkeypatch):
    """A watch of process 0, the links of two others, and what was lost."""
    monkeypatch.setattr(_watch, "BEAT", 0.02)
    monkeypatch.setattr(_watch, "LOST", 0.2)
    pairs = [connected() for _ in range(2)]
    lost, said = threading.Event(), []

    def tell(what):
        said.append(what)
        lost.set()

    near = [Link(pair[0], f"process {i} on h") for i, pair in enumerate(pairs, 1)]
    far = [Link(pair[1]) for pair in pairs]
    yield Watch(near, True, tell), far, (lost, said)
    for link in near + far:
        link.sock.close()


def alive(links, event):
    """Those that send a sign of life until the event."""
    while not event.wait(0.02):
        for link in links:
            link.send(beat=True)


def heard(link):
    found = []
    while (said := link.read(0.5)) and not any("lost" in m for m in found):
        found += said
    return [m["lost"] for m in found if "lost" in m]


def test_one_that_is_killed(watched):
    _, (first, second), (lost, said) = watched
    first.sock.close()
    alive([second], lost)
    assert said == ["the connection to process 1 on h has closed"]
    assert heard(second) == said


def test_one_that_hangs(watched):
    _, (first, second), (lost, said) = watched
    alive([first], lost)
    assert said == ["process 2 on h has not been heard of for 0.2 s"]
    assert heard(first)[:1] == said
    del second


def test_one_that_ends_with_an_error(watched):
    watch, (first, second), (lost, said) = watched
    first.send(end=3)
    first.sock.close()
    alive([second], lost)
    assert watch.failed == "process 1 on h ended with status 3"
    assert said == [watch.failed]


def test_all_that_end_well(watched):
    watch, far, (lost, said) = watched
    for link in far:
        link.send(end=0)
        link.sock.close()
    watch.finish()
    assert not lost.wait(0.3)
    assert said == []


def test_three_devices_of_which_a_run_uses_two(tmp_path):
    """Four pairs, eight tasks: said before anything is compiled."""
    code = (
        "import sys; from learned_opt.meta_train.run import _loop\n"
        "_loop.Log = lambda *a: sys.exit(5)\n"
        "from learned_opt.meta_train.__main__ import main; main(sys.argv[1:])"
    )
    config = write_config(tmp_path, estimator={"pairs": 4})
    for pairs, note in (
        (4, "note: this run uses 2 of 3 devices; for all of them estimator.pairs and valid.tasks "
         "must be multiples of 3\n"),
        (6, ""),
    ):  # fmt: skip
        words = [str(config), "--out", str(tmp_path / f"run{pairs}")]
        words += ["--set", f"estimator.pairs={pairs}", "--set", f"valid.tasks={pairs}"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=ROOT, env=environment(3), text=True,
            capture_output=True, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (5, note), done.stderr
