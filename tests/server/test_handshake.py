"""Handshakes: new sessions, resumed ones, old clients, and who is sent away."""

from __future__ import annotations

import struct

import pytest

from tests.server.harness import Client, Greeting, Reply, World, cut, framed, handshake, packed
from zk_sansio.server._sessions import Sessions
from zk_sansio.wire import Create, CreateMode, Exists, GetData, OpCode, Ping, SetData

EXPIRED = Greeting(0, 0, bytes(16), False)


def greeted(client: Client) -> Greeting:
    assert client.greeting is not None
    return client.greeting


# --- new sessions


def test_bytes_of_a_new_session() -> None:
    world = World()
    client = world.dial()
    client.feed(handshake(timeout_ms=10_000))
    data = client.connection.data_to_send()
    assert len(data) == 41
    assert data[:12] == bytes.fromhex("00000025 00000000 00002710")
    assert data[12] == 1, "the number of the server is the top byte of the id"
    assert data[20:24] == bytes.fromhex("00000010")
    assert data[-1] == 0
    assert client.connection.session_id == int.from_bytes(data[12:20], "big", signed=True)
    assert client.connection.session_timeout_ms == 10_000
    assert not client.closed


def test_byte_by_byte() -> None:
    world = World()
    client = world.dial()
    for byte in handshake() + packed(1, OpCode.PING):
        client.feed(bytes([byte]))
    assert client.receive() == [Reply(-2, world.zxid, 0)]


@pytest.mark.parametrize(
    "asked, granted", [(10_000, 10_000), (4_000, 4_000), (1_000, 4_000), (0, 4_000), (-5, 4_000), (600_000, 40_000)]
)
def test_timeout_is_negotiated(asked: int, granted: int) -> None:
    client = World().client(timeout_ms=asked)
    assert greeted(client).timeout_ms == granted == client.connection.session_timeout_ms


def test_timeout_limits_are_options() -> None:
    world = World(tick=0.5)
    assert greeted(world.client(timeout_ms=1)).timeout_ms == 1000
    assert greeted(world.client(timeout_ms=99_999)).timeout_ms == 10_000
    world = World(min_session_timeout=0.1, max_session_timeout=0.2)
    assert greeted(world.client(timeout_ms=1)).timeout_ms == 100
    assert greeted(world.client(timeout_ms=99_999)).timeout_ms == 200


@pytest.mark.parametrize("password", [b"", None, bytes(4), bytes(32)], ids=["empty", "null", "short", "long"])
def test_password_of_a_new_session_is_ignored(password: bytes | None) -> None:
    client = World().client(password=password)
    assert greeted(client).read_only is False
    assert len(greeted(client).password) == 16


def test_client_without_the_read_only_byte() -> None:
    world = World()
    client = world.dial()
    client.feed(handshake(read_only=None))
    (frame,) = cut(client.connection.data_to_send())
    assert len(frame) == 36
    assert client.session_id == int.from_bytes(frame[8:16], "big")
    client.greeting = Greeting(0, 0, b"", None)
    assert client.do(Exists("/")).czxid == 0


def test_read_only_clients_are_served_by_others_too() -> None:
    assert greeted(World().client(read_only=True)).read_only is False


def test_version_and_bytes_behind_are_ignored() -> None:
    world = World()
    for version in (-1, 7):
        client = world.dial()
        client.feed(framed(struct.pack(">i", version) + handshake()[8:] + b"more"))
        assert client.receive() == []
        assert greeted(client).timeout_ms == 10_000


def test_requests_right_behind_it() -> None:
    world = World()
    client = world.dial()
    client.feed(handshake() + packed(5, OpCode.PING) + Exists("/nothing").encode(6))
    assert [(reply.xid, reply.code) for reply in client.receive()] == [(-2, 0), (6, -101)]


@pytest.mark.parametrize("length", range(44))
def test_what_is_too_short_is_closed_on(length: int) -> None:
    world = World()
    client = world.dial()
    client.feed(framed(handshake(read_only=None)[4 : 4 + length]))
    assert client.connection.data_to_send() == b""
    assert client.closed
    assert not world.ensemble.sessions


def test_client_that_has_seen_more_is_sent_away() -> None:
    world = World()
    world.client()
    client = world.dial()
    client.feed(handshake(last_zxid=world.zxid + 1))
    assert client.connection.data_to_send() == b""
    assert client.closed
    world.client(last_zxid=world.zxid)


def test_session_takes_a_zxid() -> None:
    world = World()
    first = world.client()
    assert first.ask(Ping()).zxid == 1
    second = world.client()
    assert second.ask(Ping()).zxid == 2
    assert first.session_id != second.session_id
    assert greeted(first).password != greeted(second).password


def test_ids_and_passwords_come_from_the_seed() -> None:
    assert greeted(World(seed=1).client()) == greeted(World(seed=1).client())
    assert greeted(World(seed=1).client()) != greeted(World(seed=2).client())


def test_ids_of_servers_with_great_numbers_are_negative() -> None:
    sessions = Sessions(b"secret", 0x1AAF8C0000, 2.0)
    session = sessions.make(10_000, 0.0, 200)
    assert session.session_id == -0x37FFFFE550740000
    assert sessions[session.session_id] is session
    assert len(session.password) == 16
    assert sessions.make(10_000, 0.0, 200).session_id == session.session_id + 1


# --- resumed sessions


def test_resume() -> None:
    world = World()
    old = world.client()
    old.do(Create("/e", mode=CreateMode.EPHEMERAL))
    old.hang_up()
    world.advance(5.0)
    new = world.resumed(old, last_zxid=world.zxid)
    assert new.greeting == old.greeting
    assert new.session_id == old.session_id
    assert new.do(Exists("/e")).ephemeral_owner == new.session_id
    assert world.zxid == 2, "taking up a session is no change"


def test_resume_negotiates_again() -> None:
    world = World()
    old = world.client(timeout_ms=30_000)
    new = world.resumed(old, timeout_ms=5_000)
    assert greeted(new).timeout_ms == 5_000
    assert world.ensemble.sessions[new.session_id].timeout_ms == 5_000
    world.advance(8.0)
    assert new.closed


def test_resume_closes_the_older_connection_of_the_same_server() -> None:
    world = World()
    old = world.client()
    new = world.resumed(old)
    assert old.closed
    assert not new.closed
    old.feed(Create("/lost").encode(1))
    assert old.receive() == []
    assert "/lost" not in world.tree.nodes
    assert new.do(Create("/a")).path == "/a"


@pytest.mark.parametrize("password", [bytes(16), b"", None, b"x" * 32], ids=["zeros", "empty", "null", "long"])
def test_wrong_password_closes_the_owner_and_leaves_the_session(password: bytes | None) -> None:
    world = World()
    owner = world.client()
    thief = world.resumed(owner, password=password)
    assert thief.greeting == EXPIRED
    assert thief.closed
    assert owner.closed
    assert owner.session_id in world.ensemble.sessions
    again = world.resumed(owner)
    assert again.greeting == owner.greeting
    assert not again.closed


def test_shortened_password_is_a_wrong_one() -> None:
    world = World()
    owner = world.client()
    assert world.resumed(owner, password=greeted(owner).password[:15]).greeting == EXPIRED


def test_unknown_session() -> None:
    world = World()
    client = world.dial()
    client.feed(handshake(session_id=0x1234, password=b"p" * 16))
    assert client.receive() == []
    assert client.greeting == EXPIRED
    assert client.closed
    assert client.session_id == 0


def test_unknown_session_of_an_old_client() -> None:
    client = World().dial()
    client.feed(handshake(session_id=0x1234, read_only=None))
    length, password = bytes.fromhex("00000024"), bytes.fromhex("00000010") + bytes(16)
    assert client.connection.data_to_send() == length + bytes(16) + password


def test_zxid_ahead_comes_before_the_session() -> None:
    world = World()
    owner = world.client()
    client = world.resumed(owner, last_zxid=world.zxid + 1)
    assert client.greeting is None
    assert client.closed
    assert not owner.closed


def test_requests_behind_a_handshake_that_fails_are_lost() -> None:
    world = World()
    owner = world.client()
    client = world.dial()
    client.feed(handshake(session_id=owner.session_id) + Create("/lost").encode(1))
    assert client.receive() == []
    assert client.greeting == EXPIRED
    assert "/lost" not in world.tree.nodes


def test_resume_of_a_closed_session() -> None:
    world = World()
    client = world.client()
    assert client.raw(OpCode.CLOSE_SESSION).code == 0
    assert client.closed
    assert world.resumed(client).greeting == EXPIRED


# --- in an ensemble


def test_password_is_good_at_every_server() -> None:
    world = World(3)
    for server in world.ensemble.servers:
        client = world.client(server)
        assert client.session_id >> 56 == server.id
        for other in world.ensemble.servers:
            new = world.resumed(client, other)
            assert new.greeting == client.greeting


def test_moved_session() -> None:
    world = World(3)
    one, two, _ = world.ensemble.servers
    old = world.client(one)
    new = world.resumed(old, two)
    assert not old.closed, "it stays open while it is idle"
    assert new.do(Create("/new")).path == "/new"
    old.send(Create("/old"))
    assert old.receive() == []
    assert old.closed
    assert "/old" not in world.tree.nodes
    assert not new.closed
    assert new.do(SetData("/new", b"")).version == 1


def test_moved_session_and_pings() -> None:
    world = World(3)
    one, two, _ = world.ensemble.servers
    old = world.client(one)
    world.resumed(old, two)
    old.send(Ping())
    assert old.receive() == []
    assert old.closed


def test_old_connection_does_not_keep_a_moved_session_alive() -> None:
    world = World(3)
    one, two, _ = world.ensemble.servers
    old = world.client(one, timeout_ms=4_000)
    new = world.resumed(old, two, timeout_ms=4_000)
    world.advance(3.0)
    old.feed(packed(-4, OpCode.AUTH, struct.pack(">i", 0) + b"\0\0\0\6digest" + b"\0\0\0\3a:b"))
    assert not old.closed
    world.advance(3.1)
    assert new.closed
    assert old.closed
    assert not world.ensemble.sessions


def test_requests_wait_for_a_handshake_that_takes_time() -> None:
    world = World(3)
    follower = world.followers[0]
    follower.lag = 1.0
    auth = struct.pack(">i", 0) + b"\0\0\0\6digest" + b"\0\0\0\3a:b"
    client = world.dial(follower)
    client.feed(handshake() + packed(-4, OpCode.AUTH, auth) + GetData("/").encode(1) + packed(-2, OpCode.PING))
    assert client.frames() == []
    assert client.greeting is None
    assert client.session_id == 0
    world.advance(1.0)
    assert [reply.xid for reply in client.receive()] == [-4, 1, -2]
    assert greeted(client).timeout_ms == 10_000
    assert client.session_id != 0


def test_client_that_goes_before_its_session_is_there() -> None:
    world = World(3)
    follower = world.followers[0]
    follower.lag = 1.0
    client = world.dial(follower)
    client.feed(handshake())
    client.hang_up()
    world.advance(1.0)
    assert client.connection.data_to_send() == b""
    assert len(world.ensemble.sessions) == 1
    world.advance(20.0)
    assert not world.ensemble.sessions


def test_handshake_at_a_server_that_lags_behind_the_client() -> None:
    world = World(3)
    follower = world.followers[0]
    follower.hold()
    writer = world.client(world.leader)
    client = world.dial(follower)
    client.feed(handshake(last_zxid=world.zxid))
    assert client.closed
    assert client.connection.data_to_send() == b""
    follower.release(world.now)
    world.resumed(writer, follower, last_zxid=world.zxid)
    world.client(follower, last_zxid=world.zxid)
