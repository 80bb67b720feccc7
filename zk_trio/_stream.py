"""One socket, with or without TLS, and the waiting for it.

The socket is one of the standard library's, non-blocking; trio only tells when it is ready. That is a quarter
faster in sequence than trio's own stream, and lets a caller send for itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import trio

from zk_adapter import TlsSource, Transport, Want, open_socket, tls_layer
from zk_sansio.client import SocketOptions
from zk_sansio.session import Server

__all__ = ["Dialer", "Stream", "dial"]


class Stream(Transport):
    """An open connection. One task reads, one at a time writes."""

    __slots__ = ()

    async def carry_out(self, steps: Iterable[Want]) -> None:
        """Wait for each thing that *steps* want."""
        for want in steps:
            if want is Want.READABLE:
                await self.wait_readable()
            else:
                await trio.lowlevel.wait_writable(self.sock)

    async def wait_readable(self) -> None:
        """Wait until `receive` has something, perhaps."""
        if self.ended:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self.sock)

    def close(self) -> None:
        """Close the socket; whoever waits for it is woken with `trio.ClosedResourceError`."""
        if self.sock.fileno() != -1:
            trio.lowlevel.notify_closing(self.sock)
            super().close()


Dialer: TypeAlias = Callable[[Server, SocketOptions, TlsSource], Awaitable[Stream]]
"""Opens connections: `dial`, or what takes its place in tests."""


async def dial(server: Server, options: SocketOptions, tls: TlsSource) -> Stream:
    """Open a connection. A failure or a cancellation leaves no socket behind.

    Args:
        server: where to; the certificate must be for its configured name.
        options: how to set the socket up.
        tls: None for a plain connection.

    Raises:
        OSError, TlsError, InvalidRequestError: it did not work out.
    """
    layer = tls_layer(server, tls)
    stream = Stream(open_socket(server, options), layer)
    try:
        await stream.carry_out(stream.connecting(server))
    except BaseException:
        stream.close()
        raise
    return stream
