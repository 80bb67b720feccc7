"""A client of the shared server."""

from collections.abc import AsyncIterator

import pytest

import zk_trio as zk
from tests.support.servers import ZooKeeperServer


@pytest.fixture
async def client(server: ZooKeeperServer) -> AsyncIterator[zk.Client]:
    """A client of the shared server."""
    async with zk.open_client(server.hosts) as opened:
        yield opened
