"""The examples: the demo does what it claims, leaves nothing behind, and the client by hand works."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.leaks import running
from tests.support.servers import ZooKeeperServer
from tests.support.waiting import eventually
from zk_sansio.errors import NoNodeError

EXAMPLES = Path(__file__).parent.parent / "examples"
DEMO = [sys.executable, str(EXAMPLES / "demo.py")]
OWN_SERVER = re.compile(r"It is process (\d+), serves (\S+), and has its files in (\S+)\.\n")


def example(name: str) -> ModuleType:
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


def environment(**more: str) -> dict[str, str]:
    """What a user has, with the packages of this checkout."""
    kept = {name: value for name, value in os.environ.items() if name != "ZK_HOSTS"}
    return kept | {"PYTHONPATH": str(EXAMPLES.parent), "PYTHONUNBUFFERED": "1"} | more


def run_demo(**more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(DEMO, env=environment(**more), capture_output=True, text=True, check=False, timeout=90)


# --- the demo


@pytest.mark.server
def test_demo_with_a_server_of_its_own() -> None:
    done = run_demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.findall(r"^(\d)\. ", done.stdout, re.MULTILINE) == list("1234567")
    assert "-> Gap(reason='reconnected')" in done.stdout
    found = OWN_SERVER.search(done.stdout)
    assert found
    assert not Path(found[3]).exists()


@pytest.mark.server
def test_demo_with_servers_that_run_already(server: ZooKeeperServer, root: str) -> None:
    done = run_demo(ZK_HOSTS=server.hosts + root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6. Left out: killing the server" in done.stdout
    with server.raw() as client:
        assert client.children(root) == []
    assert server.alive


@pytest.mark.parametrize(
    "environ, message",
    [
        ({"ZK_HOSTS": "http://localhost"}, "without a scheme"),
        ({"ZOOKEEPER_JARS": str(EXAMPLES)}, "there is no zookeeper-<version>.jar"),
    ],
)
def test_demo_says_what_is_wrong(environ: dict[str, str], message: str) -> None:
    done = run_demo(**environ)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_fails_when_something_is_not_as_it_claims(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = example("demo")

    async def claim(hosts: str, server: None) -> None:
        demo.expect("the answer", 41, 42)

    monkeypatch.setattr(demo, "demo", claim)
    monkeypatch.setenv("ZK_HOSTS", "unused")
    assert demo.main() == 1
    assert "the answer: this should be 42, and is 41" in capsys.readouterr().err


@contextmanager
def demo_under_way() -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """A demo at work, the id of its server and its folder; all is gone in the end."""
    with subprocess.Popen(
        DEMO, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as demo:
        try:
            assert demo.stdout is not None
            text = ""
            while not (found := OWN_SERVER.search(text)):
                line = demo.stdout.readline()
                assert line, text
                text += line
            assert running(int(found[1]))
            yield demo, int(found[1]), Path(found[3])
        finally:
            demo.kill()


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_demo_that_is_stopped_leaves_nothing_behind(number: signal.Signals) -> None:
    with demo_under_way() as (demo, server, folder):
        demo.send_signal(number)
        assert demo.wait() == (130 if number == signal.SIGINT else -number)
        eventually(lambda: not running(server))
        eventually(lambda: not folder.exists())


# --- the state machine by hand


@pytest.mark.server
def test_sans_io(server: ZooKeeperServer, root: str, capsys: pytest.CaptureFixture[str]) -> None:
    with server.raw() as client:
        client.create(f"{root}/one")
        client.create(f"{root}/two")
    sans_io = example("sans_io")
    assert sorted(sans_io.list_children(server.hosts + root, "/")) == ["one", "two"]
    assert sans_io.list_children(f"localhost:{server.port}{root}", "/one") == []
    with pytest.raises(NoNodeError):
        sans_io.list_children(server.hosts + root, "/three")
    assert capsys.readouterr().out.startswith("connecting -> connected\nconnected -> closed")


def test_sans_io_without_a_server() -> None:
    with pytest.raises(TimeoutError, match="refused"):
        example("sans_io").list_children("127.0.0.1:1", "/", give_up_after=0.05)
