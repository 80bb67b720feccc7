"""How a client waits and wakes on trio."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import trio
from trio.lowlevel import Abort

from zk_sansio.client import busy
from zk_sansio.session import Waitable

__all__ = ["TrioRuntime"]


class TrioRuntime:
    """The port of `zk_sansio.client.Runtime`, on trio.

    Waiting is parking the task itself, without an event object: of all ways to wait on trio the cheapest.

    Attributes:
        flush: set by the driver; called after each submission.
        nudge: set by the driver; called when deadlines have moved.
    """

    __slots__ = ("flush", "nudge")

    def __init__(self) -> None:
        self.flush: Callable[[], None] = _nothing
        self.nudge: Callable[[], None] = _nothing

    def now(self) -> float:
        """The time on trio's clock."""
        return trio.current_time()

    def nonce(self) -> bytes:
        """Sixteen random bytes."""
        return os.urandom(16)

    async def wait(self, waitable: Waitable, /) -> None:
        """Park this task until `wake`."""
        if waitable.waiter is not None:
            raise busy()

        def abort(_: Any) -> Abort:
            waitable.waiter = None
            return Abort.SUCCEEDED

        waitable.waiter = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self, waitable: Waitable, /) -> None:
        """Let the task that waits go on."""
        task = waitable.waiter
        if task is not None:
            waitable.waiter = None
            trio.lowlevel.reschedule(task)

    async def sleep(self, seconds: float, /) -> None:
        """Sleep on trio's clock."""
        await trio.sleep(seconds)

    async def checkpoint(self) -> None:
        """A checkpoint of trio."""
        await trio.lowlevel.checkpoint()

    def cancel_scope(self) -> trio.CancelScope:
        """A cancel scope of trio."""
        return trio.CancelScope()

    def shielded(self, seconds: float, /) -> trio.CancelScope:
        """A shielded cancel scope of trio, with a timeout."""
        return trio.move_on_after(seconds, shield=True)


def _nothing() -> None:
    """Nothing is connected, so there is nothing to send."""
