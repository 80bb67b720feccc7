"""How a client waits and wakes in the simulation: the port of `zk_sansio.client.Runtime`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from zk_sansio.client import busy
from zk_sansio.session import Waitable

from .loop import Process, Scope, Task


class Observer(Protocol):
    """Who hears of everything that a client's callers are woken for, in its order, before they run."""

    def woken(self, waitable: Waitable) -> None: ...


class SimRuntime:
    """The port, for one client.

    Args:
        process: where it runs.
        observer: who looks on.

    Attributes:
        flush: set by the driver; called after each submission.
        nudge: set by the driver; called when deadlines have moved.
    """

    def __init__(self, process: Process, observer: Observer) -> None:
        self.flush: Callable[[], None] = _nothing
        self.nudge: Callable[[], None] = _nothing
        self.now: Callable[[], float] = process.clock
        self._process = process
        self._observer = observer

    def nonce(self) -> bytes:
        return self._process.loop.random.randbytes(16)

    async def wait(self, waitable: Waitable, /) -> None:
        if waitable.waiter is not None:
            raise busy()

        def abort() -> None:
            waitable.waiter = None

        loop = self._process.loop
        waitable.waiter = loop.current
        await loop.park(abort)

    def wake(self, waitable: Waitable, /) -> None:
        self._observer.woken(waitable)
        task: Task | None = waitable.waiter
        if task is not None:
            waitable.waiter = None
            task.reschedule()

    async def sleep(self, seconds: float, /) -> None:
        await self._process.sleep(seconds)

    async def checkpoint(self) -> None:
        await self._process.checkpoint()

    def cancel_scope(self) -> Scope:
        return Scope(self._process)

    def shielded(self, seconds: float, /) -> Scope:
        return Scope(self._process, seconds, shield=True)


def _nothing() -> None:
    """Nothing is connected, so there is nothing to send."""
