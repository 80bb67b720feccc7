"""A connection in memory, and the waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio
import anyio.lowlevel

from zk_adapter import Want
from zk_adapter.serving import MemoryTransport
from zk_sansio.server import Connection

from .._stream import Stream

__all__ = ["MemoryStream"]


class MemoryStream(MemoryTransport, Stream):
    """What takes the place of a stream on a socket; the arguments are those of `MemoryTransport`."""

    __slots__ = ("_news",)

    def __init__(
        self,
        connection: Connection,
        now: Callable[[], float],
        pump: Callable[[], object],
        leave: Callable[[MemoryTransport], object],
    ) -> None:
        super().__init__(connection, now, pump, leave)
        self._news = anyio.Event()

    def changed(self) -> None:
        """Wake who waits."""
        news, self._news = self._news, anyio.Event()
        news.set()

    async def carry_out(self, steps: Iterable[Want]) -> None:
        """Wait for each thing that *steps* want."""
        for want in steps:
            if want is Want.READABLE:
                await self.wait_readable()
            elif self.writable:
                await anyio.lowlevel.checkpoint()
            else:
                while not self.writable:
                    await self._news.wait()

    async def wait_readable(self) -> None:
        """Wait until `receive` has something, perhaps."""
        if self.readable:
            await anyio.lowlevel.checkpoint()
        else:
            await self._news.wait()

    async def keep_reading(self, read: Callable[[], bool]) -> None:
        """Call *read* now, and whenever `receive` has something, for as long as it returns True."""
        while read():
            await self.wait_readable()
