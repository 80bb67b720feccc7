"""What wakes a thread that waits for a socket."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from math import inf

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
    """The same wait again and again: for a bell, and for a socket to be readable. One thread at a time."""

    __slots__ = ("_bell", "_poll", "_sock")

    def __init__(self, bell: int, sock: int) -> None:
        self._bell = bell
        self._sock = sock
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(bell, select.POLLIN)
            self._poll.register(sock, select.POLLIN)

    def wait(self, seconds: float) -> tuple[bool, bool]:
        """Block until something happens; see `wait_for`."""
        if self._poll is None:
            return wait_for(seconds, self._bell, self._sock)
        ready = self._poll.poll(None if seconds > _LONGEST else int(max(seconds, 0) * 1000) + 1)
        if len(ready) == 1:
            fd = ready[0][0]
            return fd == self._bell, fd == self._sock
        return bool(ready), bool(ready)


def wait_for(
    seconds: float, bell: int, sock: int = -1, *, readable: bool = True, writable: bool = False
) -> tuple[bool, bool]:
    """Block until something happens.

    Args:
        seconds: how long at most; inf for no limit.
        bell: the file descriptor of a bell, or of whatever else tells to stop.
        sock: the file descriptor of a socket; negative for none.
        readable: whether to wait until the socket is readable.
        writable: whether to wait until it is writable.

    Returns:
        Whether the bell was rung, and whether the socket is ready, or broken.
    """
    seconds = min(max(seconds, 0.0), _LONGEST)
    if not hasattr(select, "poll"):
        return _select(seconds, bell, sock, readable, writable)
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    if sock >= 0:
        poll.register(sock, (select.POLLIN if readable else 0) | (select.POLLOUT if writable else 0))
    # A millisecond more rather than less, or who waits for a deadline would come too early, again and again.
    ready = poll.poll(None if seconds == inf else int(seconds * 1000) + 1)
    found = [fd for fd, _ in ready]
    return bell in found, sock in found


def _select(seconds: float, bell: int, sock: int, readable: bool, writable: bool) -> tuple[bool, bool]:
    """The same where there is no poll."""
    reads = [bell, sock] if sock >= 0 and readable else [bell]
    writes = [sock] if sock >= 0 and writable else []
    ready = select.select(reads, writes, writes, seconds)
    return bell in ready[0], any(sock in found for found in ready)
