"""What tests of recipes do with the fake server: end one session of several, lose one client, look for leftovers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

import zk_trio
from tests.trio.fake import FakeServer
from zk_sansio.recipes import contenders
from zk_trio import Client, SessionState

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
TIMEOUT = 9.0


def open_client(hosts: str = A, **settings: Any) -> AbstractAsyncContextManager[Client]:
    """A client with a session timeout that is easy to reckon with."""
    return zk_trio.open_client(hosts, **({"session_timeout": TIMEOUT} | settings))


def queue(fake: FakeServer, path: str) -> list[str]:
    """Who queues for a lock, by full paths."""
    return [f"{path}/{name}" for name in contenders(fake._children(path))]


async def reach(client: Client, state: SessionState) -> None:
    """Wait until a client is in a state."""
    async with client.states() as states:
        async for each in states:
            if each is state:
                return


def hang_up(fake: FakeServer, client: Client) -> None:
    """Close the connection of one client."""
    for link in list(fake.links):
        if link.session == client.session_id:
            link.stream.socket.close()


async def end_session(fake: FakeServer, client: Client) -> None:
    """Expire one session; its client does not know."""
    fake.zxid += 1
    fake._end_session(client.session_id)
    await fake._fire()


async def expire(fake: FakeServer, client: Client) -> None:
    """Expire one session, and let its client find out."""
    await end_session(fake, client)
    hang_up(fake, client)


@asynccontextmanager
async def away(fake: FakeServer, client: Client, host: str = A) -> AsyncIterator[None]:
    """Keep the one client that knows this host only from reaching it."""
    fake.lost_packets |= {host}
    try:
        hang_up(fake, client)
        await reach(client, SessionState.SUSPENDED)
        yield
    finally:
        fake.lost_packets -= {host}


async def presume_lost(fake: FakeServer, client: Client, host: str = A) -> None:
    """Keep it away until its session is presumed lost, and a little longer; the session lives."""
    async with away(fake, client, host):
        await reach(client, SessionState.PRESUMED_LOST)


async def settled(client: Client) -> None:
    """Wait until the client is connected, and has done what it does in the background."""
    await reach(client, SessionState.CONNECTED)
    for _ in range(4):
        await client.sync()
    await wait_all_tasks_blocked()


def assert_idle(client: Client) -> None:
    """Nothing is under way, nothing is waited for, nothing is to be removed."""
    engine = client._engine
    session = engine.session
    assert session.in_flight == session.queued_bytes == 0
    assert len(session._watches) == 0
    assert not session._watches._arming
    assert not session._book.own
    assert not session._orphans._suspects
    assert not engine._room
    assert not engine._turn
    assert not engine.listeners


@asynccontextmanager
async def nothing_left(fake: FakeServer, *clients: Client, path: str) -> AsyncIterator[None]:
    """Whatever happens inside: in the end nobody queues, nobody watches, and the lock can be taken at once."""
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    for client in clients:
        await settled(client)
        assert_idle(client)
    assert fake.ephemerals == []
    assert fake.watches == 0
    assert trio.lowlevel.current_statistics().tasks_living == before
    for client in clients:
        with trio.fail_after(1):
            async with client.lock(path) as lock:
                assert queue(fake, path) == [lock.node]
    assert fake.ephemerals == []
