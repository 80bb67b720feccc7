"""Fixtures for tests against real servers, and the check that no test leaves a thread or a process behind."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from tests.support.certificates import Certificates
from tests.support.ensemble import Ensemble
from tests.support.leaks import LeakCheck, children
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import ZooKeeperServer
from tests.support.settings import SUPER, Options

MakeServer = Callable[[Options], ZooKeeperServer]
MakeEnsemble = Callable[[int, Options], Ensemble]


class Shared:
    """What outlives single tests: its children are no leaks, and it is healed after each test."""

    def __init__(self) -> None:
        self.servers: list[ZooKeeperServer | Ensemble] = []
        self.children: set[int] = set()

    def heal(self) -> None:
        """Bring back what a test has stopped, killed or paused."""
        for server in self.servers:
            server.heal()


@pytest.fixture(scope="session")
def shared() -> Shared:
    """The fixtures that outlive single tests."""
    return Shared()


@pytest.fixture(autouse=True)
def no_leaks(shared: Shared) -> Iterator[None]:
    """Every test leaves as many threads and children as it found, and the shared servers alive."""
    check = LeakCheck()
    yield
    shared.heal()
    assert not (leaked := check.leaked(shared.children)), f"left behind: {leaked}"


@pytest.fixture(scope="session")
def certificates(shared: Shared) -> Iterator[Certificates]:
    """An authority and certificates for TLS."""
    before = children()
    with Certificates() as made:
        shared.children |= children() - before
        yield made


@pytest.fixture(scope="session")
def server(shared: Shared) -> Iterator[ZooKeeperServer]:
    """A standalone server, shared by all tests; work below `root`. It may be killed or paused, and is brought back."""
    before = children()
    with ZooKeeperServer() as started:
        shared.children |= children() - before
        shared.servers.append(started)
        yield started
        shared.servers.remove(started)


@pytest.fixture(scope="module")
def ensemble(shared: Shared) -> Iterator[Ensemble]:
    """Three servers, shared by the tests of a module. They may be killed or paused, and are brought back."""
    before = children()
    with Ensemble(3) as started:
        shared.children |= children() - before
        shared.servers.append(started)
        yield started
        shared.servers.remove(started)


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Starts standalone servers of one's own: `make_server(Options(tick_ms=100))`."""
    with ExitStack() as stack:

        def make(options: Options) -> ZooKeeperServer:
            return stack.enter_context(ZooKeeperServer(options))

        yield make


@pytest.fixture
def make_ensemble() -> Iterator[MakeEnsemble]:
    """Starts ensembles of one's own: `make_ensemble(3, Options(read_only_mode=True))`."""
    with ExitStack() as stack:

        def make(n: int, options: Options) -> Ensemble:
            return stack.enter_context(Ensemble(n, options))

        yield make


@pytest.fixture
def proxy(server: ZooKeeperServer) -> Iterator[ChaosProxy]:
    """A proxy in front of the shared server."""
    with ChaosProxy(server.port) as started:
        yield started


@pytest.fixture
def root(server: ZooKeeperServer) -> Iterator[str]:
    """The path of an empty node of the shared server; it is removed afterwards with all below it."""
    path = f"/test-{uuid4().hex[:12]}"
    with server.raw() as client:
        client.create(path)
    yield path
    server.heal()
    with server.raw() as client:
        client.add_auth("digest", ":".join(SUPER).encode())  # Whatever the test's ACLs say.
        client.delete_all(path)


@pytest.fixture
def witness(server: ZooKeeperServer) -> Iterator[RawClient]:
    """An independent client of the shared server, to see what it holds; its session has no pings and lasts 60 s."""
    with server.raw(session_ms=60_000) as client:
        yield client
