"""One client's connection: bytes to frames, frames to requests, and replies in their order.

Requests are carried out one after the other: while a write waits for its change to reach this server, those
behind it wait too. Auth and SASL packets pass them by.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Protocol

from ..acl import Id
from ..errors import ErrorCode
from ..wire import (
    DECODE_ERRORS,
    HEADER,
    XID_NOTIFICATION,
    XID_PING,
    EventType,
    Frame,
    FrameDecoder,
    KeeperState,
    OpCode,
    Sasl,
    Sync,
)
from ..wire._jute import BUFFER, get_string
from . import _words
from ._access import SUPER, allowed, digest_identity
from ._digest_md5 import DigestMd5Server, SaslRefusedError
from ._handshake import shake_hands
from ._java import java_string
from ._options import ServerOptions
from ._reads import READS
from ._refused import RefusedError
from ._sessions import Session
from ._states import ServerState
from ._tree import Tree, Watched
from ._watches import Watches

if TYPE_CHECKING:
    from ._server import Server

__all__ = ["Connection", "Link"]

_REQUEST = Struct(">ii")
_LENGTH = Struct(">i")
_EVENT = Struct(">ii")
_NULL = b"\xff\xff\xff\xff"

WRITES = frozenset(
    {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.DELETE,
        OpCode.SET_DATA,
        OpCode.SET_ACL,
        OpCode.CHECK,
        OpCode.MULTI,
        OpCode.RECONFIG,
    }
)
KNOWN = frozenset({*WRITES, *READS, OpCode.SYNC, OpCode.PING, OpCode.CLOSE_SESSION})


class Link(Protocol):
    """What lies between a client and the server, and may go wrong."""

    def incoming(self, frame: Frame, now: float) -> bool:
        """Take note of a frame that has arrived; return whether the server gets it now."""

    def outgoing(self, frame: bytes) -> bool:
        """Take note of a frame that is to be sent; return whether it is."""

    def end_of_requests(self, now: float) -> bool:
        """Take note that the client has ended its stream; return whether the server learns it now."""

    def end_of_replies(self) -> bool:
        """Take note that the server ends the connection; return whether it is closed now."""

    def closed(self) -> None:
        """The connection is closed."""


class Connection:
    """One connection, from its first byte to its last.

    Attributes:
        server: whose it is.
        address: the client's.
        port: the client's.
        closed: whether the server has closed it: send what is left, then close the socket.
        session_id: the session that it holds; 0 before the handshake.
        session_timeout_ms: the session timeout that was agreed on.
        identities: what the client is authenticated as.
        received: how many requests have come.
        sent: how many replies and notifications have gone out.
        established: when it was accepted.
        last_operation: the opcode of the last request; None before the first.
        last_xid: of the last request.
        last_zxid: of the last reply.
        old_client: whether the client is older than 3.4.
        blocked: whether a request waits for its change to reach this server, and those behind it too.
    """

    def __init__(self, server: Server, now: float, address: str, port: int) -> None:
        self.server: Server = server
        self.address: str = address
        self.port: int = port
        self.closed: bool = False
        self.session_id: int = 0
        self.session_timeout_ms: int = 0
        self.session: Session | None = None
        self.identities: list[Id] = [Id("ip", address)]
        self.received: int = 0
        self.sent: int = 0
        self.established: float = now
        self.last_operation: int | None = None
        self.last_xid: int = 0
        self.last_zxid: int = 0
        self.old_client: bool = False
        self.blocked: bool = False
        self._link: Link | None = None
        self._out: list[bytes] = []
        self._decoder = FrameDecoder(server.options.max_request)
        self._head: bytes | None = b""  # the first four bytes, as far as they have come
        self._greeted = self._ended = self._resuming = False
        self._waiting: deque[Frame] = deque()
        self._sasl: DigestMd5Server | None = None
        self._known = set(self.identities)  # to find them in, should there be many

    @classmethod
    def inside(cls, server: Server, session_id: int, now: float) -> Connection:
        """A connection of nobody, which may do everything; it takes frames and holds no session."""
        connection = cls(server, now, "127.0.0.1", 0)
        connection.session_id = session_id
        connection.identities = [SUPER, Id("sasl", "inside")]
        connection._greeted = True
        return connection

    def link(self, link: Link) -> None:
        """Put something between the client and this connection."""
        self._link = link

    # --- what reads see

    @property
    def tree(self) -> Tree:
        """Its server's tree."""
        return self.server.tree

    @property
    def watches(self) -> Watches[Connection]:
        """Its server's watches."""
        return self.server.watches

    @property
    def options(self) -> ServerOptions:
        """Its server's options."""
        return self.server.options

    @property
    def outstanding(self) -> int:
        """How many requests have no reply yet."""
        return len(self._waiting) + self.blocked

    @property
    def missing(self) -> int:
        """How many bytes a large request that has begun still lacks, as far as is known; 0 if there is none."""
        buffer = self._decoder.buffer
        return 0 if buffer is None else len(buffer)

    # --- bytes

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes; ``b""`` is the end of the stream. What the client does wrong closes the connection."""
        if self._is_over():
            if not data:
                self.close()
            return
        if not data:
            if self._link is None or self._link.end_of_requests(now):
                self.close()
            return
        if self._head is not None:
            data = self._begin(data, now)
        for frame in self._decoder.receive_data(data):
            if self._link is None or self._link.incoming(frame, now):
                self.receive_frame(frame, now)
            if self._is_over():
                return
        if self._decoder.error is not None:
            self.end()

    def _begin(self, data: bytes, now: float) -> bytes:
        """Look for a four-letter word; return what belongs to frames."""
        assert self._head is not None
        data = self._head + data
        if len(data) < 4:
            self._head = data
            return b""
        self._head = None
        if bytes(data[:4]) in _words.KNOWN:
            self.server.received += 1
            self.queue(_words.answer(bytes(data[:4]).decode("ascii"), self.server, now, bytes(data[4:])))
            self.close()
            return b""
        if not self.server.state.serving:
            self.close()
            return b""
        return data

    def data_to_send(self) -> bytes:
        """Everything that is to be sent, in one piece."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def queue(self, data: bytes) -> None:
        """Let bytes be sent, past all faults."""
        self._out.append(data)
        self.server.ensemble.mark(self)

    def _is_over(self) -> bool:
        return self._ended

    def end(self) -> None:
        """Close the connection behind what has been sent; the session lives on."""
        if not self._ended:
            self._leave()
            if self._link is None or self._link.end_of_replies():
                self.close()

    def close(self) -> None:
        """Close the connection at once; the session lives on."""
        if self.closed:
            return
        self.closed = True
        if not self._ended:
            self._leave()
        if self._link is not None:
            self._link.closed()
        self.server.ensemble.mark(self)

    def _leave(self) -> None:
        """Nothing is heard or said any more but what is on its way."""
        self._ended = True
        self._waiting.clear()
        self.server.forget(self)

    # --- frames

    def receive_frame(self, frame: Frame, now: float) -> None:
        """Take one whole frame."""
        if self._is_over():
            return
        self.received += 1
        self.server.received += 1
        if not self._greeted:
            self._greeted = True
            shake_hands(self, frame, now)
            return
        if len(frame) < _REQUEST.size:
            self.end()
            return
        xid, opcode = _REQUEST.unpack_from(frame)
        self.last_operation = opcode
        if xid >= 0:  # pings and the like have numbers of their own
            self.last_xid = xid
        session = self.session
        if session is not None and session.holder is self:
            session.touched = now
        if self.blocked and session is None:
            self._waiting.append(frame)  # the handshake is not answered yet, and nothing passes it by
        else:
            self._take(xid, opcode, frame, now)

    def _take(self, xid: int, opcode: int, frame: Frame, now: float) -> None:
        if opcode == OpCode.AUTH:
            self._authenticate(xid, frame)
        elif opcode == OpCode.SASL:
            self._log_in(xid, frame)
        elif self.options.require_sasl and not any(each.scheme == "sasl" for each in self.identities):
            self.reply(xid, 0, ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH)
            self.end()
        elif self.blocked:
            self._waiting.append(frame)
        else:
            self._execute(xid, opcode, frame, now)

    def _execute(self, xid: int, opcode: int, frame: Frame, now: float) -> None:
        profile = self.options.profile
        if opcode not in KNOWN or opcode in profile.unknown:
            if profile.answers_unknown:
                self.reply(xid, -1, ErrorCode.UNIMPLEMENTED)
            self.end()
        elif self.session is not None and self.session.holder is not self:
            self.end()  # the session has moved on (ZOOKEEPER-710)
        elif opcode in READS:
            self._answer(xid, opcode, frame)
        elif opcode == OpCode.PING:
            self.reply(XID_PING, self.tree.last_zxid, 0)
        elif self.server.state is ServerState.READ_ONLY and opcode != OpCode.CLOSE_SESSION:
            self.reply(xid, self.tree.last_zxid, ErrorCode.NOT_READ_ONLY)
        elif opcode == OpCode.SYNC:
            self.blocked = True
            self.server.when_caught_up(self, lambda: self._synced(xid, frame), now)
        else:
            self.blocked = True
            self.server.ensemble.write(self, xid, opcode, frame, now)

    def _answer(self, xid: int, opcode: int, frame: Frame) -> None:
        code, body = 0, b""
        try:
            body = READS[opcode](self, frame)
        except RefusedError as refused:
            code, body = refused.code, refused.body
        except DECODE_ERRORS:
            code = ErrorCode.MARSHALLING_ERROR
        self.reply(xid, self.tree.last_zxid, code, body)

    def _synced(self, xid: int, frame: Frame) -> None:
        code, body = 0, b""
        try:
            # The path is not looked at; it may even be null.
            body = bytes(frame[8:12]) if frame[8:12] == _NULL else java_string(Sync.parse(frame, 8)[0].path)
        except DECODE_ERRORS:
            code = ErrorCode.MARSHALLING_ERROR
        self.reply(xid, self.tree.last_zxid, code, body)

    def resume(self, now: float) -> None:
        """Go on with the requests that waited, now that the one before them is done."""
        self.blocked = False
        if self._resuming:
            return  # the loop that has led here goes on
        self._resuming = True
        try:
            while self._waiting and not self.blocked:
                frame = self._waiting.popleft()
                xid, opcode = _REQUEST.unpack_from(frame)
                self._take(xid, opcode, frame, now)
        finally:
            self._resuming = False
        self.server.ensemble.mark(self)  # there may be room for more, though nothing was answered

    # --- identities

    def _authenticate(self, xid: int, frame: Frame) -> None:
        try:
            scheme, at = get_string(frame, _REQUEST.size + 4)  # behind a number that means nothing
            credential, _ = BUFFER.get(frame, at)
        except DECODE_ERRORS:
            self.end()
            return
        if scheme == "digest" and credential is not None:
            identity = digest_identity(credential)
            if identity == self.server.ensemble.super_identity:
                self._add(SUPER)
            self._add(identity)
        elif scheme != "ip":
            self.reply(xid, 0, ErrorCode.AUTH_FAILED)
            self.end()
            return
        self.reply(xid, 0, 0)

    def _log_in(self, xid: int, frame: Frame) -> None:
        try:
            token = Sasl.parse(frame, _REQUEST.size)[0].token
        except DECODE_ERRORS:
            token = None
        if token is None:
            self.end()
            return
        if not self.options.sasl_users:
            self.reply(xid, 0, 0, BUFFER.put(None))
            return
        if self._sasl is None:
            self._sasl = DigestMd5Server(self.options.sasl_users, self.server.ensemble.random_bytes(30))
        try:
            answer = self._sasl.step(token)
        except SaslRefusedError:
            required = self.options.require_sasl
            code = ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH if required else ErrorCode.AUTH_FAILED
            self.reply(xid, 0, code, BUFFER.put(None))
            self.end()
            return
        if self._sasl.user is not None:
            self._add(Id("sasl", self._sasl.user))
        self.reply(xid, 0, 0, BUFFER.put(answer))

    def _add(self, identity: Id) -> None:
        if identity not in self._known:
            self._known.add(identity)
            self.identities.append(identity)

    # --- what is sent

    def reply(self, xid: int, zxid: int, code: int, body: bytes = b"") -> None:
        """Answer a request."""
        self.last_zxid = zxid
        self._send(_LENGTH.pack(HEADER.size + len(body)) + HEADER.pack(xid, zxid, code) + body)

    def notify(self, kind: EventType, path: str, zxid: int) -> None:
        """Tell the client of an event."""
        body = _EVENT.pack(kind, KeeperState.SYNC_CONNECTED) + java_string(path)
        self._send(_LENGTH.pack(HEADER.size + len(body)) + HEADER.pack(XID_NOTIFICATION, zxid, 0) + body)

    def watched(self, event: Watched) -> None:
        """Tell the client of a change that it watches, if it may know."""
        profile = self.options.profile
        if not profile.guards_events or allowed(event.acl, 1, self.identities):
            self.notify(event.type, event.path, event.zxid if profile.tells_zxids else -1)

    def greet(self, response: bytes) -> None:
        """Send the answer to the handshake."""
        self._send(response)

    def _send(self, frame: bytes) -> None:
        if self._ended:
            return
        self.sent += 1
        self.server.sent += 1
        if self._link is None or self._link.outgoing(frame):
            self.queue(frame)
