"""Runs one call of a user's thread, from its beginning to its end."""

from __future__ import annotations

import atexit
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from zk_sansio.client import Engine
from zk_sansio.errors import CallTimeoutError, LocalProtocolError

from ._driver import Driver
from ._interrupts import INTERRUPTS
from ._runtime import BlockingRuntime, TimeUpError

__all__ = ["Runner"]

P = ParamSpec("P")
R = TypeVar("R")

_EXIT_GRACE = 1.0
"""Seconds that the end of the interpreter waits for clients that nobody has closed."""


class Runner:
    """The way of all calls from users' threads into a client.

    When the last object that can make calls is gone, so is the client: its socket is closed and its thread ends.

    Args:
        runtime: of the client.
        driver: of the client.
        keep_session: whether the session is to be left alone when nobody has closed the client.
    """

    def __init__(self, runtime: BlockingRuntime, driver: Driver, *, keep_session: bool) -> None:
        self._runtime = runtime
        self._driver = driver
        self.pid: int = os.getpid()
        self.forked: bool = False
        self._keep_session = keep_session
        _RUNNERS.add(self)
        _DRIVERS.add(driver)
        weakref.finalize(self, driver.stop, goodbye=not keep_session).atexit = False

    def run(
        self, function: Callable[P, Awaitable[R]], timeout: float | None = None, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a coroutine function of the client, and block until it is done.

        Args:
            function: which one.
            timeout: seconds; None for no limit.
            *args: its arguments.
            **kwargs: its arguments.

        Raises:
            CallTimeoutError: it took longer.
            KeyboardInterrupt: Ctrl-C was pressed meanwhile.
            LocalProtocolError: this process must not use the client.
        """
        runtime = self._runtime
        thread = runtime.thread
        if self.forked or thread.inside:
            raise self._misuse()
        deadline = inf if timeout is None else time.monotonic() + timeout
        guarded = INTERRUPTS.enter()
        try:
            thread.deadline, thread.inside = deadline, True
            try:
                with runtime.mutex:
                    return self.drive(function(*args, **kwargs))
            except TimeUpError:
                raise CallTimeoutError(timeout or 0.0) from None
            finally:
                thread.inside = False
        finally:
            if guarded:
                INTERRUPTS.leave()

    @staticmethod
    def drive(awaitable: Awaitable[R]) -> R:
        """Run something that never suspends to its end. The mutex must be held, unless it touches nothing."""
        try:
            next(awaitable.__await__())
        except StopIteration as end:
            result: R = end.value
            return result
        raise RuntimeError("a coroutine was suspended; only waits of this runtime may be awaited")

    def enter(self, scope: AbstractAsyncContextManager[R, Any], timeout: float | None) -> R:
        """Enter a scope of the client; when Ctrl-C comes just then, leave it again.

        Args:
            scope: of the client.
            timeout: seconds for entering; None for no limit.
        """
        guarded = INTERRUPTS.enter()
        entered = False
        try:
            result = self.run(scope.__aenter__, timeout)
            entered = True
        finally:
            if guarded:
                try:
                    INTERRUPTS.leave()
                except KeyboardInterrupt as interrupt:
                    if entered:
                        self.leave(scope, KeyboardInterrupt, interrupt, None)
                    raise
        return result

    def leave(
        self,
        scope: AbstractAsyncContextManager[Any, Any],
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave a scope of the client; in a forked child it is the parent's business."""
        if not self.forked:
            self.run(scope.__aexit__, None, kind, error, traceback)

    def close(self, engine: Engine, grace: float, *, keep_session: bool) -> None:
        """End the session; neither Ctrl-C nor a deadline of the caller cuts this short."""

        async def close() -> None:
            with self._runtime.shielded(grace):
                await engine.close(grace, keep_session=keep_session)
            # Perhaps its grace was over a moment before the session's: those who are in calls must hear of the end.
            engine.session.handle_timeout(inf)
            engine.deliver()

        self.run(close)

    def _misuse(self) -> LocalProtocolError:
        if self.forked:
            return LocalProtocolError(
                f"this client belongs to process {self.pid}, of which this one is a fork: open another client here"
            )
        return LocalProtocolError("a client cannot be called from within one of its own calls, as a signal handler may")

    def forget(self) -> None:
        """This is a forked child."""
        self.forked = True
        self._driver.forget()


_RUNNERS: weakref.WeakSet[Runner] = weakref.WeakSet()
_DRIVERS: weakref.WeakSet[Driver] = weakref.WeakSet()


def _after_fork() -> None:
    INTERRUPTS.forked()
    for runner in list(_RUNNERS):
        runner.forget()


def _at_exit() -> None:
    """End what nobody has closed, before the interpreter takes the threads away."""
    deadline = time.monotonic() + _EXIT_GRACE
    for runner in list(_RUNNERS):
        if not runner.forked:
            runner._driver.stop(goodbye=not runner._keep_session)
    for driver in list(_DRIVERS):  # those, too, whose runner was dropped a moment ago
        driver.join(max(deadline - time.monotonic(), 0))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
