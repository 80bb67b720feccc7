"""``python -m zk_trio serve``, as a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

import zk_blocking
from tests.blocking.tools import REPOSITORY

pytestmark = pytest.mark.skipif(find_spec("cyclopts") is None, reason="the extra `cli` is not installed")

COMMAND = [sys.executable, "-W", "error", "-m", "zk_trio"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", "COLUMNS": "200"}
LIMIT = 30


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server as a process, and its connect string."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ZooKeeper in memory, for tests and demos. Nothing is kept on disk.\n"
        said = re.fullmatch("Connect to (.*)\n", process.stdout.readline())
        assert said is not None
        yield process, said[1]
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=LIMIT, env=ENVIRONMENT, check=False
    )


def test_it_can_be_called(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from zk_trio.cli import _serve, main

    say = _serve._say

    def say_and_press(text: str) -> None:
        say(text)
        if "Connect to 127.0.0.1:" in text:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_serve, "_say", say_and_press)
    assert main(["serve", "--port", "0", "--tick", "0.1"]) == 0
    assert capsys.readouterr().out.endswith("Ended; all data is gone.\n")
    assert main(["serve", "--profile", "4"]) == 1
    assert "profile is one of" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told(number: int) -> None:
    with serving() as (process, hosts):
        with zk_blocking.open_client(hosts) as client:
            client.create("/a", b"1")
            assert client.get("/a").data == b"1"
            process.send_signal(number)
            assert process.communicate(timeout=LIMIT) == ("Ended; all data is gone.\n", "")
        assert process.returncode == 0


def test_options() -> None:
    options = ["--size=3", "--profile=3.8", "--tick=0.5", "--min-session-timeout=2", "--max-session-timeout=4"]
    with serving(*options, "--read-only-mode", "--super-password", "super:secret") as (_, hosts):
        assert len(hosts.split(",")) == 3
        with zk_blocking.open_client(hosts, session_timeout=1, auth=[("digest", "super:secret")]) as client:
            assert client.session_timeout == 2
            client.create("/a", acl=[zk_blocking.digest_acl("somebody", "else")])
            client.set("/a", b"1")
        with zk_blocking.open_client(hosts, session_timeout=60) as client:
            assert client.session_timeout == 4


def test_the_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"cannot listen on 127.0.0.1:{port}: .*\n", done.stderr)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--port", "70000"], "Must be <= 65535"),
        (["--port", "many"], "--port"),
        (["--size", "0"], "Must be >= 1"),
        (["--tick", "0"], "Must be > 0"),
        (["--profile", "4"], "profile is one of 3.5, 3.8, 3.9, keeper"),
        (["--port", "65535", "--size", "3"], "ports are numbers from 1 to 65535"),
        (["--min-session-timeout", "9", "--max-session-timeout", "1"], "longer than the longest"),
        (["--nonsense"], "--nonsense"),
        (["2181"], "2181"),
    ],
)
def test_wrong_arguments_get_an_answer(arguments: list[str], said: str) -> None:
    done = run("serve", *arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help() -> None:
    assert "serve" in run("--help").stdout
    done = run("serve", "--help")
    assert done.returncode == 0
    for name in "--port", "--size", "--profile", "--tick", "--read-only-mode":
        assert name in done.stdout
    assert "Nothing is kept on disk" in done.stdout


def test_without_the_extra() -> None:
    program = (
        "import importlib.util, runpy, sys; find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *rest: None if name in ('cyclopts', 'rich') else find(name, *rest);"
        "runpy.run_module('zk_trio', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "the command line needs cyclopts and rich: pip install 'zk-sansio[trio,cli]'\n"
