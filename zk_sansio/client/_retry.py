"""When a call that failed is made again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConnectionLossError, SuspendedError, ThrottledError, ZooKeeperError
from ..session import Call

__all__ = ["RetryPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Which failures are repeated, and for how long.

    Repeated are reads and whatever else may happen twice without harm, writes that certainly did not happen,
    and what an overloaded server refused. A write whose outcome is unknown is repeated only when reading
    shows that it did not happen; see the page on lost replies for what can be found out.

    Attributes:
        max_attempts: how often a call is made at most, the first time included; None for no limit.
        max_seconds: no new attempt is made when this much time has passed since the first; None for no limit.
        pause: seconds to wait before repeating what an overloaded server refused; it doubles each time.
        repeat_unknown: repeat writes of unknown outcome too. Only for callers who know that doing it twice
            is the same as doing it once.
    """

    max_attempts: int | None = None
    max_seconds: float | None = None
    pause: float = 0.1
    repeat_unknown: bool = False

    def repeats(self, call: Call[Any], attempts: int, blamed: int, elapsed: float) -> bool:
        """Whether *call*, which has failed, is to be made again.

        Args:
            call: the latest attempt.
            attempts: how many there were.
            blamed: how often a server closed the connection on it.
            elapsed: seconds since the first.
        """
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return False
        if self.max_seconds is not None and elapsed >= self.max_seconds:
            return False
        match call.error:
            case SuspendedError():
                return False
            case ConnectionLossError(maybe_applied=unknown):
                # A request that closed the connection twice would go on doing so.
                return blamed < 2 and (not unknown or call.request.idempotent or self.repeat_unknown)
            case ThrottledError():
                return True
            case _:
                return False

    def decides(self, call: Call[Any], attempts: int, blamed: int, elapsed: float) -> bool:
        """Whether it is worth finding out what became of *call*; arguments as of `repeats`."""
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return False
        if self.max_seconds is not None and elapsed >= self.max_seconds:
            return False
        error = call.error
        return isinstance(error, ConnectionLossError) and error.maybe_applied and blamed < 2

    def twice(self) -> RetryPolicy:
        """The same for what may happen twice without harm; no retry stays no retry."""
        return replace(self, repeat_unknown=True)

    def pause_before(self, error: ZooKeeperError | None, attempts: int) -> float:
        """Seconds to wait before the next attempt. After a lost connection none: reconnecting paces it."""
        return min(self.pause * 2 ** (attempts - 1), 5.0) if isinstance(error, ThrottledError) else 0.0
