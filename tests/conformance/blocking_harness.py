"""zk_blocking, to be checked: what its users call, as awaitables that block and never suspend."""

import inspect
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from math import inf
from time import monotonic, sleep
from types import TracebackType
from typing import Any, TypeVar, Unpack, cast
from unittest.mock import patch

import zk_blocking
from zk_blocking import _open
from zk_blocking._interrupts import INTERRUPTS
from zk_blocking._runtime import BlockingRuntime, TimeUpError
from zk_conformance import Function, Leftovers
from zk_sansio import Client, ClientSettings, ConnectError
from zk_sansio.session import Waitable

T = TypeVar("T")

SCOPES = {"watch", "watch_data", "watch_children", "watch_exists", "states", "lock", "try_acquire"}
"""What waits when it is entered, not when it is called."""
NAMES = {"aclose": "close"}
POLL = 0.005
STUCK = 5.0


class Interruption:
    """The wait at which a function is interrupted. The threads that it starts share it.

    Args:
        step: which wait, counted from 0.
        by_signal: whether Ctrl-C is pressed then; otherwise the time is up from then on.
    """

    def __init__(self, step: int, *, by_signal: bool) -> None:
        self._step = step
        self._waits = 0
        self._mutex = threading.Lock()
        self.by_signal = by_signal
        self.shared = False

    @property
    def sprung(self) -> bool:
        """Whether there was such a wait."""
        return self._waits > self._step

    def count(self) -> bool:
        """Count a wait; return whether it is the one."""
        with self._mutex:
            self._waits += 1
            return self._waits == self._step + 1


class Here(threading.local):
    """What a thread has been told: until when, and where it is interrupted."""

    deadline: float = inf
    interruption: Interruption | None = None


HERE = Here()


@contextmanager
def told(deadline: float, interruption: Interruption | None) -> Iterator[None]:
    """Tell this thread."""
    before = HERE.deadline, HERE.interruption
    HERE.deadline, HERE.interruption = deadline, interruption
    try:
        yield
    finally:
        HERE.deadline, HERE.interruption = before


def left() -> float | None:
    """The timeout for a call."""
    return None if HERE.deadline == inf else max(HERE.deadline - monotonic(), 0)


def complete(awaitable: Awaitable[T]) -> T:
    """Run something to its end that never suspends."""
    try:
        next(awaitable.__await__())
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError("something was awaited that suspends")


class Interruptible(BlockingRuntime):
    """The runtime of a client whose callers can be interrupted at any of their waits."""

    async def wait(self, waitable: Waitable, /) -> None:
        await self._interruptible(lambda: super(Interruptible, self).wait(waitable), POLL)

    async def sleep(self, seconds: float, /) -> None:
        await self._interruptible(lambda: super(Interruptible, self).sleep(seconds))

    async def checkpoint(self) -> None:
        await self._interruptible(super().checkpoint)

    async def _interruptible(self, wait: Function[None], poll: float = inf) -> None:
        interruption, thread, deadline = HERE.interruption, self.thread, self.thread.deadline
        if interruption is None:
            await wait()
            return
        now = interruption.count()
        if interruption.by_signal and threading.get_ident() == INTERRUPTS.main:
            if now:
                signal.raise_signal(signal.SIGINT)
            await wait()
            return
        if thread.shielded or deadline == inf:
            await wait()  # no timeout of a caller ends it
            return
        while True:
            if interruption.sprung:
                thread.deadline = monotonic()
            elif interruption.shared:
                thread.deadline = min(deadline, monotonic() + poll)  # it may spring in another thread
            try:
                await wait()
                return
            except TimeUpError:
                if thread.deadline == deadline or interruption.sprung or monotonic() >= deadline:
                    raise
            finally:
                thread.deadline = deadline


class Face:
    """Something that users of zk_blocking have, behind the names that it has in an event loop."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._blocking, NAMES.get(name, name))
        if not callable(value):
            return value
        if "timeout" not in inspect.signature(value).parameters:
            return lambda *args, **kwargs: self._cover(value(*args, **kwargs))
        if name in SCOPES:
            return lambda *args, **kwargs: Face(value(*args, timeout=left(), **kwargs))
        return (walk if name == "walk" else call)(value)

    def _cover(self, value: Any) -> Any:
        if value is self._blocking:
            return self
        return Face(value) if type(value).__module__.startswith(zk_blocking.__name__) else value

    async def __aenter__(self) -> Any:
        return self._cover(self._blocking.__enter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> Any:
        return self._blocking.__exit__(kind, error, tb)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for each in self._blocking:
            yield each

    async def __anext__(self) -> Any:
        return self._blocking.next(timeout=left())

    def __len__(self) -> int:
        return len(self._blocking)

    def __repr__(self) -> str:
        return repr(self._blocking)


def call(function: Callable[..., T]) -> Callable[..., Awaitable[T]]:
    """A blocking call as a coroutine function."""

    async def run(*args: Any, **kwargs: Any) -> T:
        return function(*args, timeout=left(), **kwargs)

    return run


def walk(function: Callable[..., Iterator[T]]) -> Callable[..., AsyncIterator[T]]:
    """A generator as an asynchronous one."""

    async def run(*args: Any, **kwargs: Any) -> AsyncIterator[T]:
        for each in function(*args, timeout=left(), **kwargs):
            yield each

    return run


class BlockingHarness:
    """zk_blocking, in threads."""

    cancels = False

    def run(self, check: Function[None], /) -> None:
        with patch.object(_open, "BlockingRuntime", Interruptible):
            self._before = Leftovers()
            complete(check())

    def open_client(
        self, hosts: str | Sequence[str], /, **settings: Unpack[ClientSettings]
    ) -> AbstractAsyncContextManager[Client]:
        return cast("AbstractAsyncContextManager[Client]", Face(zk_blocking.open_client(hosts, **settings)))

    async def together(self, *functions: Function[object]) -> None:
        deadline, interruption = HERE.deadline, HERE.interruption
        if interruption is not None:
            interruption.shared = True
        errors: list[BaseException] = []

        def run(function: Function[object]) -> None:
            try:
                with told(deadline, interruption):
                    complete(function())
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=[each], name="together", daemon=True) for each in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            join(thread, deadline)
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"and at the same time: {other!r}")
            raise errors[0]

    async def sleep(self, seconds: float, /) -> None:
        interruption = HERE.interruption
        if interruption is not None:
            interruption.count()
        if monotonic() + seconds > HERE.deadline or (interruption is not None and interruption.sprung):
            sleep(left() or 0)  # noqa: ASYNC251 - it is to block
            raise TimeoutError("it took too long")
        sleep(seconds)  # noqa: ASYNC251

    async def within(self, seconds: float, function: Function[T], /) -> T:
        with told(min(HERE.deadline, monotonic() + seconds), HERE.interruption):
            return await function()

    async def interrupt(self, step: int, function: Function[object], /) -> bool:
        by_signal = False
        if threading.get_ident() == INTERRUPTS.main:
            # Each wait counts twice: its time is up, or Ctrl-C is pressed.
            step, by_signal = step // 2, step % 2 == 1
        interruption = Interruption(step, by_signal=by_signal)
        try:
            with told(HERE.deadline, interruption):
                await function()
        except (TimeoutError, ConnectError, KeyboardInterrupt):
            if not interruption.sprung:
                raise
        assert not INTERRUPTS.pending
        return interruption.sprung

    def leftovers(self) -> list[str]:
        return self._before.added()


def join(thread: threading.Thread, deadline: float) -> None:
    """Wait for a thread; should it be stuck, say where."""
    thread.join(None if deadline == inf else max(deadline - monotonic(), 0) + STUCK)
    if thread.is_alive():
        where = "".join(traceback.format_stack(sys._current_frames()[thread.ident or 0]))
        raise TimeoutError(f"a thread is stuck:\n{where}")
