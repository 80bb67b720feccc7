"""Random walks: clients, servers that lag, stop and are cut off; what is promised holds at every step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.server.harness import Client, Event, World, content
from zk_sansio.server import ServerState
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Create,
    CreateMode,
    Delete,
    Exists,
    GetChildren,
    GetData,
    Multi,
    OpCode,
    Ping,
    Request,
    SetData,
    Sync,
)

PATHS = ["/a", "/b", "/a/x", "/a/y", "/b/x"]


class Walker(Client):
    """A client that looks at everything it gets.

    Attributes:
        replies: how many have come since somebody looked here.
        events_seen: how many notifications, likewise.
        sent: what it has asked for and was not answered yet, by xid.
        written: the zxid of its last write that was answered.
        seen: the highest zxid that it has been told.
    """

    def begin(self) -> None:
        self.sent: dict[int, Request[Any]] = {}
        self.written = 0
        self.seen = 0
        self.replies = self.events_seen = 0

    def submit(self, request: Request[Any]) -> None:
        xid = self.send(request)
        if request.opcode != OpCode.PING:
            self.sent[xid] = request

    def look(self) -> None:
        for each in self.messages():
            if isinstance(each, Event):
                self.events_seen += 1
                assert each.zxid > 0
                continue
            if each.xid == -2:
                assert each.zxid >= self.seen
                self.seen = each.zxid
                continue
            self.replies += 1
            first = next(iter(self.sent))
            assert each.xid == first, "replies come in the order of the requests"
            request = self.sent.pop(first)
            assert each.code in (0, -101, -103, -108, -110, -111)
            assert each.zxid >= self.seen, "a session never goes back in time"
            self.seen = each.zxid
            if request.opcode in (OpCode.CREATE, OpCode.DELETE, OpCode.SET_DATA, OpCode.MULTI):
                self.written = each.zxid
            assert each.zxid >= self.written
        if self.closed:
            self.sent.clear()


class Walk:
    """An ensemble, three clients, and what may happen."""

    def __init__(self, size: int) -> None:
        self.world = World(size, read_only_mode=size > 1, cleanup_interval=3.0, log_size=20)
        self.clients: list[Walker] = []
        self.acknowledged = 0
        self.replies = self.events = 0

    def connect(self, number: int) -> None:
        servers = self.world.ensemble.servers
        connection = servers[number % len(servers)].accept(self.world.now)
        if connection is None:
            return
        client = Walker(self.world, connection)
        client.begin()
        client.feed(b"\0\0\0\x2d" + bytes(12) + b"\0\0\x13\x88" + bytes(8) + b"\0\0\0\x10" + bytes(16) + b"\1")
        self.clients.append(client)

    def request(self, number: int, make: Callable[[str], Request[Any]], path: str) -> None:
        if self.clients:
            client = self.clients[number % len(self.clients)]
            if not client.closed and not (
                client.connection.server.state is ServerState.READ_ONLY and make(path).opcode not in READS
            ):
                client.submit(make(path))

    def disturb(self, number: int, what: str) -> None:
        servers = self.world.ensemble.servers
        server = servers[number % len(servers)]
        match what:
            case "hold":
                server.hold()
            case "lag":
                server.lag = 0.7
            case "keep up":
                server.lag = 0.0
            case "hang up":
                if self.clients:
                    self.clients.pop(number % len(self.clients)).hang_up()
            case "expire":
                for session_id in list(self.world.ensemble.sessions)[:1]:
                    self.world.ensemble.expire(session_id, self.world.now)
            case "move":
                for session_id in list(self.world.ensemble.sessions)[:1]:
                    self.world.ensemble.move(session_id, server, self.world.now)
            case _:
                getattr(server, what)(self.world.now)

    def look(self) -> None:
        self.world.settle()
        self.world.check()
        for client in list(self.clients):
            client.look()
            self.replies += client.replies
            self.events += client.events_seen
            client.replies = client.events_seen = 0
            if client.closed:
                self.clients.remove(client)
            self.acknowledged = max(self.acknowledged, client.written)
        ready = self.world.ensemble.take_ready()
        assert len(ready) == len(set(ready))
        if self.world.ensemble.leader is not None:
            assert self.world.tree.last_zxid >= self.acknowledged, "no write is lost that was answered"

    def settle(self) -> None:
        """All is well again, and everybody is answered."""
        for server in self.world.ensemble.servers:
            server.rejoin(self.world.now)
            server.start(self.world.now)
            server.release(self.world.now)
            server.lag = 0.0
        self.world.advance(1.0)
        self.look()
        assert self.world.ensemble.leader is not None
        for server in self.world.ensemble.servers:
            assert content(server.tree) == content(self.world.tree)
        for client in self.clients:
            assert client.sent == {}
            client.submit(Ping())
            client.look()
        self.world.advance(60.0)
        self.look()
        assert dict(self.world.ensemble.sessions) == {}
        assert self.world.tree.ephemerals == {}


READS = (OpCode.EXISTS, OpCode.GET_DATA, OpCode.GET_CHILDREN, OpCode.PING, OpCode.ADD_WATCH)
MAKERS: list[Callable[[str], Request[Any]]] = [
    lambda path: Create(path),
    lambda path: Create(path, mode=CreateMode.EPHEMERAL),
    lambda path: Create(path, mode=CreateMode.EPHEMERAL_SEQUENTIAL),
    lambda path: SetData(path, b"x"),
    lambda path: SetData(path, b"x", 1),
    lambda path: Delete(path),
    lambda path: Multi([Create(path), SetData(path, b"y"), Delete(path)]),
    lambda path: Multi([Create(path), Delete("/no")]),
    lambda path: GetData(path, True),
    lambda path: Exists(path, True),
    lambda path: GetChildren(path, True),
    lambda path: AddWatch(path, AddWatchMode.PERSISTENT_RECURSIVE),
    lambda path: Sync(path),
    lambda path: Ping(),
]
TROUBLES = ["hold", "release", "lag", "keep up", "stop", "start", "isolate", "rejoin", "hang up", "expire", "move"]
MENDING = ["release", "keep up", "start", "rejoin"]


def walk(size: int, seed: int, steps: int) -> Walk:
    """Go at random; troubles are mended more often than they come."""
    chance = random.Random(seed)
    found = Walk(size)
    for _ in range(steps):
        number = chance.randrange(5)
        if len(found.clients) < 3:
            found.connect(chance.randrange(size))
            found.look()
            found.world.advance(0.05)
        dice = chance.random()
        if dice < 0.8:
            found.request(number, chance.choice(MAKERS), chance.choice(PATHS))
        elif dice < 0.88:
            found.world.advance(chance.choice([0.0, 0.1, 0.2, 0.7, 3.0]))
        elif dice < 0.93:
            found.disturb(number, chance.choice(TROUBLES))
        elif dice < 0.95:
            found.connect(number)
        else:
            found.disturb(number, chance.choice(MENDING))
        found.look()
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [1, 3, 5])
def test_walk(size: int, seed: int) -> None:
    found = walk(size, seed, 250)
    found.settle()
    assert found.replies > 20
    assert found.events > 0
