"""Many callers of one client at once."""

from __future__ import annotations

from functools import partial

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import raises


@check
async def check_answers_find_their_callers(harness: Harness, world: World) -> None:
    """Each caller gets the answer to its own question."""
    root = world.root
    async with harness.open_client(world.hosts) as client:

        async def work(n: int) -> None:
            path = await client.create(f"{root}/{n}", b"%d" % n)
            for k in range(10):
                data, stat = await client.get(path)
                assert (data, stat.version) == (b"%d" % (n + k), k)
                assert (await client.set(path, b"%d" % (n + k + 1), version=k)).version == k + 1
                with raises(zk.NoNodeError) as caught:
                    await client.get(f"{path}/{k}")
                assert caught.value.path == f"{path}/{k}"
            assert await client.get_children(path) == []

        await harness.together(*[partial(work, n) for n in range(30)])
        assert len(world.children(root)) == 30


@check
async def check_callers_wait_for_room(harness: Harness, world: World) -> None:
    """With less room than callers all have their turn, also behind those who give up."""
    root = world.root
    async with harness.open_client(world.hosts, max_in_flight=2, high_water=2_000, low_water=500) as client:
        done: list[int] = []

        async def work(n: int) -> None:
            for k in range(5):
                await client.create(f"{root}/{n}-{k}", bytes(400))
            done.append(n)

        async def give_up(n: int) -> None:
            for step in range(3):
                await harness.interrupt(step, partial(client.get, root))

        await harness.together(*[partial(work, n) for n in range(20)], *[partial(give_up, n) for n in range(10)])
        assert sorted(done) == [*range(20)]
        assert len(world.children(root)) == 100
        assert await client.exists(root) is not None


@check
async def check_order(harness: Harness, world: World) -> None:
    """What one caller asks for happens in the order in which it asks."""
    async with harness.open_client(world.hosts) as client:

        async def work(n: int) -> None:
            path = await client.create(f"{world.root}/{n}")
            async with client.watch(path) as changes:
                zxids = [(await client.set(path, b"")).mzxid for _ in range(10)]
                assert zxids == sorted(zxids)
                for _ in range(10):
                    change: zk.Change = await anext(changes)
                    assert isinstance(change, zk.WatchEvent)
                    assert change.path == path

        await harness.together(*[partial(work, n) for n in range(10)])


@check
async def check_many_clients(harness: Harness, world: World) -> None:
    """Clients side by side do not disturb each other."""

    async def use(n: int) -> None:
        async with harness.open_client(world.hosts) as client:
            path = await client.create(f"{world.root}/{n}", ephemeral=True)
            async with client.watch(path) as changes:
                await client.set(path, b"")
                await anext(changes)
            sessions.add(client.session_id)

    sessions: set[int] = set()
    await harness.together(*[partial(use, n) for n in range(15)])
    assert len(sessions) == 15
    assert world.children(world.root) == []
