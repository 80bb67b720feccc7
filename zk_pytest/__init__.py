"""A plugin for pytest: fixtures with a ZooKeeper in memory. Installed with the project, it needs no import.

::

    def test_plain(zk_client):
        zk_client.create("/here", b"it is")

    async def test_trio(zk_server):  # or with anyio, or asyncio: the server has a thread of its own
        async with zk_trio.open_client(zk_server.hosts) as client:
            await client.create("/here")
            assert zk_server.exists("/here")

    @pytest.mark.zk_server(3, profile="3.8")
    def test_quorum(zk_server):
        zk_server.lose_quorum()

What the fixtures give is described with `zk_blocking.testing`. A test that lives in one event loop can do without
them: ``async with zk_trio.testing.open_server() as server``, or the same of `zk_anyio.testing`, has clients in memory.
Under trio's autojump clock nothing has to be waited for there.

As every run of pytest loads this module, nothing else of the project is loaded before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zk_blocking import Client
    from zk_blocking.testing import InMemoryServer

__all__ = ["pytest_configure", "zk_client", "zk_server"]

_MARKER = """\
zk_server(size=1, **options): how the ZooKeeper of the fixture zk_server is set up, with the arguments of \
zk_blocking.testing.open_server; what is not said at a function is taken from its class, and from its module"""


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest about the marker.

    Args:
        config: of this run.
    """
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def zk_server(request: pytest.FixtureRequest) -> Iterator[InMemoryServer]:
    """A ZooKeeper in memory, fresh for each test, served by a thread; any client can connect to ``zk_server.hosts``."""
    # Not at the top: nearly no run of pytest needs it.
    from zk_blocking.testing import open_server

    if "autojump_clock" in request.fixturenames:
        pytest.fail("zk_server lives in real time, which autojump_clock jumps over: use zk_trio.testing.open_server()")
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("zk_server"))):  # the closest one last: it has the last word
        if len(mark.args) > 1:
            raise TypeError(f"the marker zk_server takes the size and named options, not {mark.args!r}")
        if mark.args and "size" in mark.kwargs:
            raise TypeError(f"the marker zk_server takes one size, not {mark.args[0]!r} and {mark.kwargs['size']!r}")
        options |= dict(zip(["size"], mark.args, strict=False)) | mark.kwargs
    with open_server(**options) as server:
        yield server


@pytest.fixture
def zk_client(zk_server: InMemoryServer) -> Iterator[Client]:
    """A client of `zk_server`, one of `zk_blocking`."""
    import zk_blocking

    # The server may be down when the test is over: then nobody waits for it.
    with zk_blocking.open_client(zk_server.hosts, close_grace=1.0) as client:
        yield client
        zk_server.faults.heal()  # what a test has broken is not to hold up its end
