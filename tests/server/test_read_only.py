"""Servers without a quorum that serve those who only want to read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.harness import CHANGED, Client, Greeting, Reply, World, handshake, packed
from tests.wire.vectors import vector
from zk_sansio.acl import OPEN
from zk_sansio.server import Server, ServerState
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Create,
    Delete,
    Exists,
    GetChildren,
    GetData,
    Multi,
    MultiRead,
    OpCode,
    Ping,
    Request,
    SetACL,
    SetData,
    Sync,
    WhoAmI,
)

NOT_READ_ONLY = -119


def partitioned() -> tuple[World, Server]:
    """An ensemble, and a member that is cut off."""
    world = World(3, read_only_mode=True)
    world.client().do(Create("/a", b"old"))
    server = world.followers[0]
    server.isolate(world.now)
    assert server.state is ServerState.READ_ONLY
    return world, server


def test_handshake_tells_so() -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True)
    assert client.greeting is not None
    assert client.greeting.read_only is True
    assert client.session_id >> 56 == server.id
    assert client.session_id not in world.ensemble.sessions
    assert len(vector("readonly_connect").reply) == 41


@pytest.mark.parametrize("read_only", [False, None])
def test_others_are_sent_away(read_only: bool | None) -> None:
    world, server = partitioned()
    client = world.dial(server)
    client.feed(handshake(read_only=read_only))
    assert client.connection.data_to_send() == b""
    assert client.closed


@pytest.mark.parametrize(
    "request_",
    [
        GetData("/a"),
        Exists("/a"),
        GetChildren("/"),
        MultiRead([GetData("/a")]),
        WhoAmI(),
        AddWatch("/", AddWatchMode(0)),
    ],
    ids=lambda each: each.name,
)
def test_reads_are_served(request_: Request[Any]) -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True)
    reply = client.ask(request_)
    assert (reply.code, reply.zxid) == (0, server.tree.last_zxid)
    assert client.ask(Ping()) == (-2, server.tree.last_zxid, 0, b"")


@pytest.mark.parametrize(
    "request_",
    [Create("/x"), SetData("/a", b""), Delete("/a"), SetACL("/a", OPEN), Multi([Delete("/a")]), Multi([]), Sync("/")],
    ids=lambda each: each.name,
)
def test_writes_and_syncs_are_not(request_: Request[Any]) -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True)
    assert client.ask(request_)[1:] == (server.tree.last_zxid, NOT_READ_ONLY, b"")
    assert client.raw(OpCode.CREATE, b"").code == NOT_READ_ONLY
    assert not client.closed
    assert "/a" in server.tree.nodes


def test_state_is_that_of_when_it_was_cut_off() -> None:
    world, server = partitioned()
    world.client(world.leader).do(SetData("/a", b"new"))
    assert world.client(server, read_only=True).do(GetData("/a")).data == b"old"


def test_close() -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True)
    client.feed(packed(7, OpCode.CLOSE_SESSION))
    assert client.receive() == [Reply(7, server.tree.last_zxid, 0)]
    assert client.closed
    assert greeting(world.resumed(client, server, read_only=True)).timeout_ms == 0


def greeting(client: Client) -> Greeting:
    assert client.greeting is not None
    return client.greeting


def test_resume_at_the_same_server() -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True)
    new = world.resumed(client, server, read_only=True)
    assert new.greeting == client.greeting
    assert client.closed
    assert not new.closed
    stranger = world.resumed(client, server, read_only=True, password=b"p" * 16)
    assert greeting(stranger).timeout_ms == 0
    assert greeting(stranger).read_only is True
    assert stranger.closed


def test_its_sessions_are_unknown_elsewhere() -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True)
    other = world.resumed(client, world.leader, read_only=True)
    assert other.greeting == Greeting(0, 0, bytes(16), False)
    assert other.closed


def test_sessions_of_the_ensemble_are_sent_away() -> None:
    world, server = partitioned()
    client = world.client(world.leader)
    other = world.resumed(client, server, read_only=True)
    assert other.greeting is None
    assert other.closed
    assert not client.closed


def test_its_sessions_expire() -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True, timeout_ms=4_000)
    other = world.client(server, read_only=True, timeout_ms=4_000)
    world.advance(3.0)
    other.ask(Ping())
    world.advance(3.0)
    assert client.closed
    assert not other.closed
    world.advance(6.0)
    assert other.closed


def test_clients_are_dropped_when_it_is_back() -> None:
    world, server = partitioned()
    client = world.client(server, read_only=True)
    client.do(GetData("/a", True))
    client.do(AddWatch("/", AddWatchMode.PERSISTENT_RECURSIVE))
    world.client(world.leader).do(SetData("/a", b"new"))
    server.rejoin(world.now)
    assert client.closed
    assert client.fired() == [], "it is closed before anything new is known"
    new = world.dial(server)
    new.feed(handshake(session_id=client.session_id, password=greeting(client).password, read_only=True))
    assert new.receive() == []
    assert greeting(new).timeout_ms == 0
    world.advance(100.0)
    world.check()


def test_lost_quorum_makes_all_read_only() -> None:
    world = World(3, read_only_mode=True)
    one, two, three = world.ensemble.servers
    client = world.client(one)
    client.do(Create("/a"))
    two.stop(world.now)
    three.stop(world.now)
    assert client.closed
    assert one.state is ServerState.READ_ONLY
    reader = world.client(one, read_only=True)
    assert reader.code(GetData("/a", True)) == 0
    two.start(world.now)
    assert reader.closed
    assert one.state is two.state is ServerState.LOOKING
    world.advance(0.2)
    new = world.resumed(client, one)
    new.do(SetData("/a", b""))
    assert reader.fired() == []
    three.start(world.now)
    world.check()


def test_clients_that_would_read_only_are_served_fully_where_there_is_a_quorum() -> None:
    world = World(3, read_only_mode=True)
    client = world.client(read_only=True)
    assert greeting(client).read_only is False
    watcher = world.client()
    client.do(Create("/a"))
    watcher.do(Exists("/a", True))
    client.do(SetData("/a", b""))
    assert watcher.fired() == [(CHANGED, "/a", world.zxid)]
