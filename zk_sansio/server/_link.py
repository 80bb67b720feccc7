"""One connection's way through a network with faults: what is on its way, and what happens at each end.

A request is held back and delayed first, and meets the traps at the server's door; a reply meets them at the client's.
Nothing here closes a connection in the middle of an input, which may be busy with other connections: cuts are left to
the next timeout, and nothing passes until then.
"""

from __future__ import annotations

import enum
import math
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import InvalidRequestError
from ..wire import XID_NOTIFICATION, XID_PING, Frame, OpCode

__all__ = ["Link", "Network", "Port", "Stage", "Trap", "Way"]

_MOST_OPCODES = 10_000
_OPCODES = frozenset(OpCode)
_REQUEST_HEADER = struct.Struct(">ii")  # xid, opcode
_REPLY_HEADER = struct.Struct(">ii")  # length, xid


class Port(Protocol):
    """What a link needs of the server's end of a connection."""

    def receive_frame(self, frame: Frame, now: float, /) -> None:
        """Process a frame of the client; it is not asked about again."""

    def queue(self, frame: bytes, /) -> None:
        """Send a frame to the client, its length in front; it is not asked about again."""

    def close(self) -> None:
        """Close the connection at once; `Link.closed` is called then."""


class Stage(enum.Enum):
    """What a trap does, and where."""

    CUT_BEFORE_REQUEST = enum.auto()
    CUT_AFTER_REQUEST = enum.auto()
    CUT_BEFORE_REPLY = enum.auto()
    CUT_AFTER_REPLY = enum.auto()
    DROP_REQUEST = enum.auto()
    DROP_REPLY = enum.auto()
    CORRUPT_REQUEST = enum.auto()
    CORRUPT_REPLY = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """Waits for one request, and springs once.

    Attributes:
        stage: what it does.
        k: the request's number on its connection, the handshake being 0; None for any.
        op: the request's opcode; None for any.
        at: the byte to corrupt, counted behind the length.
    """

    stage: Stage
    k: int | None = None
    op: int | None = None
    at: int = 0

    def check(self) -> None:
        """Refuse what could never spring, or is likely to be meant otherwise.

        Raises:
            InvalidRequestError: it says how it should be.
        """
        if self.k is not None and (type(self.k) is not int or self.k < 0):
            raise InvalidRequestError(
                f"k is the number of a request, 0 for the handshake, not {self.k!r}; op=... is its kind"
            )
        if self.op is not None and self.op not in _OPCODES:
            raise InvalidRequestError(f"op is an opcode, such as OpCode.CREATE, not {self.op!r}")

    def catches(self, index: int, op: int | None) -> bool:
        """Whether it is meant for a request; without any condition it is, unless that is a handshake or a ping."""
        if self.k is None and self.op is None:
            return index > 0 and op != OpCode.PING
        return self.k in (None, index) and self.op in (None, op)

    def spoil(self, frame: Frame, start: int) -> bytes:
        """Flip the highest bit of one byte.

        Args:
            frame: what to copy.
            start: where its length ends.
        """
        spoilt = bytearray(frame)
        if len(spoilt) > start:
            spoilt[start + self.at % (len(spoilt) - start)] ^= 0x80
        return bytes(spoilt)


@dataclass(slots=True)
class Way:
    """One direction, for all connections.

    Attributes:
        held: nothing passes.
        delay: seconds that everything takes.
    """

    held: bool = False
    delay: float = 0.0


@dataclass(slots=True)
class Network:
    """What the links of one `Faults` share.

    Attributes:
        to_server: the way of the requests.
        to_client: the way of all that the server sends.
        traps: those armed, oldest first.
        opcodes: of the latest requests that have come to the server's door.
        requests: how many have come there.
        cuts: how many connections traps have ended.
        now: the latest time it was told.
        links: those of open connections, oldest first.
        busy: those that wait for a timeout, or for the end of a black hole.
    """

    to_server: Way = field(default_factory=Way)
    to_client: Way = field(default_factory=Way)
    traps: list[Trap] = field(default_factory=list)
    opcodes: deque[int] = field(default_factory=lambda: deque(maxlen=_MOST_OPCODES))
    requests: int = 0
    cuts: int = 0
    now: float = -math.inf
    links: dict[Link, None] = field(default_factory=dict)
    busy: dict[Link, None] = field(default_factory=dict)

    def spring(self, index: int, op: int | None) -> Trap | None:
        """Take out the trap that a request has stepped into, if there is one."""
        for trap in self.traps:
            if trap.catches(index, op):
                self.traps.remove(trap)
                return trap
        return None


@dataclass(slots=True)
class _Parcel:
    """What is on its way.

    Attributes:
        frame: None is the end of the stream.
        due: when it arrives; None for what the server has sent just now, which it does without telling the time.
        trap: what is to happen to a reply when it arrives.
    """

    frame: Frame | None
    due: float | None = None
    trap: Trap | None = None


class _Flow:
    """One direction of one connection."""

    __slots__ = ("_waiting", "_way")

    def __init__(self, way: Way) -> None:
        self._way = way
        self._waiting: deque[_Parcel] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def clear(self) -> bool:
        """Whether what is sent now arrives now."""
        return not (self._waiting or self._way.held or self._way.delay)

    def put(self, parcel: _Parcel) -> None:
        self._waiting.append(parcel)

    def stamp(self, now: float) -> None:
        """Tell the time to what was sent without it; timeouts are served at once, so that it is the right one."""
        for parcel in reversed(self._waiting):
            if parcel.due is not None:
                break
            parcel.due = now + self._way.delay

    def hurry(self) -> None:
        for parcel in self._waiting:
            parcel.due = -math.inf

    def next_due(self) -> float:
        if self._way.held or not self._waiting:
            return math.inf
        due = self._waiting[0].due
        return -math.inf if due is None else due

    def take(self, now: float) -> _Parcel | None:
        return self._waiting.popleft() if self.next_due() <= now else None

    def drop(self) -> None:
        self._waiting.clear()


class Link:
    """Judges the frames of one connection. Made by `Faults.link`.

    Args:
        port: the server's end of the connection.
        network: what it shares with others.
    """

    __slots__ = ("_cut", "_deaf", "_greeted", "_index", "_network", "_owed", "_port", "_replies", "_requests")

    def __init__(self, port: Port, network: Network) -> None:
        self._port = port
        self._network = network
        self._requests = _Flow(network.to_server)
        self._replies = _Flow(network.to_client)
        self._index = 0  # of the next request
        # Requests without an answer, by xid, None being the handshake: for each the trap that waits for its reply.
        self._owed: dict[int | None, deque[Trap | None]] = {}
        self._greeted = False  # the handshake is answered
        self._deaf = False  # no more requests
        self._cut = False  # nothing passes any more, and the next timeout closes
        network.links[self] = None

    # --- what the server's end asks

    def incoming(self, frame: Frame, now: float) -> bool:
        """Judge a frame of the client.

        Args:
            frame: the frame, without its length.
            now: the time.

        Returns:
            Whether to process it now. If not, `Port.receive_frame` may be called later, or has been.
        """
        network = self._network
        network.now = max(network.now, now)
        if not self._requests.clear:
            self._hold(self._requests, _Parcel(frame, now + network.to_server.delay))
            return False
        passed = self._admit(frame)
        if passed is not None and passed is not frame:
            self._port.receive_frame(passed, now)
        return passed is frame

    def outgoing(self, frame: bytes) -> bool:
        """Judge a frame of the server.

        Args:
            frame: the frame, its length in front.

        Returns:
            Whether to send it now. If not, `Port.queue` may be called later, or has been.
        """
        if self._cut:
            return False
        trap = self._settle(frame)
        if not self._replies.clear:
            self._hold(self._replies, _Parcel(frame, trap=trap))
            return False
        if trap is None:
            return True
        self._deliver(frame, trap)
        return False

    def end_of_requests(self, now: float) -> bool:
        """The client has ended its stream; this travels behind its requests.

        Returns:
            Whether to act on it now. If not, `Port.close` may be called later.
        """
        if self._deaf or self._requests.clear:
            return True
        self._hold(self._requests, _Parcel(None, now + self._network.to_server.delay))
        return False

    def end_of_replies(self) -> bool:
        """The server ends the connection; this travels behind its replies.

        Returns:
            Whether to close it now. If not, `Port.close` may be called later.
        """
        self._deaf = True
        if self._replies.clear:
            return True
        self._hold(self._replies, _Parcel(None))
        return False

    def closed(self) -> None:
        """The connection is closed: what was on its way is lost."""
        self._requests.drop()
        self._replies.drop()
        self._network.links.pop(self, None)
        self._network.busy.pop(self, None)

    # --- what `Faults` asks

    def cut(self) -> None:
        """Close the connection."""
        self._port.close()
        self.closed()

    def hurry(self) -> None:
        """Let all that is on its way arrive at the next timeout."""
        self._requests.hurry()
        self._replies.hurry()

    def next_due(self) -> float:
        """When `handle_timeout` has something to do; inf for what a black hole holds."""
        return -math.inf if self._cut else min(self._requests.next_due(), self._replies.next_due())

    def handle_timeout(self, now: float) -> None:
        """Pass on what is due, and close what was cut."""
        while (parcel := self._requests.take(now)) is not None:
            if parcel.frame is None:
                self.cut()
            elif (frame := self._admit(parcel.frame)) is not None:
                self._port.receive_frame(frame, now)
        self._replies.stamp(now)
        while not self._cut and (parcel := self._replies.take(now)) is not None:
            if parcel.frame is None:
                self.cut()
            else:
                self._deliver(bytes(parcel.frame), parcel.trap)
        if self._cut:
            self.cut()
        elif not self._requests and not self._replies:
            self._network.busy.pop(self, None)

    # --- inside

    def _hold(self, flow: _Flow, parcel: _Parcel) -> None:
        flow.put(parcel)
        self._network.busy[self] = None

    def _admit(self, frame: Frame) -> Frame | None:
        """What of a request passes the server's door."""
        if self._deaf:
            return None
        index = self._index
        self._index += 1
        op: int | None = None
        if index and len(frame) >= _REQUEST_HEADER.size:
            op = _REQUEST_HEADER.unpack_from(frame)[1]
            self._network.requests += 1
            self._network.opcodes.append(op)
        trap = self._network.spring(index, op)
        if trap is not None:
            match trap.stage:
                case Stage.DROP_REQUEST:
                    return None
                case Stage.CUT_BEFORE_REQUEST:
                    self._end()
                    return None
                case Stage.CUT_AFTER_REQUEST:
                    self._end()
                case Stage.CORRUPT_REQUEST:
                    frame = trap.spoil(frame, 0)
                case Stage.CUT_BEFORE_REPLY | Stage.CUT_AFTER_REPLY:
                    self._deaf = True  # what is behind it must have the same outcome every time: none
                case _:
                    pass  # it is about the reply alone
        xid = None if op is None else XID_PING if op == OpCode.PING else _REQUEST_HEADER.unpack_from(frame)[0]
        self._owed.setdefault(xid, deque()).append(trap)
        return frame

    def _settle(self, frame: bytes) -> Trap | None:
        """Find the request that a frame answers, and what is to happen to the reply.

        Replies may overtake each other, and pings share one xid, so the oldest request of that xid is the one.
        """
        xid: int | None = None
        if self._greeted:
            _, xid = _REPLY_HEADER.unpack_from(frame)
            if xid == XID_NOTIFICATION:
                return None
        self._greeted = True
        owed = self._owed.get(xid)
        if owed is None:
            return None
        trap = owed.popleft()
        if not owed:
            del self._owed[xid]
        return trap

    def _deliver(self, frame: bytes, trap: Trap | None) -> None:
        """Let a reply arrive at the client."""
        stage = trap.stage if trap is not None else None
        if stage is Stage.CUT_BEFORE_REPLY:
            self._end()
            return
        if stage is Stage.DROP_REPLY:
            return
        self._port.queue(trap.spoil(frame, 4) if trap is not None and stage is Stage.CORRUPT_REPLY else frame)
        if stage is Stage.CUT_AFTER_REPLY:
            self._end()

    def _end(self) -> None:
        self._deaf = self._cut = True
        self._network.cuts += 1
        self._network.busy[self] = None
