"""Writes that happen only while a lease is held, by the server's own judgement."""

from __future__ import annotations

from typing import Any

from ..client import Caller, TransactionResult, Writes
from ..errors import NoNodeError, TransactionError
from ..wire import Check, Request
from ._lease import Lease

__all__ = ["GuardedTransaction", "GuardedWrites"]


class GuardedWrites(Writes):
    """What a guarded transaction collects.

    Args:
        caller: whose calls it makes.
        lease: what must be held.
        node: the lease's znode, by its full path.
    """

    def __init__(self, caller: Caller, lease: Lease, node: str) -> None:
        super().__init__(caller)
        self._lease = lease
        self._node = node

    async def _commit_all(self, ops: tuple[Request[Any], ...]) -> list[TransactionResult]:
        self._lease.check()
        try:
            results = await super()._commit_all((Check(self._node, -1), *ops))
        except TransactionError as error:
            if error.index:
                raise TransactionError(error.index - 1, error.op, error.error) from None
            if isinstance(error.error, NoNodeError):
                self._lease.lose("its znode is gone")
                self._lease.check()
            raise error.error from None
        return results[1:]


class GuardedTransaction(GuardedWrites):
    """A `Transaction` that begins with a check of the lease's znode: the server applies all of it, or nothing.

    That znode is ephemeral and its name unique, so it exists for as long as the lease's session lives, and as
    long as it exists nobody else holds the lease. A holder that was stopped, or whose clock stood still, cannot
    write any more.
    """

    async def commit(self) -> list[TransactionResult]:
        """Send the operations; they have all happened when this returns.

        Returns:
            One result for each operation, in their order.

        Raises:
            LeaseLostError: the lease is not held any more, and nothing was applied.
            TransactionError: an operation failed, and nothing was applied.
            ConnectionLossError: with ``maybe_applied``, all may have happened, or nothing.
            RequestTooLargeError: nothing was sent.
        """
        return await self._commit()
