"""The world of the checks."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.conformance.memory_world import memory_world
from tests.conformance.real_world import RealWorld
from tests.conftest import PROFILES
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
def world(zookeeper: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """A world for one check: a server in memory of its own, or a znode on the real server."""
    if zookeeper in PROFILES:
        with memory_world(PROFILES[zookeeper]) as made:
            yield made
        return
    server: ZooKeeperServer = request.getfixturevalue("server")
    witness: RawClient = request.getfixturevalue("witness")
    root = witness.create(f"/conformance-{uuid4().hex[:12]}")
    yield RealWorld(server, witness, root)
    witness.delete_all(root)
