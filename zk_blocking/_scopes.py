"""What a client gives that is entered, iterated or filled: streams, watches, locks, transactions, pipelines.

Each is a thin cover over the class of the same name in `zk_sansio`, where the behaviour is described.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import zk_sansio
from zk_sansio import Change, ClosedError, SessionState, TransactionResult, WatchEvent, Znode, ZooKeeperError
from zk_sansio.client import Caller, Reads, Recorder, Writes
from zk_sansio.recipes import GuardedWrites, TryLock

from ._runner import Runner

__all__ = [
    "ChangeStream",
    "GuardedTransaction",
    "Lock",
    "LockAttempt",
    "OneShotWatch",
    "Pipeline",
    "ReadBatch",
    "StateStream",
    "Transaction",
]

C = TypeVar("C", bound=Change)
R = TypeVar("R")
S = TypeVar("S", bound=AbstractAsyncContextManager[Any, Any])


class _Left(Generic[S]):
    """A scope of the client, and how it is left.

    Args:
        core: the scope itself.
        runner: runs its calls.
        timeout: seconds for entering it; None for no limit.
    """

    def __init__(self, core: S, runner: Runner, timeout: float | None) -> None:
        self._core = core
        self._runner = runner
        self._timeout = timeout

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.leave(self._core, kind, error, traceback)


class _Scope(_Left[S], Generic[S]):
    """A scope that gives itself when it is entered."""

    def __enter__(self) -> Self:
        self._runner.enter(self._core, self._timeout)
        return self


class ChangeStream(_Scope["zk_sansio.ChangeStream[C]"], Generic[C]):
    """The changes below one path: ``with client.watch(path) as changes: for change in changes``.

    See `zk_sansio.ChangeStream`. Iterating blocks without a limit; `next` has one. Another thread ends it by `close`.
    """

    def __iter__(self) -> Iterator[C]:
        return self

    def __next__(self) -> C:
        try:
            return self._runner.run(self._core.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def next(self, *, timeout: float | None = None) -> C:
        """The next change.

        Args:
            timeout: seconds; None for no limit.

        Raises:
            ClosedError: the stream was closed.
            CallTimeoutError: there was none in time; nothing is lost.
            ZooKeeperError: the session is over, and no other takes its place.
        """
        try:
            return self._runner.run(self._core.__anext__, timeout)
        except StopAsyncIteration:
            raise ClosedError("the stream was closed") from None

    def close(self, *, timeout: float | None = None) -> None:
        """Remove the watch; iterating ends."""
        self._runner.run(self._core.aclose, timeout)


class OneShotWatch(_Scope["zk_sansio.OneShotWatch[R]"], Generic[R]):
    """A read together with a watch that fires once. See `zk_sansio.OneShotWatch`."""

    @property
    def seen(self) -> R:
        """What the read found; None if the znode is missing (for a watch of ``exists``)."""
        return self._core.seen

    def fired(self, *, timeout: float | None = None) -> WatchEvent:
        """Wait for the change, and return it.

        Args:
            timeout: seconds; None for no limit.

        Raises:
            CallTimeoutError: nothing has changed in time; the watch stays.
            SessionExpiredError, ClosedError, AuthFailedError: the session ended first.
        """
        return self._runner.run(self._core.fired, timeout)


class StateStream(_Scope[zk_sansio.StateStream]):
    """The states of the client from now on; the newest wins. See `zk_sansio.StateStream`."""

    def __iter__(self) -> Iterator[SessionState]:
        return self

    def __next__(self) -> SessionState:
        try:
            return self._runner.run(self._core.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def next(self, *, timeout: float | None = None) -> SessionState:
        """The newest state that was not returned yet.

        Args:
            timeout: seconds; None for no limit.

        Raises:
            ClosedError: there is no way on from the last state, or the stream was left.
            CallTimeoutError: there was none in time.
        """
        try:
            return self._runner.run(self._core.__anext__, timeout)
        except StopAsyncIteration:
            raise ClosedError("there are no more states") from None


class Transaction(Writes):
    """Writes that all happen or none. See `zk_sansio.Transaction`."""

    def __init__(self, caller: Caller, runner: Runner) -> None:
        super().__init__(caller)
        self._runner = runner

    def commit(self, *, timeout: float | None = None) -> list[TransactionResult]:
        """Send the operations; they have all happened when this returns.

        Args:
            timeout: seconds; None for no limit.

        Returns:
            One result for each operation, in their order.

        Raises:
            TransactionError: an operation failed, and nothing was applied.
            ConnectionLossError: with ``maybe_applied``, all may have happened, or nothing.
            RequestTooLargeError: nothing was sent.
        """
        return self._runner.run(self._commit, timeout)


class GuardedTransaction(GuardedWrites):
    """Writes that happen only while a lock is held. See `zk_sansio.GuardedTransaction`."""

    def __init__(self, core: zk_sansio.GuardedTransaction, runner: Runner) -> None:
        super().__init__(core._caller, core._lease, core._node)
        self._runner = runner

    def commit(self, *, timeout: float | None = None) -> list[TransactionResult]:
        """Send the operations; they have all happened when this returns.

        Args:
            timeout: seconds; None for no limit.

        Returns:
            One result for each operation, in their order.

        Raises:
            LeaseLostError: the lease is not held any more, and nothing was applied.
            TransactionError: an operation failed, and nothing was applied.
            ConnectionLossError: with ``maybe_applied``, all may have happened, or nothing.
            RequestTooLargeError: nothing was sent.
        """
        return self._runner.run(self._commit, timeout)


class ReadBatch(Reads):
    """Reads that are answered together, from one state of the server (3.6). Each has its own outcome."""

    def __init__(self, caller: Caller, runner: Runner) -> None:
        super().__init__(caller)
        self._runner = runner

    def run(self, *, timeout: float | None = None) -> list[Znode | list[str] | ZooKeeperError]:
        """Send the reads.

        Args:
            timeout: seconds; None for no limit.

        Returns:
            In the order of the reads a `Znode`, a list of names, or the error of that read.
        """
        return self._runner.run(self._run, timeout)


class Pipeline(Recorder):
    """Requests that are sent together and waited for together. See `zk_sansio.Pipeline`."""

    def __init__(self, caller: Caller, runner: Runner) -> None:
        super().__init__(caller)
        self._runner = runner

    def run(self, *, timeout: float | None = None) -> list[Any]:
        """Send everything collected since the last run, and wait for all outcomes.

        Args:
            timeout: seconds; None for no limit.

        Returns:
            For each request, in order, its result or its `ZooKeeperError`; nothing is raised for a request.

        Raises:
            InvalidRequestError, RequestTooLargeError: an argument that no server accepts; requests in front of
                it may have been sent.
        """
        return self._runner.run(self._run, timeout)


class Lock(_Scope[zk_sansio.Lock]):
    """An exclusive lock: ``with client.lock(path) as lock: ...``. See `zk_sansio.Lock`.

    A thread cannot be cancelled when the lock is lost. `lost` tells, `check` and `guarded` raise `LeaseLostError`, and
    so does leaving the scope.
    """

    @property
    def path(self) -> str:
        """The znode below which callers queue."""
        return self._core.path

    @property
    def node(self) -> str:
        """Our own znode in the queue."""
        return self._core.node

    @property
    def token(self) -> int:
        """The fencing token: the czxid of our znode. Whoever holds the lock later has a greater one."""
        return self._core.token

    @property
    def lost(self) -> bool:
        """Whether the lock was held and ended under its holder."""
        return self._core.lost

    def check(self) -> None:
        """Return if the lock is held.

        Raises:
            LeaseLostError: it was lost.
        """
        self._core.check()

    def guarded(self) -> GuardedTransaction:
        """Collect writes that happen only if the lock is held at that moment, by the server's own judgement."""
        return GuardedTransaction(self._core.guarded(), self._runner)

    def contenders(self, *, timeout: float | None = None) -> list[str]:
        """The names of the znodes in the queue, the holder's first; nobody queues if it is empty."""
        return self._runner.run(self._core.contenders, timeout)

    def try_acquire(self, *, timeout: float | None = None) -> LockAttempt:
        """The lock as a scope that does not wait: ``with client.lock(path).try_acquire() as lock``.

        It gives None when somebody else holds the lock.

        Args:
            timeout: seconds for finding out; None for no limit.
        """
        return LockAttempt(self, self._core.try_acquire(), self._runner, timeout)


class LockAttempt(_Left[TryLock]):
    """The scope of `Lock.try_acquire`."""

    def __init__(self, lock: Lock, core: TryLock, runner: Runner, timeout: float | None) -> None:
        super().__init__(core, runner, timeout)
        self._lock = lock

    def __enter__(self) -> Lock | None:
        return None if self._runner.enter(self._core, self._timeout) is None else self._lock
