"""Between the session and those who call: who waits for what, and who hears of which event."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from math import inf
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast

from ..errors import (
    ConnectError,
    ConnectionLossError,
    SessionError,
    SuspendedError,
    ThrottledError,
    ZooKeeperError,
)
from ..session import (
    Batch,
    Call,
    Notice,
    Notification,
    Rearmed,
    Session,
    SessionState,
    StateChanged,
    Waitable,
    Watcher,
    WatchersLost,
    WatchEvent,
)
from ..wire import Request
from ._runtime import Runtime

__all__ = ["Engine", "OnExpiry", "Race", "StateListener", "Subscriber"]

R = TypeVar("R")

OnExpiry: TypeAlias = Literal["renew", "raise"]

_NO_CONNECTION = "there is no connection, and this call does not wait for one"
_WARNING_PAUSE = 60.0
"""Seconds between two warnings that callers have to wait, since some programs live at that limit."""

_log = logging.getLogger("zk_sansio")


class Subscriber(Watcher):
    """A watcher that is told what happens to it."""

    __slots__ = ()

    def changed(self, event: WatchEvent) -> None:
        """The watch fired."""
        raise NotImplementedError

    def rearmed(self, new_session: bool) -> None:
        """The connection was away, and events may have been missed."""
        raise NotImplementedError

    def lost(self, error: ZooKeeperError) -> None:
        """The session is over, and the watch with it."""
        raise NotImplementedError


def _subscribers(watchers: Sequence[Watcher]) -> Sequence[Subscriber]:
    """Every watcher of this package's clients is a subscriber; the session alone does not know."""
    return cast("Sequence[Subscriber]", watchers)


class Race:
    """Callers of one client who are after the same ephemeral znode at the same time.

    Attributes:
        parties: how many there are.
        contended: whether there ever was more than one. Then the owner of the znode says nothing about which.
    """

    __slots__ = ("contended", "parties")

    def __init__(self) -> None:
        self.parties = 0
        self.contended = False


class StateListener(Protocol):
    """Someone who wants to know each state."""

    def state_changed(self, state: SessionState) -> None:
        """Take the new state."""

    def closing(self) -> None:
        """The client is about to end its session; the server may do so at any moment from now on."""


class Engine:
    """Drives one session after another, for any number of callers.

    Args:
        session: the first session.
        runtime: the port to the world.
        on_expiry: what follows an expired session: a new one, or the end of the client.

    Attributes:
        session: the session in use.
        error: why the client is at its end; None while it is not.
        ended_by: the expiry that is to end the client's scope; None if there is none.
    """

    def __init__(self, session: Session, runtime: Runtime, on_expiry: OnExpiry = "renew") -> None:
        self.session: Session = session
        self.runtime = runtime
        self.error: ZooKeeperError | None = None
        self.ended_by: ZooKeeperError | None = None
        self.listeners: dict[StateListener, None] = {}
        self._on_expiry = on_expiry
        self._closing = False
        self._warn_at = -inf
        self._room: deque[_Turn] = deque()
        self._turn: set[_Turn] = set()
        self._races: dict[str, Race] = {}

    # --- what the adapter calls

    def deliver(self) -> None:
        """Pass on all events, in order; call it after each input to the session. Nothing in it waits."""
        session = self.session
        wake = self.runtime.wake
        for event in session.events():
            if type(event) is Call:
                batch = event.batch
                if batch is None:
                    wake(event)
                else:
                    batch.left -= 1
                    if batch.left <= batch.wake_at:
                        wake(batch)
            else:
                self._dispatch(event)
        if session.error is not None and self.session is session:
            self._over(session)
        if self._room:
            self.let_in()

    def _dispatch(self, event: Any) -> None:
        match event:
            case Notification(change, watchers):
                for watcher in _subscribers(watchers):
                    watcher.changed(change)
            case Rearmed(watchers, new_session):
                for watcher in _subscribers(watchers):
                    watcher.rearmed(new_session)
            case WatchersLost(watchers, error):
                for watcher in _subscribers(watchers):
                    watcher.lost(error)
            case StateChanged(old, new, error):
                why = f" ({getattr(error, 'reason', error)})" if error else ""
                _log.info("session 0x%016x: %s -> %s%s", self._id, old.value, new.value, why)
                self._announce(new)
            case Notice(message):
                _log.warning("session 0x%016x: %s", self._id, message)

    @property
    def _id(self) -> int:
        return self.session.session_id & 0xFFFF_FFFF_FFFF_FFFF

    def _announce(self, state: SessionState) -> None:
        for listener in list(self.listeners):
            listener.state_changed(state)

    def let_in(self) -> None:
        """Let callers go on that waited for room; call it after sending too."""
        session = self.session
        room = session.options.max_in_flight - session.in_flight - len(self._turn)
        left = session.options.high_water - session.queued_bytes - sum(turn.weight for turn in self._turn)
        # At the end of the client nobody makes room any more: all go on, to hear of it.
        while self._room and (self.error is not None or (room > 0 and left > 0 and session.has_room)):
            turn = self._room.popleft()
            self._turn.add(turn)
            self.runtime.wake(turn)
            room -= 1
            left -= turn.weight

    def _over(self, session: Session) -> None:
        # Who holds a ticket counts on that session, with its locks; another one will not do.
        renew = self._on_expiry == "renew" and not session.resuming
        if session.state is SessionState.EXPIRED and renew and not self._closing:
            self.session = session.successor()
            _log.warning("session 0x%016x expired; a new one takes its place", session.session_id & (2**64 - 1))
            self._announce(self.session.state)
            return
        self.error = session.error
        assert self.error is not None
        for watcher in _subscribers(session.release_watchers()):
            watcher.lost(self.error)
        if session.state is SessionState.EXPIRED and not self._closing:
            self.ended_by = session.error

    @contextmanager
    def racing(self, path: str) -> Iterator[Race]:
        """Take part, for as long as the scope lasts, in the race of this client's callers for one ephemeral znode."""
        race = self._races.setdefault(path, Race())
        race.parties += 1
        race.contended |= race.parties > 1
        try:
            yield race
        finally:
            race.parties -= 1
            if not race.parties:
                del self._races[path]

    # --- what callers call

    async def call(self, request: Request[R], watcher: Watcher | None = None, *, fail_fast: bool = False) -> Call[R]:
        """Submit *request* and wait for its outcome; the call is done when this returns.

        When it is cancelled, a request that was not sent never will be; the reply of one that was is dropped.
        """
        if self._full:
            await self.wait_for_room(request)
        session = self.session
        if fail_fast and not session.state.serving and session.error is None:
            call = _not_sent(request, SuspendedError(_NO_CONNECTION, request.target))
            self.let_in()  # the room that this caller may have waited for is not used
        else:
            call = self._submit(session, request, watcher)
            self.runtime.flush()
        await self.finish(session, call)
        return call

    def _submit(self, session: Session, request: Request[R], watcher: Watcher | None = None) -> Call[R]:
        try:
            return session.submit(request, watcher)
        except BaseException:
            self.let_in()  # the room that this caller may have waited for is free again
            raise

    async def finish(self, session: Session, call: Call[Any]) -> None:
        """Wait for the outcome of a call that was submitted."""
        if call.done:
            # It failed at once, and its event would find nobody.
            await self.runtime.checkpoint()
            return
        try:
            await self.runtime.wait(call)
        except BaseException:
            self.abandon(session, [call])
            raise

    def abandon(self, session: Session, calls: Sequence[Call[Any]], after: int | None = None) -> None:
        """The caller of *calls* is gone, and will not hear of those that were answered, or lost, either.

        Args:
            session: theirs.
            calls: which ones.
            after: the last zxid seen before they were made; None if nothing was answered since.
        """
        for call in calls:
            call.batch = None
            session.abandon(call, after)
        self.runtime.flush()

    async def batch(self, requests: Sequence[Request[Any]], *, fail_fast: bool = False) -> list[Call[Any]]:
        """Submit many requests in order and wait until all are done, sending and waking as rarely as possible."""
        calls: list[Call[Any]] = []
        batch = Batch()
        position = checked = 0
        session, first, before = self.session, 0, self.session.last_zxid
        try:
            while position < len(requests):
                if self._full:
                    await self.wait_for_room(requests[position])
                if session is not self.session:
                    # What was asked of the old one is over, and its ephemerals are not ours to remove.
                    session, first, before = self.session, position, self.session.last_zxid
                refused = self._refusal(session, calls[checked:], fail_fast=fail_fast)
                while checked < len(calls) and calls[checked].done:
                    checked += 1
                if refused is not None:
                    calls += [_not_sent(request, refused) for request in requests[position:]]
                    position = len(requests)
                    self.let_in()
                congested = False
                while position < len(requests) and not congested:
                    call = self._submit(session, requests[position])
                    calls.append(call)
                    position += 1
                    if not call.done:
                        call.batch = batch
                        batch.left += 1
                    congested = session.congested
                self.runtime.flush()
                # Come back for more when half of what fits is done, or for the end.
                batch.wake_at = session.options.max_in_flight // 2 if position < len(requests) else 0
                if batch.left > batch.wake_at:
                    await self.runtime.wait(batch)
            await self.runtime.checkpoint()
        except BaseException:
            self.abandon(session, calls[first:], before)
            raise
        return calls

    def _refusal(self, session: Session, calls: Sequence[Call[Any]], *, fail_fast: bool) -> ConnectionLossError | None:
        """Why the rest of a batch is not to be sent; None if it is.

        Args:
            session: the session in use.
            calls: those of the batch whose outcome is not known to be harmless.
            fail_fast: whether the batch waits for no connection.
        """
        if fail_fast and not session.state.serving and session.error is None:
            return SuspendedError(_NO_CONNECTION)
        if any(isinstance(call.error, (SessionError, ThrottledError)) for call in calls):
            # What follows may build on what is lost.
            return ConnectionLossError("an earlier request of the pipeline was lost")
        return None

    @property
    def _full(self) -> bool:
        """Whether a caller has to wait, because there is no room or it is others' turn; at the end nobody has to."""
        return bool(self._room or self._turn or self.session.congested) and self.error is None

    async def wait_for_room(self, request: Request[Any]) -> None:
        """Wait until fewer requests are under way; callers go on in the order in which they came.

        Args:
            request: what is to be sent then.
        """
        now = self.runtime.now()
        if now >= self._warn_at:
            session = self.session
            self._warn_at = now + _WARNING_PAUSE
            _log.warning(
                "callers wait: %d requests without an answer, %d bytes not sent",
                session.in_flight,
                session.queued_bytes,
            )
        turn = _Turn(request)
        self._room.append(turn)
        try:
            await self.runtime.wait(turn)
        except BaseException:
            if turn in self._turn:
                self._turn.discard(turn)
            else:
                self._room.remove(turn)
            self.let_in()  # the room is not used, so it is the next one's
            raise
        self._turn.discard(turn)

    async def wait_until_serving(self) -> None:
        """Wait until a server serves the session.

        Raises:
            ZooKeeperError: why the client is at its end, should it be.
        """
        waiter = _StateWaiter(self)
        self.listeners[waiter] = None
        try:
            await self.runtime.checkpoint()
            while not self.session.state.serving:
                if self.error is not None:
                    raise copy(self.error)  # others raise it too, and each adds where it was
                await self.runtime.wait(waiter)
        finally:
            self.listeners.pop(waiter, None)

    def unreachable(self, seconds: float) -> ConnectError:
        """The error for having waited that long without a server."""
        hint = "is ZooKeeper running, and do the host, the port and TLS agree?"
        failures = {**dict.fromkeys(self.session.trying, "no answer yet"), **self.session.failures}
        return ConnectError(f"no server accepted a session within {seconds:.3g} s; {hint}", failures)

    async def close(self, grace: float, *, keep_session: bool = False) -> None:
        """End the session; returns when it is over, at the latest after *grace* seconds on the session's clock."""
        waiter = _StateWaiter(self)
        self.listeners[waiter] = None
        try:
            self._closing = True
            for listener in list(self.listeners):
                listener.closing()
            self.session.close(self.runtime.now(), grace, keep_session=keep_session)
            self.deliver()
            self.runtime.flush()
            self.runtime.nudge()
            if self.session.state.over:
                await self.runtime.checkpoint()
            while not self.session.state.over:
                await self.runtime.wait(waiter)
        finally:
            self.listeners.pop(waiter, None)


class _Turn(Waitable):
    """A caller that waits for room, and then has its turn.

    Attributes:
        weight: about how many bytes its request will have; data are what counts.
    """

    __slots__ = ("weight",)

    def __init__(self, request: Request[Any]) -> None:
        super().__init__()
        ops = getattr(request, "ops", (request,))
        self.weight: int = sum(64 + len(getattr(op, "data", None) or b"") for op in ops)


def _not_sent(request: Request[R], error: ConnectionLossError) -> Call[R]:
    """A call that has failed before it was sent."""
    call = Call(request, 0, b"")
    call.fail(type(error)(error.reason, request.target))
    return call


class _StateWaiter(Waitable):
    """Wakes one caller at each change of state."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def state_changed(self, state: SessionState) -> None:
        self._engine.runtime.wake(self)

    def closing(self) -> None:
        """It is the state that counts."""
