"""Requests that the owner of the ensemble makes, by nobody's session."""

from __future__ import annotations

import pytest

from tests.server.harness import CHANGED, CREATED, World, content
from zk_sansio.acl import ACL, ANYONE, CREATOR_ALL
from zk_sansio.errors import (
    BadVersionError,
    EphemeralOnLocalSessionError,
    InvalidPathError,
    LocalProtocolError,
    NoNodeError,
    UnimplementedError,
)
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Check,
    CloseSession,
    Create,
    Create2,
    Created,
    CreateMode,
    Delete,
    Exists,
    Failed,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    Multi,
    Ping,
    SetACL,
    SetData,
    Sync,
)

CLOSED = [ACL(0, ANYONE)]


def test_reads_and_writes() -> None:
    world = World()
    ensemble, now = world.ensemble, world.now
    assert ensemble.execute(Create("/a", b"1"), now) == Created("/a", None)
    created = ensemble.execute(Create2("/b"), now)
    assert created.stat is not None
    assert ensemble.execute(SetData("/a", b"2"), now).version == 1
    assert ensemble.execute(GetData("/a"), now).data == b"2"
    children = ensemble.execute(GetChildren("/"), now)
    assert sorted(children) == ["a", "b", "zookeeper"]
    assert ensemble.execute(GetAllChildrenNumber("/"), now) == 5
    assert ensemble.execute(Sync("/"), now) == "/"
    ensemble.execute(Ping(), now)
    ensemble.execute(Delete("/b"), now)
    assert ensemble.execute(Multi([Create("/c"), Delete("/no")]), now) == [Failed(0), Failed(-101)]
    assert world.zxid == 5
    world.check()


def test_errors() -> None:
    world = World()
    with pytest.raises(NoNodeError) as caught:
        world.ensemble.execute(GetData("/no"), world.now)
    assert caught.value.path == "/no"
    with pytest.raises(BadVersionError):
        world.ensemble.execute(SetData("/", b"", 9), world.now)
    with pytest.raises(InvalidPathError):
        world.ensemble.execute(GetData("no path"), world.now)
    with pytest.raises(LocalProtocolError):
        world.ensemble.execute(Create("/e", mode=CreateMode.EPHEMERAL), world.now, session_id=77)


def test_everything_is_allowed() -> None:
    world = World(sasl_users={"bob": "x"}, require_sasl=True)
    ensemble, now = world.ensemble, world.now
    ensemble.execute(Create("/a", acl=CLOSED), now)
    ensemble.execute(SetData("/a", b"x"), now)
    ensemble.execute(SetACL("/a", CLOSED), now)
    assert ensemble.execute(GetACL("/a"), now).acl == tuple(CLOSED)
    ensemble.execute(Create("/mine", acl=CREATOR_ALL), now)


def test_watchers_hear_of_it() -> None:
    world = World(3)
    client = world.client(world.followers[0])
    client.do(AddWatch("/", AddWatchMode.PERSISTENT_RECURSIVE))
    world.ensemble.execute(Create("/a"), world.now)
    world.ensemble.execute(SetData("/a", b""), world.now)
    assert [event[:2] for event in client.fired()] == [(CREATED, "/a"), (CHANGED, "/a")]
    assert client.connection in world.ensemble.take_ready()


def test_it_leaves_nothing() -> None:
    world = World()
    ensemble, now = world.ensemble, world.now
    before = content(world.tree)
    ensemble.execute(AddWatch("/", AddWatchMode.PERSISTENT_RECURSIVE), now)
    ensemble.execute(GetData("/", True), now)
    with pytest.raises(NoNodeError):
        ensemble.execute(Exists("/no", True), now)
    (server,) = ensemble.servers
    assert list(server.watches.by_path()) == []
    assert server.connections == []
    assert ensemble.take_ready() == []
    assert dict(ensemble.sessions) == {}
    assert content(world.tree) == before


def test_ephemerals() -> None:
    world = World()
    client = world.client()
    ensemble, now = world.ensemble, world.now
    ensemble.execute(Create("/e", mode=CreateMode.EPHEMERAL), now, session_id=client.session_id)
    assert client.do(Exists("/e")).ephemeral_owner == client.session_id
    assert ensemble.execute(GetEphemerals(), now, session_id=client.session_id) == ["/e"]
    with pytest.raises(EphemeralOnLocalSessionError):
        ensemble.execute(Create("/f", mode=CreateMode.EPHEMERAL_SEQUENTIAL), now)
    assert ensemble.execute(Multi([Create("/f", mode=CreateMode.EPHEMERAL)]), now) == [Failed(-120)]
    ensemble.expire(client.session_id, now)
    assert "/e" not in world.tree.nodes
    world.check()


def test_end_of_a_session() -> None:
    world = World(3)
    clients = [world.client(server) for server in world.ensemble.servers]
    for client in clients:
        world.ensemble.execute(CloseSession(), world.now, session_id=client.session_id)
        assert client.closed
    assert dict(world.ensemble.sessions) == {}


def test_it_does_not_keep_a_session_alive() -> None:
    world = World()
    client = world.client(timeout_ms=4_000)
    world.advance(3.0)
    world.ensemble.execute(Ping(), world.now, session_id=client.session_id)
    world.advance(3.0)
    assert client.closed


def test_followers_that_lag_are_not_waited_for() -> None:
    world = World(3)
    for follower in world.followers:
        follower.hold()
    world.ensemble.execute(Create("/a"), world.now)
    assert world.ensemble.execute(GetData("/a"), world.now).data == b""


@pytest.mark.parametrize("profile", ["keeper", "3.8", "3.9"])
def test_requests_that_are_not_answered(profile: str) -> None:
    world = World(profile=profile)
    with pytest.raises(UnimplementedError):
        world.ensemble.execute(Check("/", -1), world.now)
