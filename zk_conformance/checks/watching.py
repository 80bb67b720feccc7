"""Watches: what they tell, that they survive a reconnect, and that they are removed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import zk_sansio as zk

from .._port import Harness, World
from .._run import check, check_each
from .._tools import away, brief, next_brief, nothing_held, raises, take, until

Watch = Callable[[zk.Client, str], "zk.ChangeStream[Any] | zk.OneShotWatch[Any]"]

SCOPES: dict[str, Watch] = {
    "lasting": lambda client, path: client.watch(path),
    "lasting missing": lambda client, path: client.watch(f"{path}/none"),
    "recursive": lambda client, path: client.watch(path, recursive=True),
    "snapshot": lambda client, path: client.watch(path, recursive=True, snapshot=True),
    "data": lambda client, path: client.watch_data(path),
    "children": lambda client, path: client.watch_children(path),
    "exists": lambda client, path: client.watch_exists(path),
    "exists missing": lambda client, path: client.watch_exists(f"{path}/none"),
}


@check
async def check_watch(harness: Harness, world: World) -> None:
    """A lasting watch tells each change of a znode and of its set of children, in order."""
    path = f"{world.root}/a"
    async with harness.open_client(world.hosts) as client:
        async with client.watch(path) as changes:
            world.create(path)
            stats = [world.set(path, data) for data in (b"1", b"1")]
            world.create(f"{path}/b")
            world.set(f"{path}/b", b"not told")
            world.delete(f"{path}/b")
            world.delete(path)
            world.create(path)
            found: list[zk.Change] = [await anext(changes) for _ in range(7)]
            names = "CREATED DATA_CHANGED DATA_CHANGED CHILDREN_CHANGED CHILDREN_CHANGED DELETED CREATED"
            assert [brief(change) for change in found] == [(name, path) for name in names.split()]
            zxids = [change.zxid for change in found if isinstance(change, zk.WatchEvent)]
            assert zxids[1:3] == ([stat.mzxid for stat in stats] if world.version >= (3, 9) else [None, None])
            assert world.watches(client.session_id) == {path}
        await nothing_held(harness, world, client)


@check
async def check_recursive_watch(harness: Harness, world: World) -> None:
    """It tells each change of a znode and of all its descendants, in order."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        async with client.watch(root, recursive=True) as changes:
            for name in ("a", "a/b", "a/b/c"):
                world.create(f"{root}/{name}")
            world.set(f"{root}/a/b/c", b"x")
            world.set(root, b"x")
            world.delete(f"{root}/a/b/c")
            assert await take(changes, 6) == [
                ("CREATED", f"{root}/a"),
                ("CREATED", f"{root}/a/b"),
                ("CREATED", f"{root}/a/b/c"),
                ("DATA_CHANGED", f"{root}/a/b/c"),
                ("DATA_CHANGED", root),
                ("DELETED", f"{root}/a/b/c"),
            ]
        await nothing_held(harness, world, client)


@check
async def check_one_shots(harness: Harness, world: World) -> None:
    """They read and wait for one change of what was read."""
    root, path = world.root, world.create(f"{world.root}/a", b"1")
    async with harness.open_client(world.hosts) as client:
        async with client.watch_data(path) as data, client.watch_children(path) as children:
            assert (data.seen.data, children.seen) == (b"1", [])
            world.create(f"{path}/b")
            assert brief(await children.fired()) == ("CHILDREN_CHANGED", path)
            world.set(path, b"2")
            world.set(path, b"3")
            assert brief(await data.fired()) == ("DATA_CHANGED", path)
            assert brief(await data.fired()) == ("DATA_CHANGED", path)  # once and for all
        async with client.watch_exists(f"{root}/new") as new, client.watch_exists(f"{path}/b") as there:
            assert (new.seen, there.seen) == (None, world.exists(f"{path}/b"))
            world.create(f"{root}/new")
            assert brief(await new.fired()) == ("CREATED", f"{root}/new")
            world.delete(f"{path}/b")
            assert brief(await there.fired()) == ("DELETED", f"{path}/b")
        for watch in (client.watch_data(f"{root}/none"), client.watch_children(f"{root}/none")):
            with raises(zk.NoNodeError):
                await watch.__aenter__()
        await nothing_held(harness, world, client, path)


@check
async def check_deletion_is_heard(harness: Harness, world: World) -> None:
    """Every kind of watch tells of the end of its znode."""
    path = world.create(f"{world.root}/a")
    async with harness.open_client(world.hosts) as client, AsyncExitStack() as stack:
        shots: list[zk.OneShotWatch[Any]] = [
            await stack.enter_async_context(client.watch_data(path)),
            await stack.enter_async_context(client.watch_children(path)),
            await stack.enter_async_context(client.watch_exists(path)),
        ]
        streams = [await stack.enter_async_context(client.watch(path, recursive=deep)) for deep in (False, True)]
        world.delete(path)
        for shot in shots:
            assert brief(await shot.fired()) == ("DELETED", path)
        for stream in streams:
            assert await next_brief(stream) == ("DELETED", path)


@check_each(SCOPES)
async def check_left_scope(harness: Harness, world: World, watch: Watch) -> None:
    """Leaving the scope removes the watch, but not one that is still in use; it cannot be entered again."""
    async with harness.open_client(world.hosts) as client:
        scope = watch(client, world.root)
        async with scope:
            async with watch(client, world.root):
                pass
            held = [await client.check_watches(path) for path in (world.root, f"{world.root}/none")]
            assert any(held)
        await nothing_held(harness, world, client, world.root)
        with raises(zk.LocalProtocolError):
            await scope.__aenter__()
        with raises(ZeroDivisionError):
            async with watch(client, world.root):
                raise ZeroDivisionError
        await nothing_held(harness, world, client, world.root)


@check
async def check_closed_stream(harness: Harness, world: World) -> None:
    """A stream that is closed ends the iteration of who waits in it, and what it still held is not told."""
    async with harness.open_client(world.hosts) as client:
        stream = client.watch(world.root)
        told: list[zk.Change] = []
        ended: list[bool] = []

        async def iterate() -> None:
            async for change in stream:
                told.append(change)
            ended.append(True)

        async def close() -> None:
            await client.set(world.root, b"")
            await until(harness, lambda: told)
            await stream.aclose()

        async with stream:
            await harness.together(iterate, close)
            assert (len(told), ended) == (1, [True])
            assert [change async for change in stream] == []
        await nothing_held(harness, world, client)


@check
async def check_check_watches(harness: Harness, world: World) -> None:
    """The server is asked which watches it holds."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        async with client.watch_children(root), client.watch_exists(f"{root}/a"):
            assert await client.check_watches(root, zk.WatcherType.CHILDREN)
            assert not await client.check_watches(root, zk.WatcherType.DATA)
            assert await client.check_watches(f"{root}/a", zk.WatcherType.DATA)
            assert not await client.check_watches(f"{root}/b")
        async with client.watch(root):
            assert await client.check_watches(root)


@check
async def check_waiting_for_znodes(harness: Harness, world: World) -> None:
    """Waiting for a znode to come, and for one to go."""
    path = f"{world.root}/a"

    def watched() -> bool:
        return world.watches(client.session_id) == {path}

    async def make() -> None:
        await until(harness, watched)
        world.create(path, b"data")

    async def change_and_remove() -> None:
        await until(harness, watched)
        world.set(path, b"other")
        await until(harness, watched)
        world.delete(path)

    found: list[zk.Stat | None] = []

    async def wait() -> None:
        found.append(await client.wait_for(path))

    async with harness.open_client(world.hosts) as client:
        await client.wait_until_gone(path)
        await harness.together(wait, make)
        assert found == [world.exists(path)] == [await client.wait_for(path)]
        await harness.together(lambda: client.wait_until_gone(path), change_and_remove)
        await nothing_held(harness, world, client)


@check
async def check_many_waiters(harness: Harness, world: World) -> None:
    """Many callers wait for the same znode, and all hear of it; those who give up are no harm."""
    path = f"{world.root}/a"
    heard: list[zk.Stat] = []

    async def wait() -> None:
        heard.append(await client.wait_for(path))

    async def give_up() -> None:
        with raises(TimeoutError):
            await harness.within(0.02, lambda: client.wait_for(path))

    async def make() -> None:
        await harness.sleep(0.05)
        await until(harness, lambda: world.watches(client.session_id) == {path})
        world.create(path)

    async with harness.open_client(world.hosts) as client:
        await harness.together(*[wait] * 20, *[give_up] * 10, make)
        assert heard == [world.exists(path)] * 20
        await nothing_held(harness, world, client)


@check
async def check_overflow(harness: Harness, world: World) -> None:
    """A consumer that is too slow is told so, and hears of what follows."""
    root = world.root
    async with harness.open_client(world.hosts) as client, client.watch(root, buffer=10) as changes:
        for _ in range(25):
            await client.set(root, b"")
        await client.create(f"{root}/a")
        found = [await next_brief(changes)]
        while found[-1] != ("CHILDREN_CHANGED", root):
            found.append(await next_brief(changes))
        assert found[0] == ("GAP", "overflow")
        assert set(found[1:-1]) <= {("DATA_CHANGED", root)}
        assert len(found) <= 11


@check
async def check_snapshot_overflow(harness: Harness, world: World) -> None:
    """A snapshot repairs itself: in the end everything has been told, and there is no gap."""
    root = world.root
    async with (
        harness.open_client(world.hosts) as client,
        client.watch(root, recursive=True, snapshot=True, buffer=3) as changes,
    ):
        assert await next_brief(changes) == ("CREATED", root)
        for n in range(10):
            await client.create(f"{root}/{n}")
        found = sorted(await take(changes, 10))
        assert found == [("CREATED", f"{root}/{n}") for n in range(10)]


@check
async def check_reconnected_streams(harness: Harness, world: World) -> None:
    """Behind a lost connection lasting watches begin with a gap."""
    root = world.root
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client:
            async with client.watch(root) as node, client.watch(root, recursive=True) as tree:
                world.set(root, b"1")
                assert await next_brief(node) == await next_brief(tree) == ("DATA_CHANGED", root)
                async with away(harness, client, proxy):
                    world.set(root, b"missed")
                world.create(f"{root}/a")
                assert await take(node, 2) == [("GAP", "reconnected"), ("CHILDREN_CHANGED", root)]
                assert await take(tree, 2) == [("GAP", "reconnected"), ("CREATED", f"{root}/a")]
            await nothing_held(harness, world, client)


@check_each({"of a node": False, "of a tree": True})
async def check_reconnected_snapshot(harness: Harness, world: World, recursive: bool) -> None:
    """A snapshot tells what was missed while the connection was away."""
    root = world.root
    for name in ("a", "a/b", "c"):
        world.create(f"{root}/{name}")
    with world.proxy() as proxy:
        async with (
            harness.open_client(proxy.hosts, session_timeout=2) as client,
            client.watch(root, recursive=recursive, snapshot=True) as changes,
        ):
            beginning = [root, *(f"{root}/{name}" for name in ("a", "a/b", "c") if recursive)]
            found = await take(changes, len(beginning))
            assert found[0] == ("CREATED", root)
            assert sorted(found) == [("CREATED", path) for path in beginning]
            async with away(harness, client, proxy):
                world.delete(f"{root}/a/b")
                world.delete(f"{root}/c")
                world.create(f"{root}/c")
                world.create(f"{root}/d")
                world.set(root, b"2")
            expected = [("DATA_CHANGED", root)]
            if recursive:
                expected += [("DELETED", f"{root}/{name}") for name in ("a/b", "c")]
                expected += [("CREATED", f"{root}/{name}") for name in ("c", "d")]
            else:
                expected += [("CHILDREN_CHANGED", root)]
            found = await take(changes, len(expected))
            assert sorted(found) == sorted(expected)
            await client.set(root, b"3")
            assert await next_brief(changes) == ("DATA_CHANGED", root)


@check
async def check_reconnected_one_shots(harness: Harness, world: World) -> None:
    """One-shot watches tell of what happened while the connection was away; the others still wait."""
    root = world.root
    for name in ("changed", "deleted", "replaced", "parent", "quiet"):
        world.create(f"{root}/{name}")
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client, AsyncExitStack() as stack:

            async def enter(watch: zk.OneShotWatch[Any]) -> zk.OneShotWatch[Any]:
                return await stack.enter_async_context(watch)

            missed = [
                (await enter(client.watch_data(f"{root}/changed")), "DATA_CHANGED"),
                (await enter(client.watch_data(f"{root}/deleted")), "DELETED"),
                (await enter(client.watch_exists(f"{root}/replaced")), "DATA_CHANGED"),
                (await enter(client.watch_exists(f"{root}/created")), "CREATED"),
                (await enter(client.watch_children(f"{root}/parent")), "CHILDREN_CHANGED"),
            ]
            quiet = [
                (await enter(client.watch_data(f"{root}/quiet")), "DATA_CHANGED"),
                (await enter(client.watch_children(f"{root}/quiet")), "CHILDREN_CHANGED"),
                (await enter(client.watch_exists(f"{root}/never")), "CREATED"),
            ]
            async with away(harness, client, proxy):
                world.set(f"{root}/changed", b"x")
                world.delete(f"{root}/deleted")
                world.delete(f"{root}/replaced")
                world.create(f"{root}/replaced")
                world.create(f"{root}/created")
                world.create(f"{root}/parent/child")
            assert [(await watch.fired()).type.name for watch, _ in missed] == [name for _, name in missed]
            world.create(f"{root}/quiet/child")
            world.set(f"{root}/quiet", b"x")
            world.create(f"{root}/never")
            assert [(await watch.fired()).type.name for watch, _ in quiet] == [name for _, name in quiet]


@check
async def check_watches_end_with_the_client(harness: Harness, world: World) -> None:
    """Who waits for a change is told that the client was closed, also if it waits already."""
    async with harness.open_client(world.hosts) as client:
        stream = await client.watch(world.root).__aenter__()
        shot = await client.watch_exists(f"{world.root}/a").__aenter__()
        started: list[int] = []

        async def wait(n: int) -> None:
            started.append(n)
            with raises(zk.ClosedError):
                await (anext(stream) if n else shot.fired())

        async def close() -> None:
            await until(harness, lambda: len(started) == 2)
            await harness.sleep(0.01)
            await client.aclose()

        await harness.together(lambda: wait(0), lambda: wait(1), close)
        with raises(zk.ClosedError):
            await anext(stream)
        with raises(zk.ClosedError):
            await shot.fired()
        await stream.aclose()
