"""One connection of a server, and the bytes on their way between it and its client. Nothing here waits.

What a client may make a server keep is bounded on both ways. Requests are taken in small pieces, and none are taken
while many replies wait to be sent, so that a client that reads nothing is not answered either. What comes all the
same, such as notifications, is limited by `MOST_QUEUED`: then the client is cut off.

Faults are beyond these bounds. What a black hole or a delay holds back, requests and replies alike, is kept by
`zk_sansio.server.Faults` and not counted here, so that a client that goes on asking may make a server keep any amount.
It counts when it is let go: then a client that is owed more than `MOST_QUEUED` at once may be cut off.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from zk_sansio.server import Connection

from .._transport import Transport

__all__ = ["ENOUGH_QUEUED", "MOST_QUEUED", "Link", "SocketLink", "accept_one", "feed"]

MOST_QUEUED = 64 * 1024 * 1024
"""Bytes that may wait for a client. It is cut off when there are more."""

ENOUGH_QUEUED = 1024 * 1024
"""Bytes that wait for a client; while there are more, nothing is read from it."""

MOST_OUTSTANDING = 1000
"""Requests that may wait for the one before them; while there are more, nothing is read from their client."""

_READ_SIZE = 64 * 1024
_PIECE = 512
"""Bytes of requests that are taken at once. Each request in it may ask for a megabyte."""


class Link(Protocol):
    """A connection and the way to its client.

    Attributes:
        connection: the server's half.
    """

    connection: Connection

    def collect(self) -> None:
        """Send what the connection has to say, and hang up when it is over."""

    def hang_up(self) -> None:
        """Close the way to the client, whatever is on it."""


def feed(connection: Connection, data: bytes, now: float, take: Callable[[bytes], bool]) -> bytes:
    """Give *data* to *connection*, and what it answers to *take*.

    Args:
        connection: the server's half.
        data: what has arrived; not empty.
        now: the time.
        take: takes what is to be sent; returns whether there may be more.

    Returns:
        The rest of *data*, which is to be given later, when there is room for the answers again.
    """
    size = len(data)
    if size <= _PIECE:
        connection.receive_data(data, now)
        return b""
    answers: list[bytes] = []
    held = at = 0
    while at < size and not connection.closed and connection.outstanding <= MOST_OUTSTANDING:
        piece = max(_PIECE, connection.missing)
        connection.receive_data(data[at : at + piece], now)
        at += piece
        if answer := connection.data_to_send():
            answers.append(answer)
            held += len(answer)
            if held > ENOUGH_QUEUED:
                more = take(b"".join(answers))
                answers.clear()
                held = 0
                if not more:
                    break
    if answers:
        take(b"".join(answers))
    return b"" if connection.closed else data[at:]


class SocketLink:
    """A connection whose client is at the other end of a socket.

    Args:
        connection: the server's half.
        transport: the socket.
        now: the clock.
        write: called when bytes are left, so that somebody waits for the socket and calls `flush`.
        leave: called when it is over; it closes the transport.

    Attributes:
        connection: the server's half.
        transport: the socket.
        queued: bytes that the kernel did not take yet.
        ended: whether it is over.
        writing: for who waits for the socket, to remember it.
        resume: called once when `serving` or `reading` may be another; for who waits for that.
    """

    __slots__ = (
        "_heard_all",
        "_leave",
        "_now",
        "_queue",
        "_rest",
        "_write",
        "connection",
        "ended",
        "queued",
        "resume",
        "transport",
        "writing",
    )

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        now: Callable[[], float],
        write: Callable[[SocketLink], object],
        leave: Callable[[SocketLink], object],
    ) -> None:
        self.connection: Connection = connection
        self.transport: Transport = transport
        self.queued: int = 0
        self.ended: bool = False
        self.writing: bool = False
        self.resume: Callable[[], object] | None = None
        self._now = now
        self._write = write
        self._leave = leave
        self._queue: deque[memoryview] = deque()
        self._rest = b""
        self._heard_all = False  # the client will send no more, though a fault may keep the server from knowing it

    @property
    def reading(self) -> bool:
        """Whether more is to be read, once the socket is readable."""
        return self.serving and self.queued <= ENOUGH_QUEUED and self.connection.outstanding <= MOST_OUTSTANDING

    @property
    def serving(self) -> bool:
        """Whether more is to be read, perhaps when something has been sent."""
        return not self.ended and not self._heard_all and not self.connection.closed

    def receive(self) -> None:
        """Read what has arrived, once, and feed it to the connection. Others may have something to say then, too."""
        data = self._rest
        if not data:
            try:
                data = self.transport.sock.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._heard_all = True
                self.connection.receive_data(b"", self._now())
                return
        self._rest = feed(self.connection, data, self._now(), self._take)

    def _take(self, data: bytes) -> bool:
        self._send(data)
        return not self.ended and self.queued <= ENOUGH_QUEUED

    @property
    def resumes(self) -> bool:
        """Whether `receive` has something to do though the socket may not be readable."""
        return bool(self._rest) and self.reading

    def collect(self) -> None:
        """Send what the connection has to say, and hang up when it is over."""
        if self.ended:
            return
        if data := self.connection.data_to_send():
            self._send(data)
        self._settle()

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        if not self._queue:
            try:
                sent = self.transport.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.lose()
                return
            if sent == len(data):
                return
            rest = rest[sent:]
        self._queue.append(rest)
        self.queued += len(rest)
        if self.queued > MOST_QUEUED:
            self.lose()
        elif not self.writing:
            self.writing = True
            self._write(self)

    def flush(self) -> bool:
        """Send of what is queued as much as the kernel takes; return whether nothing is left."""
        queue, sock = self._queue, self.transport.sock
        while queue and not self.ended:
            piece = queue[0]
            try:
                sent = sock.send(piece)
            except BlockingIOError:
                return False
            except OSError:
                self.lose()
                return True
            self.queued -= sent
            if sent < len(piece):
                queue[0] = piece[sent:]
            else:
                queue.popleft()
        self._settle()
        return True

    def _settle(self) -> None:
        if self.connection.closed and not self._queue:
            self.hang_up()
        elif self.resume is not None and (self.reading or not self.serving):
            self._resume()

    def _resume(self) -> None:
        resume, self.resume = self.resume, None
        if resume is not None:
            resume()

    def lose(self) -> None:
        """The client has gone, or must go."""
        self.hang_up()
        self.connection.close()

    def hang_up(self) -> None:
        """Close the socket, whatever is on its way."""
        if not self.ended:
            self.ended = True
            self._queue.clear()
            self.queued = 0
            with suppress(OSError):
                # What was sent must get there: unread requests would make the kernel throw it away.
                self.transport.sock.shutdown(socket.SHUT_WR)
                for _ in range(4):
                    if not self.transport.sock.recv(_READ_SIZE):
                        break
            self._leave(self)
            self._resume()


def accept_one(listener: socket.socket) -> tuple[socket.socket, str, int] | None:
    """Accept a connection, without waiting; None if there is none.

    Returns:
        The socket, non-blocking, and the address and port of the client.

    Raises:
        OSError: the system has no room for another connection. Wait for a moment; the client waits, too.
    """
    while True:
        try:
            sock, (address, port, *_) = listener.accept()
        except BlockingIOError:
            return None
        except ConnectionError:
            continue  # a client that has gone already
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, str(address), int(port)
