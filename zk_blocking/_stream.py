"""One socket, with or without TLS, and threads that wait for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from zk_adapter import TlsSource, Transport, Want, open_socket, tls_layer
from zk_sansio.client import SocketOptions
from zk_sansio.session import Server

from ._bell import wait_for

__all__ = ["Dialer", "Stop", "Stream", "dial"]


class Stop:
    """Tells any number of threads at once to give up; it cannot be taken back.

    Attributes:
        changed: notified when it is set, for those who wait for something else than a socket.
    """

    __slots__ = ("_ear", "_hammer", "changed", "is_set")

    def __init__(self) -> None:
        self._ear, self._hammer = socket.socketpair()
        self.changed = threading.Condition()
        self.is_set = False

    @property
    def fd(self) -> int:
        """What is readable once it is set."""
        return self._ear.fileno()

    def set(self) -> None:
        """Tell them."""
        with self.changed:
            self.is_set = True
            self._hammer.close()
            self.changed.notify_all()

    def close(self) -> None:
        """Nobody listens any more."""
        self._hammer.close()
        self._ear.close()


class Stream(Transport):
    """An open connection. Whoever holds the mutex reads and writes."""

    __slots__ = ()

    def carry_out(self, steps: Iterable[Want], deadline: float, stop: Stop) -> None:
        """Wait for each thing that *steps* want.

        Raises:
            TimeoutError: the deadline has passed, or somebody has told us to stop.
        """
        for want in steps:
            readable = want is Want.READABLE
            ready = False
            while not ready:
                left = deadline - time.monotonic()
                if left <= 0 or stop.is_set:
                    raise TimeoutError("no connection in time")
                _, ready = wait_for(left, stop.fd, self.sock.fileno(), readable=readable, writable=not readable)


Dialer: TypeAlias = Callable[[Server, SocketOptions, TlsSource, float, Stop], Stream]
"""Opens connections: `dial`, or what takes its place in tests."""


def dial(server: Server, options: SocketOptions, tls: TlsSource, deadline: float, stop: Stop) -> Stream:
    """Open a connection. A failure leaves no socket behind.

    Args:
        server: where to; the certificate must be for its configured name.
        options: how to set the socket up.
        tls: None for a plain connection.
        deadline: when to give up, on the monotonic clock.
        stop: tells to give up earlier.

    Raises:
        OSError, TlsError, InvalidRequestError: it did not work out; TimeoutError among them.
    """
    layer = tls_layer(server, tls)
    stream = Stream(open_socket(server, options), layer)
    try:
        stream.carry_out(stream.connecting(server), deadline, stop)
    except BaseException:
        stream.close()
        raise
    return stream
