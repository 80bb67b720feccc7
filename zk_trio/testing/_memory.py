"""A connection in memory, and the waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from zk_adapter import Want
from zk_adapter.serving import MemoryTransport
from zk_sansio.server import Connection

from .._stream import Stream

__all__ = ["MemoryStream"]


class MemoryStream(MemoryTransport, Stream):
    """What takes the place of a stream on a socket; the arguments are those of `MemoryTransport`."""

    __slots__ = ("_lot",)

    def __init__(
        self,
        connection: Connection,
        now: Callable[[], float],
        pump: Callable[[], object],
        leave: Callable[[MemoryTransport], object],
    ) -> None:
        super().__init__(connection, now, pump, leave)
        self._lot = trio.lowlevel.ParkingLot()

    def changed(self) -> None:
        """Wake who waits."""
        self._lot.unpark_all()

    async def carry_out(self, steps: Iterable[Want]) -> None:
        """Wait for each thing that *steps* want."""
        for want in steps:
            if want is Want.READABLE:
                await self.wait_readable()
            elif self.writable:
                await trio.lowlevel.checkpoint()
            else:
                while not self.writable:
                    await self._lot.park()

    async def wait_readable(self) -> None:
        """Wait until `receive` has something, perhaps."""
        if self.readable:
            await trio.lowlevel.checkpoint()
        else:
            await self._lot.park()
