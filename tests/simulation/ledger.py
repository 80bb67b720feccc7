"""What clients asked for, and what they were told: held against the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from zk_sansio.errors import ConnectionLossError, LeaseLostError, TransactionError, ZooKeeperError
from zk_sansio.paths import basename, parent
from zk_sansio.recipes import contenders

from .history import History

Fail = Callable[[str, str], None]


class Op:
    """One write that somebody asked for, known by the data that it writes.

    Attributes:
        status: ``pending``, ``ok``, ``refused`` (it certainly did not happen), ``unknown``, or ``cancelled``.
        applied: where the log has it: zxid, session, path.
        node: of a write under a lock, the lock's znode.
        lossy: whether nobody could find out what became of it, as of a sequential znode without a tag.
    """

    __slots__ = ("applied", "began", "data", "kind", "lossy", "node", "path", "status", "who")

    def __init__(self, who: str, kind: str, path: str, data: bytes, began: int) -> None:
        self.who = who
        self.kind = kind
        self.path = path
        self.data = data
        self.began = began
        self.status = "pending"
        self.applied: list[tuple[int, int, str]] = []
        self.node: str | None = None
        self.lossy = False

    def __str__(self) -> str:
        return f"{self.kind} of {self.path} by {self.who} with {self.data!r}"


class Ledger:
    """Every write under way or done since the last time of quiet.

    Args:
        history: the truth.
        fail: where to say that something is wrong.
        checked: counts what was looked at.
    """

    def __init__(self, history: History, fail: Fail, checked: Counter[str]) -> None:
        self.ops: dict[bytes, Op] = {}
        self.deletes: list[tuple[int, int, str]] = []
        self._history = history
        self._fail = fail
        self._checked = checked
        self._number = 0
        self._unknown_deletes: Counter[str] = Counter()
        history.wrote = self._wrote
        history.removed = self._removed

    def begin(self, who: str, kind: str, path: str) -> Op:
        """Somebody is about to write."""
        self._number += 1
        data = f"{who}:{self._number}".encode()
        op = self.ops[data] = Op(who, kind, path, data, self._history.zxid)
        return op

    @property
    def asked(self) -> int:
        """How many writes there were."""
        return self._number

    def drop(self, op: Op) -> None:
        """It was not asked for after all."""
        del self.ops[op.data]

    # --- what the log says

    def _wrote(self, zxid: int, session: int, path: str, data: bytes | None) -> None:
        op = self.ops.get(data or b"")
        if op is None:
            return
        # What a session that is over has left behind is deleted and made anew, so that it does not vanish later.
        op.applied = [
            (at, by, where)
            for at, by, where in op.applied
            if by == session or self._history.at(where, zxid - 1) is not None
        ]
        op.applied.append((zxid, session, path))
        if op.kind == "lock":
            return  # it queues again with each session
        if len(op.applied) > 1:
            self._fail("twice", f"the {op} is in the log at {[at for at, _, _ in op.applied]}")
        if op.status == "refused":
            self._fail("refused", f"the {op} was refused, and is in the log at zxid {zxid}")
        if op.node is not None:
            self._checked["fencing"] += 1
            over = self._history.now(parent(op.node))
            queue = contenders(over.children) if over else []
            if not queue or queue[0] != basename(op.node):
                self._fail("fencing", f"the {op} happened at zxid {zxid} under {op.node}, while the queue was {queue}")

    def _removed(self, zxid: int, session: int, path: str) -> None:
        self.deletes.append((zxid, session, path))

    # --- what clients were told

    def ok(self, op: Op, *, zxid: int | None = None, path: str | None = None) -> None:
        """It was acknowledged; with a zxid and a path if the reply had them."""
        op.status = "ok"
        self._checked["acknowledged"] += 1
        if not op.applied:
            self._fail("acknowledged", f"the {op} was acknowledged, and the log has it not")
            return
        at, _, where = op.applied[0]
        if zxid is not None and zxid != at:
            self._fail("acknowledged", f"the {op} was acknowledged with zxid {zxid}, and the log has it at {at}")
        if path is not None and path != where:
            self._fail("acknowledged", f"the {op} was acknowledged for {path}, and the log has it at {where}")

    def failed(self, op: Op, error: BaseException) -> None:
        """It failed, or its caller was cancelled."""
        if not isinstance(error, ZooKeeperError):
            self._checked["cancelled writes"] += 1
            op.status = "cancelled"
        elif maybe(error):
            self._checked["unknown writes"] += 1
            op.status = "unknown"
        else:
            self._checked["refused"] += 1
            op.status = "refused"
            if op.applied:
                self._fail("refused", f"the {op} failed with {error!r}, and is in the log at zxid {op.applied[0][0]}")

    def deleted(self, who: str, sessions: set[int], path: str, began: int) -> None:
        """A delete was acknowledged: one in the log is taken for it."""
        for place, (zxid, session, where) in enumerate(self.deletes):
            if where == path and zxid > began and session in sessions:
                del self.deletes[place]
                return
        self._fail("acknowledged", f"the delete of {path} by {who} was acknowledged, and the log has it not")

    def delete_unknown(self, path: str) -> None:
        """A delete may have happened or not."""
        self._unknown_deletes[path] += 1

    def settle(self) -> None:
        """All is quiet: every delete in the log was asked for by somebody who was not told that it failed."""
        done = Counter(path for _, _, path in self.deletes if path.startswith("/sim/n/"))
        for path, count in done.items():
            if count > self._unknown_deletes[path]:
                self._fail("refused", f"{path} was deleted {count} times, {self._unknown_deletes[path]} may have been")
        self.deletes.clear()
        self._unknown_deletes.clear()
        for op in self.ops.values():
            if op.status == "pending":
                self._fail("outcome", f"the {op} has no outcome")

    def forget(self) -> None:
        """Drop what can have no effect any more. What was refused is remembered for ever, or nobody would notice."""
        self.ops = {data: op for data, op in self.ops.items() if op.status == "refused" or _lives(op, self._history)}


def _lives(op: Op, history: History) -> bool:
    return bool(op.applied) and history.now(op.applied[0][2]) is not None


def maybe(error: ZooKeeperError) -> bool:
    """Whether an error leaves open whether the write happened."""
    if isinstance(error, (LeaseLostError, TransactionError)):
        return False
    return error.maybe_applied


def lost(error: BaseException) -> bool:
    """Whether an error says that a connection went away."""
    return isinstance(error, ConnectionLossError)


__all__: list[Any] = ["Fail", "Ledger", "Op", "lost", "maybe"]
