"""Several servers: followers that lag, elections, quorums lost and found."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from tests.server.harness import CHANGED, Client, Reply, World, content, packed
from zk_sansio.errors import InvalidRequestError, LocalProtocolError
from zk_sansio.server import Ensemble, ServerState
from zk_sansio.wire import (
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


def xids(client: Client) -> list[int]:
    return [reply.xid for reply in client.receive()]


def counter(zxid: int) -> tuple[int, int]:
    return zxid >> 32, zxid & 0xFFFF_FFFF


def test_shape() -> None:
    world = World(3)
    servers = world.ensemble.servers
    assert [server.id for server in servers] == [1, 2, 3]
    assert [server.state for server in servers] == [ServerState.FOLLOWER, ServerState.FOLLOWER, ServerState.LEADER]
    assert world.ensemble.leader is servers[2]
    assert repr(servers[0]) == "<server 1: follower>"
    single = World()
    assert [server.state for server in single.ensemble.servers] == [ServerState.STANDALONE]
    assert single.ensemble.leader is single.ensemble.servers[0]
    with pytest.raises(InvalidRequestError):
        Ensemble(0, random=random.Random(1), now=0.0)


def test_one_tree() -> None:
    world = World(3)
    clients = [world.client(server) for server in world.ensemble.servers]
    for number, client in enumerate(clients):
        client.do(Create(f"/{number}", mode=CreateMode.EPHEMERAL))
        for other in clients:
            assert other.do(Exists(f"/{number}")).ephemeral_owner == client.session_id
    clients[0].do(GetData("/1", True))
    clients[2].do(SetData("/1", b""))
    assert clients[0].fired() == [(CHANGED, "/1", world.zxid)]
    world.check()


def test_epoch_is_the_upper_half_of_a_zxid() -> None:
    world = World(3)
    client = world.client()
    assert counter(world.zxid) == (1, 1)
    assert counter(client.ask(Create("/a")).zxid) == (1, 2)
    for epoch in (2, 3):
        world.leader.stop(world.now)
        world.advance(0.2)
        client = world.client(world.leader)
        assert counter(world.zxid) == (epoch, 1)
        for server in world.ensemble.servers:
            server.start(world.now)
    world.check()


def test_fresh_ensemble_knows_no_zxid() -> None:
    world = World(3)
    world.followers[0].lag = 1.0
    assert world.followers[0].tree.last_zxid == 0


# --- followers that lag


def test_stale_reads_and_sync() -> None:
    world = World(3)
    follower = world.followers[0]
    reader, writer = world.client(follower), world.client(world.leader)
    follower.lag = 1.0
    writer.do(Create("/a", b"new"))
    assert reader.code(Exists("/a")) == -101
    stale = reader.ask(Ping()).zxid
    assert stale < world.zxid
    reader.send(Sync("/"))
    xid = reader.send(GetData("/a"))
    assert reader.receive() == []
    world.advance(0.5)
    assert reader.receive() == []
    world.advance(0.5)
    synced, found = reader.receive()
    assert (synced.code, synced.zxid) == (0, world.zxid)
    assert (found.xid, found.code) == (xid, 0)


def test_sync_of_a_follower_that_knows_all() -> None:
    world = World(3)
    follower = world.followers[0]
    reader = world.client(follower)
    follower.lag = 1.0
    assert reader.do(Sync("/")) == "/"


def test_sync_does_not_wait_for_what_comes_after_it() -> None:
    world = World(3)
    follower = world.followers[0]
    reader, writer = world.client(follower), world.client(world.leader)
    follower.lag = 1.0
    writer.do(Create("/a"))
    world.advance(0.5)
    reader.send(Sync("/"))
    writer.do(Create("/b"))
    reader.send(Exists("/a"))
    reader.send(Exists("/b"))
    world.advance(0.5)
    assert [reply.code for reply in reader.receive()] == [0, 0, -101]


def test_own_writes_are_seen() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 1.0
    client.send(Create("/a"))
    client.send(Exists("/a"))
    client.send(SetData("/a", b"x"))
    client.send(GetData("/a"))
    assert client.receive() == []
    world.advance(1.0)
    assert [reply.code for reply in client.receive()] == [0, 0]
    world.advance(1.0)
    replies = client.receive()
    assert [reply.code for reply in replies] == [0, 0]
    assert replies[1].body.startswith(b"\0\0\0\1x")


def test_order_behind_a_write_that_waits() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 0.1
    requests: list[Request[Any]] = [
        Create("/a"),
        Exists("/a"),
        Sync("/"),
        Delete("/no"),
        Multi([]),
        Exists("/"),
        Delete("/a"),
    ]
    sent = [client.send(request) for request in requests]
    assert client.connection.outstanding == len(sent)
    world.advance(1.0)
    assert xids(client) == sent
    assert client.connection.outstanding == 0


@pytest.mark.parametrize("profile", ["3.8", "3.9"])
def test_write_that_cannot_be_read_keeps_its_place(profile: str) -> None:
    world = World(3, profile=profile)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 0.1
    client.feed(
        packed(1, OpCode.SET_DATA) + packed(2, OpCode.RECONFIG) + packed(3, OpCode.MULTI) + packed(4, OpCode.SYNC)
    )
    client.feed(packed(5, OpCode.PING))
    world.advance(1.0)
    *replies, ping = client.receive()
    assert [(reply.xid, reply.code) for reply in replies] == [(1, -5), (2, -5), (3, -5), (4, -5)]
    assert ping.xid == -2
    world.check()


def test_unknown_request_behind_a_write_that_waits() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 0.1
    client.send(Create("/a"))
    client.feed(packed(2, 999) + Create("/b").encode(3))
    assert not client.closed
    world.advance(0.1)
    assert client.receive() == [Reply(1, world.zxid, 0, b"\0\0\0\2/a"), Reply(2, -1, -6)]
    assert client.closed
    assert "/b" not in world.tree.nodes


def test_client_that_goes_while_it_waits() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 1.0
    client.send(Create("/a"))
    client.send(Create("/b"))
    client.send(Sync("/"))
    client.hang_up()
    world.advance(5.0)
    assert client.connection.data_to_send() == b""
    assert "/a" in world.tree.nodes, "it was with the leader"
    assert "/b" not in world.tree.nodes
    world.check()


def test_arrivals_keep_their_order_when_the_lag_shrinks() -> None:
    world = World(3)
    follower = world.followers[0]
    reader, writer = world.client(follower), world.client(world.leader)
    follower.lag = 1.0
    writer.do(Create("/a"))
    follower.lag = 0.0
    writer.do(Create("/b"))
    assert reader.code(Exists("/b")) == -101
    world.advance(1.0)
    assert reader.code(Exists("/a")) == reader.code(Exists("/b")) == 0


def test_hold_and_release() -> None:
    world = World(3)
    follower, other = world.followers
    client, writer = world.client(follower), world.client(world.leader)
    follower.hold()
    for number in range(5):
        writer.do(Create(f"/{number}"))
    assert client.code(Exists("/0", True)) == -101
    client.send(Create("/own"))
    client.send(Exists("/own"))
    world.advance(3.0)
    assert client.receive() == []
    assert client.fired() == []
    assert content(other.tree) == content(world.tree)
    assert world.ensemble.next_timeout() > world.now, "what is held is not due"
    follower.release(world.now)
    assert [event.path for event in client.fired()] == ["/0"]
    assert [reply.code for reply in client.receive()] == [0, 0]
    world.check()


def test_nothing_holds_the_leader() -> None:
    world = World(3)
    client = world.client(world.leader)
    world.leader.hold()
    world.leader.lag = 5.0
    client.do(Create("/a"))
    assert client.code(Exists("/a")) == 0


def test_events_come_when_the_follower_learns_of_the_change() -> None:
    world = World(3)
    follower = world.followers[0]
    reader, writer = world.client(follower), world.client(world.leader)
    writer.do(Create("/a"))
    reader.do(GetData("/a", True))
    follower.lag = 1.0
    writer.do(SetData("/a", b"new"))
    assert reader.fired() == []
    world.advance(1.0)
    reader.send(GetData("/a"))
    event, reply = reader.messages()
    assert event == (CHANGED, "/a", world.zxid)
    assert isinstance(reply, Reply)
    assert reply.body.startswith(b"\0\0\0\3new")


@pytest.mark.parametrize("kind", ["writes", "syncs", "garbage", "mixed"])
def test_long_pipelines_behind_a_write_that_waits(kind: str) -> None:
    """No request is carried out inside of another one."""
    world = World(3)
    follower = world.followers[0]
    clients = [world.client(follower) for _ in range(3)]
    follower.hold()
    count = 1500
    for client in clients:
        for number in range(count):
            step = number % 3 if kind == "mixed" else number
            if step and kind in ("garbage", "mixed"):
                client.feed(packed(number + 1, OpCode.SET_DATA))
            elif step and kind == "syncs":
                client.feed(packed(number + 1, OpCode.SYNC, b"\0\0\0\0"))
            else:
                client.feed(SetData("/", b"").encode(number + 1))
    follower.release(world.now)
    for client in clients:
        assert xids(client) == list(range(1, count + 1))
    world.check()


def test_many_clients_that_wait_for_each_other() -> None:
    world = World(3)
    follower = world.followers[0]
    clients = [world.client(follower) for _ in range(200)]
    follower.hold()
    for client in clients:
        for _ in range(3):
            client.send(Multi([]))
    follower.release(world.now)
    for client in clients:
        assert xids(client) == [1, 2, 3]


def test_two_followers_that_wait_for_each_other() -> None:
    world = World(3)
    clients = [world.client(follower) for follower in world.followers]
    for follower in world.followers:
        follower.hold()
    for client in clients:
        for _ in range(500):
            client.send(Multi([]))
    for follower in world.followers:
        follower.release(world.now)
    for client in clients:
        assert xids(client) == list(range(1, 501))
    world.check()


# --- servers that stop


def test_standalone_server_restarts() -> None:
    world = World()
    (server,) = world.ensemble.servers
    client = world.client(timeout_ms=4_000)
    client.do(Create("/a", b"kept"))
    client.do(Create("/e", mode=CreateMode.EPHEMERAL))
    server.stop(world.now)
    assert server.state is ServerState.DOWN
    assert client.closed
    assert server.accept(world.now) is None
    assert world.ensemble.leader is None
    assert world.ensemble.next_timeout() == math.inf
    world.advance(100.0)
    server.start(world.now)
    server.start(world.now)
    assert server.state is ServerState.STANDALONE
    assert server.started == world.now
    world.settle()
    new = world.resumed(client, timeout_ms=4_000)
    assert new.do(GetData("/a")).data == b"kept"
    assert new.code(Exists("/e")) == 0, "sessions begin anew with the server"
    assert new.ask(Ping()).zxid == world.zxid
    new.hang_up()
    world.advance(6.0)
    assert "/e" not in world.tree.nodes
    world.check()


def test_follower_stops_and_catches_up() -> None:
    world = World(3)
    follower, other = world.followers
    client, rest = world.client(follower), world.client(other)
    follower.stop(world.now)
    assert client.closed
    assert follower.accept(world.now) is None
    rest.do(Create("/a"))
    assert "/a" not in follower.tree.nodes
    new = world.resumed(client, other)
    assert new.code(Exists("/a")) == 0
    follower.start(world.now)
    assert follower.state is ServerState.FOLLOWER
    assert world.resumed(new, follower).code(Exists("/a")) == 0
    world.check()


def test_follower_that_has_missed_more_than_the_log_keeps() -> None:
    world = World(3, log_size=5)
    follower, other = world.followers
    client = world.client(other)
    follower.stop(world.now)
    for number in range(30):
        client.do(Create(f"/{number}"))
    client.do(Create("/e", mode=CreateMode.EPHEMERAL))
    assert follower.applied < world.ensemble.log_start
    follower.start(world.now)
    assert content(follower.tree) == content(world.tree)
    client.do(Delete("/7"))
    world.check()


def test_log_is_kept_for_those_who_lag() -> None:
    world = World(3, log_size=5)
    follower = world.followers[0]
    reader, client = world.client(follower), world.client(world.leader)
    follower.hold()
    for number in range(30):
        client.do(Create(f"/{number}"))
    assert len(world.ensemble.log) == 30
    follower.release(world.now)
    assert reader.code(Exists("/29")) == 0
    client.do(Create("/a"))
    assert len(world.ensemble.log) == 5
    world.check()


def test_leader_stops() -> None:
    world = World(3, election_time=0.5)
    leader, others = world.leader, world.followers
    clients = [world.client(server) for server in world.ensemble.servers]
    leader.stop(world.now)
    assert all(client.closed for client in clients)
    assert {server.state for server in others} == {ServerState.LOOKING}
    assert world.ensemble.leader is None
    assert world.ensemble.next_timeout() == world.now + 0.5
    for server in others:
        client = world.dial(server)
        client.feed(b"\0\0\0\x2d")
        assert client.closed
        assert client.connection.data_to_send() == b""
    world.advance(0.5)
    assert world.leader.id == 2
    new = world.resumed(clients[2], world.leader)
    assert new.session_id == clients[2].session_id
    new.do(Create("/a"))
    leader.start(world.now)
    assert leader.state is ServerState.FOLLOWER
    assert "/a" in leader.tree.nodes
    world.check()


def test_the_most_complete_server_leads() -> None:
    world = World(5)
    one = world.ensemble.servers[0]
    for server in world.followers[1:]:
        server.hold()
    client = world.client(world.leader)
    client.do(Create("/a"))
    world.leader.stop(world.now)
    world.advance(0.2)
    assert world.leader is one
    assert "/a" in one.tree.nodes
    world.check()


def test_acknowledged_writes_survive_though_only_the_leader_had_them() -> None:
    world = World(3)
    for follower in world.followers:
        follower.lag = 10.0
    client = world.client(world.leader)
    client.do(Create("/a"))
    world.leader.stop(world.now)
    world.advance(0.2)
    assert "/a" in world.tree.nodes
    world.check()


def test_write_that_waits_when_its_server_stops() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 1.0
    client.send(Create("/a"))
    follower.stop(world.now)
    assert client.closed
    assert client.connection.data_to_send() == b""
    follower.start(world.now)
    assert "/a" in follower.tree.nodes
    assert client.connection.data_to_send() == b""
    world.advance(2.0)
    world.check()


def test_no_quorum() -> None:
    world = World(3)
    client = world.client()
    one, two, three = world.ensemble.servers
    two.stop(world.now)
    client.do(Create("/a"))
    three.stop(world.now)
    assert client.closed
    assert one.state is ServerState.LOOKING
    assert world.ensemble.next_timeout() == math.inf
    assert not world.ensemble.expire(client.session_id, world.now)
    with pytest.raises(LocalProtocolError):
        world.ensemble.execute(Exists("/"), world.now)
    world.advance(1000.0)
    three.start(world.now)
    world.advance(0.1)
    two.start(world.now)
    assert world.ensemble.leader is None
    world.advance(0.11)
    assert world.leader in (one, three)
    assert world.resumed(client, two).code(Exists("/a")) == 0, "no session expires without a leader"
    world.check()


def test_election_that_loses_its_quorum() -> None:
    world = World(3)
    one, two, three = world.ensemble.servers
    three.stop(world.now)
    two.stop(world.now)
    world.advance(1.0)
    assert world.ensemble.leader is None
    assert one.state is ServerState.LOOKING


# --- servers that are cut off


def test_isolated_leader() -> None:
    world = World(3)
    leader = world.leader
    client, other = world.client(leader), world.client(world.followers[0])
    leader.isolate(world.now)
    assert client.closed
    assert other.closed, "the others look for a new one"
    assert leader.state is ServerState.LOOKING
    world.advance(0.2)
    assert world.leader is not leader
    new = world.resumed(client, world.leader)
    new.do(Create("/a"))
    assert "/a" not in leader.tree.nodes
    leader.rejoin(world.now)
    assert leader.state is ServerState.FOLLOWER
    assert "/a" in leader.tree.nodes
    world.check()


def test_isolated_follower() -> None:
    world = World(3)
    follower, other = world.followers
    client, rest = world.client(follower), world.client(other)
    follower.isolate(world.now)
    assert client.closed
    assert not rest.closed
    late = world.dial(follower)
    late.feed(b"\0\0\0\x2d")
    assert late.closed
    follower.rejoin(world.now)
    assert follower.state is ServerState.FOLLOWER
    assert not late.connection.data_to_send()


def test_isolation_of_a_single_server_means_nothing() -> None:
    world = World()
    client = world.client()
    world.ensemble.servers[0].isolate(world.now)
    client.do(Create("/a"))


def test_connection_that_says_nothing_until_there_is_a_leader_again() -> None:
    world = World(3)
    world.leader.stop(world.now)
    one = world.ensemble.servers[0]
    client = world.dial(one)
    world.advance(1.0)
    assert client.closed, "what came before the election is over"
    assert not world.client(one).closed


def test_container_of_an_ensemble_goes_everywhere() -> None:
    world = World(3, cleanup_interval=1.0)
    client = world.client(timeout_ms=40_000)
    client.raw(OpCode.CREATE_CONTAINER, Create("/c").body()[:-4] + b"\0\0\0\4")
    client.do(Create("/c/x"))
    client.do(Delete("/c/x"))
    world.advance(1.0)
    assert all("/c" not in server.tree.nodes for server in world.ensemble.servers)
    world.check()


def test_ids_of_sessions_tell_their_server() -> None:
    world = World(5)
    for server in world.ensemble.servers:
        assert world.client(server).session_id >> 56 == server.id
