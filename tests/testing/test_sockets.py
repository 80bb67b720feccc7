"""What comes over a port: other clients, hostile ones, slow ones, many at once. Each kind of server, in a thread."""

from __future__ import annotations

import errno
import importlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

import anyio
import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

import zk_blocking.testing
from tests.support.raw import RawClient, RawError, four_letter
from tests.testing.kinds import HELLO, KINDS, LIMIT, Kind, at_end, dial, framed, get_frame, read_exactly, read_frame

SERVERS = ["blocking", "trio", "anyio-asyncio", "anyio-uvloop"]
BIG = 1_000_000


@contextmanager
def in_thread(kind: Kind) -> Iterator[str]:
    """A server in an event loop of another thread."""
    found: list[str] = []
    errors: list[BaseException] = []
    listening, stop = threading.Event(), threading.Event()

    async def main() -> None:
        async with kind.testing.open_server() as server:
            found.append(server.hosts)
            listening.set()
            while not stop.is_set():
                await anyio.sleep(0.002)

    def run() -> None:
        try:
            kind.run(main)
        except BaseException as error:
            errors.append(error)
        finally:
            listening.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        listening.wait()
        yield found[0]
    finally:
        stop.set()
        thread.join()
    assert not errors, errors


@pytest.fixture(params=SERVERS)
def server_kind(request: pytest.FixtureRequest) -> str:
    """A kind of server."""
    name: str = request.param
    return name


@pytest.fixture
def hosts(server_kind: str) -> Iterator[str]:
    """The port of a server."""
    if server_kind == "blocking":
        with zk_blocking.testing.open_server() as server:
            yield server.hosts
    else:
        with in_thread(KINDS[server_kind]) as found:
            yield found


def raw(hosts: str, **options: Any) -> RawClient:
    """A plain client."""
    host, _, port = hosts.partition(":")
    return RawClient(host, int(port), **options)


# --- other clients


def test_a_plain_client(hosts: str) -> None:
    with raw(hosts) as client:
        client.create("/a", b"1")
        assert client.get("/a") == b"1"
        client.set("/a", bytes(BIG))
        assert client.get("/a") == bytes(BIG)
        client.create("/e", flags=1)
        session = (client.session_id, client.password)
        client.abandon()
        with raw(hosts, session=session) as again:
            assert again.children("/") == ["a", "e", "zookeeper"]
    with pytest.raises(RawError):
        raw(hosts, session=session)
    with raw(hosts) as client:
        assert client.children("/") == ["a", "zookeeper"]


def test_kazoo(hosts: str) -> None:
    client = KazooClient(hosts)
    client.start(LIMIT)
    try:
        client.create("/a/b", b"1", makepath=True)
        seen = threading.Event()
        assert client.get("/a/b", watch=lambda event: seen.set())[0] == b"1"
        client.set("/a/b", b"2")
        assert seen.wait(LIMIT)
        with client.Lock("/lock"):
            assert len(client.get_children("/lock")) == 1
        transaction = client.transaction()
        transaction.create("/t")
        transaction.delete("/a/b")
        assert transaction.commit() == ["/t", True]
        with pytest.raises(NoNodeError):
            client.get("/a/b")
    finally:
        client.stop()
        client.close()


def test_four_letter_words(hosts: str) -> None:
    host, _, port = hosts.partition(":")
    assert four_letter(host, int(port), "ruok") == "imok"
    assert "Mode: standalone" in four_letter(host, int(port), "srvr")
    with dial(hosts) as client:  # as `echo ruok | nc` does
        client.sendall(b"ruok")
        client.shutdown(socket.SHUT_WR)
        assert read_exactly(client, 4) == b"imok"
        assert at_end(client)


# --- hostile ones


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        struct.pack(">i", -1),
        struct.pack(">i", 2**31 - 1) + bytes(100),
        framed(b""),
        framed(b"x" * 10),
        HELLO + framed(b"\0" * 3),
        HELLO + framed(struct.pack(">ii", 1, 77)),
        HELLO + struct.pack(">i", -5),
    ],
)
def test_garbage_ends_its_connection_and_no_other(hosts: str, garbage: bytes) -> None:
    with raw(hosts) as other, dial(hosts) as client:
        client.sendall(garbage)
        assert at_end(client)
        assert other.children("/") == ["zookeeper"]


def test_noise(hosts: str) -> None:
    random = Random(1)
    with raw(hosts) as other:
        for _ in range(50):
            with dial(hosts) as client:
                start = HELLO if random.random() < 0.5 else b""
                client.sendall(start + random.randbytes(random.randrange(1, 3000)))
                if random.random() < 0.3:
                    client.shutdown(socket.SHUT_WR)
        assert other.children("/") == ["zookeeper"]


def test_halves(hosts: str) -> None:
    """Who stops in the middle of something holds nobody up, and is let go."""
    whole = HELLO + get_frame("/zookeeper")
    with raw(hosts) as other, ExitStack() as stack:
        for end in range(len(whole)):
            client = stack.enter_context(dial(hosts))
            client.sendall(whole[:end])
        assert other.children("/") == ["zookeeper"]
    with raw(hosts) as other:
        assert other.children("/") == ["zookeeper"]


def test_bytes_in_any_pieces(hosts: str) -> None:
    requests = HELLO + b"".join(get_frame("/", i) for i in range(3))
    with dial(hosts) as client:
        for i in range(len(requests)):
            client.sendall(requests[i : i + 1])
        for _ in range(4):
            read_frame(client)


def test_who_reads_nothing_holds_nobody_up(hosts: str) -> None:
    count = 40
    with raw(hosts) as other, dial(hosts) as slow:
        other.create("/big", bytes(BIG))
        slow.sendall(HELLO + b"".join(get_frame("/big", i) for i in range(count)))
        for _ in range(50):
            assert other.children("/") == ["big", "zookeeper"]
        read_frame(slow)
        for _ in range(count):
            assert len(read_frame(slow)) == 16 + 4 + BIG + 68
        slow.sendall(get_frame("/"))
        read_frame(slow)
        slow.sendall(b"".join(get_frame("/big", i) for i in range(count)))
    with raw(hosts) as other:
        assert other.get("/big") == bytes(BIG)


def test_many_connections(hosts: str) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(dial(hosts)) for _ in range(300)]
        for client in clients:
            client.sendall(HELLO)
        for client in clients:
            read_frame(client)
        for client in clients:
            client.sendall(get_frame("/"))
        for client in clients:
            read_frame(client)
    with raw(hosts) as other:
        assert other.children("/") == ["zookeeper"]


def test_the_system_has_no_room(
    server_kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = "zk_blocking" if server_kind == "blocking" else KINDS[server_kind].zk.__name__
    module = importlib.import_module(f"{package}.testing._server")
    accept, refusals = module.accept_one, [OSError(errno.EMFILE, "Too many open files")] * 2

    def full(listener: socket.socket) -> Any:
        if refusals:
            raise refusals.pop()
        return accept(listener)

    monkeypatch.setattr(module, "accept_one", full)
    with raw(request.getfixturevalue("hosts")) as client:
        assert client.children("/") == ["zookeeper"]
    assert refusals == []
