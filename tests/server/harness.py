"""Clients of an in-memory ensemble, by hand: requests go in as bytes, frames come out, and the clock stands still.

Odd requests, heads of replies and notifications are packed and cut here, and not by the codec under the server.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, settings

from zk_sansio.server import PROFILES, Connection, Ensemble, Node, Server, ServerOptions, Tree
from zk_sansio.wire import EventType, OpCode, Request

R = TypeVar("R")

repeatable = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
START = 1000.0
WORLD_ALL = ((31, "world", "anyone"),)
NULL = b"\xff\xff\xff\xff"

Acl = Sequence[tuple[int, str | None, str | None]]


# --- bytes


def ustring(text: str | None) -> bytes:
    return NULL if text is None else buffer(text.encode())


def buffer(data: bytes | None) -> bytes:
    return NULL if data is None else struct.pack(">i", len(data)) + data


def vector(items: Sequence[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


def acls(entries: Acl) -> bytes:
    return vector([struct.pack(">i", perms) + ustring(scheme) + ustring(name) for perms, scheme, name in entries])


def create_record(path: str | None, flags: int = 0, data: bytes | None = b"", acl: Acl = WORLD_ALL) -> bytes:
    """The record of a create, with whatever flags."""
    return ustring(path) + buffer(data) + acls(acl) + struct.pack(">i", flags)


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def packed(xid: int, opcode: int, record: bytes = b"") -> bytes:
    """A whole request."""
    return framed(struct.pack(">ii", xid, opcode) + record)


def handshake(
    *,
    timeout_ms: int = 10_000,
    session_id: int = 0,
    password: bytes | None = bytes(16),
    last_zxid: int = 0,
    read_only: bool | None = False,
) -> bytes:
    """A connect request; without *read_only* it is one of a client before 3.4."""
    body = struct.pack(">iqiq", 0, last_zxid, timeout_ms, session_id) + buffer(password)
    return framed(body if read_only is None else body + bytes([read_only]))


def cut(data: bytes) -> list[bytes]:
    """The frames in some bytes, without their lengths."""
    frames = []
    while data:
        (length,) = struct.unpack_from(">i", data)
        assert len(data) >= 4 + length, "a frame is cut short"
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames


class Reply(NamedTuple):
    xid: int
    zxid: int
    code: int
    body: bytes = b""


class Event(NamedTuple):
    type: int
    path: str
    zxid: int


class Greeting(NamedTuple):
    timeout_ms: int
    session_id: int
    password: bytes
    read_only: bool | None


def message(frame: bytes) -> Reply | Event:
    xid, zxid, code = struct.unpack_from(">iqi", frame)
    if xid != -1:
        return Reply(xid, zxid, code, frame[16:])
    kind, state, length = struct.unpack_from(">iii", frame, 16)
    assert (code, state) == (0, 3)
    assert len(frame) == 28 + length
    return Event(kind, frame[28:].decode(), zxid)


def greeting(frame: bytes) -> Greeting:
    version, timeout_ms, session_id, length = struct.unpack_from(">iiqi", frame)
    assert (version, length) == (0, 16)
    rest = frame[36:]
    assert len(rest) < 2
    return Greeting(timeout_ms, session_id, frame[20:36], bool(rest[0]) if rest else None)


CREATED, DELETED, CHANGED, CHILDREN = (
    int(kind) for kind in (EventType.CREATED, EventType.DELETED, EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED)
)


# --- clients


class Client:
    """One connection, and what has come through it.

    Attributes:
        connection: the server's end.
        greeting: the answer to the handshake, once there is one.
        events: the notifications, oldest first.
        late: replies that were not waited for.
    """

    def __init__(self, world: World, connection: Connection) -> None:
        self.world = world
        self.connection = connection
        self.greeting: Greeting | None = None
        self.events: list[Event] = []
        self.late: list[Reply] = []
        self._xid = 0

    @property
    def closed(self) -> bool:
        return self.connection.closed

    @property
    def session_id(self) -> int:
        return self.connection.session_id

    # --- bytes

    def feed(self, data: bytes) -> None:
        self.connection.receive_data(data, self.world.now)

    def hang_up(self) -> None:
        self.feed(b"")

    def frames(self) -> list[bytes]:
        """What has come since the last time, the answer to the handshake left out."""
        frames = cut(self.connection.data_to_send())
        if frames and self.greeting is None:
            self.greeting = greeting(frames.pop(0))
        return frames

    def messages(self) -> list[Reply | Event]:
        """The same, taken apart."""
        return list(map(message, self.frames()))

    def receive(self) -> list[Reply]:
        """The replies since the last time; events are kept aside."""
        for each in self.messages():
            if isinstance(each, Event):
                self.events.append(each)
            else:
                self.late.append(each)
        replies, self.late = self.late, []
        return replies

    def fired(self) -> list[Event]:
        """The events since the last time; replies are kept aside."""
        self.late = self.receive()
        events, self.events = self.events, []
        return events

    # --- requests

    def send(self, request: Request[Any]) -> int:
        """Send a request without waiting; return its xid."""
        self._xid += 1
        self.feed(request.encode(self._xid))
        return self._xid

    def raw(self, opcode: int, record: bytes = b"", *, xid: int | None = None) -> Reply:
        """Send any bytes as the record of a request, and take the one reply."""
        if xid is None:
            self._xid += 1
            xid = self._xid
        self.feed(packed(xid, opcode, record))
        (reply,) = self.receive()
        return reply

    def ask(self, request: Request[Any]) -> Reply:
        """Send a request and take the one reply."""
        xid = self.send(request)
        (reply,) = self.receive()
        if request.opcode != OpCode.PING:
            assert reply.xid == xid
        return reply

    def do(self, request: Request[R]) -> R:
        """Send a request that succeeds, and return its result."""
        reply = self.ask(request)
        assert reply.code == 0
        return request.decode(reply.body, 0)

    def code(self, request: Request[Any]) -> int:
        """Send a request, and return the error code of the reply."""
        reply = self.ask(request)
        assert reply.code == 0 or not reply.body
        return reply.code


# --- servers


class World:
    """An ensemble, its clients and its clock.

    Args:
        size: how many servers.
        profile: the name of a profile.
        options: of the servers.
    """

    def __init__(
        self, size: int = 1, *, profile: str = "3.9", seed: int = 7, now: float = START, **options: Any
    ) -> None:
        self.now = now
        self.options = ServerOptions(profile=PROFILES[profile], **options)
        self.ensemble = Ensemble(size, self.options, random=random.Random(seed), now=now)

    @property
    def zxid(self) -> int:
        """Of the last change."""
        return self.ensemble.log[-1].zxid

    @property
    def tree(self) -> Tree:
        """The leader's."""
        return self.leader.tree

    @property
    def leader(self) -> Server:
        leader = self.ensemble.leader
        assert leader is not None
        return leader

    @property
    def followers(self) -> list[Server]:
        return [each for each in self.ensemble.servers if each is not self.leader]

    def node(self, path: str) -> Node:
        return self.tree.nodes[path]

    # --- connections

    def dial(self, server: Server | None = None, *, address: str = "127.0.0.1") -> Client:
        """A connection on which nothing has been said."""
        connection = (server or self.ensemble.servers[0]).accept(self.now, address=address)
        assert connection is not None
        return Client(self, connection)

    def client(self, server: Server | None = None, *, address: str = "127.0.0.1", **fields: Any) -> Client:
        """A connection with a session; *fields* are those of the handshake."""
        client = self.dial(server, address=address)
        client.feed(handshake(**fields))
        assert client.receive() == []
        assert client.greeting is not None
        assert client.greeting.timeout_ms > 0
        return client

    def resumed(self, old: Client, server: Server | None = None, **fields: Any) -> Client:
        """Another connection for the session of a client; its answer may be that there is none."""
        assert old.greeting is not None
        client = self.dial(server)
        known = {"session_id": old.greeting.session_id, "password": old.greeting.password}
        client.feed(handshake(**{**known, **fields}))
        assert client.receive() == []
        return client

    # --- time

    def settle(self) -> None:
        """Do what is due now, once: nothing may be due at once again."""
        if self.ensemble.next_timeout() <= self.now:
            self.ensemble.handle_timeout(self.now)
            assert self.ensemble.next_timeout() > self.now, "it asks to be called again and again"

    def advance(self, seconds: float) -> None:
        """Let time pass; each deadline is kept to the moment."""
        end = self.now + seconds
        self.settle()
        while (due := self.ensemble.next_timeout()) <= end:
            self.now = due
            self.settle()
        self.now = end

    # --- what always holds

    def check(self) -> None:
        """Look for contradictions."""
        servers = self.ensemble.servers
        for server in servers:
            check_tree(server.tree)
            assert server.tree.last_zxid <= (self.zxid if self.ensemble.log else 0)
        complete = [each for each in servers if each.applied == self.ensemble.log_end]
        for one, other in itertools.pairwise(complete):
            assert content(one.tree) == content(other.tree)
        if self.ensemble.leader is not None:
            assert self.ensemble.leader in complete
            assert set(self.tree.ephemerals) <= set(self.ensemble.sessions)
        zxids = [entry.zxid for entry in self.ensemble.log]
        assert zxids == sorted(set(zxids))


def content(tree: Tree) -> dict[str, object]:
    """A tree as a value."""
    return {path: (node.data, node.acl, node.stat, node.lifetime) for path, node in tree.nodes.items()}


def check_tree(tree: Tree) -> None:
    """Look for contradictions in one tree."""
    for path, node in tree.nodes.items():
        base = path if path != "/" else ""
        assert set(node.children) == {
            other[len(base) + 1 :]
            for other in tree.nodes
            if other != "/" and other.startswith(base + "/") and "/" not in other[len(base) + 1 :]
        }
        assert path == "/" or path[: path.rindex("/")] in (*tree.nodes, "")
        assert node.czxid <= node.mzxid <= tree.last_zxid
        assert node.czxid <= node.pzxid <= tree.last_zxid
        assert not (node.owner and node.children)
        assert node.stat.num_children == len(node.children)
        assert node.stat.data_length == len(node.data or b"")
    owned = {(node.owner, path) for path, node in tree.nodes.items() if node.owner}
    assert owned == {(owner, path) for owner, paths in tree.ephemerals.items() for path in paths}
    assert all(tree.ephemerals.values())
    assert set(tree.mortals) == {path for path, node in tree.nodes.items() if node.lifetime is not None}
