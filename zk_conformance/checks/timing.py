"""What happens because time passes. These wait for the clock, so they run side by side."""

from __future__ import annotations

from functools import partial
from time import monotonic

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import raises, reach, ticket_of, until

CONNECTED, PRESUMED_LOST, EXPIRED = (
    zk.SessionState.CONNECTED,
    zk.SessionState.PRESUMED_LOST,
    zk.SessionState.EXPIRED,
)
PING = 11


@check
async def check_timing(harness: Harness, world: World) -> None:
    """Pings keep a session, silence ends it, and no wait takes longer than it should."""
    functions = (idle, silence, expiry, unreachable, silent_server)
    await harness.together(*[partial(function, harness, world) for function in functions])


async def idle(harness: Harness, world: World) -> None:
    """Pings keep the session of a client that does nothing."""
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=1) as client:
            path = await client.create(f"{world.root}/idle", ephemeral=True)
            session = client.session_id
            await until(harness, lambda: proxy.opcodes.count(PING) >= 4)
            assert (client.state, client.session_id, proxy.connections) == (CONNECTED, session, 1)
            assert world.exists(path) is not None


async def silence(harness: Harness, world: World) -> None:
    """Silence suspends the session, then ends what is leased; a server's word decides what follows."""
    with world.proxy() as proxy:
        asked = monotonic()
        async with harness.open_client(proxy.hosts, session_timeout=1) as client, client.states() as states:
            session = client.session_id
            began = monotonic()
            proxy.black_hole()
            await reach(harness, client, PRESUMED_LOST)
            lost = monotonic()
            assert asked + 1 < lost < began + 3  # no server can have dropped the session before
            assert client.session_id == session
            proxy.heal()
            await reach(harness, client, CONNECTED)
            assert [await anext(states) for _ in range(2)] in ([PRESUMED_LOST, CONNECTED], [PRESUMED_LOST, EXPIRED])
            assert await client.exists(world.root) is not None


async def expiry(harness: Harness, world: World) -> None:
    """If asked to, a client without a server does not wait for the server's word."""
    settings: zk.ClientSettings = {"session_timeout": 1, "expire_locally": True, "on_expiry": "raise"}
    with world.proxy() as proxy:
        asked = monotonic()
        with raises(zk.SessionExpiredError):
            async with harness.open_client(proxy.hosts, **settings) as client:
                ticket = ticket_of(client)
                proxy.black_hole()
                began = monotonic()
                async with client.watch_exists(f"{world.root}/a"):
                    raise AssertionError("there is no server")
        assert asked + 4 / 3 < monotonic() < began + 4
        assert client.state is EXPIRED
    world.expire(ticket)


async def unreachable(harness: Harness, world: World) -> None:
    """Without a server opening fails in time, and says what each server answered."""
    with world.proxy() as proxy:
        proxy.refuse()
        began = monotonic()
        with raises(zk.ConnectError) as caught:
            async with harness.open_client(proxy.hosts, open_timeout=0.3):
                raise AssertionError("it opened")
        assert 0.25 < monotonic() - began < 3
        assert list(caught.value.failures) == [proxy.hosts]
        assert "refused" in str(caught.value)


async def silent_server(harness: Harness, world: World) -> None:
    """A server that accepts connections and says nothing is not waited for longer than that."""
    with world.proxy() as proxy:
        proxy.black_hole()
        began = monotonic()
        with raises(zk.ConnectError) as caught:
            async with harness.open_client(proxy.hosts, open_timeout=0.3):
                raise AssertionError("it opened")
        assert 0.25 < monotonic() - began < 3
        assert list(caught.value.failures) == [proxy.hosts]
