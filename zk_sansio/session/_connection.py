"""One TCP connection: handshake, frames, the queue of requests under way, pings and silence.

It knows nothing of other connections, and decides nothing about the session.
"""

from __future__ import annotations

from collections import deque
from math import inf
from struct import error as struct_error
from typing import Any, NamedTuple, TypeAlias

from ..errors import RemoteProtocolError, ZooKeeperError, error_from_code
from ..wire import (
    HEADER,
    XID_AUTH,
    XID_NOTIFICATION,
    XID_PING,
    ConnectRequest,
    ConnectResponse,
    Frame,
    FrameDecoder,
    Ping,
    WatcherEvent,
)
from ._calls import Call
from ._hosts import Server
from ._states import CONNECTION_RULES, ConnectionInput, ConnectionState, next_state

__all__ = ["Connection", "Fired", "Received"]

_unpack_header = HEADER.unpack_from
_PING = Ping().encode(XID_PING)


class Fired(NamedTuple):
    """A notification as it came in."""

    event: WatcherEvent
    zxid: int


Received: TypeAlias = Call[Any] | Fired | ConnectResponse


class Connection:
    """One TCP connection, from the connect request to the last byte.

    Args:
        server: the other end.
        handshake: the connect request, which goes out first.
        max_reply: bytes that a frame from the server may have.
        deadline: when the handshake must be over.
        now: the time.

    Attributes:
        state: see `CONNECTION_RULES`.
        error: why the server's bytes cannot be used any more; None while they can.
        pending: ordinary requests without an answer, in wire order.
        auth_pending: auth requests without an answer; their replies overtake the others.
        queued_bytes: encoded, but not handed over for sending.
        last_zxid: the newest zxid of an ordinary reply. Notifications do not count: the events of one
            multi share a zxid, and if only some arrived, the others would never be replayed.
        last_heard: when the last whole frame came.
        answered_sent: when the latest request or ping that was answered had been sent.
        timeout: the session timeout in seconds, once negotiated.
        read_only: whether the server is in read-only mode, as it has said by then.
    """

    __slots__ = (
        "_answered",
        "_decoder",
        "_handed",
        "_marks",
        "_out",
        "_ping_sent",
        "_submitted",
        "answered_sent",
        "auth_pending",
        "deadline",
        "error",
        "last_heard",
        "last_sent",
        "last_zxid",
        "pending",
        "queued_bytes",
        "read_only",
        "server",
        "state",
        "timeout",
    )

    def __init__(
        self, server: Server, handshake: ConnectRequest, *, max_reply: int, deadline: float, now: float
    ) -> None:
        self.server = server
        self.state = ConnectionState.HANDSHAKE
        self.error: RemoteProtocolError | None = None
        self.pending: deque[Call[Any]] = deque()
        self.auth_pending: deque[Call[Any]] = deque()
        self.last_zxid = handshake.last_zxid
        self.last_heard = self.last_sent = self.answered_sent = now
        self.timeout = 0.0
        self.read_only = False
        self.deadline = deadline
        self._decoder = FrameDecoder(max_reply)
        frame = handshake.encode()
        self._out = [frame]
        self.queued_bytes = len(frame)
        # Calls are counted, so that which of them were handed over, and when, costs nothing per call:
        # a mark says that the calls up to a number were handed over at a time.
        self._submitted = self._handed = self._answered = 0
        self._marks: deque[tuple[int, float]] = deque()
        self._ping_sent: deque[float] = deque()

    def advance(self, happened: ConnectionInput) -> None:
        """Go to the state that follows."""
        self.state = next_state(CONNECTION_RULES, self.state, happened)

    # --- out

    def send(self, call: Call[Any], frame: bytes) -> None:
        """Queue an ordinary request behind the others."""
        self.pending.append(call)
        self._submitted += 1
        self._out.append(frame)
        self.queued_bytes += len(frame)

    def send_auth(self, call: Call[Any]) -> None:
        """Queue an auth request."""
        self.auth_pending.append(call)
        self._out.append(call.frame)
        self.queued_bytes += len(call.frame)

    def ping(self, now: float) -> None:
        """Queue a ping in front of everything."""
        self._out.insert(0, _PING)
        self.queued_bytes += len(_PING)
        self._ping_sent.append(now)
        self.last_sent = now

    def data_to_send(self, now: float) -> bytes:
        """Everything queued, in one piece; from here on it counts as sent."""
        out = self._out
        if not out:
            return b""
        self._out = []
        self.queued_bytes = 0
        if self._submitted != self._handed:
            self._handed = self._submitted
            self._marks.append((self._handed, now))
        self.last_sent = now
        return out[0] if len(out) == 1 else b"".join(out)

    def take_head(self) -> Call[Any]:
        """The oldest request without an answer, which counts as answered from here on."""
        self._answered += 1
        return self.pending.popleft()

    @property
    def sent_pending(self) -> int:
        """How many of `pending`, from its head, were handed over for sending."""
        return self._handed - self._answered

    # --- in

    def receive_data(self, data: bytes, now: float) -> list[Received]:
        """Take bytes; return what they say, in order. Check `error` afterwards."""
        return self._take(self._decoder.receive_data(data), now)

    @property
    def buffer(self) -> memoryview | None:
        """See `FrameDecoder.buffer`."""
        return self._decoder.buffer

    def buffer_filled(self, count: int, now: float) -> list[Received]:
        """See `FrameDecoder.buffer_filled`."""
        return self._take(self._decoder.buffer_filled(count), now)

    def _take(self, frames: list[Frame], now: float) -> list[Received]:
        received: list[Received] = []
        if frames:
            self.last_heard = now
            answered = self._answered
            pending = self.pending
            try:
                if self.state is ConnectionState.HANDSHAKE:
                    received.append(self._response(frames.pop(0)))
                    if frames:
                        raise RemoteProtocolError("frames behind the connect response, although nothing was asked")
                for frame in frames:
                    xid, zxid, code = _unpack_header(frame)
                    if xid > 0:
                        if not pending or pending[0].xid != xid:
                            raise RemoteProtocolError(self._mismatch(xid))
                        call = pending.popleft()
                        self._answered += 1
                        if zxid > self.last_zxid:
                            self.last_zxid = zxid
                        received.append(call)
                        self._answer(call, frame, zxid, code)
                    else:
                        self._take_special(received, frame, xid, zxid, code)
            except RemoteProtocolError as error:
                self.error = error
            except struct_error as error:
                self.error = RemoteProtocolError(f"a reply is cut short: {error}")
            if self._answered != answered:
                self._date_answers()
        if self._decoder.error is not None and self.error is None:
            self.error = self._decoder.error
        return received

    def _answer(self, call: Call[Any], frame: Frame, zxid: int, code: int) -> None:
        if code == 0:
            try:
                call.result = call.request.decode(frame, 16)
            except RemoteProtocolError as error:
                broken = RemoteProtocolError(f"the reply to {call.request.name} cannot be read: {error}")
                broken.path = call.request.target
                broken.maybe_applied = True
                call.fail(broken)
                raise broken from error
            call.done = True
        else:
            # A body behind an error is possible (multiRead, SASL) and says nothing more.
            call.fail(error_from_code(code, call.request.target, operation=call.request.name, zxid=zxid))

    def _take_special(self, received: list[Received], frame: Frame, xid: int, zxid: int, code: int) -> None:
        if xid == XID_NOTIFICATION:
            received.append(Fired(WatcherEvent.decode(frame, 16), zxid))
        elif xid == XID_PING:
            if not self._ping_sent:
                raise RemoteProtocolError("an answer to a ping that was not sent")
            self.answered_sent = max(self.answered_sent, self._ping_sent.popleft())
            if code:
                # Servers that enforce authentication refuse even pings (-124).
                refused: Call[Any] = Call(Ping(), XID_PING, b"")
                refused.fail(error_from_code(code, operation="ping", zxid=zxid))
                refused.abandoned = True
                received.append(refused)
        elif xid == XID_AUTH and self.auth_pending:
            call = self.auth_pending.popleft()
            received.append(call)
            self._answer(call, frame, zxid, code)
        else:
            raise RemoteProtocolError(self._mismatch(xid))

    def _mismatch(self, xid: int) -> str:
        expected = f"{self.pending[0].xid} is next" if self.pending else "no request is under way"
        return f"a reply with xid {xid}, but {expected}"

    def _date_answers(self) -> None:
        """Find out when the latest answered call had been handed over."""
        marks = self._marks
        while marks and marks[0][0] < self._answered:
            marks.popleft()
        if marks and marks[0][1] > self.answered_sent:
            self.answered_sent = marks[0][1]

    @staticmethod
    def _response(frame: Frame) -> ConnectResponse:
        if len(frame) == HEADER.size:
            # A read-only server that has no local sessions answers with a bare reply header.
            _, _, code = _unpack_header(frame)
            reason = error_from_code(code) if code else "a reply header"
            raise RemoteProtocolError(f"the server refused the session: {reason}")
        return ConnectResponse.decode(frame)

    # --- time

    @property
    def read_timeout(self) -> float:
        """Seconds of silence after which the connection is given up: two thirds of the session timeout."""
        return self.timeout * 2 / 3

    def ping_due(self) -> float:
        """When the next ping is due; `inf` while none is."""
        if self.state in (ConnectionState.RESTORING, ConnectionState.SERVING):
            return self.last_sent + self.timeout / 3
        return inf

    def silence_due(self) -> float:
        """When the connection is given up unless something is heard."""
        if self.state is ConnectionState.HANDSHAKE:
            return self.deadline
        heard = self.deadline if self.state is ConnectionState.CLOSING else self.last_heard + self.read_timeout
        # Never later than the session's own deadline: what the server answers must not be too old either.
        return min(heard, self.answered_sent + self.timeout)

    def next_timeout(self) -> float:
        """The earliest of the connection's deadlines."""
        return min(self.ping_due(), self.silence_due())


def loss_reason(error: ZooKeeperError | OSError | None) -> str:
    """One line on why a connection went away."""
    if error is None:
        return "closed by the server"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
