"""Watches: what fires them, that they are removed, and that they survive what happens to the connection."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import at_once, brief, next_change, next_changes, reach, until, watches_of
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer

pytestmark = pytest.mark.trio


async def unwatched(client: zk.Client, server: AnyServer) -> None:
    """The server comes to hold no watch; before 3.9 only a second request removes a lasting one."""
    await until(lambda: not watches_of(server, client.session_id))


async def test_persistent(client: zk.Client, server: AnyServer, root: str, witness: RawClient) -> None:
    path = f"{root}/a"
    async with client.watch(path) as changes:
        zxids = []
        witness.create(path)
        for data in (b"1", b"1"):
            zxids.append(witness.set(path, data).mzxid)
        witness.create(f"{path}/b")
        witness.set(f"{path}/b", b"not heard")
        witness.delete(f"{path}/b")
        witness.delete(path)
        witness.create(path)
        found = await next_changes(changes, 7)
        assert [brief(change) for change in found] == [
            ("CREATED", path),
            ("DATA_CHANGED", path),
            ("DATA_CHANGED", path),
            ("CHILDREN_CHANGED", path),
            ("CHILDREN_CHANGED", path),
            ("DELETED", path),
            ("CREATED", path),
        ]
        told = [change.zxid for change in found if isinstance(change, zk.WatchEvent)]
        assert told[1:3] == (zxids if server.version_info >= (3, 9) else [None, None])
        assert watches_of(server, client.session_id) == {path}
    await unwatched(client, server)


async def test_recursive(client: zk.Client, server: AnyServer, root: str, witness: RawClient) -> None:
    async with client.watch(root, recursive=True) as changes:
        for path in ("a", "a/b", "a/b/c"):
            witness.create(f"{root}/{path}")
        witness.set(f"{root}/a/b/c", b"x")
        witness.set(root, b"x")
        witness.delete(f"{root}/a/b/c")
        assert [brief(change) for change in await next_changes(changes, 6)] == [
            ("CREATED", f"{root}/a"),
            ("CREATED", f"{root}/a/b"),
            ("CREATED", f"{root}/a/b/c"),
            ("DATA_CHANGED", f"{root}/a/b/c"),
            ("DATA_CHANGED", root),
            ("DELETED", f"{root}/a/b/c"),
        ]
        assert watches_of(server, client.session_id) == {root}
    await unwatched(client, server)


async def test_one_shots(client: zk.Client, server: AnyServer, root: str, witness: RawClient) -> None:
    path = witness.create(f"{root}/a", b"1")
    async with client.watch_data(path) as data, client.watch_children(path) as children:
        assert data.seen.data == b"1"
        assert children.seen == []
        witness.create(f"{path}/b")
        assert brief(await children.fired()) == ("CHILDREN_CHANGED", path)
        witness.set(path, b"2")
        witness.set(path, b"3")
        assert brief(await data.fired()) == ("DATA_CHANGED", path)
        assert brief(await data.fired()) == ("DATA_CHANGED", path)  # once and for all
    async with client.watch_exists(f"{root}/new") as exists, client.watch_exists(path) as there:
        assert exists.seen is None
        assert there.seen is not None
        assert there.seen.version == 2
        witness.create(f"{root}/new")
        assert brief(await exists.fired()) == ("CREATED", f"{root}/new")
        witness.delete(f"{path}/b")
        witness.delete(path)
        assert brief(await there.fired()) == ("DELETED", path)
    for watch in (client.watch_data(f"{root}/none"), client.watch_children(f"{root}/none")):
        with pytest.raises(zk.NoNodeError):
            async with watch:
                pytest.fail("there is nothing to watch")
    await unwatched(client, server)


async def test_all_kinds_hear_of_a_deletion(client: zk.Client, root: str, witness: RawClient) -> None:
    path = witness.create(f"{root}/a")
    async with (
        client.watch_data(path) as data,
        client.watch_children(path) as children,
        client.watch_exists(path) as exists,
    ):
        witness.delete(path)
        for watch in (data, children, exists):
            assert brief(await watch.fired()) == ("DELETED", path)


async def test_leaving_removes_the_watch(client: zk.Client, server: AnyServer, root: str, witness: RawClient) -> None:
    path = witness.create(f"{root}/a")
    missing = f"{root}/missing"
    watches: list[tuple[Callable[[], zk.ChangeStream[Any] | zk.OneShotWatch[Any]], str, zk.WatcherType]] = [
        (lambda: client.watch(path), path, zk.WatcherType.ANY),
        (lambda: client.watch(missing), missing, zk.WatcherType.ANY),
        (lambda: client.watch(path, recursive=True), path, zk.WatcherType.ANY),
        (lambda: client.watch_data(path), path, zk.WatcherType.DATA),
        (lambda: client.watch_exists(path), path, zk.WatcherType.DATA),
        (lambda: client.watch_exists(missing), missing, zk.WatcherType.DATA),
        (lambda: client.watch_children(path), path, zk.WatcherType.CHILDREN),
    ]
    for make, where, kind in watches:
        async with make():
            assert await client.check_watches(where, kind)
            if kind is not zk.WatcherType.CHILDREN:
                assert watches_of(server, client.session_id) == {where}
            async with make():
                pass
            assert await client.check_watches(where, kind)  # the other one is still of use

        async def gone(where: str = where, kind: zk.WatcherType = kind) -> bool:
            return not await client.check_watches(where, kind)

        await until(gone)
        assert not watches_of(server, client.session_id)


async def test_check_watches_by_type(client: zk.Client, server: AnyServer, root: str) -> None:
    kinds = (zk.WatcherType.CHILDREN, zk.WatcherType.DATA, zk.WatcherType.PERSISTENT)
    modern = server.version_info >= (3, 9)
    async with client.watch_children(root), client.watch_exists(f"{root}/a"):
        assert await client.check_watches(root, zk.WatcherType.CHILDREN)
        assert not await client.check_watches(root, zk.WatcherType.DATA)
        assert await client.check_watches(f"{root}/a", zk.WatcherType.DATA)
        assert not await client.check_watches(f"{root}/a", zk.WatcherType.CHILDREN)
        assert not await client.check_watches(f"{root}/b")
    async with client.watch(root):
        if modern:
            assert [await client.check_watches(root, kind) for kind in kinds] == [False, False, True]
        else:
            with pytest.raises(zk.MarshallingError):
                await client.check_watches(root, zk.WatcherType.PERSISTENT)
    async with client.watch(root, recursive=True):
        if modern:
            assert [await client.check_watches(root, kind) for kind in kinds] == [False, False, False]
            assert await client.check_watches(root, zk.WatcherType.PERSISTENT_RECURSIVE)


async def test_wait_for_and_until_gone(client: zk.Client, server: AnyServer, root: str, witness: RawClient) -> None:
    path = f"{root}/a"
    with trio.fail_after(10):
        await client.wait_until_gone(path)

        async def make() -> None:
            await until(lambda: watches_of(server, client.session_id) == {path})
            witness.create(path, b"data")

        async def change_and_remove() -> None:
            await until(lambda: watches_of(server, client.session_id) == {path})
            witness.set(path, b"other")
            await until(lambda: watches_of(server, client.session_id) == {path})
            witness.delete(path)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            assert tuple(await client.wait_for(path)) == witness.exists(path)
        assert (await client.wait_for(path)).data_length == 4
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change_and_remove)
            await client.wait_until_gone(path)
    await unwatched(client, server)


async def test_slow_consumer_learns_of_an_overflow(client: zk.Client, root: str) -> None:
    async with client.watch(root, buffer=10) as changes:
        for _ in range(25):
            await client.set(root, b"")
        found = [brief(change) for change in await at_once(lambda: anext(changes))]
        assert found[0] == ("GAP", "overflow")
        assert set(found[1:]) == {("DATA_CHANGED", root)}
        assert len(found) <= 10
        await client.create(f"{root}/a")
        assert brief(await next_change(changes)) == ("CHILDREN_CHANGED", root)


@pytest.mark.parametrize("recursive", [False, True])
async def test_snapshot(proxy: ChaosProxy, root: str, witness: RawClient, recursive: bool) -> None:
    """What was missed while the connection was away is found out by reading."""
    for path in ("a", "a/b", "c"):
        witness.create(f"{root}/{path}")
    async with zk.open_client(proxy.hosts) as client, client.watch(root, recursive=recursive, snapshot=True) as changes:
        beginning = [("CREATED", root)]
        if recursive:
            beginning += [("CREATED", f"{root}/{path}") for path in ("a", "c", "a/b")]
        found = [brief(change) for change in await next_changes(changes, len(beginning))]
        assert found[0] == beginning[0]
        assert sorted(found) == sorted(beginning)
        witness.set(root, b"1")
        assert brief(await next_change(changes)) == ("DATA_CHANGED", root)
        proxy.refuse()
        proxy.cut()
        await reach(client, zk.SessionState.SUSPENDED)
        witness.delete(f"{root}/a/b")
        witness.delete(f"{root}/c")
        witness.create(f"{root}/c")
        witness.create(f"{root}/d")
        witness.set(root, b"2")
        proxy.heal()
        expected = [("DATA_CHANGED", root)]
        if recursive:
            expected += [("DELETED", f"{root}/a/b"), ("DELETED", f"{root}/c"), ("CREATED", f"{root}/c")]
            expected += [("CREATED", f"{root}/d")]
        else:
            expected += [("CHILDREN_CHANGED", root)]
        found = [brief(change) for change in await next_changes(changes, len(expected))]
        assert sorted(found) == sorted(expected)
        if recursive:
            assert found.index(("DELETED", f"{root}/c")) < found.index(("CREATED", f"{root}/c"))
        await client.set(root, b"3")
        assert brief(await next_change(changes)) == ("DATA_CHANGED", root)


@asynccontextmanager
async def away(client: zk.Client, proxy: ChaosProxy) -> AsyncIterator[None]:
    """The client's connection is cut, and it finds no other until this scope ends."""
    proxy.refuse()
    proxy.cut()
    await reach(client, zk.SessionState.SUSPENDED)
    yield
    proxy.heal()
    await reach(client, zk.SessionState.CONNECTED)


async def test_lasting_watches_survive_a_reconnect(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    async with zk.open_client(proxy.hosts) as client:
        async with client.watch(root) as node, client.watch(root, recursive=True) as tree:
            witness.set(root, b"1")
            for changes in (node, tree):
                assert brief(await next_change(changes)) == ("DATA_CHANGED", root)
            async with away(client, proxy):
                witness.set(root, b"missed")
            witness.create(f"{root}/a")
            for changes, event in ((node, ("CHILDREN_CHANGED", root)), (tree, ("CREATED", f"{root}/a"))):
                assert brief(await next_change(changes)) == ("GAP", "reconnected")
                assert brief(await next_change(changes)) == event


async def test_one_shots_hear_of_what_they_missed(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    for name in ("changed", "deleted", "replaced", "parent", "quiet"):
        witness.create(f"{root}/{name}")
    async with zk.open_client(proxy.hosts) as client, AsyncExitStack() as stack:

        async def enter(watch: zk.OneShotWatch[Any]) -> zk.OneShotWatch[Any]:
            return await stack.enter_async_context(watch)

        changed = await enter(client.watch_data(f"{root}/changed"))
        deleted = await enter(client.watch_data(f"{root}/deleted"))
        replaced = await enter(client.watch_exists(f"{root}/replaced"))
        created = await enter(client.watch_exists(f"{root}/created"))
        parent = await enter(client.watch_children(f"{root}/parent"))
        quiet = [
            await enter(watch)
            for watch in (
                client.watch_data(f"{root}/quiet"),
                client.watch_children(f"{root}/quiet"),
                client.watch_exists(f"{root}/never"),
            )
        ]
        async with away(client, proxy):
            witness.set(f"{root}/changed", b"x")
            witness.delete(f"{root}/deleted")
            witness.delete(f"{root}/replaced")
            witness.create(f"{root}/replaced")
            witness.create(f"{root}/created")
            witness.create(f"{root}/parent/child")
            witness.create(f"{root}/short-lived")
            witness.delete(f"{root}/short-lived")
        assert brief(await changed.fired()) == ("DATA_CHANGED", f"{root}/changed")
        assert brief(await deleted.fired()) == ("DELETED", f"{root}/deleted")
        assert brief(await replaced.fired()) == ("DATA_CHANGED", f"{root}/replaced")
        assert brief(await created.fired()) == ("CREATED", f"{root}/created")
        assert brief(await parent.fired()) == ("CHILDREN_CHANGED", f"{root}/parent")
        # The others are set again and still wait.
        assert await client.check_watches(f"{root}/quiet", zk.WatcherType.DATA)
        witness.create(f"{root}/quiet/child")
        witness.set(f"{root}/quiet", b"x")
        witness.create(f"{root}/never")
        for watch, event in zip(quiet, ("DATA_CHANGED", "CHILDREN_CHANGED", "CREATED"), strict=True):
            assert brief(await watch.fired())[0] == event


async def test_thousands_of_watches_are_set_again(proxy: ChaosProxy, server: AnyServer, root: str) -> None:
    """More than one setWatches request may hold (ZOOKEEPER-706)."""
    paths = {f"{root}/{n}-{'x' * 200}" for n in range(3_000)}
    async with zk.open_client(proxy.hosts) as client, AsyncExitStack() as stack:
        for path in paths:
            await stack.enter_async_context(client.watch_exists(path))
        lasting = [await stack.enter_async_context(client.watch(f"{root}/p{n}")) for n in range(50)]
        assert len(watches_of(server, client.session_id)) == 3_050
        async with away(client, proxy):
            pass
        assert len(watches_of(server, client.session_id)) == 3_050
        assert sum(op in (101, 105) for op in proxy.opcodes) > 4
        for changes in lasting:
            assert brief(await next_change(changes)) == ("GAP", "reconnected")
    assert watches_of(server, client.session_id) == set()


async def test_watch_of_the_root(client: zk.Client, root: str) -> None:
    async with client.watch("/", recursive=True) as changes:
        await client.create(f"{root}/a")
        assert brief(await next_change(changes)) == ("CREATED", f"{root}/a")


async def test_streams_end_with_the_client(server: AnyServer, root: str) -> None:
    async with zk.open_client(server.hosts) as client:
        changes = await client.watch(root).__aenter__()
        watch = await client.watch_exists(f"{root}/a").__aenter__()
        await client.aclose()
        with pytest.raises(zk.ClosedError):
            await anext(changes)
        with pytest.raises(zk.ClosedError):
            await watch.fired()
        await changes.aclose()
