"""An ensemble that is served: its clock, its connections, and what a test does to it. Nothing here waits."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Generic, Protocol, TypeAlias, TypeVar

from zk_sansio.acl import ACL, OPEN
from zk_sansio.errors import InvalidRequestError, LocalProtocolError, NoNodeError
from zk_sansio.server import Connection, Ensemble, Server
from zk_sansio.session import Server as Address
from zk_sansio.wire import Create, CreateMode, Delete, Exists, GetChildren, GetData, Request, SetData, Stat

from ._gate import Gate
from ._links import Link

__all__ = ["HasSession", "ServedEnsemble", "Who"]

G = TypeVar("G", bound=Gate)
L = TypeVar("L", bound=Link)
R = TypeVar("R")

_AT_ONCE = 100
"""Deadlines in a row that are due at once; more of them have to wait for others to have their turn."""


class HasSession(Protocol):
    """A client of any adapter, or a ticket."""

    @property
    def session_id(self) -> int:
        """The id of its session."""


Who: TypeAlias = "int | HasSession"
"""A session: its id, or a client, or its ticket."""


class ServedEnsemble(ABC, Generic[G]):
    """An ensemble in memory, with clients that may be connected to it, and a second way to look at it and to change it.

    Members are counted from 0.

    Args:
        ensemble: the ensemble.
        clock: what it is driven by.
        host: the address to listen on.
        port: the first member's port; 0 for free ones.

    Attributes:
        ensemble: the ensemble itself, for what has no method here. After using it, call `touch`.
    """

    def __init__(self, ensemble: Ensemble, clock: Callable[[], float], host: str, port: int) -> None:
        self.ensemble: Ensemble = ensemble
        self._clock = clock
        self._host = host
        self._links: dict[Connection, tuple[Link, Gate]] = {}
        self._armed = inf  # the deadline that the timer waits for
        self._closed = False
        self._gates: dict[Gate, None] = {}  # changed within `_acting` alone: others go through it there
        self._door: G = self._make_gate(port)
        self._gates[self._door] = None

    # --- for adapters

    @abstractmethod
    def _make_gate(self, port: int) -> G:
        """Make a way in."""

    @abstractmethod
    def _listen(self, listener: socket.socket, gate: Gate, member: int) -> None:
        """Accept connections from now on, and give them to `_admit`."""

    @abstractmethod
    def _unlisten(self, listener: socket.socket) -> None:
        """Close what `_listen` was called with."""

    @abstractmethod
    def _rearm(self) -> None:
        """The next deadline is earlier than the timer believes."""

    @contextmanager
    def _acting(self) -> Iterator[float]:
        """What changes the ensemble: it gets the time, and its effects go out when it is done."""
        try:
            yield self._clock()
        finally:
            self._pump()

    def _accept(
        self, gate: Gate, member: int, make: Callable[[Connection], L], address: str = "127.0.0.1", port: int = 0
    ) -> L | None:
        """Let a client in; None if it is refused."""
        if self._closed or gate._closed:
            return None
        now = self._clock()
        connection = self.ensemble.servers[member].accept(now, address=address, port=port, faults=gate._faults)
        if connection is None:
            return None
        link = make(connection)
        self._links[connection] = (link, gate)
        return link

    def _left(self, link: Link) -> None:
        self._links.pop(link.connection, None)

    def _pump(self) -> None:
        """Carry out what is due, and take to the clients what the servers have to say. Never called from within."""
        ensemble = self.ensemble
        for _ in range(_AT_ONCE):
            while ready := ensemble.take_ready():
                for connection in ready:
                    found = self._links.get(connection)
                    if found is not None:
                        found[0].collect()
            due = ensemble.next_timeout()
            if due > (now := self._clock()):
                break
            ensemble.handle_timeout(now)
        if due < self._armed:
            self._armed = due
            self._rearm()

    def _member(self, address: Address) -> int:
        """Which member lives at an address in memory."""
        return address.host.port - 1

    @property
    def _memory_hosts(self) -> str:
        """The connect string for memory; nobody listens there."""
        return ",".join(f"127.0.0.1:{member + 1}" for member in range(len(self.ensemble.servers)))

    def _close_gate(self, gate: Gate) -> None:
        with self._acting():
            self._gates.pop(gate, None)
            gate._closed = True
            for listener in gate._listeners or ():
                self._unlisten(listener)
            for link, its in list(self._links.values()):
                if its is gate:
                    link.hang_up()
                    link.connection.close()  # at once, whatever faults hold back
            self.ensemble.forget(gate._faults)

    def _close(self) -> None:
        """Hang up on everybody, and listen no more."""
        self._closed = True
        for gate in self._gates:
            gate._closed = True
            for listener in gate._listeners or ():
                self._unlisten(listener)
        for link, _ in list(self._links.values()):
            link.hang_up()

    # --- connecting

    @property
    def hosts(self) -> str:
        """The connect string of the ports. Nothing listens before somebody asks for it.

        Raises:
            OSError: no port can be had.
        """
        return self._door.hosts

    @property
    def size(self) -> int:
        """How many members the ensemble has."""
        return len(self.ensemble.servers)

    @property
    def leader(self) -> int | None:
        """The member that leads, counted from 0; None while there is no quorum, or an election is under way."""
        with self._acting():
            leader = self.ensemble.leader
            return None if leader is None else leader.id - 1

    def connections(self) -> int:
        """How many connections there are now, through whatever way."""
        with self._acting():
            return len(self._links)

    @property
    def faults(self) -> G:
        """What may go wrong on the way of `hosts` and of ``open_client``."""
        return self._door

    @contextmanager
    def proxy(self) -> Iterator[G]:
        """Another way to the same servers, with ports and faults of its own, for as long as the scope lasts."""
        gate = self._make_gate(0)
        with self._acting():
            self._gates[gate] = None
        try:
            yield gate
        finally:
            self._close_gate(gate)

    # --- what may happen to it

    def touch(self) -> None:
        """Let what was done to `ensemble` by hand take effect."""
        with self._acting():
            pass

    def expire(self, who: Who) -> bool:
        """End a session as its timeout would; return whether there was one.

        Raises:
            LocalProtocolError: no member leads.

        Args:
            who: the session.
        """
        session = _session(who)
        with self._acting() as now:
            if session in self.ensemble.sessions and self.ensemble.leader is None:
                raise LocalProtocolError("no session ends while no member leads; start the members, or let them meet")
            return self.ensemble.expire(session, now)

    def move(self, who: Who, member: int) -> None:
        """Let somebody else resume a session at another member: its connection is closed at its next request.

        Args:
            who: the session.
            member: where it is resumed, counted from 0.

        Raises:
            InvalidRequestError: there is no such session, or no such member.
        """
        session = _session(who)
        with self._acting() as now:
            if session not in self.ensemble.sessions:
                raise InvalidRequestError(f"there is no session 0x{session & 2**64 - 1:x}")
            self.ensemble.move(session, self._at(member), now)

    def lose_quorum(self) -> None:
        """Cut all members off from each other, until `regain_quorum`.

        Raises:
            InvalidRequestError: there is but one member, which needs no quorum.
        """
        if self.size == 1:
            raise InvalidRequestError(
                "a single server has no quorum to lose; open a server of three members, or stop it"
            )
        with self._acting() as now:
            for server in self.ensemble.servers:
                server.isolate(now)

    def regain_quorum(self) -> None:
        """Connect all members again; an election follows, which takes a moment."""
        with self._acting() as now:
            for server in self.ensemble.servers:
                server.rejoin(now)

    def stop(self, member: int = 0) -> None:
        """Let a member crash: its connections are closed, and new ones refused.

        Args:
            member: which, counted from 0.
        """
        with self._acting() as now:
            self._at(member).stop(now)
            self._let_knock()

    def start(self, member: int = 0) -> None:
        """Start a member again that was stopped; its tree is as it was.

        Args:
            member: which, counted from 0.
        """
        with self._acting() as now:
            self._at(member).start(now)
            self._let_knock()

    def _let_knock(self) -> None:
        for gate in self._gates:
            gate._let_knock()

    def lag(self, member: int, seconds: float) -> None:
        """Let commits take longer to reach a follower; what is written through it takes longer, too.

        Args:
            member: which, counted from 0.
            seconds: how long; 0 is at once.
        """
        with self._acting():
            self._at(member).set_lag(seconds)

    def _at(self, member: int) -> Server:
        if member not in range(self.size):
            raise InvalidRequestError(f"members are counted from 0 to {self.size - 1}; there is no {member!r}")
        return self.ensemble.servers[member]

    # --- somebody else

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral_of: Who | None = None,
        sequential: bool = False,
        acl: Sequence[ACL] = OPEN,
    ) -> str:
        """Make a znode, as somebody who may do everything.

        Args:
            path: where.
            data: what it holds.
            ephemeral_of: the session that it ends with; None if it stays.
            sequential: add a number to the name.
            acl: who may do what.

        Returns:
            The path, with its number.

        Raises:
            ServerError: it cannot be made.
            LocalProtocolError: no member leads, or there is no such session.
            InvalidRequestError: *ephemeral_of* is not something that has a session.
        """
        session = 0 if ephemeral_of is None else _session(ephemeral_of)
        mode = CreateMode(bool(session) + 2 * sequential)
        return self._execute(Create(path, data, acl, mode), session).path

    def get(self, path: str) -> bytes | None:
        """Read a znode's data, as it was committed last.

        Args:
            path: which.

        Raises:
            NoNodeError: there is none.
        """
        return self._look(GetData(path)).data

    def set(self, path: str, data: bytes | None, *, version: int = -1) -> Stat:
        """Write a znode's data.

        Args:
            path: which.
            data: what.
            version: which one to replace; -1 for any.

        Raises:
            ServerError: it cannot be done.
            LocalProtocolError: no member leads.
        """
        return self._execute(SetData(path, data, version))

    def delete(self, path: str, *, version: int = -1) -> None:
        """Remove a znode.

        Args:
            path: which.
            version: which one to remove; -1 for any.

        Raises:
            ServerError: it cannot be done.
            LocalProtocolError: no member leads.
        """
        self._execute(Delete(path, version))

    def exists(self, path: str) -> Stat | None:
        """Read a Stat; None if there is no such znode.

        Args:
            path: which.
        """
        try:
            return self._look(Exists(path))
        except NoNodeError:
            return None

    def children(self, path: str = "/") -> list[str]:
        """List a znode's children, sorted.

        Args:
            path: which.

        Raises:
            NoNodeError: there is none.
        """
        names = self._look(GetChildren(path))
        return sorted(names)

    def _look(self, request: Request[R]) -> R:
        """Read, also while nobody leads."""
        with self._acting() as now:
            return self.ensemble.execute(request, now, at=self._newest())

    def _newest(self) -> Server:
        """The member that knows most of what was committed: who leads, if anybody does."""
        return max(self.ensemble.servers, key=lambda each: each.applied)

    def _execute(self, request: Request[R], session: int = 0) -> R:
        with self._acting() as now:
            return self.ensemble.execute(request, now, session_id=session)

    # --- what it holds

    def sessions(self) -> list[int]:
        """The ids of the sessions that are alive."""
        with self._acting():
            return list(self.ensemble.sessions)

    def ephemerals(self, who: Who) -> frozenset[str]:
        """The ephemeral znodes of a session.

        Args:
            who: the session.
        """
        with self._acting():
            return frozenset(self._newest().tree.ephemerals.get(_session(who), ()))

    def watches(self, who: Who) -> frozenset[str]:
        """The paths that a session watches at the member that it is connected to.

        Args:
            who: the session.
        """
        session = _session(who)
        with self._acting():
            return frozenset(
                path
                for connection in list(self._links)
                if connection.session_id == session
                for path in connection.server.watches.paths(connection)
            )


def _session(who: Who) -> int:
    session_id = who if isinstance(who, int) else getattr(who, "session_id", None)
    if not isinstance(session_id, int):
        raise InvalidRequestError(f"a session is told by its id, its client or its ticket, not by {who!r}")
    return session_id - 2**64 if session_id >= 2**63 else session_id  # a long of Java, as the wire has it
