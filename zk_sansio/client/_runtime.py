"""The port: what a client needs of the world around it. Each adapter implements it once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from ..errors import LocalProtocolError
from ..session import Waitable

__all__ = ["CancelScope", "Runtime", "busy"]


def busy() -> LocalProtocolError:
    """The error for a second caller that waits for the same thing, such as the next change of one stream."""
    return LocalProtocolError("somebody waits for this already; open a stream of its own for each task or thread")


class CancelScope(Protocol):
    """A block of code that can be cancelled from outside, as far as the runtime is able to."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

    def cancel(self) -> None:
        """Cancel what runs in the scope, at its next checkpoint. Threads cannot be cancelled: nothing happens."""


class Runtime(Protocol):
    """Time, waiting and sending, in the terms of one event loop or of threads.

    A runtime of threads implements the coroutine methods with functions that block and never suspend.
    """

    def now(self) -> float:
        """The time on a clock that never goes back, in seconds."""

    def nonce(self) -> bytes:
        """Sixteen random bytes that nobody can guess."""

    def flush(self) -> None:
        """Requests were submitted: see to it that they are sent, now or together with others."""

    def nudge(self) -> None:
        """Deadlines have moved, or the connection has ended: look at the session again."""

    async def wait(self, waitable: Waitable, /) -> None:
        """Wait until `wake` is called for *waitable*.

        One caller waits for one waitable at a time; a second one gets the error that `busy` makes. When it is
        cancelled, *waitable* has no waiter any more.
        """

    def wake(self, waitable: Waitable, /) -> None:
        """Let the caller that waits for *waitable* go on; nothing happens if there is none."""

    async def sleep(self, seconds: float, /) -> None:
        """Wait for a while."""

    async def checkpoint(self) -> None:
        """Let others run, and notice a cancellation."""

    def cancel_scope(self) -> CancelScope:
        """A scope to run somebody else's code in."""

    def shielded(self, seconds: float, /) -> AbstractContextManager[Any]:
        """A scope for cleaning up: no cancellation from outside reaches into it, and it ends itself in time."""
