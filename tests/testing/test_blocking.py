"""Servers in a thread, whose methods can be called from any thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

import zk_anyio
import zk_blocking
import zk_trio
from tests.support.waiting import eventually
from zk_blocking.testing import Gate, InMemoryServer, open_server
from zk_conformance import Proxy
from zk_sansio.errors import (
    ConnectError,
    ConnectionLossError,
    InvalidRequestError,
    LocalProtocolError,
    SessionExpiredError,
)
from zk_sansio.server import ServerState
from zk_sansio.session import SessionState
from zk_sansio.wire import OpCode

SET = OpCode.SET_DATA


@pytest.fixture(params=["pair", "port"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """How clients get to the server."""

    def through_a_pair(gate: InMemoryServer | Gate, **settings: Any) -> Any:
        return gate.open_client(**settings)

    def through_a_port(gate: InMemoryServer | Gate, **settings: Any) -> Any:
        return zk_blocking.open_client(gate.hosts, **settings)

    return through_a_pair if request.param == "pair" else through_a_port


Connect = Callable[..., Any]


def test_a_client_works(connect: Connect) -> None:
    with open_server() as server, connect(server) as client:
        assert client.create("/a", b"1") == "/a"
        assert server.get("/a") == b"1"
        with client.watch("/a") as changes:
            assert server.watches(client) == {"/a"}
            server.set("/a", b"2")
            assert changes.next(timeout=5).path == "/a"
        client.create("/a/e-", ephemeral=True, sequential=True)
        assert server.ephemerals(client) == {"/a/e-0000000000"}
        assert server.sessions() == [client.session_id]
        big = bytes(range(256)) * 3000
        client.set("/a", big)
        assert client.get("/a").data == big
        assert server.connections() == 1


def test_nothing_listens_before_somebody_asks(connect: Connect) -> None:
    with open_server(3) as server, server.open_client() as client:
        assert server.faults._listeners is None
        assert client.get_children("/") == ["zookeeper"]
        assert len({*server.hosts.split(",")}) == 3


def test_a_port_is_taken_at_once() -> None:
    with open_server() as first:
        port = int(first.hosts.partition(":")[2])
        with pytest.raises(OSError, match="cannot listen on"):
            with open_server(port=port):
                pass
    for _ in range(2):  # and is free at once
        with open_server(port=port) as server, zk_blocking.open_client(server.hosts) as client:
            assert client.server == f"127.0.0.1:{port}"


def test_wrong_options_start_nothing() -> None:
    for wrong in {"profile": "4"}, {"tick": -1}, {"port": -1}, {"size": 0}:
        with pytest.raises(InvalidRequestError):
            with open_server(**wrong):
                pass


def test_a_session_is_ended(connect: Connect) -> None:
    with open_server() as server:
        with connect(server) as client:
            client.create("/e", ephemeral=True)
            before = client.session_id
            assert server.expire(client)
            assert server.exists("/e") is None
            eventually(lambda: client.session_id != before and client.state is SessionState.CONNECTED)
        with pytest.raises(SessionExpiredError), connect(server, on_expiry="raise") as client:
            server.expire(client.ticket)
            eventually(lambda: client.state is SessionState.EXPIRED)


@pytest.mark.parametrize(
    "name, value, lost",
    [
        ("cut_before_request", b"0", True),
        ("cut_after_request", b"1", True),
        ("cut_before_reply", b"1", True),
        ("cut_after_reply", b"1", False),
    ],
)
def test_cuts(connect: Connect, name: str, value: bytes, lost: bool) -> None:
    with open_server() as server, connect(server) as client:
        server.create("/a", b"0")
        getattr(server.faults, name)(op=SET)
        if lost:
            with pytest.raises(ConnectionLossError):
                client.set("/a", b"1")
        else:
            client.set("/a", b"1")
        assert server.get("/a") == value
        eventually(lambda: server.faults.connections == 2 and client.state is SessionState.CONNECTED)
        assert server.faults.cuts == 1


def test_other_faults(connect: Connect) -> None:
    with open_server() as server, server.proxy() as proxy, connect(proxy) as client:
        as_a_proxy: Proxy = proxy
        assert as_a_proxy.connections == 1
        proxy.black_hole()
        with pytest.raises(zk_blocking.CallTimeoutError):
            client.create("/a", timeout=0.02)
        assert server.exists("/a") is None
        proxy.heal()
        assert client.exists("/a")
        proxy.delay(0.02)
        client.get("/a")
        proxy.heal()
        proxy.corrupt_reply(op=OpCode.GET_DATA)
        client.get("/a")
        proxy.corrupt_request(op=OpCode.GET_DATA)
        client.get("/a")
        proxy.drop_reply(op=SET)
        with pytest.raises(zk_blocking.CallTimeoutError):
            client.set("/a", b"1", timeout=0.02)
        assert server.get("/a") == b"1"
        proxy.cut()
        eventually(lambda: proxy.connections == 4 and client.state is SessionState.CONNECTED)
        proxy.drop_request(op=SET)
        with pytest.raises(zk_blocking.CallTimeoutError):
            client.set("/a", b"2", timeout=0.02)
        assert server.get("/a") == b"1"
        proxy.refuse()
        proxy.cut()
        with pytest.raises(ConnectError), connect(proxy, open_timeout=0.05):
            pass
        with connect(server):
            pass
        proxy.listen_again()
        assert client.get("/a").data == b"1"
        assert proxy.opcodes.count(SET) == 2
        assert proxy.requests == len(proxy.opcodes)


def test_a_proxy_ends(connect: Connect) -> None:
    with open_server() as server:
        with server.proxy() as proxy:
            scope = connect(proxy, close_grace=0.05)
            client = scope.__enter__()
        try:
            eventually(lambda: client.state is SessionState.SUSPENDED)
            with pytest.raises(OSError, match="closed"):
                with server.proxy() as other:
                    pass
                _ = other.hosts
        finally:
            scope.__exit__(None, None, None)


def test_members(connect: Connect) -> None:
    with open_server(3, read_only_mode=True, election_time=0.01) as server, connect(server) as client:
        client.create("/a", b"0")
        server.lose_quorum()
        eventually(lambda: client.state is SessionState.SUSPENDED)
        with connect(server, read_only=True) as reader:
            assert reader.state is SessionState.READ_ONLY
            server.regain_quorum()
            eventually(lambda: client.state is SessionState.CONNECTED)
        server.stop(1)
        assert server.ensemble.servers[1].state is ServerState.DOWN
        server.start(1)
        server.lag(0, 0.01)
        server.move(client, 1)
        eventually(lambda: client.get("/a").data == b"0")


def test_a_server_ends_before_its_clients(connect: Connect) -> None:
    with open_server() as server:
        scope = connect(server, close_grace=0.05)
        client = scope.__enter__()
    try:
        eventually(lambda: client.state is SessionState.SUSPENDED)
        with pytest.raises(ConnectError), server.open_client(open_timeout=0.02):
            pass
    finally:
        scope.__exit__(None, None, None)


def test_what_the_body_raises_leaves_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        with open_server() as server, server.open_client():
            raise ZeroDivisionError


def test_many_threads(connect: Connect) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with connect(server) as client:
                for i in range(20):
                    client.create(f"/{number}-{i}", ephemeral=True)
                    server.create(f"/somebody-{number}-{i}")
                assert len(server.ephemerals(client)) == 20
        except BaseException as error:
            errors.append(error)

    with open_server(3) as server:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(server.children()) == 161
        assert server.sessions() == []


def test_a_way_opens_and_ends_while_nobody_goes_through_them() -> None:
    opened, ending, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with server.proxy():
            opened.set()
            ending.wait(5)
        ended.set()

    with open_server(3) as server:
        thread = threading.Thread(target=work)
        with server._lock:  # as `start` and `stop` have it, which go through all ways
            before = [*server._gates]
            thread.start()
            assert not opened.wait(0.02)
            assert [*server._gates] == before
        assert opened.wait(5)
        with server._lock:
            assert len(server._gates) == 2
            ending.set()
            assert not ended.wait(0.02)
            assert len(server._gates) == 2
        thread.join()
        assert [*server._gates] == before


def test_the_members_tell_where_they_listen() -> None:
    hosts = ["127.0.0.2", "::1"]
    if sys.platform != "linux":
        hosts.remove("127.0.0.2")  # elsewhere it has to be set up first
    for host in hosts:
        with open_server(3, host=host) as server:
            try:
                entries = server.hosts.split(",")
            except OSError:
                assert host == "::1", "there is IPv4 everywhere"
                continue
            lines = (server.get("/zookeeper/config") or b"").decode().splitlines()
            assert [line.partition(";")[2] for line in lines[:3]] == entries


def test_other_event_loops() -> None:
    async def on_trio() -> None:
        async with zk_trio.open_client(server.hosts) as client:
            await client.create("/trio", ephemeral=True)
            server.expire(client)

    async def on_asyncio() -> None:
        async with zk_anyio.open_client(server.hosts) as client:
            await client.create("/asyncio", ephemeral=True)
            assert server.ephemerals(client) == {"/asyncio"}

    with open_server() as server:
        trio.run(on_trio)
        asyncio.run(on_asyncio())
        assert server.children() == ["zookeeper"]


def test_a_defect_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = open_server()
    server = opening.__enter__()
    with zk_blocking.open_client(server.hosts, close_grace=0.05) as client:

        def break_down() -> float:
            raise ZeroDivisionError

        with server._lock:
            monkeypatch.setattr(server.ensemble, "next_timeout", break_down)
            server._bell.ring()
        eventually(lambda: client.state is SessionState.SUSPENDED)
        with pytest.raises(RuntimeError, match="defect"):
            server.touch()
    with pytest.raises(RuntimeError, match="defect") as caught:
        opening.__exit__(None, None, None)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_what_is_there_can_be_seen_while_nobody_leads() -> None:
    with open_server(3) as server, server.open_client() as client:
        client.create("/here", b"it is", ephemeral=True)
        assert server.leader is not None
        server.lose_quorum()
        assert server.leader is None
        assert server.get("/here") == b"it is"
        assert server.children() == ["here", "zookeeper"]
        with pytest.raises(LocalProtocolError, match="no member leads"):
            server.set("/here", b"")
        with pytest.raises(LocalProtocolError, match="no member leads"):
            server.expire(client)
        server.regain_quorum()


def test_a_member_that_missed_something_is_not_asked() -> None:
    with open_server(3, election_time=0.01) as server:
        server.stop(0)
        eventually(lambda: server.leader is not None)
        with server.open_client() as client:
            client.create("/here", ephemeral=True)
            server.lose_quorum()
            assert server.ephemerals(client) == {"/here"}
            server.regain_quorum()


@pytest.mark.parametrize("who", ["x", None, 1.5])
def test_a_session_that_is_told_wrongly(who: Any) -> None:
    with open_server() as server, pytest.raises(InvalidRequestError, match="its id, its client or its ticket"):
        server.expire(who)


@pytest.mark.parametrize("settings", [{"size": "3"}, {"size": 1.5}, {"profile": 3.8}])
def test_servers_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError), open_server(**settings):
        pass


@pytest.mark.parametrize("lag", [-1, float("nan"), "x"])
def test_a_lag_that_cannot_be(lag: Any) -> None:
    with open_server(3) as server, pytest.raises(InvalidRequestError, match="a lag is a number"):
        server.lag(0, lag)
