"""What a client, a long test or an odd setting cannot do to a server."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from tests.server.harness import World
from zk_sansio.acl import ACL, Id
from zk_sansio.errors import InvalidRequestError
from zk_sansio.server import Ensemble, Faults, ServerOptions, ServerState
from zk_sansio.server import _ensemble as ensemble_module
from zk_sansio.wire import Auth, ConnectRequest, Create, Exists, GetChildren, MultiRead, Ping, SetData


def test_the_log_keeps_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble_module, "_MOST_LOG_BYTES", 100_000)
    world = World(3)
    client = world.client()
    client.do(Create("/a"))
    for _ in range(100):
        client.do(SetData("/a", bytes(10_000)))
    ensemble = world.ensemble
    assert len(ensemble.log) <= 10
    assert ensemble.log_start + len(ensemble.log) == ensemble.log_end > 100
    ensemble.servers[0].hold()
    for _ in range(20):  # a follower that still needs them keeps them
        world.ensemble.execute(SetData("/a", bytes(10_000)), world.now)
    assert len(ensemble.log) >= 20
    ensemble.servers[0].release(world.now)
    world.ensemble.execute(SetData("/a", b"last"), world.now)
    assert len(ensemble.log) <= 10
    assert all(server.tree.nodes["/a"].data == b"last" for server in ensemble.servers)


def test_pings_of_odd_numbers_are_not_remembered() -> None:
    ensemble = Ensemble(1, random=Random(1), now=0.0)
    connection = ensemble.servers[0].accept(0.0, faults=Faults())
    assert connection is not None
    hello = ConnectRequest(last_zxid=0, timeout_ms=10_000, session_id=0, password=bytes(16), read_only=False)
    connection.receive_data(hello.encode(), 0.0)
    for xid in range(1, 1000):
        connection.receive_data(Ping().encode(xid), 0.0)
    link: Any = connection._link
    assert connection.sent == 1000
    assert not link._owed


def test_many_identities_make_no_endless_list() -> None:
    client = World().client()
    for number in range(300):
        client.feed(Auth(0, "digest", b"user:%d" % number).encode(-4))
    client.frames()
    lists = [ACL(31, Id("auth", str(number))) for number in range(100)]
    assert client.code(Create("/a", b"", lists)) == -114
    assert client.code(Create("/a", b"", lists[:3])) == 0


def test_a_multi_read_of_children_that_asks_for_too_much_is_refused() -> None:
    client = World().client()
    for number in range(200):
        client.do(Create(f"/{'x' * 200}-{number}"))
    assert client.code(MultiRead([GetChildren("/")] * 2000)) == -5
    assert client.do(Exists("/")).num_children == 201


def test_sessions_of_read_only_servers_end_with_their_mode() -> None:
    world = World(3, read_only_mode=True)
    server = world.ensemble.servers[0]
    server.isolate(world.now)
    assert server.state is ServerState.READ_ONLY
    server.local_sessions.make(1000, world.now, 1)
    server.rejoin(world.now)
    assert len(server.local_sessions) == 0


def test_nothing_is_held_across_an_election() -> None:
    world = World(3)
    ensemble = world.ensemble
    ensemble.servers[0].hold()
    ensemble.execute(Create("/a"), world.now)
    assert "/a" not in ensemble.servers[0].tree.nodes
    ensemble.servers[0].isolate(world.now)
    ensemble.servers[0].rejoin(world.now)
    ensemble.execute(Create("/b"), world.now)
    assert {"/a", "/b"} <= ensemble.servers[0].tree.nodes.keys()


@pytest.mark.parametrize(
    "settings",
    [
        {"tick": math.nan},
        {"tick": math.inf},
        {"cleanup_interval": math.inf},
        {"election_time": math.nan},
        {"clock_offset": 1e18},
        {"min_session_timeout": 3e6, "max_session_timeout": 3e6},
        {"max_session_timeout": math.inf},
    ],
)
def test_times_that_cannot_be(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidRequestError):
        ServerOptions(**settings)  # type: ignore[arg-type]
