"""The examples: the demo does what it claims, leaves nothing behind, and the clients by hand work."""

from __future__ import annotations

import importlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.proxy import ChaosProxy
from tests.support.servers import HOST, AnyServer
from zk_sansio.errors import NoNodeError
from zk_sansio.session import Attempt, Call, Session, SessionOptions, SessionState, StateChanged, parse_hosts
from zk_sansio.wire import Create, CreateMode, GetData, OpCode

EXAMPLES = Path(__file__).parent.parent / "examples"
DEMO = [sys.executable, str(EXAMPLES / "demo.py")]
OWN_SERVER = re.compile(r"Using a ZooKeeper of its own, in memory, at \S+, as ZK_HOSTS is not set\.\n")


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


def test_demo_with_a_server_of_its_own() -> None:
    done = run_demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.findall(r"^(\d)\. ", done.stdout, re.MULTILINE) == list("1234567")
    assert "-> Gap(reason='reconnected')" in done.stdout
    assert OWN_SERVER.match(done.stdout)


def test_demo_needs_no_java() -> None:
    done = run_demo(PATH="/nowhere", JAVA_HOME="/nowhere", ZOOKEEPER_JARS="/nowhere")
    assert done.returncode == 0, done.stdout + done.stderr


def test_demo_with_servers_that_run_already(server: AnyServer, root: str) -> None:
    done = run_demo(ZK_HOSTS=server.hosts + root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6. Left out: a crash of the server" in done.stdout
    with server.raw() as client:
        assert client.children(root) == []
    assert server.alive


def test_demo_says_what_is_wrong() -> None:
    done = run_demo(ZK_HOSTS="http://localhost")
    assert done.returncode == 1
    assert "without a scheme" in done.stderr
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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_demo_that_is_stopped_ends_at_once(number: signal.Signals) -> None:
    with subprocess.Popen(
        DEMO, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as demo:
        try:
            assert demo.stdout is not None
            assert OWN_SERVER.match(demo.stdout.readline())
            demo.send_signal(number)
            assert demo.wait(timeout=30) == (130 if number == signal.SIGINT else -number)
        finally:
            demo.kill()


# --- the state machine by hand


def test_sans_io(server: AnyServer, root: str, capsys: pytest.CaptureFixture[str]) -> None:
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


# --- a loop of one's own

EMBEDDED = EXAMPLES / "embedded.py"


class Observed(Session):
    """A session that counts how often it is looked at, and tells of what it wants to be tried."""

    def __init__(self, hosts: str) -> None:
        super().__init__(parse_hosts(hosts)[0], SessionOptions(timeout=4.0, connect_timeout=0.3), random.Random(1))
        self.looks = 0
        self.attempts = 0
        self.begins: Callable[[], None] = lambda: None

    def next_timeout(self) -> float:
        self.looks += 1
        return super().next_timeout()

    def next_attempt(self, now: float) -> Attempt | None:
        attempt = super().next_attempt(now)
        if attempt is not None:
            self.attempts += 1
            self.begins()
        return attempt


def test_embedded_is_short_and_needs_nothing_else() -> None:
    text = EMBEDDED.read_text()
    assert len(text.splitlines()) < 100
    packages = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert packages - sys.stdlib_module_names == {
        "zk_blocking",
        "zk_sansio",
    }  # a server to try it with


def run_embedded(*hosts: str, **more: str) -> str:
    """Run it, with everything that Python can complain about; return what it prints."""
    command = [sys.executable, "-X", "dev", str(EMBEDDED), *hosts]
    done = subprocess.run(command, env=environment(**more), capture_output=True, text=True, check=False, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_embedded_with_a_server_of_its_own() -> None:
    check_embedded(run_embedded())


def test_embedded_with_servers_that_run_already(server: AnyServer, root: str) -> None:
    check_embedded(run_embedded(ZK_HOSTS=server.hosts + root), root)
    check_embedded(run_embedded(f"localhost:{server.port}{root}", ZK_HOSTS="unused"), root)
    with server.raw() as client:
        assert client.children(root) == []  # the sessions were ended in order


def check_embedded(printed: str, root: str = "") -> None:
    """Whether it has made its znode, read it, and heard of the change before the answer that shows it."""
    path = rf"'{root}/embedded-[\d.]+'"
    wanted = [
        r"StateChanged\(old=<SessionState\.CONNECTING: .*",
        rf"create (Created\(path={path}, .*|.*the znode exists already.*)",
        r"get Znode\(data=b'(hello|bye)', .*",
        rf"Notification\(event=WatchEvent\(type=<EventType\.DATA_CHANGED: 3>, path={path}, .*",
        r"set Stat\(.*",
        r"StateChanged\(.*, new=<SessionState\.CLOSED: .*",
    ]
    lines = [line for line in printed.splitlines() if "SessionState.SUSPENDED" not in line]
    assert len(lines) == len(wanted), printed
    for line, pattern in zip(lines, wanted, strict=True):
        assert re.fullmatch(pattern, line), printed


@pytest.mark.parametrize("op", [OpCode.CREATE, OpCode.GET_DATA, OpCode.SET_DATA, OpCode.CLOSE_SESSION])
@pytest.mark.parametrize("stage", ["before_request", "after_request", "before_reply"])
def test_embedded_when_the_connection_is_cut(
    stage: str, op: OpCode, proxy: ChaosProxy, server: AnyServer, root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    getattr(proxy, f"cut_{stage}")(op=op)
    example("embedded").main(proxy.hosts + root)
    assert proxy.cuts == 1
    check_embedded(capsys.readouterr().out, root)


class Narrow(socket.socket):
    """A socket that takes little at once."""

    def __init__(self, family: int) -> None:
        super().__init__(family)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


@pytest.mark.parametrize("silently", [False, True])
def test_embedded_when_the_server_goes_away_and_returns(
    silently: bool, proxy: ChaosProxy, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = example("embedded")
    monkeypatch.setattr(embedded, "socket", Narrow)
    session = Observed(proxy.hosts)
    data = b"x" * 900_000
    made = session.submit(Create(f"{root}/here", data, mode=CreateMode.EPHEMERAL))
    read = None
    states = []

    def begins() -> None:
        if session.attempts == 4:  # the first one had a connection, two were refused
            proxy.heal()

    session.begins = begins
    for event in embedded.drive(session):
        if isinstance(event, StateChanged):
            states.append(event.new)
            if event.new is SessionState.SUSPENDED:
                read = session.submit(GetData(f"{root}/here"))
        elif event is made:
            owner = session.session_id
            proxy.refuse()
            if silently:
                proxy.black_hole()
            else:
                proxy.cut()
        else:
            assert isinstance(event, Call)
            assert event is read
            assert event.result.data == data
            assert event.result.stat.ephemeral_owner == owner
            session.close(time.monotonic(), grace=3.0)
    assert states == [
        SessionState.CONNECTED,
        SessionState.SUSPENDED,
        SessionState.CONNECTED,
        SessionState.CLOSED,
    ]
    assert session.attempts == 4
    assert session.looks < 300  # it waits, and does not look all the time


@contextmanager
def nobody_accepts() -> Iterator[int]:
    """A port where a connection is neither made nor refused."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind((HOST, 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(5):  # so the queue is full
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((HOST, port))
        yield port


def test_embedded_and_servers_that_cannot_be_reached(
    proxy: ChaosProxy, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = example("embedded")

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        if host == "nowhere":
            raise socket.gaierror(socket.EAI_NONAME, "nobody knows it")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (HOST, port))]

    monkeypatch.setattr(embedded, "getaddrinfo", look_up)
    proxy.refuse()
    with nobody_accepts() as silent:
        session = Observed(f"nowhere:1,localhost:{silent},255.255.255.255:1,{proxy.hosts}")
        failures: dict[str, str] = {}

        def begins() -> None:
            failures.update(session.failures)
            if len(failures) == 4:
                proxy.listen_again()

        session.begins = begins
        for event in embedded.drive(session):
            if isinstance(event, StateChanged) and event.new is SessionState.CONNECTED:
                session.close(time.monotonic(), grace=3.0)
    assert "nobody knows it" in failures["nowhere:1"]
    assert failures[f"localhost:{silent} ({HOST})"] == "no connection in time"
    assert failures[proxy.hosts] == "Connection refused"
    assert "255.255.255.255:1" in failures  # refused at once, before anything can be waited for
    assert session.looks < 300


# --- one program, three adapters

CHANGES = [
    ("import trio", "import anyio"),
    ("import zk_trio as zk", "import zk_anyio as zk"),
    ("async with trio.open_nursery() as tasks:", "async with anyio.create_task_group() as tasks:"),
    ("trio.run(main, ", "anyio.run(main, "),
]


@pytest.mark.parametrize("adapter", ["trio", "anyio", "blocking"])
def test_configuration(adapter: str, server: AnyServer, root: str) -> None:
    command = [sys.executable, str(EXAMPLES / f"configuration_{adapter}.py")]
    where = environment(ZK_HOSTS=server.hosts + root)
    done = subprocess.run(command, env=where, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.endswith("\nmembers now: []\n")
    # Lines of two threads may run into each other.
    last = re.findall(r"(ann|bob) sees version 2: (\[.*?\])", done.stdout)
    assert sorted(who for who, _ in last) == ["ann", "bob"]
    assert {names for _, names in last} in ({"['ann', 'bob']"}, {"['bob', 'ann']"})
    assert len(set(re.findall(r" holds the lock, with token (\d+)", done.stdout))) == 2
    with server.raw() as client:
        assert client.children(root) == []


def test_configuration_with_a_server_of_its_own() -> None:
    command = [sys.executable, str(EXAMPLES / "configuration_blocking.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\nmembers now: []\n")


def test_configuration_differs_by_little_between_event_loops() -> None:
    sources = [(EXAMPLES / f"configuration_{adapter}.py").read_text() for adapter in ("trio", "anyio")]
    programs = [source.split('"""\n', 1)[1].splitlines() for source in sources]  # what is behind the first docstring
    differing = [(one.strip(), other.strip()) for one, other in zip(*programs, strict=True) if one != other]
    assert len(differing) == len(CHANGES)
    for (one, other), (old, new) in zip(differing, CHANGES, strict=True):
        assert one.startswith(old)
        assert other == one.replace(old, new)
