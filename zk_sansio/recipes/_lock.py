"""A lock: exclusive, fair, and shared with Curator's ``InterProcessMutex``.

Whoever wants the lock makes an ephemeral sequential znode below its path. The lowest number holds it; the others
watch the one in front of them, so that a release wakes one and not all.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..acl import ACL, OPEN
from ..client import CancelScope, Engine, ZnodeClient
from ..errors import (
    ConnectionLossError,
    LeaseLostError,
    LocalProtocolError,
    NoNodeError,
    SessionError,
    SessionExpiredError,
    ThrottledError,
    UnimplementedError,
    ZooKeeperError,
)
from ..paths import basename, check_path, join
from ..session import Session, SessionState
from ._guarded import GuardedTransaction
from ._lease import OVERDUE, Lease
from ._queue import LOCK_NAME, contenders, predecessor, used_up

__all__ = ["Lock", "TryLock"]

_CLEANUP = 3.0
"""Seconds to wait for the server's word that a znode is gone; what takes longer the session finishes itself."""


class _Place:
    """A znode in the queue.

    Attributes:
        session: whose it is.
        path: as the client names it.
        token: its czxid.
    """

    __slots__ = ("path", "session", "token")

    def __init__(self, session: Session, path: str, token: int) -> None:
        self.session = session
        self.path = path
        self.token = token


class Lock:
    """An exclusive lock, as a scope: ``async with client.lock(path) as lock: ...``. It is made by `Client.lock`.

    Entering it waits for our turn, leaving it gives the turn to the next. A cancellation, a lost reply or an
    error anywhere leaves no znode behind. When the session expires while we wait, we queue again.

    The lock is lost at the latest when the session is presumed lost: the body is cancelled, and leaving the scope
    raises `LeaseLostError`. Where a body cannot be cancelled, in threads, `lost` tells, `check` raises, and so does
    leaving the scope. What must never be written by two holders goes through `guarded`.
    """

    def __init__(
        self, client: ZnodeClient, engine: Engine, path: str, *, data: bytes = b"", acl: Sequence[ACL] = OPEN
    ) -> None:
        check_path(path)
        # A delete of our own unique znode may happen twice, and a wait in the queue is a wait, whatever the policy.
        self._client = client.using(while_suspended="wait")
        self._writer = client
        self._engine = engine
        self._path = path
        self._data = data
        self._acl = acl
        self._place: _Place | None = None
        self._lease: Lease | None = None
        self._scope: CancelScope | None = None
        self._used = False

    # --- what is known

    @property
    def path(self) -> str:
        """The znode below which callers queue."""
        return self._path

    @property
    def node(self) -> str:
        """Our own znode in the queue.

        Raises:
            LocalProtocolError: the lock was never held.
        """
        return self._held().path

    @property
    def token(self) -> int:
        """The fencing token: the czxid of our znode. Whoever holds the lock later has a greater one.

        Raises:
            LocalProtocolError: the lock was never held.
        """
        return self._held().token

    @property
    def lost(self) -> bool:
        """Whether the lock was held and ended under its holder."""
        lease = self._lease
        return lease is not None and (lease.error is not None or (self._scope is not None and lease.overdue))

    def check(self) -> None:
        """Return if the lock is held.

        Raises:
            LeaseLostError: it was lost.
            LocalProtocolError: the scope was not entered, or is left.
        """
        self._leased().check()

    def guarded(self) -> GuardedTransaction:
        """Collect writes that happen only if the lock is held at that moment, by the server's own judgement."""
        return GuardedTransaction(self._writer, self._leased(), self._client.full_path(self._held().path))

    async def contenders(self) -> list[str]:
        """The names of the znodes in the queue, the holder's first; nobody queues if it is empty."""
        try:
            return contenders(await self._client.get_children(self._path))
        except NoNodeError:
            return []

    def _held(self) -> _Place:
        if self._place is None:
            raise LocalProtocolError("the lock was not acquired; enter it with 'async with' first")
        return self._place

    def _leased(self) -> Lease:
        if self._lease is None or self._scope is None:
            raise LocalProtocolError("the lock is not held: its scope was not entered, or is left")
        return self._lease

    # --- the scope

    async def __aenter__(self) -> Self:
        self._enter()
        while not await self._acquire(wait=True):
            # What we had in the queue has vanished, with its session or by somebody's hand.
            pass
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._release(kind, error, traceback)

    def try_acquire(self) -> TryLock:
        """The lock as a scope that does not wait: ``async with client.lock(path).try_acquire() as lock``.

        It gives None when somebody else holds the lock. It looks before it makes a znode, so that trying in
        vain is one read.
        """
        return TryLock(self)

    def _enter(self) -> None:
        if self._used:
            raise LocalProtocolError("this lock was entered already; make another one with client.lock()")
        self._used = True

    async def _try(self) -> bool:
        self._enter()
        return not await self.contenders() and await self._acquire(wait=False)

    async def _acquire(self, *, wait: bool) -> bool:
        """Queue, and wait for our turn if that is wanted; return whether the lock is held."""
        try:
            place = await self._queue()
        except SessionExpiredError:
            if self._engine.error is not None:
                raise
            return False
        held = False
        try:
            if used_up(place.path):
                raise ZooKeeperError(
                    f"the sequence numbers below {self._path} are used up: nobody gets this lock until that znode is "
                    "deleted, which the server does itself when it is a container and nobody queues any more"
                )
            held = await self._turn(place, wait=wait)
        except SessionExpiredError:
            if self._engine.error is not None:
                raise
        finally:
            if not held:
                await self._leave(place)
        if held:
            self._hold(place)
        return held

    async def _queue(self) -> _Place:
        while True:
            session = self._engine.session
            try:
                path, stat = await self._client.create_with_stat(
                    join(self._path, LOCK_NAME),
                    self._data,
                    acl=self._acl,
                    ephemeral=True,
                    sequential=True,
                    protected=True,
                )
            except NoNodeError:
                # Again and again: the server removes an empty container before its first child is made.
                await self._make_parent()
                continue
            if stat.ephemeral_owner != session.session_id:
                session = self._engine.session  # it was made again, by the session that came after
            return _Place(session, path, stat.czxid)

    async def _make_parent(self) -> None:
        try:
            await self._client.ensure_path(self._path, container=True)
        except UnimplementedError:
            await self._client.ensure_path(self._path)

    async def _turn(self, place: _Place, *, wait: bool) -> bool:
        """Whether it is our turn, now or after waiting; not if our znode has vanished."""
        while True:
            try:
                ahead = predecessor(await self._client.get_children(self._path), basename(place.path))
            except (LookupError, NoNodeError):
                return False
            if ahead is None or not wait:
                return ahead is None
            await self._client.wait_until_gone(join(self._path, ahead))

    def _hold(self, place: _Place) -> None:
        """From here on the body may run; nothing may be awaited before it does."""
        self._place = place
        self._scope = self._engine.runtime.cancel_scope()
        self._scope.__enter__()
        self._lease = Lease(self._engine, place.session, place.path, self._scope)

    async def _release(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope, lease, place = self._scope, self._lease, self._place
        assert scope is not None
        assert lease is not None
        assert place is not None
        lease.release()
        self._scope = None
        try:
            cancelled = scope.__exit__(kind, error, traceback)
        except BaseException as rest:
            # What the body raised at the same time, without our cancellation: a group is taken apart.
            self._remove_later(place)
            if lease.error is not None and _only_losses(rest):
                raise lease.error from rest
            raise
        if lease.error is None:
            overdue = lease.overdue
            held = await self._leave(place)
            if held or (held is None and not overdue):
                return
            lease.error = LeaseLostError(place.path, OVERDUE if held is None else "its znode is gone")
        else:
            # Nobody waits for a session that may be gone: if it lives after all, it cleans up as soon as it can.
            self._remove_later(place)
        if cancelled or error is None:
            raise lease.error from None
        if _only_losses(error):
            raise lease.error from error

    async def _leave(self, place: _Place) -> bool | None:
        """Take our znode away. Whatever interrupts that, the session does it as soon as it can.

        Returns:
            Whether it was there until now; None if nobody can tell.
        """
        if place.session.state is not SessionState.CONNECTED:
            self._remove_later(place)  # there is nobody to wait for
            return None
        held = None
        gone = False
        try:
            with self._engine.runtime.shielded(_CLEANUP):
                held = await self._delete(place)
                gone = True
        finally:
            if not gone:
                self._remove_later(place)
        return held

    async def _delete(self, place: _Place) -> bool | None:
        deleted = False
        while self._engine.session is place.session and not place.session.state.over:
            try:
                await self._client.delete(place.path)
            except NoNodeError as error:
                # The session lives, so it was there until we have deleted it, or somebody else has.
                return deleted or error.maybe_applied
            except (ConnectionLossError, ThrottledError) as error:
                deleted |= error.maybe_applied
                continue  # its name is unique, so it may be deleted twice
            except SessionError:
                return None  # the znode has gone with the session
            return True
        return None

    def _remove_later(self, place: _Place) -> None:
        if self._engine.session is place.session and not place.session.state.over:
            place.session.remove_later(self._client.full_path(place.path))
            self._engine.runtime.flush()


def _only_losses(error: BaseException) -> bool:
    """Whether this is a call that has met with the same fate as the lease, or a group of such calls and of checks."""
    if isinstance(error, BaseExceptionGroup):
        return all(isinstance(each, LeaseLostError) or _only_losses(each) for each in error.exceptions)
    return isinstance(error, SessionError)


class TryLock:
    """The scope of `Lock.try_acquire`."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    async def __aenter__(self) -> Lock | None:
        return self._lock if await self._lock._try() else None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock._scope is not None:
            await self._lock._release(kind, error, traceback)
