"""The network between clients and servers: bytes that are late, in pieces, lost at any byte, or swallowed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from struct import Struct
from typing import Protocol

from zk_sansio.server import Connection
from zk_sansio.wire import HEADER, XID_NOTIFICATION, OpCode

from .loop import Loop, Process
from .trace import Trace
from .words import Handshake, Reply, Sent

_INT = Struct(">i")
_HEAD = Struct(">iii")
_SET_WATCHES = (OpCode.SET_WATCHES, OpCode.SET_WATCHES2)


class Receiver(Protocol):
    """The client's end of a link."""

    def arrived(self, link: Link, data: bytes) -> None:
        """Bytes are there; ``b""`` is the end of the stream."""

    def broken(self, link: Link) -> None:
        """The connection was reset."""

    def room(self, link: Link) -> None:
        """What was sent has left."""


class Host(Protocol):
    """The server's end of links."""

    def receive(self, link: Link, data: bytes) -> None: ...

    def accept(self, link: Link) -> Connection | None: ...

    def listening(self) -> bool: ...


class Weather:
    """How the network is in one world.

    Attributes:
        delay: the usual seconds for one way.
        jitter: how many times as long it may take.
        split: how probable it is that a piece of bytes is cut in two.
        merge: how probable it is that it travels with the one before it.
        window: bytes under way at which a sender has to wait.
    """

    def __init__(self, random: Random) -> None:
        self.delay = 10 ** random.uniform(-4, -1.5)
        self.jitter = 10 ** random.uniform(0, 1.5)
        self.split = random.choice((0.0, 0.02, 0.3))
        self.merge = random.choice((0.0, 0.1, 0.8))
        self.window = random.choice((200, 2_000, 100_000, 100_000))


class Route:
    """The way between one process and one server.

    Attributes:
        blocked: for each direction, up and down, whether everything is held back.
        refused: whether connections are refused.
        slow: how many times as long everything takes.
    """

    __slots__ = ("blocked", "host", "links", "process", "refused", "slow")

    def __init__(self, process: Process, host: Host) -> None:
        self.process = process
        self.host = host
        self.blocked = [0, 0]
        self.refused = 0
        self.slow = 1.0
        self.links: list[Link] = []

    def block(self, direction: int) -> None:
        self.blocked[direction] += 1

    def unblock(self, direction: int) -> None:
        self.blocked[direction] -= 1
        if not self.blocked[direction]:
            for link in list(self.links):
                link.pipes[direction].go_on()

    def prune(self) -> None:
        """Forget links that are over at both ends."""
        self.links = [each for each in self.links if each.receiver is not None or each.connection is not None]

    @property
    def open(self) -> list[Link]:
        """The links that work."""
        return [each for each in self.links if each.open]


UP, DOWN = 0, 1
_RESET = b"\0reset"


class Pipe:
    """One direction of a link. Bytes arrive in order, none is invented; what is cut off never arrives.

    Attributes:
        cut: whether nothing more gets through.
        trap: after how many bytes the link is to be cut; None for never.
        bytes: how many are under way.
    """

    __slots__ = ("_deliver", "_direction", "_flying", "_held", "_last", "_link", "bytes", "cut", "trap")

    def __init__(self, link: Link, direction: int, deliver: Callable[[bytes], None]) -> None:
        self._link = link
        self._direction = direction
        self._deliver = deliver
        self._last = 0.0
        self._flying: deque[bytes] = deque()
        self._held: list[bytes] = []
        self.cut = False
        self.trap: int | None = None
        self.bytes = 0

    def send(self, data: bytes) -> None:
        if self.cut:
            return
        network = self._link.network
        if self.trap is not None and data not in (b"", _RESET):
            if len(data) > self.trap:
                if self.trap:
                    self._fly(data[: self.trap])
                self.cut = True
                network.trace(self._link.who, f"{self._link.number} is cut at a byte")
                network.loop.at(max(self._last, network.loop.now), self._link.cut)
                return
            self.trap -= len(data)
        random = network.loop.random
        weather = network.weather
        if data and data is not _RESET and weather.split and len(data) > 1 and random.random() < weather.split:
            at = random.randrange(1, len(data))
            self._fly(data[:at])
            data = data[at:]
        self._fly(data)

    def _fly(self, data: bytes) -> None:
        network = self._link.network
        random = network.loop.random.random
        self.bytes += len(data)
        if self._flying and data and self._flying[-1] not in (b"", _RESET) and random() < network.weather.merge:
            self._flying[-1] += data
            return
        weather = network.weather
        late = weather.delay * (1 + weather.jitter * random() ** 8) * self._link.route.slow
        self._last = max(self._last, network.loop.now + late)
        self._flying.append(data)
        network.loop.at(self._last, self._arrive)

    def _arrive(self) -> None:
        if not self._flying:
            return
        data = self._flying.popleft()
        if self._held or self._link.route.blocked[self._direction]:
            self._held.append(data)
        else:
            self.bytes -= len(data)
            self._deliver(data)

    def go_on(self) -> None:
        """The way is free again: what was held back arrives."""
        held, self._held = self._held, []
        for data in held:
            self.bytes -= len(data)
            self._deliver(data)

    def lose(self, keep: float) -> None:
        """Cut it: of what is under way the first bytes may still arrive, the others never."""
        self.cut = True
        waiting = self._held + list(self._flying)
        left = int(keep * (sum(map(len, waiting)) + 1))
        kept: list[bytes] = []
        for data in waiting:
            if left and data not in (b"", _RESET):
                kept.append(data[:left])
                left -= len(kept[-1])
        self._flying.clear()
        if self._link.route.blocked[self._direction]:
            self._held = kept
        else:
            self._held = []
            for data in kept:
                self._deliver(data)

    def end(self, *, reset: bool) -> None:
        """Behind a cut, tell the receiver."""
        if self._held or self._link.route.blocked[self._direction]:
            self._held.append(_RESET if reset else b"")
        else:
            self._deliver(_RESET if reset else b"")


class Link:
    """One TCP connection.

    Attributes:
        pipes: up and down.
        connection: the server's end; None before it is accepted, and when it is not.
        asked: for the number of each request its kind.
        replies: for the number of each request the zxid and the error code of its reply.
        armed: the zxid at which the watches were set again.
        cut_after_event: whether it is to break behind the next notification that does not come alone.
        raw: whether what it carries are no frames.
        dead: whether it was cut, and perhaps only one end knows.
    """

    def __init__(self, network: Network, route: Route, receiver: Receiver, number: int) -> None:
        self.network = network
        self.route = route
        self.receiver: Receiver | None = receiver
        self.number = number
        self.pipes = (Pipe(self, UP, self._to_server), Pipe(self, DOWN, self._to_client))
        self.connection: Connection | None = None
        self.asked: dict[int, int] = {}
        self.replies: dict[int, tuple[int, int]] = {}
        self.armed = 0
        self.raw = False
        self.cut_after_event = False
        self._shaken = [False, False]
        self.dead = False

    @property
    def who(self) -> str:
        return self.route.process.name

    # --- the client's end

    def send(self, data: bytes) -> None:
        """The client sends whole frames."""
        self._look_up(data)
        if self.dead:
            self.network.loop.at(self.network.loop.now + 0.01, self._reset)
            return
        self.pipes[UP].send(data)

    @property
    def full(self) -> bool:
        """Whether the sender has to wait."""
        return self.pipes[UP].bytes >= self.network.weather.window

    def close(self) -> None:
        """The client closes its end."""
        self.receiver = None
        self.pipes[UP].send(b"")
        self.pipes[DOWN].cut = True

    def _to_client(self, data: bytes) -> None:
        receiver = self.receiver
        if receiver is not None:
            if data is _RESET:
                self.receiver = None
                receiver.broken(self)
            else:
                receiver.arrived(self, data)

    # --- the server's end

    def reply(self, data: bytes) -> None:
        """The server sends whole frames."""
        first_event = self._look_down(data)
        pipe = self.pipes[DOWN]
        if self.cut_after_event and first_event:
            pipe.trap = first_event
        pipe.send(data)

    def hang_up(self) -> None:
        """The server closes its end."""
        self.connection = None
        self.pipes[DOWN].send(b"")

    def _to_server(self, data: bytes) -> None:
        receiver = self.receiver
        if self.connection is not None:
            self.route.host.receive(self, b"" if data is _RESET else data)
            if data in (b"", _RESET):
                self.connection = None
        if receiver is not None and self.receiver is receiver:
            receiver.room(self)

    # --- faults

    def cut(self, *, client: bool = True, server: bool = True) -> None:
        """End it, at any byte; an end that is not told finds out when it sends, or by silence."""
        random = self.network.loop.random
        for pipe, told in zip(self.pipes, (server, client), strict=True):
            pipe.lose(random.random() if random.random() < 0.5 else 0.0)
            if told:
                pipe.end(reset=random.random() < 0.5)
        self.dead = True

    def _reset(self) -> None:
        self.pipes[DOWN].end(reset=True)

    @property
    def open(self) -> bool:
        """Whether both ends are there, and nothing has cut it."""
        return self.receiver is not None and self.connection is not None and not self.dead

    # --- what the frames say

    def _look_up(self, data: bytes) -> None:
        if self.raw:
            return
        at = 0
        trace = self.network.trace
        while at < len(data):
            if not self._shaken[UP]:
                self._shaken[UP] = True
                size = _INT.unpack_from(data, at)[0]
                trace(self.who, f"{self.number} =>", Handshake(data[at + 4 : at + 4 + size]))
            else:
                size, xid, opcode = _HEAD.unpack_from(data, at)
                if xid > 0:
                    self.asked[xid] = opcode
                trace(self.who, f"{self.number} ->", Sent(data[at + 4 : at + 4 + size]))
            at += 4 + size

    def _look_down(self, data: bytes) -> int:
        """Look at what the server sends; return where its first notification ends."""
        if self.raw:
            return 0
        at = first_event = 0
        trace = self.network.trace
        while at < len(data):
            size = _INT.unpack_from(data, at)[0]
            frame = data[at + 4 : at + 4 + size]
            if not self._shaken[DOWN]:
                self._shaken[DOWN] = True
                trace(self.who, f"{self.number} <=", Handshake(frame, answer=True))
            else:
                xid, zxid, code = HEADER.unpack_from(frame)
                if xid > 0:
                    self.replies[xid] = zxid, code
                    if self.asked.get(xid) in _SET_WATCHES:
                        self.armed = max(self.armed, zxid)
                elif xid == XID_NOTIFICATION and not first_event:
                    first_event = at + 4 + size
                trace(self.who, f"{self.number} <-", Reply(frame))
            at += 4 + size
        return first_event


class Network:
    """All routes and links.

    Args:
        loop: the event queue.
        trace: what happens.
        weather: how it is.
    """

    def __init__(self, loop: Loop, trace: Trace, weather: Weather) -> None:
        self.loop = loop
        self.trace = trace
        self.weather = weather
        self.routes: dict[tuple[str, int], Route] = {}
        self._number = 0

    def route(self, process: Process, number: int, host: Host) -> Route:
        """The way from a process to server *number*."""
        found = self.routes.get((process.name, number))
        if found is None:
            found = self.routes[process.name, number] = Route(process, host)
        return found

    def dial(
        self, route: Route, receiver: Receiver, made: Callable[[Link], object], failed: Callable[[str], object]
    ) -> None:
        """Open a connection; neither is called when packets are lost."""
        self._number += 1
        link = Link(self, route, receiver, self._number)
        late = self.weather.delay * (2 + self.weather.jitter * self.loop.random.random() ** 8) * route.slow
        self.loop.at(self.loop.now + late, self._knock, link, made, failed)

    def _knock(self, link: Link, made: Callable[[Link], object], failed: Callable[[str], object]) -> None:
        route = link.route
        if route.blocked[UP] or route.blocked[DOWN]:
            return
        if route.refused or not route.host.listening():
            route.process.soon(failed, "Connection refused")
            return
        connection = route.host.accept(link)
        if connection is None:
            link.pipes[DOWN].send(b"")
        link.connection = connection
        route.links.append(link)
        route.process.soon(made, link)
