"""What a client says of itself, and the stream of its states."""

from __future__ import annotations

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import away, raises, ticket_of, until

CONNECTED, SUSPENDED = zk.SessionState.CONNECTED, zk.SessionState.SUSPENDED


@check
async def check_facts(harness: Harness, world: World) -> None:
    """State, session, server and timeout as they are."""
    async with harness.open_client(world.hosts, session_timeout=2) as client:
        assert (client.state, client.session_timeout, client.server) == (CONNECTED, 2, world.hosts)
        assert client.session_id != 0
        ticket = ticket_of(client)
        assert ticket.session_id == client.session_id
        assert repr(ticket.password) not in repr(ticket) + repr(client)
        stat = world.set(world.root, b"x")
        await client.sync()
        assert client.last_zxid >= stat.mzxid
        assert (client.chroot, "connected" in repr(client)) == ("", True)
    assert (client.state, client.server) == (zk.SessionState.CLOSED, None)


@check
async def check_states(harness: Harness, world: World) -> None:
    """The stream begins with the state there is, tells of each change, and ends behind the last one."""
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client, client.states() as states:
            assert await anext(states) is CONNECTED
            async with away(harness, client, proxy):
                assert await anext(states) is SUSPENDED
                async with client.states() as late:
                    assert await anext(late) is SUSPENDED
            assert await anext(states) is CONNECTED
            await client.aclose()
            assert [state async for state in states] == [zk.SessionState.CLOSED]
            with raises(zk.LocalProtocolError):
                await states.__aenter__()


@check
async def check_newest_state_wins(harness: Harness, world: World) -> None:
    """Who reads slowly misses states in between, but not the latest one."""
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client, client.states() as states:
            for _ in range(2):
                async with away(harness, client, proxy):
                    pass
            assert await anext(states) is CONNECTED
            with raises(TimeoutError):
                await harness.within(0.01, lambda: anext(states))


@check
async def check_left_states(harness: Harness, world: World) -> None:
    """Leaving the scope ends the iteration of whoever still waits in it."""
    async with harness.open_client(world.hosts) as client:
        stream = client.states()
        seen: list[zk.SessionState] = []
        ended: list[bool] = []

        async def watch() -> None:
            async for state in stream:
                seen.append(state)
            ended.append(True)

        async def leave() -> None:
            await until(harness, lambda: seen)
            await stream.__aexit__(None, None, None)

        await stream.__aenter__()
        await harness.together(watch, leave)
        assert (seen, ended) == ([CONNECTED], [True])
