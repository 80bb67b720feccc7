"""Servers and clients in memory, under a clock that jumps: hours of a session in milliseconds."""

from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock

import zk_trio
import zk_trio.testing
from zk_sansio.errors import LeaseLostError
from zk_sansio.session import SessionState

pytestmark = pytest.mark.trio


async def test_an_hour_of_pings(autojump_clock: MockClock) -> None:
    start = time.perf_counter()
    async with zk_trio.testing.open_server() as server, server.open_client(session_timeout=10) as client:
        await client.create("/here", ephemeral=True)
        session = client.session_id
        await trio.sleep(3600)
        assert client.session_id == session
        assert server.exists("/here")
        assert server.faults.requests > 300  # pings
    assert time.perf_counter() - start < 10


async def test_a_session_expires(autojump_clock: MockClock) -> None:
    start = time.perf_counter()
    async with zk_trio.testing.open_server(3) as server, server.open_client(session_timeout=30) as client:
        await client.create("/here", ephemeral=True)
        server.faults.black_hole()
        with trio.fail_after(31):
            while server.exists("/here"):
                await trio.sleep(0.1)
        server.faults.heal()
        async with client.states() as states:
            async for state in states:
                if state is SessionState.CONNECTED:
                    break
        assert await client.exists("/here") is None
    assert time.perf_counter() - start < 2


async def test_a_lease_is_lost(autojump_clock: MockClock) -> None:
    async with zk_trio.testing.open_server() as server, server.open_client() as one, server.open_client() as two:
        with pytest.raises(LeaseLostError):
            async with one.lock("/lock"):
                server.expire(one)
                async with two.lock("/lock"):
                    await trio.sleep_forever()


async def test_containers_and_times_to_live(autojump_clock: MockClock) -> None:
    async with zk_trio.testing.open_server() as server, server.open_client() as client:
        await client.create("/container", container=True)
        await client.create("/container/child")
        await client.create("/short", ttl=60.0)
        await client.delete("/container/child")
        await trio.sleep(1)
        assert server.children() == ["short", "zookeeper"]
        await trio.sleep(60)
        assert server.children() == ["zookeeper"]


async def test_a_hundred_clients_with_a_bad_network(autojump_clock: MockClock) -> None:
    async with zk_trio.testing.open_server(5) as server:
        server.faults.delay(0.1)

        async def work(number: int) -> None:
            async with server.open_client() as client:
                for _ in range(5):
                    await client.create(f"/{number}-", sequential=True)
                    await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(work, number)
        assert len(server.children()) == 501
        assert server.connections() == 0
