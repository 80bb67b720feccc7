"""One proxied connection: two flows of frames between two sockets, judged and paced. `proxy` has the face to use.

All of this runs in the proxy's thread; nothing here blocks.
"""

import enum
import errno
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK = 65536
BACKLOG = 1 << 20
LARGEST = 1 << 26  # A longer frame is none: it is a four-letter word, or TLS, and the flow is passed on as it comes.
PING = 11
NOTIFICATION_XID = -1
BLOCKED = (BlockingIOError, InterruptedError)


class Stage(enum.Enum):
    """Where a trap closes."""

    BEFORE_REQUEST = "the request is not forwarded"
    AFTER_REQUEST = "the request is forwarded"
    BEFORE_REPLY = "the request is forwarded and answered, the answer is not passed on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """Ends the connection at a request, once.

    Attributes:
        stage: Where it closes.
        k: The request's number on its connection, the handshake being 0; None for any.
        op: The request's opcode; None for any.
        reset: End the connection by RST.
    """

    stage: Stage
    k: int | None
    op: int | None
    reset: bool

    def catches(self, index: int, op: int | None) -> bool:
        """Tell whether the trap is meant for a request; without any condition, for all but handshakes and pings."""
        if self.k is None and self.op is None:
            return index > 0 and op != PING
        return self.k in (None, index) and self.op in (None, op)


@dataclass(slots=True)
class Faults:
    """What the proxy does to the traffic of all its connections.

    Attributes:
        hold_requests: Nothing goes from clients to the server.
        hold_replies: Nothing goes from the server to clients.
        delay: Seconds from reading to writing.
        size: The most bytes written at once; 0 for no limit.
        pause: Seconds between writes.
        traps: Armed traps.
        drop: Replies for which one of these is true are not passed on.
    """

    hold_requests: bool = False
    hold_replies: bool = False
    delay: float = 0.0
    size: int = 0
    pause: float = 0.0
    traps: list[Trap] = field(default_factory=list)
    drop: list[Callable[[bytes], bool]] = field(default_factory=list)

    @property
    def black_hole(self) -> bool:
        """Whether nothing passes in either direction."""
        return self.hold_requests and self.hold_replies

    def clear(self) -> None:
        """End them all."""
        self.hold_requests = self.hold_replies = False
        self.delay = self.pause = 0.0
        self.size = 0
        self.traps.clear()
        self.drop.clear()


@dataclass(slots=True)
class Seen:
    """What has arrived at the proxy, whatever became of it; the names are those of `ChaosProxy`."""

    connections: int = 0
    requests: int = 0
    replies: int = 0
    notifications: int = 0
    opcodes: list[int] = field(default_factory=list)
    sprung: Counter[Stage] = field(default_factory=Counter)


class Flow:
    """One direction: what was read, waits, and is being written."""

    def __init__(self) -> None:
        self.frames = 0
        self.opaque = False
        self.ended = False  # The source will send no more.
        self.shut = False  # The sink has been told so.
        self.held = False  # No more is taken from the source.
        self._partial = bytearray()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._out = bytearray()
        self._next_write = 0.0

    @property
    def empty(self) -> bool:
        """Whether all that was let through has been written."""
        return not self._out and not self._queue

    @property
    def readable(self) -> bool:
        """Whether more can be taken."""
        return not self.ended and not self.held and self._queued < BACKLOG

    def put(self, data: bytes, due: float) -> None:
        """Let bytes through, to be written at the time *due*."""
        self._queue.append((due, data))
        self._queued += len(data)

    def next_write(self) -> float | None:
        """Tell when there will be something to write; None if there is nothing."""
        if self._out:
            return self._next_write
        return max(self._queue[0][0], self._next_write) if self._queue else None

    def due(self, now: float) -> bool:
        """Whether there is something to do for `write`."""
        when = self.next_write()
        return when <= now if when is not None else self.ended and not self.shut

    def write(self, sink: socket.socket, now: float, faults: Faults) -> None:
        """Write what is due, at the set pace."""
        while self._queue and self._queue[0][0] <= now:
            data = self._queue.popleft()[1]
            self._out += data
        if not self._out or now < self._next_write:
            return
        sent = sink.send(self._out[: faults.size or CHUNK])
        del self._out[:sent]
        self._queued -= sent
        self._next_write = now + faults.pause

    def shut_if_ended(self, sink: socket.socket) -> None:
        """Pass on the end, when all that came before is written."""
        if self.ended and self.empty and not self.shut:
            self.shut = True
            sink.shutdown(socket.SHUT_WR)

    def take(self, data: bytes) -> list[bytes]:
        """Add what was read; return the frames that are complete, each with its length in front."""
        self._partial += data
        found = []
        while not self.opaque and len(self._partial) >= 4:
            (length,) = struct.unpack_from(">i", self._partial)
            if not 0 <= length <= LARGEST:
                self.opaque = True
            elif len(self._partial) < 4 + length:
                break
            else:
                found.append(bytes(self._partial[: 4 + length]))
                del self._partial[: 4 + length]
        return found

    def rest(self) -> bytes:
        """Take out what is no frame: all of it if the flow is opaque, or a last piece at the end."""
        rest = bytes(self._partial)
        self._partial.clear()
        return rest


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, faults: Faults, seen: Seen) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.dialing = False
        self.closed = False
        self.to_server = Flow()
        self.to_client = Flow()
        self._faults = faults
        self._seen = seen
        self._closing: Trap | None = None  # Sprung: the connection ends when what went before is written.
        self._awaited: tuple[Trap, int | None] | None = (
            None  # The reply that is not to pass, by its xid; None: handshake.
        )

    def dial(self, target: tuple[str, int]) -> None:
        """Begin to connect to the server."""
        self.server = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
        self.server.setblocking(False)
        self.dialing = True
        self._check(self.server.connect_ex(target))

    def dialed(self) -> None:
        """See how connecting to the server went."""
        if self.closed or self.server is None:
            return
        self._check(self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if not self.closed:
            self.dialing = False
            self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _check(self, code: int) -> None:
        if code not in (0, errno.EINPROGRESS):
            self.close(reset=True)  # As near as it gets to a refused connection.

    def receive(self, *, from_client: bool, now: float) -> None:
        """Read what one side has sent, and let it through, or not."""
        source, flow = (self.client, self.to_server) if from_client else (self.server, self.to_client)
        assert source is not None
        try:
            data = source.recv(CHUNK)
        except BLOCKED:
            return
        except OSError:
            self.close(reset=True)
            return
        due = now + self._faults.delay
        for frame in flow.take(data):
            passed = self._judge_request(frame) if from_client else self._judge_reply(frame)
            flow.frames += 1
            if passed:
                flow.put(frame, due)
            if flow.held:
                break
        flow.ended = not data
        if (flow.opaque or flow.ended) and not flow.held and (rest := flow.rest()):
            flow.put(rest, due)

    def _judge_request(self, frame: bytes) -> bool:
        index = self.to_server.frames
        xid, op = struct.unpack_from(">ii", frame, 4) if index and len(frame) >= 12 else (None, None)
        if op is not None:
            self._seen.requests += 1
            self._seen.opcodes.append(op)
        trap = next((trap for trap in self._faults.traps if trap.catches(index, op)), None)
        if trap is None:
            return True
        self._faults.traps.remove(trap)
        self.to_server.held = True
        if trap.stage is Stage.BEFORE_REPLY:
            self._awaited = (trap, xid)
        else:
            self._closing = trap
        return trap.stage is not Stage.BEFORE_REQUEST

    def _judge_reply(self, frame: bytes) -> bool:
        index = self.to_client.frames
        xid = struct.unpack_from(">i", frame, 4)[0] if index and len(frame) >= 8 else None
        if xid == NOTIFICATION_XID:
            self._seen.notifications += 1
        elif index:
            self._seen.replies += 1
        if self._awaited is not None and self._awaited[1] == xid:
            self._closing = self._awaited[0]
            self.to_client.held = True
            return False
        return not any(drop(frame[4:]) for drop in self._faults.drop)

    def write(self, *, to_client: bool, now: float) -> None:
        """Write what is due to one side, and pass on its end."""
        sink, flow = (self.client, self.to_client) if to_client else (self.server, self.to_server)
        assert sink is not None
        try:
            flow.write(sink, now, self._faults)
            flow.shut_if_ended(sink)
        except BLOCKED:
            return
        except OSError:
            self.close(reset=True)

    def settle(self) -> bool:
        """Close the connection if nothing is left to do, or if a trap has sprung and what went before it is written.

        Returns:
            Whether it is closed.
        """
        if self._closing is not None:
            flow = self.to_client if self._closing.stage is Stage.BEFORE_REPLY else self.to_server
            if flow.empty:
                self._seen.sprung[self._closing.stage] += 1
                self.close(reset=self._closing.reset)
        elif self.to_client.shut and (self.to_server.shut or self.to_server.held):
            self.close()
        return self.closed

    def close(self, *, reset: bool = False) -> None:
        """End both connections, by FIN or by RST. May be called twice."""
        self.closed = True
        for side in (self.client, self.server):
            if side is not None:
                hang_up(side, reset=reset)


def hang_up(side: socket.socket, *, reset: bool) -> None:
    """Close a socket, by RST or, as far as it can be helped, by FIN: unread data would turn it into an RST."""
    try:
        if reset:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            side.shutdown(socket.SHUT_WR)
            for _ in range(64):
                if not side.recv(CHUNK):
                    break
    except OSError:
        pass  # It is not connected any more, or has nothing more to read.
    finally:
        side.close()
