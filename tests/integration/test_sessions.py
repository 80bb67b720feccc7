"""The end of sessions, and sessions that go from one client to another."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import (
    brief,
    connections_of,
    ephemerals_of,
    next_change,
    open_connections,
    reach,
    until,
    watches_of,
)
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient, RawError, expire
from tests.support.servers import HOST, AnyServer

pytestmark = pytest.mark.trio


async def expire_behind(client: zk.Client, proxy: ChaosProxy, server: AnyServer) -> None:
    """A rival ends the session while its owner cannot be reached, and takes it back in vain."""
    ticket = client.ticket
    assert ticket is not None
    proxy.refuse()
    proxy.cut()
    await reach(client, zk.SessionState.SUSPENDED)
    expire(HOST, server.port, (ticket.session_id, ticket.password))
    proxy.heal()


async def test_expired_session_is_followed_by_a_new_one(
    proxy: ChaosProxy, server: AnyServer, root: str, witness: RawClient
) -> None:
    async with zk.open_client(proxy.hosts, auth=[("digest", "bob:secret")]) as client:
        old = client.session_id
        await client.create(f"{root}/e", ephemeral=True)
        async with (
            client.watch(root) as changes,
            client.watch_exists(f"{root}/a") as watch,
            client.states() as states,
        ):
            await expire_behind(client, proxy, server)
            with pytest.raises(zk.SessionExpiredError):
                await watch.fired()
            assert brief(await next_change(changes)) == ("GAP", "new session")
            assert client.session_id not in (0, old)
            assert witness.children(root) == []
            assert zk.Id("digest", "bob") in await client.whoami()
            witness.create(f"{root}/b")
            assert brief(await next_change(changes)) == ("CHILDREN_CHANGED", root)
            assert await anext(states) is zk.SessionState.EXPIRED
            assert await anext(states) is zk.SessionState.CONNECTED
        await until(lambda: not watches_of(server, client.session_id))
        stat = await client.exists(await client.create(f"{root}/e", ephemeral=True))
        assert stat is not None
        assert stat.ephemeral_owner == client.session_id


async def test_expiry_ends_the_scope_if_asked_to(proxy: ChaosProxy, server: AnyServer, root: str) -> None:
    cancelled = False
    with pytest.raises(zk.SessionExpiredError):
        async with zk.open_client(proxy.hosts, on_expiry="raise") as client:
            await client.create(f"{root}/e", ephemeral=True)
            await expire_behind(client, proxy, server)
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled = True
                with pytest.raises(zk.SessionExpiredError), trio.CancelScope(shield=True):
                    await client.get(root)
                raise
    assert cancelled


async def test_calls_of_an_expired_session_say_whether_they_were_sent(
    proxy: ChaosProxy, server: AnyServer, root: str, witness: RawClient
) -> None:
    """What was in flight at the loss, and what waited for a connection that never came."""
    outcomes: dict[str, BaseException | str] = {}
    async with zk.open_client(proxy.hosts) as client:
        ticket = client.ticket
        assert ticket is not None

        async def create(name: str) -> None:
            try:
                outcomes[name] = await client.create(f"{root}/{name}")
            except zk.SessionError as error:
                outcomes[name] = error

        async with trio.open_nursery() as nursery:
            proxy.black_hole("replies")
            nursery.start_soon(create, "sent")
            await until(lambda: witness.exists(f"{root}/sent") is not None)
            proxy.refuse()
            proxy.cut()
            await reach(client, zk.SessionState.SUSPENDED)
            nursery.start_soon(create, "waiting")
            await trio.testing.wait_all_tasks_blocked()
            expire(HOST, server.port, (ticket.session_id, ticket.password))
            proxy.heal()
        sent, waiting = outcomes["sent"], outcomes["waiting"]
        assert isinstance(sent, zk.ConnectionLossError)
        assert sent.maybe_applied is True
        assert isinstance(waiting, zk.SessionExpiredError)
        assert waiting.maybe_applied is False
        assert witness.children(root) == ["sent"]
        assert await client.create(f"{root}/next") == f"{root}/next"


async def test_session_that_expires_on_a_live_connection(server: AnyServer, root: str) -> None:
    """The server just closes the connection; the next handshake says why."""
    async with zk.open_client(server.hosts) as client:
        old = client.session_id
        await client.create(f"{root}/e", ephemeral=True)
        ticket = client.ticket
        assert ticket is not None

        def is_over() -> bool:
            # Both sides take the session from each other until the rival gets its word in.
            with suppress(OSError, RawError):
                expire(HOST, server.port, (ticket.session_id, ticket.password))
            return client.session_id not in (0, old)

        await until(is_over)
        assert await client.get_children(root) == []


async def test_resumed_by_its_ticket(server: AnyServer, root: str, witness: RawClient) -> None:
    async with zk.open_client(server.hosts, keep_session=True) as first:
        await first.create(f"{root}/e", ephemeral=True)
        ticket = first.ticket
    assert ticket is not None
    assert witness.exists(f"{root}/e") is not None
    async with zk.open_client(server.hosts, ticket=ticket) as second:
        assert second.session_id == ticket.session_id
        assert await second.get_ephemerals() == [f"{root}/e"]
        assert second.last_zxid >= ticket.last_zxid
        await second.create(f"{root}/f", ephemeral=True)
        assert ephemerals_of(server, ticket.session_id) == {f"{root}/e", f"{root}/f"}
    assert witness.children(root) == []


async def test_moved_to_another_client(proxy: ChaosProxy, server: AnyServer, root: str) -> None:
    """The last one to come has the session; the first is told by the end of its connection."""
    async with zk.open_client(proxy.hosts, keep_session=True, retry=zk.RetryPolicy(max_attempts=1)) as first:
        await first.create(f"{root}/e", ephemeral=True)
        proxy.refuse()
        async with zk.open_client(server.hosts, ticket=first.ticket) as second:
            assert second.session_id == first.session_id
            await reach(first, zk.SessionState.SUSPENDED)
            assert await second.get_ephemerals() == [f"{root}/e"]
            assert connections_of(server, second.session_id) == 1
            proxy.black_hole()
        proxy.heal()
        # The second has ended the session.
        await until(lambda: first.session_id not in (0, second.session_id))
        assert await first.get_children(root) == []


async def test_ticket_of_a_session_that_is_over(server: AnyServer) -> None:
    """Who holds a ticket counts on that session: no other one takes its place."""
    async with zk.open_client(server.hosts) as client:
        ticket = client.ticket
    assert ticket is not None
    wrong = zk.SessionTicket(session_id=ticket.session_id, password=b"0123456789abcdef")
    for lost in (ticket, wrong):
        with pytest.raises(zk.SessionExpiredError):
            async with zk.open_client(server.hosts, ticket=lost):
                pytest.fail("it opened")


async def test_everything_is_gone_after_the_scope(server: AnyServer, root: str) -> None:
    await until(lambda: open_connections(server) == 0)
    ids = []
    async with trio.open_nursery() as nursery:

        async def use() -> None:
            async with zk.open_client(server.hosts) as client:
                ids.append(client.session_id)
                await client.create(f"{root}/e-", ephemeral=True, sequential=True)
                async with client.watch(root):
                    await client.get(root)

        for _ in range(20):
            nursery.start_soon(use)
    await until(lambda: open_connections(server) == 0)
    dumped = server.four_letter("dump")
    assert not [session for session in ids if f"{session & (2**64 - 1):x}" in dumped]


async def test_scope_that_is_cancelled_ends_its_session(server: AnyServer, root: str, witness: RawClient) -> None:
    with trio.CancelScope() as scope:
        async with zk.open_client(server.hosts) as client:
            await client.create(f"{root}/e", ephemeral=True)
            scope.cancel()
            await trio.sleep_forever()
    assert witness.children(root) == []
    await until(lambda: not connections_of(server, client.session_id))


async def test_calls_after_the_end(server: AnyServer, root: str) -> None:
    async with zk.open_client(server.hosts) as client:
        pass
    calls: list[Callable[[], Awaitable[object]]] = [lambda: client.get(root), lambda: client.create(f"{root}/a")]
    for call in calls:
        with pytest.raises(zk.ClosedError):
            await call()
    assert client.state is zk.SessionState.CLOSED
    await client.aclose()


async def test_last_calls_are_answered_before_the_session_ends(
    server: AnyServer, root: str, witness: RawClient
) -> None:
    made = []
    asked = 0
    async with trio.open_nursery() as nursery, zk.open_client(server.hosts) as client:

        async def create(n: int) -> None:
            nonlocal asked
            asked += 1
            made.append(await client.create(f"{root}/{n}"))

        for n in range(50):
            nursery.start_soon(create, n)
        while asked < 50:
            await trio.lowlevel.checkpoint()
    assert len(made) == len(witness.children(root)) == 50
