"""What a driver with tasks does between its waits: reading, sending, keeping time, ending. Nothing in it waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from zk_sansio.client import Engine
from zk_sansio.errors import TlsError
from zk_sansio.session import Attempt, Session, Waitable

from ._transport import Transport

__all__ = ["Signal", "TaskDriver", "TaskRuntime"]

S = TypeVar("S", bound=Transport)


class Signal(Protocol):
    """An event of some event loop."""

    def set(self) -> Any:
        """Let whoever waits for it go on."""


class TaskRuntime(Protocol):
    """What a driver needs of its runtime, and sets in it.

    Attributes:
        flush: called after each submission.
        nudge: called when deadlines have moved.
    """

    flush: Callable[[], None]
    nudge: Callable[[], None]

    @property
    def now(self) -> Callable[[], float]:
        """The clock."""

    def wake(self, waitable: Waitable, /) -> None:
        """Let the task that waits go on."""


class TaskDriver(Generic[S]):
    """The half of a driver that is the same for every event loop.

    The other half, the adapter's, dials, and serves a connection with three tasks: one that reads, one that sends
    what has gathered and waits for `_sender`, one that keeps time and waits for `_news`.

    Args:
        engine: whose sessions are driven, one after the other.
        runtime: the one that the engine has; its ``flush`` and ``nudge`` become this driver's.
        news: what those who keep time wait for first.
    """

    def __init__(self, engine: Engine, runtime: TaskRuntime, news: Signal) -> None:
        self._engine = engine
        self._clock = runtime.now
        self._wake = runtime.wake
        self._stream: S | None = None
        self._sender: Waitable = Waitable()
        self._sending: bool = False
        self._news: Signal = news
        runtime.flush = self.flush
        runtime.nudge = self.nudge

    def nudge(self) -> None:
        """Let those who keep time look again."""
        self._news.set()

    def end(self, *, keep_session: bool) -> None:
        """Close the connection, and fail the calls that are left.

        Args:
            keep_session: see `Session.close`; a session that is still served is ended with what can be said to the
                server without waiting.
        """
        session, now = self._engine.session, self._clock()
        if self._engine.error is None:
            session.close(now, 0, keep_session=keep_session)
            if self._stream is not None and not self._stream.unsent:
                with suppress(OSError, TlsError):
                    self._stream.send(session.data_to_send(now))
            session.connection_lost(ConnectionAbortedError("the client was ended"), now)
            self._engine.deliver()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _tell(self) -> None:
        """After an input that may have changed more than replies."""
        self._engine.deliver()
        self.nudge()

    def _look(self, session: Session, start: Callable[[Attempt], object]) -> None:
        """Do what is due now: deadlines, attempts, events."""
        now = self._clock()
        connected = session.connected
        session.handle_timeout(now)
        # A connection that has just ended takes its tasks with it: the attempts that follow need other ones.
        while session.connected == connected and (attempt := session.next_attempt(now)) is not None:
            start(attempt)
        self._engine.deliver()

    def _read(self, session: Session, stream: S) -> bool:
        """Take what has arrived, once, so that a flood of replies leaves others their turn; return whether to go on."""
        now = self._clock()
        serving = session.state.serving
        if not stream.receive_for(session, now):
            return session.connected
        self._engine.deliver()
        if not session.connected or not (serving and session.state.serving):
            # While a connection serves its deadlines only move away; before, and when it begins to, they come closer.
            self._news.set()
        if session.queued_bytes and not self._sending:
            self._wake_sender()
        return session.connected

    def _wake_sender(self) -> None:
        self._sending = True
        self._wake(self._sender)

    def flush(self) -> None:
        """Send what was submitted: at once if it is all there is, else together with what comes meanwhile."""
        stream = self._stream
        if stream is None or self._sending:
            return
        session = self._engine.session
        if session.in_flight != 1 or stream.unsent:
            if session.queued_bytes:
                self._wake_sender()
            return
        data = session.data_to_send(self._clock())
        if not data:
            return
        # A failure is found by reading, after what the server said last.
        with suppress(OSError, TlsError):
            if not stream.send(data):
                self._wake_sender()
