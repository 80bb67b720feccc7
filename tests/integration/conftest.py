"""A client of the shared server, and a limit for every test."""

from collections.abc import AsyncIterator

import pytest
import trio

import zk_trio as zk
from tests.support.servers import AnyServer

LIMIT = 90.0


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """A test that hangs is cancelled, so that it fails in order and says where it was."""

    async def give_up() -> None:
        await trio.sleep(LIMIT)
        raise trio.TooSlowError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
async def client(server: AnyServer) -> AsyncIterator[zk.Client]:
    """A client of the shared server."""
    async with zk.open_client(server.hosts) as opened:
        yield opened
