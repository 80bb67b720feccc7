"""What is held for as long as a session is sure to live."""

from __future__ import annotations

from ..client import CancelScope, Engine
from ..errors import LeaseLostError
from ..session import Session, SessionState

__all__ = ["OVERDUE", "Lease"]

OVERDUE = "no server has answered for the length of the session's timeout, so it may have expired"


class Lease:
    """Ends at the latest when its session is presumed lost, and cancels the body that counts on it.

    Args:
        engine: whose session.
        session: the one that the lease is tied to; another one that follows it has no part in it.
        path: the ephemeral znode that is the lease, as its owner names it.
        body: what is cancelled.

    Attributes:
        error: how the lease ended; None while it is held.
    """

    def __init__(self, engine: Engine, session: Session, path: str, body: CancelScope) -> None:
        self.path = path
        self.session = session
        self.error: LeaseLostError | None = None
        self._engine = engine
        self._body = body
        engine.listeners[self] = None
        self.state_changed(session.state)

    def state_changed(self, state: SessionState) -> None:
        """Look whether the session is still sure to live; the engine calls it at each change."""
        session = self.session
        if session.state.over or session is not self._engine.session:
            self.lose(f"its session is {session.state.value}")
        elif state is SessionState.PRESUMED_LOST:
            self.lose(OVERDUE)

    def closing(self) -> None:
        """The client is being closed under its holder; the engine calls it."""
        self.lose("its client is being closed")

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed, though nobody has noticed: something has kept this program from running."""
        deadline = self.session.deadline
        return deadline is not None and self._engine.runtime.now() >= deadline

    def lose(self, reason: str) -> None:
        """The lease has ended under its holder; the first reason counts."""
        if self.error is None:
            self.error = LeaseLostError(self.path, reason)
            self._body.cancel()

    def release(self) -> None:
        """The holder is done with it."""
        self._engine.listeners.pop(self, None)

    def check(self) -> None:
        """Return if the lease is held, by the clock too.

        Raises:
            LeaseLostError: it is not.
        """
        if self.error is None and self.overdue:
            self.lose(OVERDUE)
        if self.error is not None:
            raise LeaseLostError(self.error.path or "", self.error.reason)
