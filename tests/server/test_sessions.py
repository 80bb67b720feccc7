"""Sessions: how long they live, and what goes with them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.harness import DELETED, START, Reply, World, handshake, packed, repeatable
from zk_sansio.server import ServerOptions
from zk_sansio.server._sessions import Sessions, next_tick
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Create,
    CreateMode,
    Delete,
    Exists,
    GetData,
    Multi,
    OpCode,
    Ping,
    Request,
    SetData,
    Sync,
)

EPHEMERAL = CreateMode.EPHEMERAL


# --- expiry


@pytest.mark.parametrize("late, due", [(0.0, 1006.0), (0.5, 1006.0), (0.999, 1006.0), (1.0, 1008.0), (1.999, 1008.0)])
def test_expires_at_the_first_tick_behind_its_timeout(late: float, due: float) -> None:
    world = World(now=START + late)
    client = world.client(timeout_ms=5_000)
    client.do(Create("/e", mode=EPHEMERAL))
    assert world.ensemble.sessions[client.session_id].expires == due
    assert world.ensemble.next_timeout() == due
    world.now = due - 0.001
    world.ensemble.handle_timeout(world.now)
    assert not client.closed
    world.advance(0.001)
    assert client.closed
    assert client.receive() == [], "it is closed without a word"
    assert world.ensemble.sessions == {}
    assert "/e" not in world.tree.nodes
    new = world.resumed(client)
    assert new.closed
    assert new.greeting is not None
    assert new.greeting.timeout_ms == 0
    world.check()


def test_timeout_at_a_tick_lives_one_tick_more() -> None:
    world = World()
    client = world.client(timeout_ms=4_000)
    assert world.ensemble.sessions[client.session_id].expires == START + 6.0


@pytest.mark.parametrize(
    "request_", [Ping(), Exists("/"), Exists("/no"), Create("/x/y"), Sync("/"), Multi([])], ids=lambda each: each.name
)
def test_anything_keeps_it_alive(request_: Request[Any]) -> None:
    world = World()
    client = world.client(timeout_ms=4_000)
    for _ in range(10):
        world.advance(3.0)
        client.ask(request_)
    assert not client.closed
    world.advance(5.9)
    assert not client.closed
    world.advance(0.1)
    assert client.closed


def test_silent_connection_does_not() -> None:
    world = World()
    client, other = world.client(timeout_ms=4_000), world.client(timeout_ms=40_000)
    world.advance(3.0)
    client.feed(b"\0\0\0")
    other.do(Exists("/"))
    world.advance(3.0)
    assert client.closed
    assert not other.closed


def test_lost_connection_leaves_the_session() -> None:
    world = World()
    client, other = world.client(timeout_ms=4_000), world.client(timeout_ms=40_000)
    client.do(Create("/e", mode=EPHEMERAL))
    other.do(Exists("/e", watch=True))
    client.hang_up()
    assert client.closed
    world.advance(5.9)
    assert other.fired() == []
    world.advance(0.1)
    assert [event[:2] for event in other.fired()] == [(DELETED, "/e")]


def test_expiry_is_one_change_for_all_ephemerals() -> None:
    world = World()
    client, other = world.client(timeout_ms=4_000), world.client(timeout_ms=40_000)
    other.do(Create("/a"))
    for path in ("/a/2", "/e", "/a/1"):
        client.do(Create(path, mode=EPHEMERAL))
    other.do(AddWatch("/", AddWatchMode.PERSISTENT_RECURSIVE))
    zxid = world.zxid
    world.advance(6.0)
    assert other.fired() == [(DELETED, path, zxid + 1) for path in ("/a/2", "/e", "/a/1")]
    assert world.zxid == zxid + 1


def test_those_of_one_tick_expire_together() -> None:
    world = World()
    clients = [world.client(timeout_ms=4_000 + number) for number in range(5)]
    world.advance(6.0)
    assert all(client.closed for client in clients)
    assert len(world.ensemble.log) == 10


def test_expire_by_hand() -> None:
    world = World()
    client = world.client()
    client.do(Create("/e", mode=EPHEMERAL))
    assert world.ensemble.expire(client.session_id, world.now)
    assert client.closed
    assert "/e" not in world.tree.nodes
    assert not world.ensemble.expire(client.session_id, world.now)
    assert not world.ensemble.expire(12345, world.now)
    world.check()


def test_expiry_reaches_what_waits() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 1.0
    client.send(Create("/e", mode=EPHEMERAL))
    client.send(Create("/f", mode=EPHEMERAL))
    world.ensemble.expire(client.session_id, world.now)
    assert not client.closed, "its server has not heard of it"
    client.send(GetData("/"))
    world.advance(1.0)
    assert [reply.code for reply in client.receive()] == [0]
    assert client.closed
    assert "/e" not in world.tree.nodes
    assert "/f" not in world.tree.nodes
    world.advance(5.0)
    world.check()


def test_writes_of_a_session_that_has_ended_elsewhere() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.hold()
    world.ensemble.expire(client.session_id, world.now)
    assert client.ask(Exists("/")).code == 0, "reads are served on"
    client.send(Create("/e", mode=EPHEMERAL))
    assert "/e" not in world.tree.nodes
    follower.release(world.now)
    assert client.receive() == []
    assert client.closed
    world.check()


# --- closing


def test_close() -> None:
    world = World()
    client, other = world.client(), world.client()
    client.do(Create("/e", mode=EPHEMERAL))
    other.do(Exists("/e", watch=True))
    client.feed(packed(9, OpCode.CLOSE_SESSION) + Create("/lost").encode(10))
    assert client.receive() == [Reply(9, world.zxid, 0)]
    assert client.closed
    assert "/lost" not in world.tree.nodes
    assert [event[:2] for event in other.fired()] == [(DELETED, "/e")]
    assert len(world.ensemble.sessions) == 1
    world.check()


def test_own_watches_hear_of_own_ephemerals_before_the_end() -> None:
    world = World()
    client = world.client()
    client.do(Create("/e", mode=EPHEMERAL))
    client.do(Exists("/e", watch=True))
    client.feed(packed(9, OpCode.CLOSE_SESSION))
    event, reply = client.messages()
    assert event[:2] == (DELETED, "/e")
    assert reply[0] == 9


def test_close_at_a_follower_that_lags() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 1.0
    client.send(Create("/e", mode=EPHEMERAL))
    client.feed(packed(9, OpCode.CLOSE_SESSION) + packed(10, OpCode.PING))
    world.advance(1.0)
    assert [reply.xid for reply in client.receive()] == [1]
    world.advance(1.0)
    assert [reply.xid for reply in client.receive()] == [9]
    assert client.closed
    world.check()


def test_end_of_the_stream_and_then_some() -> None:
    world = World()
    client = world.client()
    client.hang_up()
    assert client.closed
    client.hang_up()
    client.feed(Create("/lost").encode(1))
    assert client.receive() == []
    assert world.ensemble.servers[0].connections == []


def test_close_of_a_moved_session_closes_all() -> None:
    world = World(3)
    one, two, _ = world.ensemble.servers
    old = world.client(one)
    new = world.resumed(old, two)
    new.feed(packed(1, OpCode.CLOSE_SESSION))
    assert [reply.code for reply in new.receive()] == [0]
    assert new.closed
    assert old.closed


# --- moving


def test_move() -> None:
    world = World(3)
    one, two, _ = world.ensemble.servers
    client = world.client(one)
    world.ensemble.move(client.session_id, two, world.now)
    assert not client.closed
    client.send(Ping())
    assert client.receive() == []
    assert client.closed
    new = world.resumed(client, one)
    assert new.session_id == client.session_id
    assert new.ask(Ping()).code == 0


def test_move_within_one_server() -> None:
    world = World()
    client = world.client()
    (server,) = world.ensemble.servers
    world.ensemble.move(client.session_id, server, world.now)
    assert client.closed
    with pytest.raises(KeyError):
        world.ensemble.move(1, server, world.now)


def test_moved_session_expires_like_others() -> None:
    world = World(3)
    client = world.client(timeout_ms=4_000)
    world.advance(3.0)
    world.ensemble.move(client.session_id, world.ensemble.servers[1], world.now)
    world.advance(4.9)
    assert client.session_id in world.ensemble.sessions
    world.advance(0.1)
    assert world.ensemble.sessions == {}


# --- the table


def test_a_mapping() -> None:
    sessions = Sessions(b"secret", 1, 2.0)
    one, two = (sessions.make(4_000, 0.0, 1) for _ in range(2))
    assert list(sessions) == [one.session_id, two.session_id]
    assert len(sessions) == 2
    assert sessions[one.session_id] is one
    sessions.end(one.session_id)
    sessions.end(one.session_id)
    assert list(sessions.values()) == [two]
    assert sessions.password(one.session_id) == one.password
    assert Sessions(b"other", 1, 2.0).password(one.session_id) != one.password


def test_looking_for_expired_ones() -> None:
    sessions = Sessions(b"secret", 1, 2.0)
    assert sessions.next_timeout() == math.inf
    one, two = sessions.make(4_000, 0.0, 1), sessions.make(4_000, 0.0, 1)
    assert sessions.next_timeout() == 6.0
    one.touched = 5.0
    assert sessions.expired(5.9) == []
    assert sessions.expired(6.0) == [two]
    sessions.end(two.session_id)
    assert sessions.next_timeout() == 10.0
    sessions.resume(one, 1_000, 5.0)
    assert sessions.next_timeout() == 8.0
    sessions.touch_all(7.0)
    assert sessions.expired(9.9) == []
    assert sessions.expired(10.0) == [one]
    sessions.end(one.session_id)
    sessions.expired(100.0)
    assert sessions.next_timeout() == math.inf


@repeatable
@given(
    st.floats(0, 1e9, allow_nan=False),
    st.one_of(st.floats(0.001, 1000), st.sampled_from([0.1, 0.2, 0.3, 0.7, 1 / 3, 60.0])),
)
def test_next_tick_is_later(time: float, tick: float) -> None:
    assert time < next_tick(time, tick) <= time + tick * 1.001


@repeatable
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.2, 0.3, 0.7, 0.05, 1 / 3, 2.0]))
def test_next_tick_of_a_tick_is_later(count: int, tick: float) -> None:
    assert next_tick(count * tick, tick) > count * tick


# --- time


def test_nothing_is_due_without_sessions() -> None:
    world = World()
    assert world.ensemble.next_timeout() == math.inf
    client = world.client()
    client.feed(packed(1, OpCode.CLOSE_SESSION))
    world.advance(100.0)
    assert world.ensemble.next_timeout() == math.inf


def test_handling_nothing_does_nothing() -> None:
    world = World()
    client = world.client()
    for _ in range(3):
        world.ensemble.handle_timeout(world.now)
    assert client.receive() == []
    assert len(world.ensemble.log) == 1


@pytest.mark.parametrize("interval", [0.1, 0.7, 60.0])
@pytest.mark.parametrize("tick", [0.1, 0.05, 2.0])
def test_no_busy_loop(interval: float, tick: float) -> None:
    world = World(tick=tick, cleanup_interval=interval, now=0.0)
    client = world.client(timeout_ms=1_000)
    client.do(Create("/a"))
    container = Create("/c", mode=CreateMode.CONTAINER)
    client.raw(OpCode.CREATE_CONTAINER, Create("/c").body()[:-4] + b"\0\0\0\4")
    assert container.path in world.tree.nodes
    for _ in range(20):
        world.advance(0.43)
        if not client.closed:
            client.ask(Ping())


def test_ready_tells_of_bytes_and_ends() -> None:
    world = World()
    assert world.ensemble.take_ready() == []
    one, two = world.dial(), world.dial()
    one.feed(handshake())
    assert world.ensemble.take_ready() == [one.connection]
    assert world.ensemble.take_ready() == []
    two.feed(handshake())
    one.feed(Exists("/", watch=True).encode(1))
    world.ensemble.take_ready()
    two.feed(SetData("/", b"").encode(1))
    assert set(world.ensemble.take_ready()) == {one.connection, two.connection}
    two.feed(b"")
    assert world.ensemble.take_ready() == [two.connection]
    world.advance(12.0)
    assert world.ensemble.take_ready() == [one.connection]


def test_logged_changes() -> None:
    world = World(log_size=10)
    client = world.client()
    for _ in range(19):
        client.ask(Delete("/no"))
    assert len(world.ensemble.log) == 20
    client.ask(Delete("/no"))
    assert [entry.zxid for entry in world.ensemble.log] == list(range(12, 22))
    assert world.ensemble.log_start == 11
    assert world.ensemble.log_end == 21


def test_options_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="timeout"):
        ServerOptions(min_session_timeout=2.0, max_session_timeout=1.0)
    for changes in (
        {"tick": 0.0},
        {"cleanup_interval": 0.0},
        {"election_time": -1.0},
        {"require_sasl": True},
        {"log_size": 0},
    ):
        with pytest.raises(ValueError, match=r"."):
            ServerOptions(**changes)
    assert "secret" not in repr(ServerOptions(super_password="a:secret", sasl_users={"bob": "secret"}))
