"""Fixtures for tests that use a ZooKeeper server, and the check that no test leaves a thread or a process behind.

Tests of what a server does, in `tests/conformance` and `tests/integration`, run once on each kind of server: on the one
in memory, and on a real Apache ZooKeeper. Their names in pytest say which: `test_set[memory]`, `test_set[real]`.
All other tests, which are about an adapter or a recipe, run on the first kind only. To choose::

    pytest --zookeeper=memory          # the fastest, and without Java
    pytest --zookeeper=real
    pytest --zookeeper=memory-3.8      # in memory, as the older version does it

A test that needs what only the real one has says so, and why: `@pytest.mark.server("TLS")`. It runs on that alone, and
is skipped when it was not asked for. Whatever runs on a real one has this marker: `-m "not server"` leaves it out.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from tests.support.certificates import Certificates
from tests.support.ensemble import AnyEnsemble, Ensemble
from tests.support.leaks import LeakCheck, children
from tests.support.memory import open_memory_ensemble, open_memory_server
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer, ZooKeeperServer
from tests.support.settings import SUPER, Options

# Before any test module, or a conftest of one, imports it.
pytest.register_assert_rewrite("zk_conformance")

MakeServer = Callable[[Options], AnyServer]
MakeEnsemble = Callable[[int, Options], AnyEnsemble[Any]]
MakeRealServer = Callable[[Options], ZooKeeperServer]
MakeRealEnsemble = Callable[[int, Options], Ensemble]
"""What `make_server` and `make_ensemble` are to a test with the marker `server`."""
T = TypeVar("T", bound="AnyServer | AnyEnsemble[Any]")

REAL = "real"
PROFILES = {"memory": "3.9", "memory-3.8": "3.8"}
"""Which version each kind of server in memory imitates."""
KINDS = (*PROFILES, REAL)
ABOUT_SERVERS = ("conformance", "integration")
"""The folders of tests that run on each kind of server."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says where the tests run."""
    parser.addoption(
        "--zookeeper",
        default="memory,real",
        metavar="KINDS",
        help=f"the servers that the tests run on, with commas between: {', '.join(KINDS)} (memory,real)",
    )


def kinds_of(config: pytest.Config) -> list[str]:
    """The kinds of servers that were asked for."""
    kinds: list[str] = config.getoption("--zookeeper").split(",")
    if wrong := set(kinds) - set(KINDS):
        raise pytest.UsageError(f"--zookeeper knows {', '.join(KINDS)}, not {', '.join(sorted(wrong))}")
    return kinds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses a server, through whatever fixture, on the kinds of servers that it is for."""
    if "zookeeper" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("server")
        marks = [pytest.mark.server(*only.args) if only else pytest.mark.server]
        if not {"ensemble", "make_ensemble"}.isdisjoint(metafunc.fixturenames):
            marks.append(pytest.mark.ensemble)
        asked = kinds_of(metafunc.config)
        folder = metafunc.definition.path.relative_to(Path(__file__).parent).parts[0]
        kinds = [REAL] if only else asked if folder in ABOUT_SERVERS else asked[:1]
        params = [pytest.param(kind, marks=marks if kind == REAL else ()) for kind in kinds]
        metafunc.parametrize("zookeeper", params, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs a real server, if none was asked for."""
    if REAL in kinds_of(config):
        return
    for item in items:
        if marker := item.get_closest_marker("server"):
            item.add_marker(pytest.mark.skip(": ".join(("needs a real ZooKeeper server", *marker.args))))


@contextmanager
def open_server(kind: str, options: Options | None = None) -> Iterator[AnyServer]:
    """Start a standalone server.

    Args:
        kind: One of `KINDS`.
        options: How it is configured.
    """
    options = options or Options()
    with ZooKeeperServer(options) if kind == REAL else open_memory_server(PROFILES[kind], options) as started:
        yield started


@contextmanager
def open_ensemble(kind: str, n: int, options: Options | None = None) -> Iterator[AnyEnsemble[Any]]:
    """Start an ensemble of so many servers; the other arguments are those of `open_server`."""
    options = options or Options()
    with Ensemble(n, options) if kind == REAL else open_memory_ensemble(PROFILES[kind], n, options) as started:
        yield started


class Shared:
    """What outlives single tests: its children are no leaks, and it is healed after each test."""

    def __init__(self) -> None:
        self.servers: list[AnyServer | AnyEnsemble[Any]] = []
        self.children: set[int] = set()

    def heal(self) -> None:
        """Bring back what a test has stopped, killed or paused."""
        for server in self.servers:
            server.heal()

    @contextmanager
    def open(self, scope: AbstractContextManager[T]) -> Iterator[T]:
        """Start what outlives the test; *scope* is that of `open_server`, say."""
        before = children()
        with scope as started:
            self.children |= children() - before
            self.servers.append(started)
            yield started
            self.servers.remove(started)


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
def zookeeper(request: pytest.FixtureRequest) -> str:
    """The kind of server that the test runs on: one of `KINDS`."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def server(zookeeper: str, shared: Shared) -> Iterator[AnyServer]:
    """A standalone server, shared by all tests; work below `root`. It may be killed or paused, and is brought back."""
    with shared.open(open_server(zookeeper)) as started:
        yield started


@pytest.fixture(scope="module")
def ensemble(zookeeper: str, shared: Shared) -> Iterator[AnyEnsemble[Any]]:
    """Three servers, shared by the tests of a module. They may be killed or paused, and are brought back."""
    with shared.open(open_ensemble(zookeeper, 3)) as started:
        yield started


@pytest.fixture
def make_server(zookeeper: str) -> Iterator[MakeServer]:
    """Starts standalone servers of one's own: `make_server(Options(tick_ms=100))`."""
    with ExitStack() as stack:
        yield lambda options: stack.enter_context(open_server(zookeeper, options))


@pytest.fixture
def make_ensemble(zookeeper: str) -> Iterator[MakeEnsemble]:
    """Starts ensembles of one's own: `make_ensemble(3, Options(read_only_mode=True))`."""
    with ExitStack() as stack:
        yield lambda n, options: stack.enter_context(open_ensemble(zookeeper, n, options))


@pytest.fixture
def proxy(server: AnyServer) -> Iterator[ChaosProxy]:
    """A proxy in front of the shared server."""
    with ChaosProxy(server.port) as started:
        yield started


@pytest.fixture
def root(server: AnyServer) -> Iterator[str]:
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
def witness(server: AnyServer) -> Iterator[RawClient]:
    """An independent client of the shared server, to see what it holds; its session has no pings and lasts 60 s."""
    with server.raw(session_ms=60_000) as client:
        yield client
