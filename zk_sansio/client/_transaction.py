"""All or nothing, and many reads at once: multi and multiRead."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Self, TypeAlias

from ..acl import ACL, OPEN
from ..errors import ErrorCode, RemoteProtocolError, TransactionError, ZooKeeperError, error_from_code
from ..wire import (
    Check,
    Created,
    Delete,
    Failed,
    GetChildren,
    GetData,
    Multi,
    MultiRead,
    OpResult,
    Request,
    SetData,
    Stat,
    Znode,
)
from ._caller import Caller
from ._operations import create_mode, create_request, deletable_path, full_path, sequential_path

__all__ = ["ReadBatch", "Reads", "Transaction", "TransactionResult", "Writes"]

TransactionResult: TypeAlias = "Created | Stat | None"
"""Of a create its path and perhaps its Stat, of a set the new Stat, of a delete or a check None."""


class Writes:
    """What a transaction collects; each method returns the transaction.

    Args:
        caller: whose calls it makes.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._chroot = caller._chroot
        self._ops: list[Request[Any]] = []

    def __len__(self) -> int:
        return len(self._ops)

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Sequence[ACL] = OPEN,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
    ) -> Self:
        """Make a znode; arguments as of `Client.create`. Its result has the Stat where the server tells it (3.9)."""
        mode = create_mode(ephemeral=ephemeral, sequential=sequential, container=container, ttl=ttl)
        full = (sequential_path if mode.sequential else full_path)(self._chroot, path)
        return self._add(create_request(full, data, acl, mode, ttl, with_stat=True))

    def delete(self, path: str, *, version: int = -1) -> Self:
        """Remove a znode that has no children by then."""
        return self._add(Delete(deletable_path(self._chroot, path), version))

    def set(self, path: str, data: bytes | None, *, version: int = -1) -> Self:
        """Replace the data of a znode."""
        return self._add(SetData(full_path(self._chroot, path), data, version))

    def check(self, path: str, *, version: int = -1) -> Self:
        """Let the transaction fail unless the znode exists, and has this version."""
        return self._add(Check(full_path(self._chroot, path), version))

    def _add(self, op: Request[Any]) -> Self:
        op.body()  # a wrong argument is reported where it was given
        self._ops.append(op)
        return self

    async def _commit(self) -> list[TransactionResult]:
        return await self._commit_all(tuple(self._ops))

    async def _commit_all(self, ops: tuple[Request[Any], ...]) -> list[TransactionResult]:
        results = await self._caller._call(Multi(ops))
        if len(results) != len(ops):
            raise _misfit(f"{len(results)} results for {len(ops)} operations", maybe_applied=True)
        # Those before the failed one carry code 0, those behind it "not tried".
        failures = [(i, r.code) for i, r in enumerate(results) if isinstance(r, Failed)]
        if failures:
            index, code = next(((i, c) for i, c in failures if c), failures[0])
            raise TransactionError(index, self._as_given(ops[index]), self._error(ops[index], code))
        return [self._result(result) for result in results]

    def _as_given(self, op: Request[Any]) -> Request[Any]:
        """An operation with the path as the caller knows it."""
        if not self._chroot.prefix:
            return op
        given: Any = copy(op)
        given.path = self._chroot.to_client(given.path)
        return given  # type: ignore[no-any-return]

    def _error(self, op: Request[Any], code: int) -> ZooKeeperError:
        path = self._chroot.to_client(op.target) if op.target is not None else None
        return error_from_code(code or ErrorCode.RUNTIME_INCONSISTENCY, path, operation=op.name)

    def _result(self, result: OpResult) -> TransactionResult:
        if isinstance(result, Created):
            return Created(self._chroot.to_client(result.path), result.stat)
        if result is None or isinstance(result, Stat):
            return result
        raise _misfit(f"a write was answered with {type(result).__name__}", maybe_applied=True)


class Transaction(Writes):
    """Writes that all happen or none. Later ones see the effects of earlier ones.

    Collect operations with its methods, each of which returns the transaction, then `commit`. One that has
    failed may be committed again.
    """

    async def commit(self) -> list[TransactionResult]:
        """Send the operations; they have all happened when this returns.

        Returns:
            One result for each operation, in their order.

        Raises:
            TransactionError: an operation failed, and nothing was applied.
            ConnectionLossError: with ``maybe_applied``, all may have happened, or nothing.
            RequestTooLargeError: nothing was sent.
        """
        return await self._commit()


class Reads:
    """What a batch of reads collects; each method returns the batch.

    Args:
        caller: whose calls it makes.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._chroot = caller._chroot
        self._ops: list[Request[Any]] = []

    def __len__(self) -> int:
        return len(self._ops)

    def get(self, path: str) -> Self:
        """Read the data and the Stat of a znode."""
        return self._add(GetData(full_path(self._chroot, path)))

    def get_children(self, path: str) -> Self:
        """Read the names of the children."""
        return self._add(GetChildren(full_path(self._chroot, path)))

    def _add(self, op: Request[Any]) -> Self:
        op.body()
        self._ops.append(op)
        return self

    async def _run(self) -> list[Znode | list[str] | ZooKeeperError]:
        ops = tuple(self._ops)
        results = await self._caller._call(MultiRead(ops))
        if len(results) != len(ops):
            raise _misfit(f"{len(results)} results for {len(ops)} reads")
        outcomes: list[Znode | list[str] | ZooKeeperError] = []
        for op, result in zip(ops, results, strict=True):
            if isinstance(result, Failed):
                path = self._chroot.to_client(op.target) if op.target is not None else None
                outcomes.append(error_from_code(result.code, path, operation=op.name))
            elif isinstance(result, (Znode, list)):
                outcomes.append(result)
            else:
                raise _misfit(f"a read was answered with {type(result).__name__}")
        return outcomes


class ReadBatch(Reads):
    """Reads that are answered together, from one state of the server (3.6). Each has its own outcome."""

    async def run(self) -> list[Znode | list[str] | ZooKeeperError]:
        """Send the reads.

        Returns:
            In the order of the reads a `Znode`, a list of names, or the error of that read.
        """
        return await self._run()


def _misfit(what: str, *, maybe_applied: bool = False) -> RemoteProtocolError:
    """The error for results that do not belong to the operations."""
    error = RemoteProtocolError(what)
    error.maybe_applied = maybe_applied
    return error
