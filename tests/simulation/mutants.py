"""Defects put into the client on purpose: the simulation has to find each of them.

Each is a small mistake that somebody could make, and that most tests with a healthy network would not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from zk_sansio.client import RetryPolicy
from zk_sansio.client._streams import _StreamSubscriber
from zk_sansio.recipes import Lease
from zk_sansio.session import Session, SessionState, Watcher
from zk_sansio.session._book import CallBook
from zk_sansio.session._connection import Connection
from zk_sansio.session._orphans import Orphans
from zk_sansio.session._watches import WatchTable
from zk_sansio.wire import XID_NOTIFICATION, ConnectRequest, SetWatches, SetWatches2, Sync

__all__ = ["MUTANTS", "Mutant"]


class Mutant:
    """A defect.

    Attributes:
        name: what is wrong.
        checks: which checks may find it.
        fashion: in which worlds it is found soonest.
    """

    def __init__(
        self, name: str, checks: set[str], fashion: str, patch: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.name = name
        self.checks = checks
        self.fashion = fashion
        self.applied = patch


MUTANTS: dict[str, Mutant] = {}


def _mutant(name: str, *checks: str, fashion: str = "locks") -> Callable[[Callable[[], Iterator[None]]], None]:
    def note(patch: Callable[[], Iterator[None]]) -> None:
        MUTANTS[name] = Mutant(name, set(checks), fashion, contextmanager(patch))

    return note


@contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@_mutant("notifications advance the last zxid", "one-shot", "watch", "order", fashion="watches")
def _() -> Iterator[None]:
    take = Connection._take_special

    def advance(self: Connection, received: Any, frame: Any, xid: int, zxid: int, code: int) -> None:
        take(self, received, frame, xid, zxid, code)
        if xid == XID_NOTIFICATION:
            self.last_zxid = max(self.last_zxid, zxid)

    with _patched(Connection, "_take_special", advance):
        yield


@_mutant("the last zxid is forgotten in the handshake", "session order", "read", "sync", "one-shot", fashion="watches")
def _() -> Iterator[None]:
    encode = ConnectRequest.encode

    def forget(self: ConnectRequest) -> bytes:
        self.last_zxid = 0
        return encode(self)

    with _patched(ConnectRequest, "encode", forget):
        yield


@_mutant("presumed lost too late", "presumed lost", "exclusion")
def _() -> Iterator[None]:
    drop = Session._drop

    def late(self: Session, connection: Connection) -> None:
        drop(self, connection)
        if self._answered_sent is not None:
            self._answered_sent += self.timeout / 2

    with _patched(Session, "_drop", late):
        yield


@_mutant("what was sent counts as not sent", "refused", "twice", "acknowledged")
def _() -> Iterator[None]:
    take = CallBook.take_pending

    def unsent(self: CallBook, connection: Connection) -> Any:
        return [(call, False) for call, _ in take(self, connection)]

    with _patched(CallBook, "take_pending", unsent):
        yield


def _restored(keep: Callable[[SetWatches], SetWatches]) -> AbstractContextManager[None]:
    restoration = WatchTable.restoration

    def less(self: WatchTable, *arguments: Any) -> list[SetWatches]:
        return [keep(request) for request in restoration(self, *arguments)]

    return _patched(WatchTable, "restoration", less)


@_mutant("one-shot watches are not set again", "one-shot", "order", "liveness", fashion="watches")
def _() -> Iterator[None]:
    def lasting(request: SetWatches) -> SetWatches:
        zxid = request.relative_zxid
        if isinstance(request, SetWatches2):
            return SetWatches2(zxid, [], [], [], request.persistent, request.recursive)
        return SetWatches(zxid, [], [], [])

    with _restored(lasting):
        yield


@_mutant("lasting watches are not set again", "watch", "order", "convergence")
def _() -> Iterator[None]:
    def once(request: SetWatches) -> SetWatches:
        return SetWatches(request.relative_zxid, request.data, request.exist, request.child)

    with _restored(once):
        yield


@_mutant("no gap after a reconnect", "watch", "order", "convergence")
def _() -> Iterator[None]:
    def silent(self: _StreamSubscriber, new_session: bool) -> None:
        """Nobody is told."""

    with _patched(_StreamSubscriber, "rearmed", silent):
        yield


@_mutant("a reply goes to the wrong call", "read", "acknowledged", "refused", "convergence", "order", "crash")
def _() -> Iterator[None]:
    send = Connection.send

    def swap(self: Connection, call: Any, frame: bytes) -> None:
        send(self, call, frame)
        pending = self.pending
        if len(pending) > 1 and type(pending[-2].request) is type(call.request):
            pending[-1].xid, pending[-2].xid = pending[-2].xid, pending[-1].xid
            pending[-1], pending[-2] = pending[-2], pending[-1]

    with _patched(Connection, "send", swap):
        yield


@_mutant("writes of unknown outcome are made again", "twice", "refused", "acknowledged", fashion="watches")
def _() -> Iterator[None]:
    repeats = RetryPolicy.repeats

    def always(self: RetryPolicy, *arguments: Any) -> bool:
        return repeats(self.twice(), *arguments)

    with _patched(RetryPolicy, "repeats", always):
        yield


@_mutant("ephemerals of abandoned calls stay", "orphan", fashion="leftovers")
def _() -> Iterator[None]:
    def nothing(self: Orphans, *_: Any) -> None:
        """They stay."""

    with _patched(Orphans, "answered", nothing), _patched(Orphans, "lost", nothing):
        yield


@_mutant("orphans are looked for at a server that is behind", "orphan", fashion="leftovers")
def _() -> Iterator[None]:
    look = Orphans.look

    def ask_at_once(self: Orphans, *arguments: Any) -> None:
        send = self._send

        def but_for_syncs(request: Any, then: Any) -> None:
            if not isinstance(request, Sync):
                send(request, then)

        self._send = but_for_syncs
        try:
            look(self, *arguments)
        finally:
            self._send = send

    with _patched(Orphans, "look", ask_at_once):
        yield


@_mutant("a lock is kept while its session is presumed lost", "exclusion")
def _() -> Iterator[None]:
    changed = Lease.state_changed

    def keep(self: Lease, state: SessionState) -> None:
        if state is not SessionState.PRESUMED_LOST:
            changed(self, state)

    with _patched(Lease, "state_changed", keep), _patched(Lease, "overdue", property(lambda self: False)):
        yield


@_mutant("another session is taken for ours", "resume", "orphan", "exclusion", "leak")
def _() -> Iterator[None]:
    accepted = Session._accepted

    def believe(self: Session, connection: Connection, response: Any, now: float) -> None:
        if response.timeout_ms > 0:
            self.session_id = response.session_id
        accepted(self, connection, response, now)

    with _patched(Session, "_accepted", believe):
        yield


@_mutant("a watch is noted one frame too late", "watch", "order", "one-shot", "outcome")
def _() -> Iterator[None]:
    add, fire = WatchTable._add, WatchTable.fire
    late: list[tuple[WatchTable, Watcher]] = []

    def note(self: WatchTable, watcher: Watcher) -> None:
        watcher.armed = True
        late.append((self, watcher))
        if len(late) > 1:
            add(*late.pop(0))

    def heed(self: WatchTable, *arguments: Any) -> Any:
        yield from fire(self, *arguments)
        while late:
            add(*late.pop(0))

    with _patched(WatchTable, "_add", note), _patched(WatchTable, "fire", heed):
        yield


@_mutant("calls that wait are forgotten at the end", "outcome", "leak", "liveness", "convergence")
def _() -> Iterator[None]:
    def none(self: CallBook) -> list[Any]:
        self.waiting.clear()
        return []

    with _patched(CallBook, "take_waiting", none):
        yield


@_mutant("watches stay on the server", "leak")
def _() -> Iterator[None]:
    def nothing(self: Session, *_: Any) -> None:
        """They stay."""

    with _patched(Session, "_remove_watch", nothing):
        yield
