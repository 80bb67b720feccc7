"""One server: its copy of the tree, its watches and its connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from ._connection import Connection
from ._faults import Faults
from ._options import ServerOptions, check_seconds
from ._sessions import Sessions
from ._states import ServerState
from ._tree import Entry, Result, SessionClosed, Tree, Watched
from ._watches import Watches

if TYPE_CHECKING:
    from ._ensemble import Ensemble

__all__ = ["Server"]


class Server:
    """One member of an ensemble, or a server of its own.

    Attributes:
        ensemble: the whole.
        id: its number, from 1 on.
        state: what it is doing.
        tree: the znodes as it knows them; a follower may lag behind.
        watches: which connection waits for what.
        applied: how many changes of the ensemble's log it has applied.
        lag: seconds that changes take to reach it, see `set_lag`; the leader knows them at once.
        local_sessions: those that it made while it was read-only.
        started: when it was started last.
        port: where it listens; 0 if it does not.
        received: how many requests have come, words included.
        sent: how many replies and notifications have gone out.
    """

    def __init__(self, ensemble: Ensemble, number: int, now: float) -> None:
        self.ensemble: Ensemble = ensemble
        self.id: int = number
        self.state: ServerState = ServerState.LOOKING
        self.options: ServerOptions = ensemble.options
        self.tree: Tree = Tree(self._tell)
        self.watches: Watches[Connection] = Watches(keeps_modes=self.options.profile.keeps_watch_modes)
        self.applied: int = 0
        self.lag: float = 0.0
        self.up: bool = True
        self.isolated: bool = False
        self.started: float = now
        self.port: int = 0
        self.received: int = 0
        self.sent: int = 0
        self.local_sessions: Sessions = ensemble.make_sessions()
        self._connections: dict[Connection, None] = {}
        self._held = self._catching_up = False
        self._arrivals: deque[float] = deque()
        """When each change of the log that it has not applied arrives."""
        self._asked: dict[int, Callable[[Result, float], None]] = {}
        self._waiters: deque[tuple[int, Connection, Callable[[], None]]] = deque()

    def __repr__(self) -> str:
        return f"<server {self.id}: {self.state.value}>"

    # --- connections

    @property
    def connections(self) -> list[Connection]:
        """Those that are open."""
        return list(self._connections)

    def accept(
        self, now: float, *, address: str = "127.0.0.1", port: int = 0, faults: Faults | None = None
    ) -> Connection | None:
        """Take a new connection.

        Args:
            now: the time.
            address: the client's.
            port: the client's.
            faults: what may happen to the connection.

        Returns:
            The connection; None if it is refused, because the server is down or a fault wants it.
        """
        if faults is not None:
            self.ensemble.heed(faults)
        if not self.up or (faults is not None and faults.refusing):
            return None
        connection = Connection(self, now, address, port)
        self._connections[connection] = None
        if faults is not None:
            connection.link(faults.link(connection))
        return connection

    def forget(self, connection: Connection) -> None:
        """A connection is over."""
        self._connections.pop(connection, None)
        self.watches.forget(connection)

    # --- what may happen to it

    def stop(self, now: float) -> None:
        """Let the server die: its connections are closed, and new ones refused. It keeps its tree."""
        self.up = False
        self.ensemble.reorganize(now)

    def start(self, now: float) -> None:
        """Start it again."""
        if not self.up:
            self.up, self.started = True, now
            self.ensemble.reorganize(now)

    def isolate(self, now: float) -> None:
        """Cut it off from the other servers, not from clients."""
        self.isolated = True
        self.ensemble.reorganize(now)

    def rejoin(self, now: float) -> None:
        """Connect it with the other servers again."""
        self.isolated = False
        self.ensemble.reorganize(now)

    def set_lag(self, seconds: float) -> None:
        """Let changes take that long to reach it; nothing holds those back that are on their way.

        Raises:
            InvalidRequestError: that is no time.
        """
        check_seconds(seconds, "a lag")
        self.lag = seconds

    def hold(self) -> None:
        """Let no change reach it until `release`, or the next election; it goes on serving what it has.

        Nothing holds the leader.
        """
        self._held = True

    def release(self, now: float) -> None:
        """Let changes reach it again."""
        self._held = False
        self.catch_up(now)

    # --- the log

    def expect(self, now: float) -> None:
        """A change was added to the log; it arrives behind those before it."""
        self._arrivals.append(now + self.lag)

    def next_timeout(self) -> float:
        """When a change arrives, or a session of its own may expire."""
        local = self.local_sessions.next_timeout() if self.state is ServerState.READ_ONLY else inf
        following = self.state is ServerState.FOLLOWER and self._arrivals and not self._held
        return min(self._arrivals[0], local) if following else local

    def remember(self, index: int, answer: Callable[[Result, float], None]) -> None:
        """Tell somebody here of the outcome of a change once it has been applied."""
        self._asked[index] = answer

    def catch_up(self, now: float) -> None:
        """Apply the changes that have arrived."""
        if self._catching_up:
            return  # a request that waited for a change has made another one; the loop that has led here goes on
        self._catching_up = True
        try:
            while (
                self.state is ServerState.FOLLOWER
                and not self._held
                and self._arrivals
                and self._arrivals[0] <= now
                and self.applied < self.ensemble.log_end
            ):
                self._arrivals.popleft()
                self._apply(now)
        finally:
            self._catching_up = False

    def apply_all(self, now: float) -> None:
        """Apply all changes there are."""
        self._arrivals.clear()
        if self.applied < self.ensemble.log_start:
            ahead = max(self.ensemble.servers, key=lambda each: each.applied)
            self.tree.copy_from(ahead.tree)
            self.applied = ahead.applied
        while self.applied < self.ensemble.log_end:
            self._apply(now)

    def _apply(self, now: float) -> None:
        index = self.applied
        entry = self.ensemble.log[index - self.ensemble.log_start]
        self.applied += 1
        result = self.tree.apply(entry)
        answer = self._asked.pop(index, None)
        if type(entry.change) is SessionClosed:
            self._close_session(entry, but_answer=answer is not None)
        if answer is not None:
            answer(result, now)
        while self._waiters and self._waiters[0][0] <= self.applied:
            _, connection, then = self._waiters.popleft()
            then()
            connection.resume(now)

    def _close_session(self, entry: Entry, *, but_answer: bool) -> None:
        for connection in list(self._connections):
            if connection.session_id == entry.session_id and not (but_answer and connection.blocked):
                connection.end()

    def when_caught_up(self, connection: Connection, then: Callable[[], None], now: float) -> None:
        """Do something as soon as all changes that there are now have been applied."""
        if self.applied >= self.ensemble.log_end:
            then()
            connection.resume(now)
        else:
            self._waiters.append((self.ensemble.log_end, connection, then))

    def _tell(self, event: Watched) -> None:
        for connection in self.watches.fire(event.type, event.path):
            connection.watched(event)

    def turn(self, state: ServerState) -> None:
        """Go to another state; whatever the clients had is over."""
        if state is self.state:
            return
        if self.state is ServerState.READ_ONLY:
            self.local_sessions = self.ensemble.make_sessions()
        self.state = state
        self._held = False
        self._arrivals.clear()
        self._asked.clear()
        self._waiters.clear()
        for connection in list(self._connections):
            connection.close()
