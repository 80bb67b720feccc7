"""Reads: what they return, and that they see what others have written."""

from __future__ import annotations

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import raises


@check
async def check_get(harness: Harness, world: World) -> None:
    """Data and Stat are those of the server, and null is not empty."""
    path = world.create(f"{world.root}/a", b"data")
    async with harness.open_client(world.hosts) as client:
        found = await client.get(path)
        assert (found.data, found.stat) == (b"data", world.exists(path))
        stat = world.set(path, None)
        data, seen = await client.get(path)
        assert (data, seen) == (None, stat)
        world.set(path, b"")
        assert (await client.get(path)).data == b""
        with raises(zk.NoNodeError) as caught:
            await client.get(f"{path}/none")
        assert (caught.value.code, caught.value.path, caught.value.maybe_applied) == (-101, f"{path}/none", False)


@check
async def check_exists(harness: Harness, world: World) -> None:
    """A Stat for what is there, None for what is not."""
    async with harness.open_client(world.hosts) as client:
        assert await client.exists(world.root) == world.exists(world.root)
        assert await client.exists(f"{world.root}/none") is None


@check
async def check_children(harness: Harness, world: World) -> None:
    """Names of children, with the Stat of their parent if asked for."""
    root = world.root
    for name in ("a", "b", "a/c"):
        world.create(f"{root}/{name}")
    async with harness.open_client(world.hosts) as client:
        assert sorted(await client.get_children(root)) == ["a", "b"]
        names, stat = await client.get_children_with_stat(root)
        assert (sorted(names), stat) == (["a", "b"], world.exists(root))
        assert await client.get_children(f"{root}/b") == []
        assert await client.count_descendants(root) == 3
        for call in (client.get_children, client.get_children_with_stat):
            with raises(zk.NoNodeError) as caught:
                await call(f"{root}/none")
            assert caught.value.path == f"{root}/none"


@check
async def check_large_data(harness: Harness, world: World) -> None:
    """A megabyte, the most that fits into a request, goes forth and back unharmed."""
    data = bytes(range(256)) * 4095
    async with harness.open_client(world.hosts) as client:
        path = await client.create(f"{world.root}/a", data)
        assert world.get(path) == data
        assert (await client.get(path)).data == data
        stat = await client.set(path, data[::-1])
        assert stat.data_length == len(data)
        first, second = await client.get_many([path, path])
        assert isinstance(first, zk.Znode)
        assert first == second
        assert first.data == data[::-1]


@check
async def check_get_many(harness: Harness, world: World) -> None:
    """Each read has its own outcome, in the order in which they were asked for."""
    paths = [f"{world.root}/{n}" for n in range(20)]
    for path in paths[::2]:
        world.create(path, path.encode())
    async with harness.open_client(world.hosts) as client:
        found = await client.get_many(paths)
        for path, each in zip(paths, found, strict=True):
            if path in paths[::2]:
                assert isinstance(each, zk.Znode)
                assert each.data == path.encode()
            else:
                assert isinstance(each, zk.NoNodeError)
                assert each.path == path
        assert await client.get_many([]) == []


@check
async def check_walk(harness: Harness, world: World) -> None:
    """Parents come before their children, each with its Stat, and a missing znode has none."""
    root = world.root
    below = ["a", "a/b", "a/b/c", "d", "d/e"]
    for name in below:
        world.create(f"{root}/{name}")
    async with harness.open_client(world.hosts) as client:
        found = [each async for each in client.walk(root)]
        assert sorted(path for path, _ in found) == [root, *(f"{root}/{name}" for name in below)]
        assert all(stat == world.exists(path) for path, stat in found)
        places = {path: place for place, (path, _) in enumerate(found)}
        assert all(places[path.rpartition("/")[0]] < place for path, place in places.items() if path != root)
        assert [each async for each in client.walk(f"{root}/none")] == []


@check
async def check_multi_read(harness: Harness, world: World) -> None:
    """Reads that are answered together have an outcome each."""
    path = world.create(f"{world.root}/a", b"x")
    async with harness.open_client(world.hosts) as client:
        batch = client.multi_read().get(path).get_children(world.root).get(f"{path}/none").get_children(f"{path}/none")
        assert len(batch) == 4
        znode, names, *missing = await batch.run()
        assert isinstance(znode, zk.Znode)
        assert (znode.data, znode.stat) == (b"x", world.exists(path))
        assert names == ["a"]
        for error in missing:
            assert isinstance(error, zk.NoNodeError)
            assert error.path == f"{path}/none"
        assert await client.multi_read().run() == []


@check
async def check_sync(harness: Harness, world: World) -> None:
    """What was written before a sync is seen behind it."""
    async with harness.open_client(world.hosts) as client:
        path = world.create(f"{world.root}/a", b"old")
        await client.sync()
        assert (await client.get(path)).data == b"old"
        world.set(path, b"new")
        await client.sync(path)
        assert (await client.get(path)).data == b"new"


@check
async def check_get_ephemerals(harness: Harness, world: World) -> None:
    """The session's own ephemeral znodes, by the beginning of their paths."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        mine = [await client.create(f"{root}/{name}", ephemeral=True) for name in ("a1", "a2", "b")]
        world.create(f"{root}/theirs", ephemeral=True)
        assert sorted(await client.get_ephemerals()) == mine
        assert sorted(await client.get_ephemerals(f"{root}/a")) == mine[:2]
        with raises(zk.InvalidRequestError):
            await client.get_ephemerals("a")


@check
async def check_get_config(harness: Harness, world: World) -> None:
    """The ensemble's configuration can be read, whatever the chroot is."""
    async with harness.open_client(world.hosts) as client:
        config = await client.get_config()
        assert config == await client.at(world.root).get_config()
        assert (config.version is None) == (not config.members)
