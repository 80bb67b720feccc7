"""What wakes a thread that waits for a socket."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

__all__ = ["Bell", "Poll", "wait_for"]

_LONGEST = 3600.0
"""Seconds; waiting longer than this is waiting again."""


class Bell:
    """Wakes one thread that polls, from any other thread, from a signal handler and from a finalizer."""

    __slots__ = ("_ear", "_hammer", "_rung")

    def __init__(self) -> None:
        self._ear, self._hammer = socket.socketpair()
        self._ear.setblocking(False)
        self._hammer.setblocking(False)
        self._rung = False

    @property
    def fd(self) -> int:
        """What is readable once the bell was rung."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake whoever polls, now or the next time."""
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # it is closed: nobody polls any more
                self._hammer.send(b"!")

    def heard(self) -> None:
        """Be silent until it is rung again: when `fd` is readable, and before looking at what it was rung for."""
        # In this order: who rings in between has done already what it rings for, and that is going to be seen. The
        # other way round its byte would be taken and the bell would count as rung, and nobody could ring it any more.
        with suppress(OSError):  # it is closed
            self._ear.recv(16)
        self._rung = False

    def close(self) -> None:
        """Close both ends."""
        self._ear.close()
        self._hammer.close()


class Poll:
    """Waits for a bell and for a socket, again and again. One thread at a time.

    Args:
        bell: the file descriptor of a bell, or of whatever else tells to stop.
        sock: the file descriptor of a socket; negative for none.
        readable: whether to wait until the socket is readable.
        writable: whether to wait until it is writable.
    """

    __slots__ = ("_bell", "_poll", "_readable", "_sock", "_writable")

    def __init__(self, bell: int, sock: int = -1, *, readable: bool = True, writable: bool = False) -> None:
        self._bell = bell
        self._sock = sock
        self._readable = readable and sock >= 0
        self._writable = writable and sock >= 0
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(bell, select.POLLIN)
            if sock >= 0:
                self._poll.register(sock, (select.POLLIN if readable else 0) | (select.POLLOUT if writable else 0))

    def wait(self, seconds: float) -> tuple[bool, bool]:
        """Block until something happens.

        Args:
            seconds: how long at most; inf for no limit.

        Returns:
            Whether the bell was rung, and whether the socket is ready, or broken.
        """
        seconds = min(max(seconds, 0.0), _LONGEST)
        if self._poll is None:
            return self._select(seconds)
        # A millisecond more rather than less, or who waits for a deadline would come too early, again and again.
        found = [fd for fd, _ in self._poll.poll(int(seconds * 1000) + 1)]
        return self._bell in found, self._sock in found

    def _select(self, seconds: float) -> tuple[bool, bool]:
        """The same where there is no poll."""
        reads = [self._bell, self._sock] if self._readable else [self._bell]
        writes = [self._sock] if self._writable else []
        ready = select.select(reads, writes, writes, seconds)
        return self._bell in ready[0], any(self._sock in found for found in ready)


def wait_for(
    seconds: float, bell: int, sock: int = -1, *, readable: bool = True, writable: bool = False
) -> tuple[bool, bool]:
    """Block once until something happens; arguments and result as of `Poll` and `Poll.wait`."""
    return Poll(bell, sock, readable=readable, writable=writable).wait(seconds)
