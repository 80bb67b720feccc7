"""The end of a session that its client did not ask for."""

from __future__ import annotations

from time import monotonic
from typing import Any

import zk_sansio as zk

from .._port import Harness, Proxy, World
from .._run import check
from .._tools import next_brief, nothing_held, outcome, raises, reach, ticket_of, until

EXPIRED, CONNECTED = zk.SessionState.EXPIRED, zk.SessionState.CONNECTED


async def expire(harness: Harness, world: World, client: zk.Client, proxy: Proxy) -> None:
    """End a session while its client cannot be reached, and let the client find out."""
    ticket = ticket_of(client)
    proxy.refuse()
    proxy.cut()
    await reach(harness, client, zk.SessionState.SUSPENDED)
    world.expire(ticket)
    proxy.heal()


@check
async def check_renewed(harness: Harness, world: World) -> None:
    """A new session takes the place of the old one: watches move over, ephemerals are gone, and all are told."""
    root = world.root
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, auth=[("digest", "bob:secret")], session_timeout=2) as client:
            old = client.session_id
            await client.create(f"{root}/e", ephemeral=True)
            async with (
                client.watch(root) as changes,
                client.watch(root, snapshot=True) as snapshot,
                client.watch_exists(f"{root}/a") as watch,
                client.states() as states,
            ):
                assert await next_brief(snapshot) == ("CREATED", root)
                await expire(harness, world, client, proxy)
                with raises(zk.SessionExpiredError):
                    await watch.fired()
                assert await next_brief(changes) == ("GAP", "new session")
                assert await next_brief(snapshot) == ("CHILDREN_CHANGED", root)
                assert client.session_id not in (0, old)
                assert world.children(root) == []
                assert zk.Id("digest", "bob") in await client.whoami()
                world.create(f"{root}/b")
                assert await next_brief(changes) == await next_brief(snapshot) == ("CHILDREN_CHANGED", root)
                assert [await anext(states) for _ in range(2)] == [EXPIRED, CONNECTED]
            await nothing_held(harness, world, client, root)
            path = await client.create(f"{root}/e", ephemeral=True)
            assert world.ephemerals(client.session_id) == {path}


@check
async def check_raised(harness: Harness, world: World) -> None:
    """If asked to, an expired session ends the scope of its client with that error."""
    with world.proxy() as proxy:
        with raises(zk.SessionExpiredError):
            async with harness.open_client(proxy.hosts, on_expiry="raise", session_timeout=2) as client:
                await client.create(f"{world.root}/e", ephemeral=True)
                await expire(harness, world, client, proxy)
                deadline = monotonic() + 5
                while monotonic() < deadline:
                    if not harness.cancels:
                        await client.exists(world.root)
                    await harness.sleep(0.005)
                raise AssertionError("the body went on")
        assert client.state is EXPIRED
        with raises(zk.SessionExpiredError):
            await client.get(world.root)


@check
async def check_watches_of_a_raised_one(harness: Harness, world: World) -> None:
    """Who waits for a change when the client is at its end is not left waiting."""
    with world.proxy() as proxy, raises(zk.SessionExpiredError):
        async with (
            harness.open_client(proxy.hosts, on_expiry="raise", session_timeout=2) as client,
            client.watch(world.root) as changes,
        ):
            await expire(harness, world, client, proxy)
            await anext(changes)
            raise AssertionError("there was a change")


@check
async def check_calls_of_an_expired_session(harness: Harness, world: World) -> None:
    """What was in flight at the loss may have happened, what waited for a connection has not, and both say so."""
    root = world.root
    outcomes: dict[str, Any] = {}
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client:

            async def create(name: str) -> None:
                outcomes[name] = await outcome(lambda: client.create(f"{root}/{name}"))

            async def create_waiting() -> None:
                await until(harness, lambda: client.state is zk.SessionState.SUSPENDED)
                await create("waiting")

            async def end() -> None:
                ticket = ticket_of(client)
                await until(harness, lambda: world.exists(f"{root}/sent"))
                proxy.refuse()
                proxy.cut()
                await until(harness, lambda: "sent" in outcomes)
                await harness.sleep(0.05)
                world.expire(ticket)
                proxy.heal()

            proxy.black_hole("replies")
            await harness.together(lambda: create("sent"), create_waiting, end)
            sent, waiting = outcomes["sent"], outcomes["waiting"]
            assert isinstance(sent, zk.ConnectionLossError)
            assert sent.maybe_applied is True
            assert isinstance(waiting, zk.SessionExpiredError)
            assert waiting.maybe_applied is False
            assert world.children(root) == ["sent"]
            assert await client.create(f"{root}/next") == f"{root}/next"
