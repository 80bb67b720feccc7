"""The end of a client: every caller gets an outcome, the server forgets the session, and nothing is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Any

import zk_sansio as zk

from .._port import Harness, Proxy, World
from .._run import check
from .._tools import outcome, raises, ticket_of, until


@check
async def check_closed_under_load(harness: Harness, world: World) -> None:
    """Many callers are in flight while the scope ends: what the server got is answered, the rest is told."""
    root = world.root
    outcomes: dict[int, Any] = {}
    started: list[int] = []

    async def call(client: zk.Client, n: int) -> None:
        started.append(n)
        kinds: list[Callable[[], Awaitable[object]]] = [
            lambda: client.create(f"{root}/{n}"),
            lambda: client.create(f"{root}/{n}", ephemeral=True),
            lambda: client.get(root),
            lambda: client.get_many([root] * 20),
            lambda: client.wait_for(f"{root}/never"),
            lambda: client.transaction().create(f"{root}/{n}").commit(),
        ]
        outcomes[n] = await outcome(kinds[n % len(kinds)])
        while not isinstance(await outcome(lambda: client.get(root)), zk.ClosedError):
            await client.get_many([root] * 5)

    async def close(client: zk.Client) -> None:
        await until(harness, lambda: len(started) == 60)
        await client.aclose()

    async with harness.open_client(world.hosts, max_in_flight=5) as client:
        calls = [partial(harness.within, 5, partial(call, client, n)) for n in range(60)]
        await harness.together(*calls, partial(close, client))
    assert len(outcomes) == 60
    made = {n for n in range(60) if n % 6 in (0, 5) and world.exists(f"{root}/{n}")}
    for n, result in outcomes.items():
        if n % 6 == 4:
            assert isinstance(result, zk.ClosedError)
        if isinstance(result, Exception):
            assert isinstance(result, zk.ClosedError)
            assert n not in made or result.maybe_applied
        elif n % 6 in (0, 5):
            assert n in made
    assert sorted(world.children(root)) == sorted(str(n) for n in made)


@check
async def check_last_calls(harness: Harness, world: World) -> None:
    """What was asked before the end is answered before the end."""
    root = world.root
    made: list[str] = []

    async def create(client: zk.Client, n: int) -> None:
        made.append(await client.create(f"{root}/{n}"))

    async with harness.open_client(world.hosts) as client:

        async def close() -> None:
            await until(harness, lambda: len(made) > 5)
            await client.aclose()

        async def create_some(n: int) -> None:
            with raises(zk.ClosedError):
                for m in range(10_000):
                    await create(client, 10_000 * n + m)

        await harness.together(close, *[partial(create_some, n) for n in range(5)])
    assert len(made) >= 5
    assert {path.rpartition("/")[2] for path in made} <= set(world.children(root))
    assert len(world.children(root)) <= len(made) + 5  # each may have been at its last


@check
async def check_calls_after_the_end(harness: Harness, world: World) -> None:
    """They fail at once; closing again is no error."""
    async with harness.open_client(world.hosts) as client:
        await client.aclose()
        await client.aclose()
        assert client.state is zk.SessionState.CLOSED
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: client.get(world.root),
        lambda: client.create(f"{world.root}/a"),
        lambda: client.sync(world.root),
        lambda: client.add_auth("digest", "bob:secret"),
        lambda: client.transaction().create(f"{world.root}/a").commit(),
        lambda: client.wait_for(f"{world.root}/a"),
        lambda: client.watch(world.root).__aenter__(),
        lambda: client.ensure_path(f"{world.root}/a/b"),
    ]
    for call in calls:
        with raises(zk.ClosedError) as caught:
            await call()
        assert caught.value.maybe_applied is False
    (lost,) = await client.get_many([world.root])
    assert isinstance(lost, zk.ClosedError)
    await client.aclose()
    async with client.states() as states:
        assert [state async for state in states] == [zk.SessionState.CLOSED]


@check
async def check_error_in_the_body(harness: Harness, world: World) -> None:
    """What the body raises comes out as it is, behind an orderly end."""
    with raises(ZeroDivisionError):
        async with harness.open_client(world.hosts) as client:
            await client.create(f"{world.root}/e", ephemeral=True)
            raise ZeroDivisionError
    assert world.children(world.root) == []
    with raises(zk.NoNodeError):
        async with harness.open_client(world.hosts) as client:
            await client.get(f"{world.root}/none")


@check
async def check_nothing_is_left(harness: Harness, world: World) -> None:
    """Many clients come and go: no connection, session, watch or ephemeral of theirs is left, and no task."""
    before, leftovers = world.connections(), harness.leftovers()
    sessions: list[int] = []

    async def use() -> None:
        async with harness.open_client(world.hosts) as client:
            sessions.append(client.session_id)
            await client.create(f"{world.root}/e-", ephemeral=True, sequential=True)
            async with client.watch(world.root), client.watch_exists(f"{world.root}/a"):
                await client.get(world.root)

    await harness.together(*[use] * 10)
    assert world.children(world.root) == []
    await until(harness, lambda: world.connections() <= before)
    assert len(set(sessions)) == 10
    assert not any(world.ephemerals(session) | world.watches(session) for session in sessions)
    await until(harness, lambda: harness.leftovers() == leftovers, lambda: f"left: {harness.leftovers()}")


@check
async def check_closed_while_suspended(harness: Harness, world: World) -> None:
    """A client without a connection ends at once, and so do the calls that wait for one."""
    results: list[Any] = []
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, close_grace=1) as client:
            ticket = ticket_of(client)
            proxy.refuse()
            proxy.cut()
            await until(harness, lambda: client.state is zk.SessionState.SUSPENDED)

            async def wait() -> None:
                results.append(await outcome(lambda: client.create(f"{world.root}/a")))

            async def close() -> None:
                await harness.sleep(0.02)
                await client.aclose(grace=0.1)

            await harness.together(wait, close)
        assert [type(result) for result in results] == [zk.ClosedError]
        assert results[0].maybe_applied is False
    world.expire(ticket)


@check
async def check_closed_while_callers_wait_for_room(harness: Harness, world: World) -> None:
    """Who waits for room is told, and a call made at that moment does not wait for those who were told."""
    told: list[int] = []
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, max_in_flight=1) as client:
            ticket = ticket_of(client)
            started: list[int] = []

            async def call(n: int) -> None:
                started.append(n)
                for _ in range(3):
                    with raises(zk.ClosedError):
                        await client.get(world.root)
                told.append(n)

            async def close() -> None:
                await until(harness, lambda: len(started) == 8)
                await client.aclose(grace=0.05)

            proxy.black_hole()
            await harness.together(close, *[partial(harness.within, 5, partial(call, n)) for n in range(8)])
    assert sorted(told) == [*range(8)]
    world.expire(ticket)


@check
async def check_closed_without_the_servers_word(harness: Harness, world: World) -> None:
    """The scope ends in time all the same; then the client is closed, and who waits for something is told."""

    async def use(grace: float) -> None:
        results: list[Any] = []
        opened: list[zk.Client] = []

        async def live(proxy: Proxy) -> None:
            async with harness.open_client(proxy.hosts, close_grace=grace) as client:
                ticket = ticket_of(client)
                opened.append(client)
                await until(harness, lambda: proxy.requests >= 4)  # all others wait
                proxy.black_hole()
                began = monotonic()
            assert 0.9 * grace <= monotonic() - began < grace + 2
            assert client.state is zk.SessionState.CLOSED
            world.expire(ticket)

        async def wait(function: Callable[[zk.Client], Awaitable[object]]) -> None:
            await until(harness, lambda: opened)
            results.append(await outcome(lambda: harness.within(grace + 2, lambda: function(opened[0]))))

        async def next_change(client: zk.Client) -> None:
            async with client.watch(world.root) as changes:
                await anext(changes)

        async def next_event(client: zk.Client) -> None:
            async with client.watch_data(world.root) as watch:
                await watch.fired()

        async def read_on(client: zk.Client) -> None:
            while True:
                await client.get_many([world.root] * 3)
                await client.get(world.root)

        with world.proxy() as proxy:
            waits = [lambda client: client.wait_for(f"{world.root}/a"), next_change, next_event, read_on]
            await harness.together(partial(live, proxy), *[partial(wait, each) for each in waits])
        assert [type(result) for result in results] == [zk.ClosedError] * 4

    await harness.together(*[partial(use, grace) for grace in (0, 0.2, 0.21, 0.22, 0.23, 0.24)])
