"""Servers and ensembles in memory, with the methods of the real ones.

They are of this project: what a test finds out with them says what client and server think together. The same tests run
on the real ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.ensemble import AnyEnsemble
from tests.support.servers import AnyServer
from tests.support.settings import SUPER, Options, Ports
from zk_blocking.testing import InMemoryServer, ServerSettings, open_server

LONGEST = 60.0


class NotInMemoryError(Exception):
    """The test wants something that only a real server has; it should carry the marker `server`."""


class MemoryServer(AnyServer):
    """One member of what runs in a thread of this process.

    Args:
        served: all members.
        member: which, counted from 0.
    """

    def __init__(self, served: InMemoryServer, member: int = 0) -> None:
        self._served = served
        self._member = member
        self._paused = False
        self.server_id = member + 1 if served.size > 1 else 0
        self.port = int(served.faults.addresses[member].rpartition(":")[2])
        # Nobody listens at the others, which /zookeeper/config tells.
        self.ports = Ports(client=self.port, quorum=2888 + member, election=3888 + member)

    @property
    def alive(self) -> bool:
        return self._served.ensemble.servers[self._member].up

    @property
    def paused(self) -> bool:
        return self._paused and self.alive

    def start(self, *, wait: bool = True) -> None:
        self.resume()
        self._served.start(self._member)
        if wait:
            self.wait_until_serving()

    def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._served.stop(self._member)
        self.resume()

    def pause(self) -> None:
        if self._served.size > 1:
            raise NotInMemoryError("one member cannot be paused, only a server of its own")
        self._served.faults.black_hole()
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._served.faults.heal()
        self._paused = False


class MemoryEnsemble(AnyEnsemble[MemoryServer]):
    """What runs in a thread of this process.

    Args:
        served: all members.
    """

    def __init__(self, served: InMemoryServer) -> None:
        self.servers = [MemoryServer(served, member) for member in range(served.size)]


@contextmanager
def open_memory_server(profile: str, options: Options) -> Iterator[MemoryServer]:
    """Start a server.

    Args:
        profile: The version that it imitates.
        options: How it is configured.

    Raises:
        NotInMemoryError: It cannot be configured so.
    """
    with open_server(**settings(profile, options)) as served:
        yield MemoryServer(served)


@contextmanager
def open_memory_ensemble(profile: str, n: int, options: Options) -> Iterator[MemoryEnsemble]:
    """Start an ensemble of so many; the other arguments are those of `open_memory_server`."""
    with open_server(n, **settings(profile, options)) as served:
        started = MemoryEnsemble(served)
        started.start()
        yield started


def settings(profile: str, options: Options) -> ServerSettings:
    """What a real server has in its files, for one in memory."""
    config = dict(options.config)
    words = str(config.pop("4lw.commands.whitelist", "*"))
    found = ServerSettings(
        profile=profile,
        tick=options.tick_ms / 1000,
        max_session_timeout=LONGEST,
        ttl=config.pop("extendedTypesEnabled", "true") == "true",
        reconfig=config.pop("reconfigEnabled", "true") == "true",
        read_only_mode=options.read_only_mode,
        super_password=":".join(SUPER),
        sasl_users=options.sasl_users,
        require_sasl=options.require_sasl,
        words=None if words == "*" else frozenset(words.split(",")),
    )
    if config or options.properties or options.local_sessions or options.certificates:
        raise NotInMemoryError(f"no server in memory can be configured so: {options}")
    return found
