"""A request on its way, and what a caller may wait for."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from ..errors import ZooKeeperError
from ..wire import Request
from ._watches import Watcher

__all__ = ["Batch", "Call", "Waitable"]

R = TypeVar("R")


class Waitable:
    """Something that one caller at a time may wait for.

    Attributes:
        waiter: who waits, in the terms of the adapter; None when nobody does. Only the adapter touches it.
    """

    __slots__ = ("waiter",)

    def __init__(self) -> None:
        self.waiter: Any = None


class Batch(Waitable):
    """Several calls whose caller is woken once.

    Attributes:
        left: calls without an outcome.
        wake_at: wake the caller when no more than this are left.
    """

    __slots__ = ("left", "wake_at")

    def __init__(self) -> None:
        super().__init__()
        self.left: int = 0
        self.wake_at: int = 0


class Call(Waitable, Generic[R]):
    """One submitted request, from `Session.submit` to its outcome.

    When it is answered, or can be no more, it appears among the session's events itself.

    Attributes:
        request: what was asked.
        xid: the number that the reply will carry.
        done: whether there is an outcome.
        result: the reply, once done without an error.
        error: what went wrong; None if nothing did.
        sent: whether the bytes were handed over for sending, so that the server may have acted on them.
        blamed: how often a server closed the connection while this was the oldest request without an answer.
        batch: the pipeline that it belongs to; None for a single call.
        abandoned: whether the caller is gone; then the reply is dropped when it comes.
    """

    __slots__ = (
        "abandoned",
        "batch",
        "blamed",
        "done",
        "error",
        "frame",
        "request",
        "result",
        "sent",
        "watcher",
        "xid",
    )

    result: R

    def __init__(self, request: Request[R], xid: int, frame: bytes, watcher: Watcher | None = None) -> None:
        # Written out rather than inherited: this is made for every request.
        self.waiter: Any = None
        self.request: Request[R] = request
        self.xid: int = xid
        self.frame: bytes = frame
        self.watcher: Watcher | None = watcher
        self.done: bool = False
        self.error: ZooKeeperError | None = None
        self.sent: bool = False
        self.blamed: int = 0
        self.batch: Batch | None = None
        self.abandoned: bool = False

    def fail(self, error: ZooKeeperError) -> None:
        """Give the call an error as its outcome."""
        self.error = error
        self.done = True
        self.frame = b""

    def __repr__(self) -> str:
        state = "done" if self.done else "sent" if self.sent else "queued"
        return f"<Call {self.request.name} {self.request.target or ''} xid={self.xid} {state}>"
