"""A session's world in the tests: its clock, its adapter, and the server at the other end, all by hand.

Bytes are packed here and not by the codec of the client, except for the bodies of replies.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from zk_sansio.session import (
    Attempt,
    Call,
    Dial,
    Event,
    Notification,
    Resolve,
    Session,
    SessionOptions,
    SessionState,
    SessionTicket,
    StateChanged,
    Watcher,
    WatchKind,
    parse_hosts,
)
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Children,
    ConnectRequest,
    Create,
    Create2,
    Created,
    EventType,
    Exists,
    FrameDecoder,
    GetChildren,
    GetChildren2,
    GetData,
    Multi,
    Request,
    SetACL,
    SetData,
    Stat,
    Sync,
    Znode,
    decode_request,
)

E = TypeVar("E")

T = 12.0
"""The session timeout that the peer grants; its third and its two thirds are whole numbers."""
SESSION_ID = 0x0100_0000_0000_0007
PASSWORD = bytes(range(16))
TICKET = SessionTicket(session_id=SESSION_ID, password=PASSWORD, last_zxid=5)
OPTIONS = SessionOptions(timeout=T)
HOSTS = "10.0.0.1,10.0.0.2,10.0.0.3"
STAT = Stat(1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11)
DEFAULT: Any = object()


# --- bytes


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def reply(xid: int, zxid: int = 0, code: int = 0, body: bytes = b"") -> bytes:
    return framed(struct.pack(">iqi", xid, zxid, code) + body)


def pong(code: int = 0) -> bytes:
    return reply(-2, 0x0FFF, code)


def notification(kind: int, path: str, zxid: int = -1) -> bytes:
    raw = path.encode()
    return reply(-1, zxid, 0, struct.pack(">iii", kind, 3, len(raw)) + raw)


def response(
    *,
    timeout_ms: int = round(T * 1000),
    session_id: int = SESSION_ID,
    password: bytes = PASSWORD,
    read_only: bool | None = False,
) -> bytes:
    body = struct.pack(">iiqi", 0, timeout_ms, session_id, len(password)) + password
    return framed(body if read_only is None else body + bytes([read_only]))


EXPIRED = response(timeout_ms=0, session_id=0, password=bytes(16))


def default_result(request: Request[Any]) -> Any:
    """What a friendly server answers."""
    match request:
        case Create():
            return Created(request.path, None)
        case Create2():
            return Created(request.path, STAT)
        case Exists() | SetData() | SetACL():
            return STAT
        case GetData():
            return Znode(b"data", STAT)
        case GetChildren():
            return []
        case GetChildren2():
            return Children([], STAT)
        case Multi():
            return [default_result(op) for op in request.ops]
        case AddWatch():
            return 0
        case Sync():
            return request.path
        case _:
            return None


# --- the world


class Peer:
    """The adapter and the server of one session, on a clock that stands still until a test moves it.

    Attributes:
        now: the time.
        zxid: of the last ordinary reply; it grows by one with each.
        attempts: what the session wants to have tried, and was not reported back.
        handshakes: every connect request so far.
        requests: what the server has received and not answered, pings left out, as pairs of xid and request.
        pings: how many pings arrived on this connection.
        unanswered_pings: how many of them have no reply.
        log: every event so far.
    """

    def __init__(
        self,
        options: SessionOptions = OPTIONS,
        hosts: str = HOSTS,
        *,
        ticket: SessionTicket | None = None,
        credentials: Iterable[tuple[str, bytes]] = (),
        session: Session | None = None,
        now: float = 1000.0,
        seed: int = 1,
        **changes: Any,
    ) -> None:
        if session is None:
            servers, _ = parse_hosts(hosts)
            options = replace(options, **changes)
            session = Session(servers, options, random.Random(seed), ticket=ticket, credentials=credentials)
        self.session = session
        self.now = now
        self.zxid = 100
        self.attempts: list[Attempt] = []
        self.handshakes: list[ConnectRequest] = []
        self.requests: list[tuple[int, Request[Any]]] = []
        self.pings = 0
        self.unanswered_pings = 0
        self.log: list[Event] = []
        self._seen = 0
        self._decoder = FrameDecoder(2**30)
        self._shaken = False

    # --- time

    def tick(self) -> None:
        """Do what is due now, and collect the attempts."""
        self.session.handle_timeout(self.now)
        while (attempt := self.session.next_attempt(self.now)) is not None:
            self.attempts.append(attempt)

    def jump(self, seconds: float) -> None:
        """Let time pass while the program is busy with something else."""
        self.now += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass as an adapter would: each deadline is kept to the moment."""
        end = self.now + seconds
        self.tick()
        rounds = 0
        while (due := self.session.next_timeout()) <= end:
            rounds = rounds + 1 if due <= self.now else 0
            assert rounds < 3, f"{due} is due again and again"
            self.now = max(self.now, due)
            self.tick()
        self.now = end

    def advance_served(self, seconds: float) -> None:
        """Let time pass beside a server that answers everything at once."""
        end = self.now + seconds
        while self.now < end:
            self.advance(min(1.0, end - self.now))
            self.serve()

    # --- events

    def drain(self) -> list[Event]:
        """The events since the last time."""
        events = self.session.events()
        self.log += events
        self._seen = len(self.log)
        return events

    def drained(self, kind: type[E]) -> list[E]:
        """The events of one kind since the last time; the others are dropped."""
        return [event for event in self.drain() if isinstance(event, kind)]

    def states(self) -> list[SessionState]:
        """Every state that was entered since the last time."""
        return [change.new for change in self.drained(StateChanged)]

    def calls(self) -> list[Call[Any]]:
        """The calls that got an outcome since the last time."""
        return self.drained(Call)

    def fired(self) -> list[Notification]:
        """The notifications since the last time."""
        return self.drained(Notification)

    # --- the adapter

    def dial(self) -> Dial:
        """The next attempt to connect, however long the session waits for it."""
        self.tick()
        for _ in range(100):
            for attempt in self.attempts:
                if isinstance(attempt, Dial):
                    self.attempts.remove(attempt)
                    return attempt
            for attempt in self.attempts:
                if isinstance(attempt, Resolve):
                    self.resolve(attempt, {host.host: ["10.9.0.1"] for host in attempt.hosts})
            due = self.session.next_timeout()
            self.now = max(self.now, due)
            self.tick()
        raise AssertionError("the session does not dial")

    def resolve(self, attempt: Resolve, found: dict[str, list[str]]) -> None:
        """Report addresses; names that are missing have none."""
        self.attempts.remove(attempt)
        addresses = {host: found[host.host] for host in attempt.hosts if host.host in found}
        errors = {host: "unknown name" for host in attempt.hosts if host.host not in found}
        self.session.resolved(attempt, addresses, errors, self.now)

    def open(self) -> ConnectRequest:
        """Connect, and read the handshake."""
        assert self.session.connection_made(self.dial(), self.now)
        self.reset()
        assert self.take() == []
        return self.handshakes[-1]

    def reset(self) -> None:
        """Begin with a new connection."""
        self._decoder = FrameDecoder(2**30)
        self._shaken = False
        self.requests = []
        self.pings = self.unanswered_pings = 0
        self.attempts = []

    def receive(self, *frames: bytes) -> None:
        """Let bytes arrive, all at once."""
        self.session.receive_data(b"".join(frames), self.now)

    def lose(self) -> None:
        """The server ends the connection."""
        self.session.receive_data(b"", self.now)

    def up(self) -> bool:
        """Whether the session holds a connection."""
        return self.session.connected

    # --- the server

    def accept(self, **fields: Any) -> None:
        """Accept the session; `response` says how."""
        fields.setdefault("session_id", self.handshakes[-1].session_id or SESSION_ID)
        self.receive(response(**fields))

    def connect(self, **fields: Any) -> None:
        """Connect, accept, and restore what the session wants restored."""
        self.open()
        self.accept(**fields)
        while not self.session.state.serving:
            assert self.up()
            assert self.take(), "the session waits for nothing, and does not serve"
            self.answer_all()

    def take(self) -> list[tuple[int, Request[Any]]]:
        """Receive what the session sends."""
        taken = []
        for frame in self._decoder.receive_data(self.session.data_to_send(self.now)):
            if not self._shaken:
                self.handshakes.append(ConnectRequest.decode(frame))
                self._shaken = True
                continue
            xid, request = decode_request(frame)
            if xid == -2:
                self.pings += 1
                self.unanswered_pings += 1
            else:
                taken.append((xid, request))
        assert self._decoder.error is None
        assert not self._decoder.partial
        self.requests += taken
        return taken

    def taken(self) -> list[Request[Any]]:
        """Receive what the session sends; the requests alone."""
        return [request for _, request in self.take()]

    def answered(self, result: Any = DEFAULT, *, code: int = 0, zxid: int | None = None) -> bytes:
        """The reply to the oldest request without one."""
        xid, request = self.requests.pop(0)
        if xid == -4:
            return reply(xid, 0, code)
        if zxid is None:
            self.zxid += 1
            zxid = self.zxid
        body = request.encode_reply(default_result(request) if result is DEFAULT else result) if code == 0 else b""
        return reply(xid, zxid, code, body)

    def answer(self, result: Any = DEFAULT, *, code: int = 0, zxid: int | None = None) -> None:
        """Answer the oldest request without a reply."""
        self.receive(self.answered(result, code=code, zxid=zxid))

    def answer_all(self) -> None:
        """Answer what was received so far, and the pings."""
        while self.unanswered_pings:
            self.unanswered_pings -= 1
            self.receive(pong())
        while self.requests and self.up():
            self.answer()

    def serve(self) -> None:
        """Receive and answer until the session has nothing more to say."""
        while self.up() and (self.take() or self.requests or self.unanswered_pings):
            self.answer_all()

    def notify(self, kind: EventType, path: str, zxid: int = -1) -> None:
        """Tell of a change."""
        self.receive(notification(kind, path, zxid))


def connected(options: SessionOptions = OPTIONS, **arguments: Any) -> Peer:
    """A peer with a session that is served; the events so far are dropped."""
    peer = Peer(options, **arguments)
    peer.connect()
    peer.drain()
    return peer


def only(items: Sequence[E]) -> E:
    """The one element of *items*."""
    (item,) = items
    return item


def watching(path: str, kind: WatchKind) -> Request[Any]:
    """The request that sets a watch."""
    match kind:
        case WatchKind.DATA:
            return GetData(path, True)
        case WatchKind.EXIST:
            return Exists(path, True)
        case WatchKind.CHILD:
            return GetChildren(path, True)
        case WatchKind.PERSISTENT:
            return AddWatch(path, AddWatchMode.PERSISTENT)
        case WatchKind.RECURSIVE:
            return AddWatch(path, AddWatchMode.PERSISTENT_RECURSIVE)


def watch(peer: Peer, path: str, kind: WatchKind) -> Watcher:
    """Set a watch and let the server answer; the events of it are dropped."""
    watcher = Watcher(path, kind)
    peer.session.submit(watching(path, kind), watcher)
    peer.take()
    peer.answer(code=-101 if kind is WatchKind.EXIST else 0)
    peer.drain()
    return watcher
