"""The servers, on their own clock, joined to the network."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zk_sansio.server import Connection, Ensemble, Entry, Server, ServerState

from .loop import Loop, Timer
from .network import Link
from .trace import Trace


class Member:
    """One server, as the network sees it."""

    def __init__(self, cluster: Cluster, server: Server) -> None:
        self.server = server
        self.cluster = cluster

    def listening(self) -> bool:
        return self.server.state is not ServerState.DOWN

    def accept(self, link: Link) -> Connection | None:
        cluster = self.cluster
        connection = self.server.accept(cluster.now(), address="127.0.0.1", port=link.number % 60_000 + 1)
        if connection is not None:
            cluster.links[connection] = link
        return connection

    def receive(self, link: Link, data: bytes) -> None:
        connection = link.connection
        assert connection is not None
        if not connection.closed:
            connection.receive_data(data, self.cluster.now())
        if not data:
            self.cluster.links.pop(connection, None)
        self.cluster.settle()


class Cluster:
    """The ensemble.

    Args:
        loop: the event queue.
        trace: what happens.
        ensemble: the servers.
        rate: seconds on their clock for each true one.
        committed: hears of each entry of the log, in order.
    """

    def __init__(
        self, loop: Loop, trace: Trace, ensemble: Ensemble, rate: float, committed: Callable[[Entry], object]
    ) -> None:
        self.loop = loop
        self.trace = trace
        self.ensemble = ensemble
        self.rate = rate
        self.members = [Member(self, server) for server in ensemble.servers]
        self.links: dict[Connection, Link] = {}
        self._committed = committed
        self._seen = 0
        self._timer: Timer | None = None
        self._due = inf

    def now(self) -> float:
        """The time on the servers' clock."""
        return self.loop.now * self.rate

    def settle(self) -> None:
        """After any input: tell the log, send what is ready, and see to the next deadline."""
        ensemble = self.ensemble
        while self._seen < ensemble.log_end:
            entry = ensemble.log[self._seen - ensemble.log_start]
            self._seen += 1
            self._committed(entry)
        for connection in ensemble.take_ready():
            link = self.links.get(connection)
            data = connection.data_to_send()
            if link is None:
                continue
            if data:
                link.reply(data)
            if connection.closed:
                del self.links[connection]
                link.hang_up()
        due = ensemble.next_timeout()
        if due < self._due:
            self._arm(due)

    def _arm(self, due: float) -> None:
        Loop.stop(self._timer)
        self._due = due
        self._timer = self.loop.at(due / self.rate + 1e-6, self._time)

    def _time(self) -> None:
        self._due = inf
        due = self.ensemble.next_timeout()
        if self.now() >= due:
            self.ensemble.handle_timeout(self.now())
        self.settle()
        if self._due == inf and (due := self.ensemble.next_timeout()) < inf:
            self._arm(due)
