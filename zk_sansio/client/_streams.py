"""What a user iterates over: changes of znodes, states of the session, one-shot watches."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import copy
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeAlias, TypeVar, cast

from ..errors import LocalProtocolError, SessionExpiredError, ZooKeeperError
from ..paths import Chroot
from ..session import SessionState, Waitable, WatchEvent, WatchKind
from ..wire import Request
from ._engine import Engine, Subscriber

if TYPE_CHECKING:
    from ._snapshot import Snapshot

__all__ = ["Change", "ChangeStream", "Gap", "OneShotWatch", "StateStream"]

C = TypeVar("C", bound="WatchEvent | Gap")
R = TypeVar("R")

_LEASE_ENDS = (SessionState.PRESUMED_LOST, SessionState.EXPIRED)

_log = logging.getLogger("zk_sansio")


class Gap(NamedTuple):
    """Changes may have been missed here: read again what matters.

    Attributes:
        reason: ``reconnected``, ``new session``, or ``overflow`` when the consumer was too slow.
    """

    reason: str


Change: TypeAlias = WatchEvent | Gap


class _Scope(Waitable):
    """What can be entered once and ends when it is left."""

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        super().__init__()
        self._entered = False

    def _enter(self) -> None:
        if self._entered:
            raise LocalProtocolError("this scope was entered already; make a new one")
        self._entered = True


class _StreamSubscriber(Subscriber):
    __slots__ = ("stream",)

    def __init__(self, path: str, kind: WatchKind, stream: ChangeStream[Any]) -> None:
        super().__init__(path, kind)
        self.stream = stream

    def changed(self, event: WatchEvent) -> None:
        self.stream._push(event)

    def rearmed(self, new_session: bool) -> None:
        self.stream._push(Gap("new session" if new_session else "reconnected"))

    def lost(self, error: ZooKeeperError) -> None:
        self.stream._end(error)


class ChangeStream(_Scope, Generic[C]):
    """The changes below one path, as a scope and an asynchronous iterator.

    Entering it sets the watch, leaving it removes it. Nothing is lost in silence: after a reconnect, and when
    the consumer falls behind by more than *buffer* changes, a `Gap` takes the place of what may be missing.
    Paths are those of the client, without its chroot.
    """

    __slots__ = ("_buffer", "_chroot", "_engine", "_error", "_limit", "_open", "_register", "_snapshot", "_subscriber")

    def __init__(
        self,
        engine: Engine,
        chroot: Chroot,
        path: str,
        *,
        recursive: bool,
        buffer: int,
        snapshot: Snapshot | None,
        register: Callable[[Subscriber], Awaitable[object]],
    ) -> None:
        super().__init__()
        kind = WatchKind.RECURSIVE if recursive else WatchKind.PERSISTENT
        self._engine = engine
        self._chroot = chroot
        self._subscriber = _StreamSubscriber(chroot.to_server(path), kind, self)
        self._register = register
        self._limit = buffer
        self._buffer: deque[Change] = deque()
        self._snapshot = snapshot
        self._error: ZooKeeperError | None = None
        self._open = False

    async def __aenter__(self) -> Self:
        self._enter()
        await self._register(self._subscriber)
        self._open = True
        if self._snapshot is not None:
            self._snapshot.outdated()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    async def aclose(self) -> None:
        """Remove the watch; iterating ends. The removal is sent, not waited for: requests that follow come after it."""
        self._leave()
        await self._engine.runtime.checkpoint()

    def _leave(self) -> None:
        if self._open:
            self._open = False
            self._buffer.clear()
            self._engine.session.unwatch(self._subscriber)
            self._engine.runtime.flush()
            self._engine.runtime.wake(self)

    def __aiter__(self) -> AsyncIterator[C]:
        return self

    async def __anext__(self) -> C:
        """The next change.

        Raises:
            StopAsyncIteration: the scope was left.
            ZooKeeperError: the session is over, and no other takes its place.
        """
        waited = False
        while True:
            if self._snapshot is not None and self._open:
                change = await self._next_of_snapshot(self._snapshot)
                if change is not None:
                    return cast("C", change)
            elif self._buffer:
                if not waited:
                    await self._engine.runtime.checkpoint()
                    if not self._buffer:
                        continue
                return cast("C", self._buffer.popleft())
            if self._error is not None:
                raise copy(self._error)
            if not self._open:
                raise StopAsyncIteration
            await self._engine.runtime.wait(self)
            waited = True

    async def _next_of_snapshot(self, snapshot: Snapshot) -> Change | None:
        """The next change that makes a difference to the snapshot; None if none is known yet."""
        while True:
            if snapshot.news:
                await self._engine.runtime.checkpoint()
                return snapshot.pending()
            if snapshot.stale:
                # What is buffered so far is older than what is going to be read.
                try:
                    await snapshot.read()
                except SessionExpiredError:
                    if self._engine.error is not None:
                        raise
                    snapshot.outdated()  # the watch moves to the next session, and the reading with it
                continue
            if not self._buffer:
                return None
            event = self._buffer.popleft()
            if isinstance(event, Gap):
                snapshot.outdated()
            else:
                snapshot.apply(event)

    def _push(self, change: Change) -> None:
        if len(self._buffer) >= self._limit:
            _log.warning(
                "the watch of %s is read too slowly: %d changes make place for a gap",
                self._subscriber.path,
                len(self._buffer),
            )
            self._buffer.clear()
            change = Gap("overflow")
        elif isinstance(change, WatchEvent) and self._chroot.prefix:
            change = change._replace(path=self._chroot.to_client(change.path))
        self._buffer.append(change)
        self._engine.runtime.wake(self)

    def _end(self, error: ZooKeeperError) -> None:
        self._error = error
        self._engine.runtime.wake(self)


class _OneShotSubscriber(Subscriber):
    __slots__ = ("watch",)

    def __init__(self, path: str, kind: WatchKind, watch: OneShotWatch[Any]) -> None:
        super().__init__(path, kind)
        self.watch = watch

    def changed(self, event: WatchEvent) -> None:
        self.watch._fire(event)

    def rearmed(self, new_session: bool) -> None:
        raise AssertionError("one-shot watches are set again by the server's own comparison")

    def lost(self, error: ZooKeeperError) -> None:
        self.watch._end(error)


class OneShotWatch(_Scope, Generic[R]):
    """A read together with a watch that fires once.

    Entering it reads and sets the watch in one request, so nothing can happen in between; leaving it removes
    a watch that has not fired. It survives reconnects: what changed meanwhile fires it.

    Attributes:
        seen: what the read found; None if the znode is missing (for a watch of ``exists``).
    """

    __slots__ = ("_chroot", "_engine", "_error", "_event", "_read", "_request", "_subscriber", "seen")

    seen: R

    def __init__(
        self,
        engine: Engine,
        chroot: Chroot,
        request: Request[Any],
        path: str,
        kind: WatchKind,
        read: Callable[[Request[Any], Subscriber], Awaitable[R]],
    ) -> None:
        super().__init__()
        self._engine = engine
        self._chroot = chroot
        self._request = request
        self._read = read
        self._subscriber = _OneShotSubscriber(path, kind, self)
        self._event: WatchEvent | None = None
        self._error: ZooKeeperError | None = None

    async def __aenter__(self) -> Self:
        self._enter()
        self.seen = await self._read(self._request, self._subscriber)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._engine.session.unwatch(self._subscriber)
        self._engine.runtime.flush()

    async def fired(self) -> WatchEvent:
        """Wait for the change, and return it.

        An event of type ``EventType.NONE`` says that the server could not keep the watch: look again.

        Raises:
            SessionExpiredError, ClosedError, AuthFailedError: the session ended first.
        """
        if self._event is None and self._error is None:
            await self._engine.runtime.wait(self)
        else:
            await self._engine.runtime.checkpoint()
        if self._event is None:
            assert self._error is not None
            raise copy(self._error)
        return self._event

    def _fire(self, event: WatchEvent) -> None:
        self._event = event._replace(path=self._chroot.to_client(event.path))
        self._engine.runtime.wake(self)

    def _end(self, error: ZooKeeperError) -> None:
        self._error = error
        self._engine.runtime.wake(self)


class StateStream(_Scope):
    """The states of the client from now on, as a scope and an asynchronous iterator; the newest wins.

    The first one is the state when the scope is entered. A slow consumer misses states in between, but never the
    latest one, and never that a session was presumed lost or has expired. It ends behind a state from which
    there is no way on.
    """

    __slots__ = ("_engine", "_open", "_states")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._states: list[SessionState] = []
        self._open = False

    async def __aenter__(self) -> Self:
        self._enter()
        await self._engine.runtime.checkpoint()
        self._open = True
        self._engine.listeners[self] = None
        self._states.append(self._engine.session.state)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        self._engine.listeners.pop(self, None)
        self._engine.runtime.wake(self)

    def __aiter__(self) -> AsyncIterator[SessionState]:
        return self

    async def __anext__(self) -> SessionState:
        """The newest state that was not returned yet."""
        if self._states:
            await self._engine.runtime.checkpoint()
        while not self._states:
            if not self._open or self._engine.error is not None:
                raise StopAsyncIteration
            await self._engine.runtime.wait(self)
        return self._states.pop(0)

    def closing(self) -> None:
        """It is the state that counts; the engine calls this."""

    def state_changed(self, state: SessionState) -> None:
        """Take a new state; the engine calls it."""
        # The ends of leases are kept, once each, and what came of them.
        self._states = [kept for kept in _LEASE_ENDS if kept in self._states and kept is not state] + [state]
        self._engine.runtime.wake(self)
