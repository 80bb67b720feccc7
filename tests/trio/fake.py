"""A small ZooKeeper for tests of the trio adapter, that disobeys where a test asks for it.

It is packed and unpacked by hand, apart from the code under test. All its hosts share one tree, as an ensemble
does. It is no model of a server: there are no quotas, no ACL checks, no timeouts.
"""

from __future__ import annotations

import copy
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import trio

from tests.support.peer import (
    CHILDREN_CHANGED,
    CREATED,
    DATA_CHANGED,
    DELETED,
    NOTIFICATION_XID,
    SYNC_CONNECTED,
    Request,
    buffer,
    stat,
    string,
    strings,
)
from zk_sansio.client import SocketOptions
from zk_sansio.session import Server
from zk_trio import TlsSource
from zk_trio._stream import Stream

CREATE, DELETE, EXISTS, GET, SET, GET_ACL, SET_ACL, CHILDREN, SYNC, PING = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11
CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES = 12, 13, 14, 15, 16, 17, 18
CREATE_CONTAINER, CREATE_TTL, MULTI_READ, AUTH, SET_WATCHES, SASL, EPHEMERALS, COUNT = (
    19,
    21,
    22,
    100,
    101,
    102,
    103,
    104,
)
SET_WATCHES2, ADD_WATCH, WHO_AM_I, CLOSE = 105, 106, 107, -11
CREATES = (CREATE, CREATE2, CREATE_CONTAINER, CREATE_TTL)
WRITES = (*CREATES, DELETE, SET, SET_ACL, MULTI, RECONFIG, CLOSE)

MARSHALLING, BAD_ARGUMENTS, NO_NODE, NO_AUTH, BAD_VERSION = -5, -8, -101, -102, -103
NODE_EXISTS, NOT_EMPTY, AUTH_FAILED, NOT_READ_ONLY, NO_WATCHER, THROTTLED = -110, -111, -115, -119, -121, -127

PASSWORD = bytes(range(16))
OPEN_ACL = struct.pack(">ii", 1, 31) + string("world") + string("anyone")
_ELEMENT = struct.Struct(">i?i")


class Do(Enum):
    """What becomes of a request, other than being executed and answered."""

    DROP = "the connection is closed, and the request not executed"
    LOSE = "it is executed, and the connection is closed without an answer"
    HOLD = "it is executed; the answer, and all that follows it, waits for `FakeServer.release`"
    BREAK_OFF = "it is executed, and the connection is closed in the middle of the answer"
    STALL = "it is executed, and the server falls silent in the middle of the answer"
    IGNORE = "this and all that follows on the connection is neither executed nor answered"


@dataclass
class Node:
    """One znode."""

    data: bytes | None
    acl: bytes
    owner: int
    czxid: int
    mzxid: int
    pzxid: int
    version: int = 0
    aversion: int = 0
    created: int = 0
    deleted: int = 0


class Failure(Exception):
    """An operation fails with a code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Reader:
    """Takes apart a request."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return int(value)

    def buffer(self) -> bytes | None:
        length = self.take(">i")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at]

    def string(self) -> str:
        return (self.buffer() or b"").decode()

    def strings(self) -> list[str]:
        return [self.string() for _ in range(self.take(">i"))]

    def acl(self) -> bytes:
        start = self.at
        for _ in range(self.take(">i")):
            self.take(">i")
            self.string(), self.string()
        return self.data[start : self.at]


@dataclass(eq=False)
class Link:
    """One connection, and the watches that it holds."""

    host: str
    stream: trio.SocketStream
    session: int = 0
    ignoring: bool = False
    held: list[bytes] | None = None
    identities: list[tuple[str, str]] = field(default_factory=lambda: [("ip", "127.0.0.1")])
    data: set[str] = field(default_factory=set)
    child: set[str] = field(default_factory=set)
    persistent: set[str] = field(default_factory=set)
    recursive: set[str] = field(default_factory=set)
    received: bytearray = field(default_factory=bytearray)
    sending: trio.StrictFIFOLock = field(default_factory=trio.StrictFIFOLock)

    @property
    def watches(self) -> int:
        return len(self.data) + len(self.child) + len(self.persistent) + len(self.recursive)

    async def read(self, count: int) -> bytes:
        while len(self.received) < count:
            chunk = await self.stream.receive_some()
            if not chunk:
                raise EOFError
            self.received += chunk
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def send(self, payload: bytes) -> None:
        frame = struct.pack(">i", len(payload)) + payload
        if self.held is not None:
            self.held.append(frame)
        else:
            async with self.sending:
                await self.stream.send_all(frame)

    async def reply(self, xid: int, zxid: int, code: int, record: bytes) -> None:
        await self.send(struct.pack(">iqi", xid, zxid, code) + record)


class FakeServer:
    """An ensemble behind `dial`, which takes the place of the adapter's.

    Attributes:
        nodes: the tree.
        zxid: of the last change.
        sessions: the ids of those that live.
        requests: the ordinary requests that came, in order.
        dialled: whom the client tried to reach, in order.
        links: the connections there are now.
        unreachable: hosts that a dial of fails, and why.
        deaf: hosts that accept connections and say nothing.
        lost_packets: hosts that a dial of never ends.
        read_only: hosts without a quorum.
        refused: credentials that are wrong.
        old: be 3.8, which tells no zxid in notifications.
        timeout_ms: the session timeout to agree to; None for the one asked for.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nodes: dict[str, Node] = {"/": Node(b"", OPEN_ACL, 0, 0, 0, 0)}
        self.zxid = 0x100000000
        self.sessions: set[int] = set()
        self.requests: list[Request] = []
        self.pings = 0
        self.handshakes: list[bytes] = []
        self.dialled: list[str] = []
        self.sockets: list[socket.socket] = []
        self.links: list[Link] = []
        self.unreachable: dict[str, OSError] = {}
        self.deaf: set[str] = set()
        self.lost_packets: set[str] = set()
        self.read_only: set[str] = set()
        self.refused: set[bytes] = set()
        self.old = False
        self.timeout_ms: int | None = None
        self._nursery = nursery
        self._rules: dict[int | None, deque[Do | int | None]] = {}
        self._alarms: dict[int, trio.Event] = {}
        self._next_session = 0x5000
        self._changes: list[tuple[int, str]] = []

    # --- what tests ask for

    def then(self, *outcomes: Do | int | None, op: int | None = None) -> None:
        """Say what becomes of the next requests: a `Do`, an error code, None for the usual.

        Args:
            *outcomes: one for each request.
            op: count requests of this opcode only; None counts all that have no list of their own.
        """
        self._rules.setdefault(op, deque()).extend(outcomes)

    def alarm(self, count: int) -> trio.Event:
        """An event that is set when so many more requests have come, the moment the last of them has."""
        return self._alarms.setdefault(len(self.requests) + count, trio.Event())

    def forget(self) -> None:
        """Take back what `then` was told and has not happened."""
        self._rules.clear()

    async def release(self) -> None:
        """Send what was held."""
        for link in list(self.links):
            if link.held is not None:
                frames, link.held = link.held, None
                await link.stream.send_all(b"".join(frames))

    def release_now(self) -> None:
        """The same at once, so that the client's reading is the next thing that happens."""
        for link in self.links:
            if link.held is not None:
                frames, link.held = link.held, None
                sock = socket.socket(fileno=os.dup(link.stream.socket.fileno()))
                with sock:
                    sock.send(b"".join(frames))

    def drop(self) -> None:
        """Close all connections."""
        for link in self.links:
            link.stream.socket.close()

    def expire(self, *, keep_nodes: bool = False) -> None:
        """End all sessions, and close their connections."""
        for session in list(self.sessions):
            self._end_session(session, keep_nodes=keep_nodes)
        self._changes.clear()
        self.drop()

    def make(self, path: str, data: bytes | None = b"", *, owner: int = 0) -> None:
        """Add a znode, as another client would; nobody is notified."""
        self.zxid += 1
        self._add(path, data, OPEN_ACL, owner)
        self._changes.clear()

    async def change(self, kind: int, path: str, data: bytes | None = b"") -> None:
        """Change the tree as another client would, and notify."""
        self.zxid += 1
        if kind == CREATED:
            self._add(path, data, OPEN_ACL, 0)
        elif kind == DELETED:
            self._remove(path)
        else:
            self._set(path, data)
        await self._fire()

    @property
    def watches(self) -> int:
        """How many watches there are on all connections."""
        return sum(link.watches for link in self.links)

    @property
    def ephemerals(self) -> list[str]:
        """The paths of all ephemeral znodes."""
        return [path for path, node in self.nodes.items() if node.owner]

    def ops(self) -> list[int]:
        """The opcodes of the requests that came."""
        return [request.op for request in self.requests]

    # --- connections

    async def dial(self, server: Server, options: SocketOptions, tls: TlsSource) -> Stream:
        host = server.address
        self.dialled.append(host)
        await trio.lowlevel.checkpoint()
        if failure := self.unreachable.get(host):
            raise failure
        if host in self.lost_packets:
            await trio.sleep_forever()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.sockets.append(ours)
        self._nursery.start_soon(self._serve, Link(host, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))))
        return Stream(ours)

    async def _serve(self, link: Link) -> None:
        self.links.append(link)
        try:
            async with link.stream:
                await self._talk(link)
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.links.remove(link)

    async def _talk(self, link: Link) -> None:
        length = await link.read(4)
        if length == b"isro":
            await link.stream.send_all(b"ro" if link.host in self.read_only else b"rw")
            return
        hello = await link.read(int.from_bytes(length, "big"))
        link.ignoring = link.host in self.deaf
        if not link.ignoring and not await self._shake_hands(link, hello):
            return
        while True:
            frame = await link.read(int.from_bytes(await link.read(4), "big"))
            if link.host in self.deaf or link.ignoring:
                continue
            xid, op = struct.unpack_from(">ii", frame)
            if op == PING:
                self.pings += 1
                await link.reply(xid, self.zxid, 0, b"")
            elif op == AUTH:
                if not await self._authenticate(link, xid, Reader(frame[8:])):
                    return
            elif not await self._answer(link, Request(xid, op, frame[8:])):
                return

    async def _shake_hands(self, link: Link, hello: bytes) -> bool:
        self.handshakes.append(hello)
        reader = Reader(hello)
        reader.take(">i")
        seen, timeout_ms, session = reader.take(">q"), reader.take(">i"), reader.take(">q")
        password, read_only_will_do = reader.buffer(), reader.take(">?")
        read_only = link.host in self.read_only
        if seen > self.zxid or (read_only and (session or not read_only_will_do)):
            return False
        known = not session or (session in self.sessions and password == PASSWORD)
        if known and not session:
            self._next_session += 1
            session = self._next_session
            if not read_only:
                self.sessions.add(session)
        for other in self.links:
            if other is not link and other.session == session:
                other.ignoring = True  # the session has moved here
        link.session = session if known else 0
        agreed = (self.timeout_ms or timeout_ms) if known else 0
        head = struct.pack(">iiq", 0, agreed, link.session)
        await link.send(head + buffer(PASSWORD if known else bytes(16)) + struct.pack(">?", read_only))
        return known

    async def _authenticate(self, link: Link, xid: int, reader: Reader) -> bool:
        reader.take(">i")
        scheme, secret = reader.string(), reader.buffer() or b""
        refused = secret in self.refused
        if not refused:
            link.identities.append((scheme, secret.partition(b":")[0].decode()))
        await link.reply(xid, 0, AUTH_FAILED if refused else 0, b"")
        return not refused

    async def _answer(self, link: Link, request: Request) -> bool:
        """Take one request; return whether the connection goes on."""
        self.requests.append(request)
        if (alarm := self._alarms.pop(len(self.requests), None)) is not None:
            alarm.set()
        outcome = self._outcome(request.op)
        if outcome is Do.DROP:
            return False
        if outcome is Do.IGNORE:
            link.ignoring = True
            return True
        if outcome is Do.HOLD and link.held is None:
            link.held = []
        if request.op in WRITES and not isinstance(outcome, int):
            self.zxid += 1
        code, record = 0, b""
        try:
            if isinstance(outcome, int):
                raise Failure(outcome)
            if link.host in self.read_only and request.op in (*WRITES, SYNC) and request.op != CLOSE:
                raise Failure(NOT_READ_ONLY)
            record = self._execute(link, request.op, Reader(request.body))
        except Failure as failure:
            code = failure.code
        replayed = request.op in (SET_WATCHES, SET_WATCHES2)
        await self._fire(link if replayed else None)
        if outcome is Do.LOSE:
            return False
        if outcome in (Do.BREAK_OFF, Do.STALL):
            await link.stream.send_all(struct.pack(">iiqi", 16 + len(record), request.xid, self.zxid, code))
            await link.stream.send_all(record[: len(record) // 2])
            link.ignoring = True
            return outcome is Do.STALL
        await link.reply(request.xid, self.zxid, code, record)
        return request.op != CLOSE

    def _outcome(self, op: int) -> Do | int | None:
        rules = self._rules.get(op) or self._rules.get(None)
        return rules.popleft() if rules else None

    # --- watches

    async def _fire(self, replayed: Link | None = None) -> None:
        """Notify of what has changed; or of what one connection has missed, which comes without a zxid."""
        changes, self._changes = self._changes, []
        for kind, path in changes:
            for link in [replayed] if replayed else list(self.links):
                if self._hears(link, kind, path):
                    zxid = -1 if self.old or replayed else self.zxid
                    record = struct.pack(">ii", kind, SYNC_CONNECTED) + string(path)
                    await link.reply(NOTIFICATION_XID, zxid, 0, record)

    @staticmethod
    def _hears(link: Link, kind: int, path: str) -> bool:
        heard = path in link.persistent
        if kind != CHILDREN_CHANGED:
            heard = heard or any(path == top or path.startswith(top.rstrip("/") + "/") for top in link.recursive)
            heard = heard or path in link.data
            link.data.discard(path)
        if kind in (DELETED, CHILDREN_CHANGED):
            heard = heard or path in link.child
            link.child.discard(path)
        return heard

    def _set_watches(self, link: Link, reader: Reader, lists: int) -> bytes:
        since = reader.take(">q")
        data, exist, child, persistent, recursive = [reader.strings() if i < lists else [] for i in range(5)]
        for path in data:
            node = self.nodes.get(path)
            self._rearm(link.data, path, DELETED if node is None else DATA_CHANGED if node.mzxid > since else 0)
        for path in exist:
            self._rearm(link.data, path, CREATED if path in self.nodes else 0)
        for path in child:
            node = self.nodes.get(path)
            self._rearm(link.child, path, DELETED if node is None else CHILDREN_CHANGED if node.pzxid > since else 0)
        link.persistent |= set(persistent)
        link.recursive |= set(recursive)
        return b""

    def _rearm(self, table: set[str], path: str, kind: int) -> None:
        table.add(path)
        if kind:
            self._changes.append((kind, path))

    # --- the tree

    def _execute(self, link: Link, op: int, reader: Reader) -> bytes:
        match op:
            case 1 | 15 | 19 | 21:
                return self._create(link, op, reader)
            case 14:
                return self._multi(link, reader)
            case 22:
                return self._multi_read(link, reader)
            case 101 | 105:
                return self._set_watches(link, reader, 3 if op == SET_WATCHES else 5)
            case 106:
                path, mode = reader.string(), reader.take(">i")
                (link.recursive if mode else link.persistent).add(path)
                return struct.pack(">i", 0)
            case 17 | 18:
                return self._find_watches(link, reader.string(), reader.take(">i"), remove=op == REMOVE_WATCHES)
            case 103:
                prefix = reader.string()
                return strings([p for p, n in self.nodes.items() if n.owner == link.session and p.startswith(prefix)])
            case 107:
                pairs = [string(scheme) + string(user) for scheme, user in link.identities]
                return struct.pack(">i", len(pairs)) + b"".join(pairs)
            case 102:
                return buffer(None)
            case 9:
                return string(reader.string())
            case 16:
                return buffer(b"version=100000001") + stat(version=-1)
            case -11:
                self._end_session(link.session)
                return b""
        return self._simple(link, op, reader.string(), reader)

    def _simple(self, link: Link, op: int, path: str, reader: Reader) -> bytes:
        """Operations on one znode that exists, or should."""
        node = self.nodes.get(path)
        if op == EXISTS and reader.take(">?"):
            link.data.add(path)
        if node is None:
            raise Failure(NO_NODE)
        match op:
            case 3:
                return self._stat(path)
            case 4:
                if reader.take(">?"):
                    link.data.add(path)
                return buffer(node.data) + self._stat(path)
            case 8 | 12:
                if reader.take(">?"):
                    link.child.add(path)
                return strings(self._children(path)) + (self._stat(path) if op == CHILDREN2 else b"")
            case 6:
                return node.acl + self._stat(path)
            case 104:
                return struct.pack(">i", sum(p.startswith(path.rstrip("/") + "/") and p != path for p in self.nodes))
            case 7:
                node.acl, wanted = reader.acl(), reader.take(">i")
                self._check(wanted, node.aversion)
                node.aversion += 1
                return self._stat(path)
            case 5:
                data, wanted = reader.buffer(), reader.take(">i")
                self._check(wanted, node.version)
                self._set(path, data)
                return self._stat(path)
            case 2 | 13:
                self._check(reader.take(">i"), node.version)
                if op == DELETE:
                    if self._children(path):
                        raise Failure(NOT_EMPTY)
                    self._remove(path)
                return b""
        raise AssertionError(f"opcode {op} is not played")

    @staticmethod
    def _check(wanted: int, version: int) -> None:
        if wanted not in (-1, version):
            raise Failure(BAD_VERSION)

    def _create(self, link: Link, op: int, reader: Reader) -> bytes:
        path, data, acl, flags = reader.string(), reader.buffer(), reader.acl(), reader.take(">i")
        above = path[: path.rindex("/")] or "/"
        if above not in self.nodes:
            raise Failure(NO_NODE)
        if flags in (2, 3, 6):
            path += f"{self.nodes[above].created:010d}"
        if path in self.nodes:
            raise Failure(NODE_EXISTS)
        self._add(path, data, acl, link.session if flags in (1, 3) else 0)
        return string(path) + (self._stat(path) if op != CREATE else b"")

    def _add(self, path: str, data: bytes | None, acl: bytes, owner: int) -> None:
        above = path[: path.rindex("/")] or "/"
        self.nodes[path] = Node(data, acl, owner, self.zxid, self.zxid, self.zxid)
        self.nodes[above].created += 1
        self.nodes[above].pzxid = self.zxid
        self._changes += [(CREATED, path), (CHILDREN_CHANGED, above)]

    def _set(self, path: str, data: bytes | None) -> None:
        node = self.nodes[path]
        node.data, node.mzxid, node.version = data, self.zxid, node.version + 1
        self._changes.append((DATA_CHANGED, path))

    def _remove(self, path: str) -> None:
        above = path[: path.rindex("/")] or "/"
        del self.nodes[path]
        self.nodes[above].deleted += 1
        self.nodes[above].pzxid = self.zxid
        self._changes += [(DELETED, path), (CHILDREN_CHANGED, above)]

    def _children(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/"
        return [
            p[len(prefix) :] for p in self.nodes if p.startswith(prefix) and p != "/" and "/" not in p[len(prefix) :]
        ]

    def _stat(self, path: str) -> bytes:
        node = self.nodes[path]
        return stat(
            czxid=node.czxid,
            mzxid=node.mzxid,
            pzxid=node.pzxid,
            version=node.version,
            cversion=node.created + node.deleted,
            owner=node.owner,
            length=len(node.data or b""),
            children=len(self._children(path)),
        )

    def _multi(self, link: Link, reader: Reader) -> bytes:
        before = copy.deepcopy(self.nodes)
        results: list[tuple[int, int, bytes]] = []
        failed = 0
        while True:
            op, done, _ = _ELEMENT.unpack_from(reader.data, reader.at)
            reader.at += _ELEMENT.size
            if done:
                break
            start = reader.at
            try:
                if failed:
                    raise Failure(-2)
                record = self._execute(link, op, reader)
                kind = CREATE2 if op in (CREATE_CONTAINER, CREATE_TTL) else op
                if self.old and kind == CREATE2:
                    kind, record = CREATE, record[:-68]
                results.append((kind, 0, record))
            except Failure as failure:
                results = results if failed else [(-1, 0, struct.pack(">i", 0)) for _ in results]
                results.append((-1, failure.code, struct.pack(">i", failure.code)))
                failed = failed or failure.code
            reader.at = start
            self._skip(op, reader)
        if failed:
            self.nodes = before
            self._changes.clear()
        return self._results(results)

    @staticmethod
    def _results(results: list[tuple[int, int, bytes]]) -> bytes:
        elements = [_ELEMENT.pack(kind, False, code) + record for kind, code, record in results]
        return b"".join(elements) + _ELEMENT.pack(-1, True, -1)

    def _skip(self, op: int, reader: Reader) -> None:
        reader.string()
        if op in (*CREATES, SET):
            reader.buffer()
        if op in CREATES:
            reader.acl()
        reader.take(">i")
        if op == CREATE_TTL:
            reader.take(">q")

    def _multi_read(self, link: Link, reader: Reader) -> bytes:
        results = []  # type: ignore[var-annotated]
        while True:
            op, done, _ = _ELEMENT.unpack_from(reader.data, reader.at)
            reader.at += _ELEMENT.size
            if done:
                return self._results(results)
            path = reader.string()
            reader.take(">?")
            if path in self.nodes:
                record = (
                    buffer(self.nodes[path].data) + self._stat(path) if op == GET else strings(self._children(path))
                )
                results.append((op, 0, record))
            else:
                results.append((-1, NO_NODE, struct.pack(">i", NO_NODE)))

    def _find_watches(self, link: Link, path: str, kind: int, *, remove: bool) -> bytes:
        if self.old and kind > 3:
            raise Failure(MARSHALLING)
        tables = {1: [link.child], 2: [link.data], 4: [link.persistent], 5: [link.recursive]}
        found = [t for t in tables.get(kind) or [t for each in tables.values() for t in each] if path in t]
        if not found:
            raise Failure(NO_WATCHER)
        if remove:
            for table in found:
                table.discard(path)
        return b""

    def _end_session(self, session: int, *, keep_nodes: bool = False) -> None:
        self.sessions.discard(session)
        if not keep_nodes:
            for path in [path for path, node in self.nodes.items() if node.owner == session]:
                self._remove(path)
