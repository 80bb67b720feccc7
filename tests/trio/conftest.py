"""A fake ZooKeeper in place of the network."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.trio.fake import FakeServer


@pytest.fixture
async def fake(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeServer]:
    """A server behind every address; no socket of a client outlives the test."""
    server = FakeServer(nursery)
    monkeypatch.setattr("zk_trio._driver.dial", server.dial)
    yield server
    left = [sock for sock in server.sockets if sock.fileno() != -1]
    for sock in left:
        sock.close()
    assert not left, "the client has left sockets open"
