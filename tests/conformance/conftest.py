"""The world of the checks."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.conformance.real_world import RealWorld
from tests.support.raw import RawClient
from tests.support.servers import ZooKeeperServer
from tests.support.settings import SUPER
from zk_conformance import World


@pytest.fixture(scope="module")
def witness(server: ZooKeeperServer) -> Iterator[RawClient]:
    """An independent client that may do everything; its session has no pings, but something to do all the time."""
    with server.raw(session_ms=60_000) as client:
        client.add_auth("digest", ":".join(SUPER).encode())
        yield client


@pytest.fixture
def world(server: ZooKeeperServer, witness: RawClient) -> Iterator[World]:
    """The shared server, with a znode for one check."""
    root = witness.create(f"/conformance-{uuid4().hex[:12]}")
    yield RealWorld(server, witness, root)
    witness.delete_all(root)
