"""How a client waits and wakes in threads.

All of a client's code runs under one mutex, which a thread gives up only while it waits: between two waits
nothing changes, as in a task of an event loop. A coroutine that waits here blocks and never suspends, so it runs to
its end by one ``send(None)``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from types import TracebackType
from typing import Self

from zk_sansio.client import busy
from zk_sansio.session import Waitable

from ._interrupts import INTERRUPTS

__all__ = ["BlockingRuntime", "TimeUpError", "Waiter"]


class TimeUpError(BaseException):
    """The deadline of the call has passed. Like a cancellation it is no `Exception`: nobody takes it for an answer."""


class Waiter:
    """A thread that waits.

    Attributes:
        woken: whether it may go on.
        lock: what it is parked on; None while it is not.
        reads: whether it could read for itself and for others, if nobody else did.
    """

    __slots__ = ("lock", "reads", "woken")

    def __init__(self, *, reads: bool) -> None:
        self.woken: bool = False
        self.lock: threading.Lock | None = None
        self.reads: bool = reads

    def unpark(self) -> None:
        """Let it look around; nothing happens if it is not parked."""
        lock = self.lock
        if lock is not None:
            self.lock = None
            lock.release()


class _Thread(threading.local):
    """What each thread has for itself.

    Attributes:
        deadline: of the call that it makes.
        inside: whether it is in a call, or is one of the client's own.
        shielded: whether only the deadline ends its waits.
    """

    deadline: float = inf
    inside: bool = False
    shielded: bool = False


class _NoScope:
    """A thread cannot be cancelled."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        pass

    def cancel(self) -> None:
        """Nothing happens."""


class BlockingRuntime:
    """The port of `zk_sansio.client.Runtime`, on threads.

    Attributes:
        mutex: held by the thread that runs the client's code.
        thread: what the current thread is doing.
        flush: set by the driver; called after each submission.
        nudge: set by the driver; called when deadlines have moved.
        lead: set by the driver; reads for this waiter and all others, if nobody else does, until it is woken or the
            time comes. Returns whether it did.
        recall: set by the driver; wakes a waiter that reads.
        step_down: set by the driver; called when a waiter is done, so that another may read.
        parked: who waits without reading.
        failure: what has ended the client's service against all rules; None as it should be.
    """

    def __init__(self) -> None:
        self.mutex: threading.Lock = threading.Lock()
        self.thread: _Thread = _Thread()
        self.flush: Callable[[], None] = _nothing
        self.nudge: Callable[[], None] = _nothing
        self.lead: Callable[[Waiter, float], bool] = _nobody
        self.recall: Callable[[Waiter], None] = _ignore
        self.step_down: Callable[[], None] = _nothing
        self.failure: BaseException | None = None
        self.parked: dict[Waiter, None] = {}

    def now(self) -> float:
        """The time on the monotonic clock."""
        return time.monotonic()

    def nonce(self) -> bytes:
        """Sixteen random bytes."""
        return os.urandom(16)

    async def wait(self, waitable: Waitable, /) -> None:
        """Block until `wake`; read for everybody meanwhile, if nobody else does."""
        if waitable.waiter is not None:
            raise busy()
        waiter = waitable.waiter = Waiter(reads=True)
        deadline = self.thread.deadline
        try:
            while not waiter.woken:
                self._check(deadline)
                if not self.lead(waiter, deadline):
                    self.park(waiter, deadline)
        except BaseException:
            waitable.waiter = None
            raise
        finally:
            if self.parked:
                self.step_down()

    def park(self, waiter: Waiter, until: float) -> None:
        """Block until somebody calls `Waiter.unpark`, or for some time; the mutex is given up meanwhile."""
        lock = waiter.lock = threading.Lock()
        lock.acquire()
        self.parked[waiter] = None
        try:
            if self.give_up(waiter.unpark):
                try:
                    lock.acquire(timeout=max(min(until - time.monotonic(), threading.TIMEOUT_MAX), 0))
                finally:
                    self.take_back()
        finally:
            waiter.lock = None
            del self.parked[waiter]

    def give_up(self, wake: Callable[[], None]) -> bool:
        """Release the mutex for something that blocks; *wake* ends it early, should Ctrl-C be pressed.

        Returns:
            False if it was pressed already: the mutex is still held, and nothing is to be waited for.
        """
        if threading.get_ident() == INTERRUPTS.main:
            INTERRUPTS.wake = wake
            if INTERRUPTS.pending and not self.thread.shielded:
                INTERRUPTS.wake = None
                return False
        self.mutex.release()
        return True

    def take_back(self) -> None:
        """Take the mutex again, after something that blocked."""
        self.mutex.acquire()
        if threading.get_ident() == INTERRUPTS.main:
            INTERRUPTS.wake = None

    def _check(self, deadline: float) -> None:
        """Notice what is this runtime's way of being cancelled."""
        if self.failure is not None:
            raise RuntimeError("the client's own thread has failed; this is a defect") from self.failure
        if not self.thread.shielded:
            INTERRUPTS.check()
        if deadline != inf and time.monotonic() >= deadline:
            raise TimeUpError

    def wake(self, waitable: Waitable, /) -> None:
        """Let the thread that waits go on."""
        waiter: Waiter | None = waitable.waiter
        if waiter is not None:
            waitable.waiter = None
            waiter.woken = True
            if waiter.lock is not None:
                waiter.unpark()
            else:
                self.recall(waiter)

    async def sleep(self, seconds: float, /) -> None:
        """Block for a while."""
        until = time.monotonic() + seconds
        deadline = self.thread.deadline
        waiter = Waiter(reads=False)
        while time.monotonic() < until:
            self._check(deadline)
            self.park(waiter, min(until, deadline))
        self._check(deadline)

    async def checkpoint(self) -> None:
        """Notice that the time is up, or that Ctrl-C was pressed."""
        self._check(self.thread.deadline)

    def cancel_scope(self) -> _NoScope:
        """A scope that cannot be cancelled."""
        return _NoScope()

    @contextmanager
    def shielded(self, seconds: float, /) -> Iterator[None]:
        """A deadline of its own, in place of the caller's, and no Ctrl-C until it is over."""
        thread = self.thread
        before = thread.deadline, thread.shielded
        thread.deadline, thread.shielded = time.monotonic() + seconds, True
        try:
            with suppress(TimeUpError):
                yield
        finally:
            thread.deadline, thread.shielded = before


def _nothing() -> None:
    """Nothing is connected, so there is nothing to send."""


def _nobody(waiter: Waiter, deadline: float) -> bool:
    """Nothing is connected, so there is nothing to read."""
    return False


def _ignore(waiter: Waiter) -> None:
    """Nobody reads, so nobody needs to be told."""
