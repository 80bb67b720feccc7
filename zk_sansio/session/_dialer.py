"""Finding a server: what to resolve, whom to dial and when.

The machine names attempts; an adapter carries them out and reports. Nothing here does I/O or waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

from ._hosts import Backoff, HostPort, Server, ServerList, connect_timeout

__all__ = ["Attempt", "Dial", "Dialer", "Probe", "Resolve"]

STAGGER = 0.25
"""Seconds until the next server is dialled beside one that has not answered (RFC 8305 has the same)."""
RESOLVE_TIMEOUT = 5.0
"""Seconds that looking names up may take at most; less when the session has little time left."""


@dataclass(frozen=True, slots=True, eq=False)
class Resolve:
    """Look up the addresses of *hosts*, all at once; answer with `Session.resolved`.

    Attributes:
        hosts: the names.
        deadline: when to give up, on the clock of the session's inputs; report what there is by then.
    """

    hosts: tuple[HostPort, ...]
    deadline: float


@dataclass(frozen=True, slots=True, eq=False)
class Dial:
    """Open a connection, TLS included; answer with `Session.connection_made` or `Session.attempt_failed`.

    Attributes:
        server: where to.
        deadline: when to give up.
    """

    server: Server
    deadline: float


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Open a connection beside the one in use, send *data*, read to the end; answer with `Session.probed`.

    Attributes:
        server: where to.
        deadline: when to give up.
        data: the question.
    """

    server: Server
    deadline: float
    data: bytes = field(repr=False)


Attempt: TypeAlias = Resolve | Dial | Probe


class Dialer:
    """Goes through the servers in rounds, with a pause between them.

    Args:
        servers: the list and its order.
        backoff: how long the pauses are.
        cap: seconds that one attempt may take at most.
    """

    __slots__ = ("_backoff", "_cap", "_dials", "_in_round", "_not_before", "_resolving", "_stagger_at", "servers")

    def __init__(self, servers: ServerList, backoff: Backoff, cap: float) -> None:
        self.servers = servers
        self._backoff = backoff
        self._cap = cap
        self._dials: set[Dial] = set()
        self._resolving: Resolve | None = None
        self._in_round = False
        self._not_before = -inf
        self._stagger_at = -inf

    @property
    def trying(self) -> list[str]:
        """Whom the attempts under way are about."""
        names = self._resolving.hosts if self._resolving else ()
        return [str(host) for host in names] + sorted(str(dial.server) for dial in self._dials)

    def start(self, not_before: float = -inf) -> None:
        """Begin a new round, not before the time given; attempts under way no longer count."""
        self._dials.clear()
        self._resolving = None
        self._in_round = False
        self._not_before = not_before

    def pause(self, now: float, session_timeout: float, *, healthy: bool = False) -> None:
        """Begin a new round after a pause; the shortest one if the last connection was *healthy*."""
        if healthy:
            self._backoff.reset()
        self.start(now + self._backoff.next(session_timeout))

    def next_attempt(self, now: float, remaining: float, session_timeout: float) -> Resolve | Dial | None:
        """What to try now, if anything.

        Args:
            now: the time.
            remaining: seconds that the session has left; they are shared over the servers.
            session_timeout: seconds; bounds the pause after a fruitless round.
        """
        if self._resolving is not None or now < self._not_before:
            return None
        if not self._in_round:
            if self._dials:
                return None
            if names := self.servers.unresolved():
                patience = min(RESOLVE_TIMEOUT, max(0.5, remaining / 4))
                self._resolving = Resolve(names, now + patience)
                return self._resolving
            self._begin({})
        if self._dials and now < self._stagger_at:
            return None
        share = self.servers.untried + len(self._dials)
        server = self.servers.next()
        if server is None:
            self._in_round = False
            if not self._dials:
                self.pause(now, session_timeout)
            return None
        floor = min(1.0, session_timeout / 10, self._cap)
        dial = Dial(server, now + connect_timeout(remaining, share, self._cap, floor))
        self._dials.add(dial)
        self._stagger_at = now + STAGGER
        return dial

    def next_time(self) -> float:
        """When `next_attempt` may have something new; -inf if it may have it already."""
        if self._resolving is not None:
            return inf
        if self._dials:
            return self._stagger_at if self._in_round else inf
        return self._not_before

    def resolved(
        self, attempt: Resolve, addresses: Mapping[HostPort, Sequence[str]], errors: Mapping[HostPort, str]
    ) -> None:
        """Take the addresses that were found; an attempt that no longer counts is ignored."""
        if attempt is not self._resolving:
            return
        self._resolving = None
        for host, error in errors.items():
            self.servers.failed(host, error)
        self._begin(addresses)

    def _begin(self, addresses: Mapping[HostPort, Sequence[str]]) -> None:
        self.servers.begin_round(addresses)
        self._in_round = True

    def outstanding(self, attempt: Dial) -> bool:
        """Whether *attempt* still counts."""
        return attempt in self._dials

    def won(self, attempt: Dial) -> None:
        """*attempt* has a connection: the others no longer count; the round waits for the handshake."""
        self._dials.clear()

    def failed(self, server: Server, why: str, now: float, session_timeout: float, *, silent: bool = False) -> None:
        """Note that *server* did not work out; the round goes on.

        Args:
            server: which one.
            why: for error messages.
            now: the time.
            session_timeout: seconds.
            silent: whether it did not answer at all; then it comes last the next time.
        """
        self.servers.failed(server, why)
        if silent:
            self.servers.avoid(server)
        self._dials = {dial for dial in self._dials if dial.server != server}
        self._stagger_at = -inf
        if not self._in_round and not self._dials:
            self.pause(now, session_timeout)

    def succeeded(self, server: Server) -> None:
        """*server* serves the session: the round is over."""
        self.servers.succeeded(server)
        self.start()
