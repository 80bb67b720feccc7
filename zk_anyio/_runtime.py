"""How a client waits and wakes on anyio: one way for asyncio's event loops, one for every backend."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import anyio
import anyio.lowlevel

from zk_sansio.client import busy
from zk_sansio.session import Waitable

__all__ = ["AnyioRuntime", "AsyncioRuntime", "make_runtime", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of asyncio that runs this task; None if trio does, be it as a guest of asyncio."""
    try:
        return None if asyncio.current_task() is None else asyncio.get_running_loop()
    except RuntimeError:
        return None


def make_runtime() -> AnyioRuntime:
    """The runtime for the backend that is running."""
    loop = running_loop()
    return AnyioRuntime() if loop is None else AsyncioRuntime(loop)


class AnyioRuntime:
    """The port of `zk_sansio.client.Runtime`, on whatever anyio runs on.

    Attributes:
        now: the time on the clock of the event loop.
        flush: set by the driver; called after each submission.
        nudge: set by the driver; called when deadlines have moved.
    """

    __slots__ = ("flush", "now", "nudge")

    def __init__(self) -> None:
        self.now: Callable[[], float] = anyio.current_time
        self.flush: Callable[[], None] = _nothing
        self.nudge: Callable[[], None] = _nothing

    def nonce(self) -> bytes:
        """Sixteen random bytes."""
        return os.urandom(16)

    async def wait(self, waitable: Waitable, /) -> None:
        """Wait for an event until `wake`."""
        if waitable.waiter is not None:
            raise busy()
        event = waitable.waiter = anyio.Event()
        try:
            await event.wait()
        except BaseException:
            if waitable.waiter is event:
                waitable.waiter = None
            raise

    def wake(self, waitable: Waitable, /) -> None:
        """Let the task that waits go on."""
        event = waitable.waiter
        if event is not None:
            waitable.waiter = None
            event.set()

    async def sleep(self, seconds: float, /) -> None:
        """Sleep on the clock of the event loop."""
        await anyio.sleep(seconds)

    async def checkpoint(self) -> None:
        """A checkpoint of anyio."""
        await anyio.lowlevel.checkpoint()

    def cancel_scope(self) -> anyio.CancelScope:
        """A cancel scope of anyio."""
        return anyio.CancelScope()

    def shielded(self, seconds: float, /) -> anyio.CancelScope:
        """A shielded cancel scope of anyio, with a timeout. On asyncio, `asyncio.Task.cancel` reaches into it."""
        return anyio.move_on_after(seconds, shield=True)


class AsyncioRuntime(AnyioRuntime):
    """The port on an event loop of asyncio.

    Waiting is awaiting a bare future: of all ways to wait on asyncio the cheapest. anyio cancels such a wait like
    any other.

    Args:
        loop: the running one.
    """

    __slots__ = ("_create_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.now = loop.time
        self._create_future: Callable[[], asyncio.Future[None]] = loop.create_future

    async def wait(self, waitable: Waitable, /) -> None:
        """Wait for a future until `wake`.

        A task that was woken may be cancelled before it runs; then this raises though what was waited for is there.
        """
        if waitable.waiter is not None:
            raise busy()
        future = waitable.waiter = self._create_future()
        try:
            await future
        except BaseException:
            if waitable.waiter is future:
                waitable.waiter = None
            raise

    def wake(self, waitable: Waitable, /) -> None:
        """Let the task that waits go on."""
        future = waitable.waiter
        if future is not None:
            waitable.waiter = None
            if not future.done():  # it is when its task was cancelled, and has not run since
                future.set_result(None)

    async def checkpoint(self) -> None:
        """What a checkpoint of anyio does on asyncio, without looking for the backend."""
        await asyncio.sleep(0)


def _nothing() -> None:
    """Nothing is connected, so there is nothing to send."""
