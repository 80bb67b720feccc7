"""Ensembles of real Apache ZooKeeper servers. What `servers` says of blocking holds here, too."""

import contextlib
import time
from abc import ABC
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from tests.support.processes import Processes
from tests.support.servers import HOST, POLL, START, AnyServer, ServerFailedError, ZooKeeperServer
from tests.support.settings import Options

S = TypeVar("S", bound=AnyServer)


def member_line(server: AnyServer, role: str = "participant") -> str:
    """Make the line that names a server in the dynamic configuration and in reconfig requests."""
    ports = server.ports
    return f"server.{server.server_id}={HOST}:{ports.quorum}:{ports.election}:{role};{HOST}:{ports.client}"


class AnyEnsemble(ABC, Generic[S]):
    """What tests may do with an ensemble of whatever kind: `Ensemble`, or one in memory from `memory`.

    Servers are counted from 0 here; the server with index i has the id i + 1.

    Attributes:
        servers: The members.
    """

    servers: list[S]

    @property
    def hosts(self) -> str:
        """The connect string with all members."""
        return ",".join(server.hosts for server in self.servers)

    def __getitem__(self, i: int) -> S:
        return self.servers[i]

    def __iter__(self) -> Iterator[S]:
        return iter(self.servers)

    def __len__(self) -> int:
        return len(self.servers)

    def start(self, i: int | None = None) -> None:
        """Start all servers and wait until all serve, or only start the server *i*.

        Args:
            i: Which; as it may be alone, it is not waited for.

        Raises:
            ServerFailedError: One of them ended, or they did not serve in time.
        """
        if i is not None:
            self.servers[i].start(wait=False)
            return
        for server in self.servers:
            server.start(wait=False)
        for server in self.servers:
            server.wait_until_serving()

    def kill(self, i: int) -> S:
        """Kill the server *i* (SIGKILL) and return it."""
        self.servers[i].kill()
        return self.servers[i]

    def heal(self) -> None:
        """Bring all members back to life, whatever a test has done to them; wait until all serve."""
        for server in self.servers:
            server.resume()
        self.start()

    def leader(self) -> S | None:
        """Find the server that says it leads."""
        return next(iter(self._leaders()), None)

    def followers(self) -> list[S]:
        """Find the members that say they follow."""
        return [server for server in self.servers if server.mode() == "follower"]

    def wait_for_leader(self, timeout: float = START, *, other_than: S | None = None) -> S:
        """Wait until a member leads and at least one follows it.

        Args:
            timeout: The longest time to wait, in seconds.
            other_than: A former leader, which may still believe to lead.

        Raises:
            ServerFailedError: There was none in time.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            leader = next((server for server in self._leaders() if server is not other_than), None)
            if leader is not None and (len(self.servers) == 1 or self.followers()):
                return leader
            time.sleep(POLL)
        raise ServerFailedError(f"no leader within {timeout} s\n{self._logs()}")

    def _leaders(self) -> list[S]:
        return [server for server in self.servers if server.mode() == "leader"]

    def _logs(self) -> str:
        return ""


class Ensemble(AnyEnsemble[ZooKeeperServer]):
    """Servers that form an ensemble. Start it, close it in the end; under `with` both are done.

    A test that changes the members by reconfig makes an ensemble of its own: `heal` brings back the members there were
    in the beginning.

    Attributes:
        servers: The members.
        newcomers: More servers, made by `newcomer`.
    """

    def __init__(self, n: int = 3, options: Options | None = None) -> None:
        """Prepare the servers; nothing runs yet.

        Args:
            n: How many.
            options: How they are configured.
        """
        self._options = options
        self.servers: list[ZooKeeperServer] = []
        self.newcomers: list[ZooKeeperServer] = []
        with contextlib.ExitStack() as stack:
            self._owner = stack.enter_context(Processes())
            for number in range(1, n + 1):
                server = ZooKeeperServer(options, owner=self._owner, server_id=number)
                stack.callback(server.close)
                self.servers.append(server)
            self._cleanup = stack.pop_all()
        members = "\n".join(member_line(server) for server in self.servers)
        for server in self.servers:
            server.configure(members)

    def newcomer(self) -> ZooKeeperServer:
        """Start one more server, which has no vote until a reconfig with `member_line(server)` makes it a member.

        It is not waited for. It serves as soon as it has found the leader; it may call itself a follower then.
        """
        number = len(self.servers) + len(self.newcomers) + 1
        server = ZooKeeperServer(self._options, owner=self._owner, server_id=number)
        self._cleanup.callback(server.close)
        server.configure("\n".join([*map(member_line, self.servers), member_line(server, "observer")]))
        self.newcomers.append(server)
        server.start(wait=False)
        return server

    def close(self) -> None:
        """Kill all servers and give back ports and files. May be called twice."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _leaders(self) -> list[ZooKeeperServer]:
        return [*super()._leaders(), *(server for server in self.newcomers if server.mode() == "leader")]

    def _logs(self) -> str:
        return "\n".join(f"--- {server.hosts} ---\n{server.log_tail(10)}" for server in self.servers)
