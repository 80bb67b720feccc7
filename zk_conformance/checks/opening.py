"""Opening a client: servers that are not there, sessions that are resumed."""

from __future__ import annotations

from time import monotonic

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import raises, reach, ticket_of, until


@check
async def check_opened_without_a_server(harness: Harness, world: World) -> None:
    """If asked not to wait it opens at once, and calls wait for the server."""
    with world.proxy() as proxy:
        proxy.refuse()
        async with harness.open_client(proxy.hosts, open_timeout=0, session_timeout=2) as client:
            assert (client.state, client.session_id, client.ticket) == (zk.SessionState.CONNECTING, 0, None)
            with raises(zk.SuspendedError):
                await client.using(while_suspended="fail").get("/")
            proxy.heal()
            assert await client.exists(world.root) is not None
            assert client.state is zk.SessionState.CONNECTED


@check
async def check_closed_before_connected(harness: Harness, world: World) -> None:
    """A client that never saw a server closes at once."""
    with world.proxy() as proxy:
        for fault in (proxy.refuse, proxy.black_hole):
            fault()
            began = monotonic()
            async with harness.open_client(proxy.hosts, open_timeout=0) as client:
                pass
            assert client.state is zk.SessionState.CLOSED
            assert monotonic() - began < 1


@check
async def check_several_servers(harness: Harness, world: World) -> None:
    """One server that serves is enough, whatever the others do."""
    with world.proxy() as refusing, world.proxy() as silent, world.proxy() as serving:
        refusing.refuse()
        silent.black_hole()
        hosts = [refusing.hosts, silent.hosts, f"{serving.hosts}{world.root}"]
        async with harness.open_client(hosts, connect_timeout=0.2) as client:
            assert client.server == serving.hosts
            await client.create("/a")
        assert world.children(world.root) == ["a"]


@check
async def check_resumed_by_ticket(harness: Harness, world: World) -> None:
    """A session that was kept goes on in another client, with its ephemerals."""
    root = world.root
    async with harness.open_client(world.hosts, keep_session=True) as first:
        await first.create(f"{root}/e", ephemeral=True)
        ticket = ticket_of(first)
    assert world.children(root) == ["e"]
    async with harness.open_client(world.hosts, ticket=ticket) as second:
        assert second.session_id == ticket.session_id
        assert await second.get_ephemerals() == [f"{root}/e"]
        assert second.last_zxid >= ticket.last_zxid
        await second.create(f"{root}/f", ephemeral=True)
        await second.aclose(keep_session=True)
    assert world.children(root) == ["e", "f"]
    async with harness.open_client(world.hosts, ticket=ticket_of(second)):
        pass
    assert world.children(root) == []


@check
async def check_dead_ticket(harness: Harness, world: World) -> None:
    """Who holds a ticket counts on that session: no other one takes its place."""
    async with harness.open_client(world.hosts) as client:
        ticket = ticket_of(client)
    for lost in (ticket, zk.SessionTicket(session_id=ticket.session_id, password=b"0123456789abcdef")):
        with raises(zk.SessionExpiredError):
            async with harness.open_client(world.hosts, ticket=lost):
                raise AssertionError("it opened")


@check
async def check_moved_to_another_client(harness: Harness, world: World) -> None:
    """The last one to come has the session; the first one loses its connection."""
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, keep_session=True, session_timeout=4) as first:
            await first.create(f"{world.root}/e", ephemeral=True)
            proxy.refuse()
            async with harness.open_client(world.hosts, ticket=first.ticket) as second:
                assert second.session_id == first.session_id
                await reach(harness, first, zk.SessionState.SUSPENDED)
                assert await second.get_ephemerals() == [f"{world.root}/e"]
            proxy.heal()
            # The second one has ended the session.
            await until(harness, lambda: first.session_id not in (0, second.session_id))
            assert await first.get_children(world.root) == []
