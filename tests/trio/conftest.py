"""A fake ZooKeeper in place of the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
import trio

from tests.trio.fake import FakeServer


class InOrder(Random):
    """Leaves servers in the order in which they were given, and jitter at a half."""

    def shuffle(self, x: Any) -> None:
        return

    def random(self) -> float:
        return 0.5


@pytest.fixture
async def fake(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeServer]:
    """A server behind every address, tried in order; no socket of a client outlives the test."""
    server = FakeServer(nursery)
    monkeypatch.setattr("zk_trio._driver.dial", server.dial)
    monkeypatch.setattr("zk_trio._open.SystemRandom", InOrder)
    yield server
    left = [sock for sock in server.sockets if sock.fileno() != -1]
    for sock in left:
        sock.close()
    assert not left, "the client has left sockets open"
