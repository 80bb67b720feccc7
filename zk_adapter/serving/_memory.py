"""A client's connection in memory: bytes go straight into the server's state machine, and its answers into a list."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from zk_sansio.server import Connection
from zk_sansio.session import Session

from .._transport import Transport, Want
from ._links import ENOUGH_QUEUED, MOST_OUTSTANDING, MOST_QUEUED, feed

__all__ = ["MemoryTransport"]


class MemoryTransport(Transport):
    """The client's end of a connection in memory, and the server's link, since there is nothing in between.

    It takes the place of a socket: there is no ``sock``. An adapter adds the waiting, and calls *changed* to wake
    who waits.

    Args:
        connection: the server's half.
        now: the clock.
        pump: called after each input of the server.
        leave: called when the client hangs up.
    """

    __slots__ = ("_arrived", "_finished", "_leave", "_now", "_pump", "closed", "connection", "waiting")

    def __init__(
        self,
        connection: Connection,
        now: Callable[[], float],
        pump: Callable[[], object],
        leave: Callable[[MemoryTransport], object],
    ) -> None:
        # Not that of the base class, which is for sockets: no `sock` is set.
        self.unsent: bytes = b""
        self.connection: Connection = connection
        self.waiting: int = 0
        self.closed: bool = False
        self._now = now
        self._pump = pump
        self._leave = leave
        self._arrived: deque[bytes] = deque()
        self._finished = False

    def changed(self) -> None:
        """Wake who waits for this transport; for the adapter to override."""
        raise NotImplementedError

    # --- what the server asks

    def collect(self) -> None:
        """Take what the server's half has to say."""
        if self._finished:
            return
        data = self.connection.data_to_send()
        if data and not self.closed:
            self._take(data)
        if self.connection.closed:
            self.hang_up()
        elif self.unsent and self.writable:
            self.changed()  # requests may have been carried out, though nothing was answered that would wake anybody

    def hang_up(self) -> None:
        """The server ends the connection; what has arrived is there to be read."""
        if not self._finished:
            self._finished = True
            self._leave(self)
            self.changed()

    def _take(self, data: bytes) -> bool:
        self._arrived.append(data)
        self.waiting += len(data)
        self.changed()
        if self.waiting > MOST_QUEUED:
            self.connection.close()
            self.hang_up()
            return False
        return self.waiting <= ENOUGH_QUEUED

    # --- what the client asks

    @property
    def readable(self) -> bool:
        """Whether `receive` has something to say."""
        return bool(self._arrived) or self._finished or self.closed

    @property
    def writable(self) -> bool:
        """Whether `send_more` can do something."""
        if self._finished or self.closed:
            return True
        # What `feed` looks at, too: otherwise who sends would go on trying while it takes nothing.
        return self.waiting <= ENOUGH_QUEUED and self.connection.outstanding <= MOST_OUTSTANDING

    @property
    def ended(self) -> bool:
        """Waiting is woken at the end of the stream, too."""
        return False

    def send(self, data: bytes) -> bool:
        """Give it to the server; return whether all was taken. The rest is `unsent`."""
        if self._finished or self.closed:
            raise BrokenPipeError("the server has closed the connection")
        if not self.writable:
            self.unsent = data
            return False
        self.unsent = feed(self.connection, data, self._now(), self._take)
        self._pump()
        return not self.unsent

    def send_more(self) -> None:
        """Give the server more of what is unsent."""
        if self.unsent:
            self.send(self.unsent)

    def sending(self) -> Iterator[Want]:
        """Send what is unsent: wait for each thing that this yields."""
        while self.unsent:
            yield Want.WRITABLE
            self.send_more()

    def receive(self) -> bytes | None:
        """What has arrived: b"" at the end of the stream, None if there is nothing."""
        if self._arrived:
            data = self._arrived.popleft() if len(self._arrived) == 1 else b"".join(self._arrived)
            self._arrived.clear()
            held, self.waiting = self.waiting, 0
            if held > ENOUGH_QUEUED:
                self.changed()
            return data
        return b"" if self._finished or self.closed else None

    def receive_for(self, session: Session, now: float) -> bool:
        """Give what has arrived to *session*, and say whether there was anything, be it the end."""
        data = self.receive()
        if data is None:
            return False
        session.receive_data(data, now)
        return True

    def close(self) -> None:
        """Hang up."""
        if not self.closed:
            self.closed = True
            self._arrived.clear()
            self.waiting = 0
            if not self._finished:
                # The server hears of it now, or when a fault lets it.
                self.connection.receive_data(b"", self._now())
                self._pump()
            self.changed()
