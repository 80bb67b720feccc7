"""One socket, with or without TLS, and the waiting for it.

The socket is one of the standard library's, non-blocking. On asyncio the event loop calls back when there is
something to read, so that no task has to run for a reply but the one that waits for it; anyio tells the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import anyio
import anyio.lowlevel

from zk_adapter import TlsSource, Transport, Want, open_socket, tls_layer
from zk_sansio.client import SocketOptions
from zk_sansio.session import Server

from ._runtime import running_loop

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
                await anyio.wait_writable(self.sock)

    async def wait_readable(self) -> None:
        """Wait until `receive` has something, perhaps."""
        if self.ended:
            await anyio.lowlevel.checkpoint()
        else:
            await anyio.wait_readable(self.sock)

    async def keep_reading(self, read: Callable[[], bool]) -> None:
        """Call *read* now, and whenever `receive` has something, perhaps, for as long as it returns True.

        What it raises comes out of here.
        """
        loop = running_loop()
        if loop is not None and await self._called_back(loop, read):
            return
        while read():
            await self.wait_readable()

    async def _called_back(self, loop: asyncio.AbstractEventLoop, read: Callable[[], bool]) -> bool:
        """Let *loop* call *read*; return whether it is able to."""
        end: asyncio.Future[None] = loop.create_future()

        def ready() -> None:
            try:
                while read():
                    if not self.ended:
                        return
            except Exception as error:  # noqa: BLE001 - the task raises it; the loop would just log it
                if not end.done():
                    end.set_exception(error)
            else:
                if not end.done():
                    end.set_result(None)
            loop.remove_reader(self.sock)  # an end that nobody reads makes the socket readable for ever

        try:
            loop.add_reader(self.sock, ready)
        except NotImplementedError:
            return False  # the proactor of Windows
        try:
            ready()
            await end
        finally:
            loop.remove_reader(self.sock)
            if end.done() and not end.cancelled():
                end.exception()  # retrieved, even when this task is cancelled at the same time
        return True

    def close(self) -> None:
        """Close the socket; whoever waits for it is woken with `anyio.ClosedResourceError`."""
        if self.sock.fileno() != -1:
            anyio.notify_closing(self.sock)
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
