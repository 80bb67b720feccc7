"""In what order a client sees things, and what watches of several kinds on one path hear."""

import random
from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import Any

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import at_once, brief, next_change, reach, until, watches_of
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer

pytestmark = pytest.mark.trio

KINDS = ("data", "exists", "children", "persistent", "recursive")
Watch = zk.ChangeStream[Any] | zk.OneShotWatch[Any]
Heard = list[tuple[str, str]]


async def test_event_of_an_own_write_comes_before_its_reply(client: zk.Client, root: str) -> None:
    async with client.watch(root) as changes:
        for n in range(200):
            async with client.watch_data(root) as watch:
                await client.set(root, b"%d" % n)
                (event,) = await at_once(lambda: anext(changes))
                assert brief(event) == ("DATA_CHANGED", root)
                assert await at_once(watch.fired, most=1) == [event]


async def test_events_of_a_transaction_come_in_order_before_its_reply(
    client: zk.Client, server: AnyServer, root: str
) -> None:
    async with client.watch(root, recursive=True) as changes:
        for _ in range(50):
            transaction = client.transaction()
            transaction.create(f"{root}/a").create(f"{root}/a/b").set(f"{root}/a", b"x").set(root, b"x")
            transaction.delete(f"{root}/a/b").delete(f"{root}/a")
            await transaction.commit()
            found = await at_once(lambda: anext(changes))
            assert [brief(change) for change in found] == [
                ("CREATED", f"{root}/a"),
                ("CREATED", f"{root}/a/b"),
                ("DATA_CHANGED", f"{root}/a"),
                ("DATA_CHANGED", root),
                ("DELETED", f"{root}/a/b"),
                ("DELETED", f"{root}/a"),
            ]
            zxids = {change.zxid for change in found if isinstance(change, zk.WatchEvent)}
            assert zxids == ({client.last_zxid} if server.version_info >= (3, 9) else {None})


async def read_behind(
    reader: zk.Client, path: str, write: Callable[[bytes], Awaitable[object]], read: Callable[[], Awaitable[int]]
) -> None:
    """Somebody else writes 300 times; each read that shows a change comes behind the event of that change."""
    async with reader.watch(path) as changes:
        told, shown = 0, 0

        async def change() -> None:
            for n in range(300):
                await write(b"%d" % n)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            with trio.fail_after(30):
                while shown < 300:
                    shown = await read()
                    told += len(await at_once(lambda: anext(changes)))
                    assert told >= shown
        assert told == 300


async def test_event_of_anothers_write_comes_before_a_read_that_shows_it(
    client: zk.Client, server: AnyServer, root: str
) -> None:
    async def version() -> int:
        return (await client.get(root)).stat.version

    async with zk.open_client(server.hosts) as writer:
        await read_behind(client, root, lambda data: writer.set(root, data), version)


async def test_event_of_a_child_comes_before_a_read_that_shows_it(
    client: zk.Client, server: AnyServer, root: str
) -> None:
    async def children() -> int:
        return len(await client.get_children(root))

    async with zk.open_client(server.hosts) as writer:
        await read_behind(client, root, lambda data: writer.create(f"{root}/{data.decode()}"), children)


async def test_own_writes_are_read(client: zk.Client, root: str) -> None:
    """Requests are executed in the order of the calls, also those of callers that do not wait for each other."""
    found: dict[int, zk.Znode] = {}

    async def read(n: int) -> None:
        found[n] = await client.get(root)

    for n in range(100):
        stat = await client.set(root, b"%d" % n)
        assert (await client.get(root)).stat == stat
    async with trio.open_nursery() as nursery:
        for n in range(100):
            pipeline = client.pipeline()
            pipeline.set(root, b"p%d" % n)
            read_back = pipeline.get(root)
            nursery.start_soon(read, n)
            await pipeline.run()
            assert read_back.value.data == b"p%d" % n
    versions = [found[n].stat.version for n in range(100)]
    assert versions == sorted(versions)


def open_watch(client: zk.Client, kind: str, path: str) -> Watch:
    match kind:
        case "data":
            return client.watch_data(path)
        case "exists":
            return client.watch_exists(path)
        case "children":
            return client.watch_children(path)
        case _:
            return client.watch(path, recursive=kind == "recursive")


async def heard(watch: Watch) -> Heard:
    """What a watch has been told by now."""
    if isinstance(watch, zk.ChangeStream):
        return [brief(change) for change in await at_once(lambda: anext(watch))]
    return [brief(event) for event in await at_once(watch.fired, most=1)]


async def expect(client: zk.Client, path: str, watches: list[tuple[str, Watch]], *, made_by: RawClient | None) -> None:
    """Change a znode in every way; each watch hears what its kind is for, and nothing else."""
    node, child = path, f"{path}/child"
    if made_by is not None:
        made_by.set(node, b"1")
        made_by.create(child)
        made_by.set(child, b"1")
        made_by.delete(child)
        made_by.delete(node)
        made_by.create(node)
        await client.sync(node)
    else:
        await client.set(node, b"1")
        await client.create(child)
        await client.set(child, b"1")
        await client.delete(child)
        await client.delete(node)
        await client.create(node)
    expected: dict[str, Heard] = {
        "data": [("DATA_CHANGED", node)],
        "exists": [("DATA_CHANGED", node)],
        "children": [("CHILDREN_CHANGED", node)],
        "persistent": [
            ("DATA_CHANGED", node),
            ("CHILDREN_CHANGED", node),
            ("CHILDREN_CHANGED", node),
            ("DELETED", node),
            ("CREATED", node),
        ],
        "recursive": [
            ("DATA_CHANGED", node),
            ("CREATED", child),
            ("DATA_CHANGED", child),
            ("DELETED", child),
            ("DELETED", node),
            ("CREATED", node),
        ],
    }
    for kind, watch in watches:
        assert await heard(watch) == expected[kind], kind


async def test_kinds_on_one_path_do_not_disturb_each_other(client: zk.Client, server: AnyServer, root: str) -> None:
    """Before 3.9 a server keeps one mode for a path, and the last one wins (ZOOKEEPER-4466)."""
    for number, order in enumerate(permutations(KINDS)):
        path = await client.create(f"{root}/{number}")
        watches = [(kind, open_watch(client, kind, path)) for kind in order]
        for _, watch in watches:
            await watch.__aenter__()
        await expect(client, path, watches, made_by=None)
        for _, watch in watches:
            await watch.__aexit__(None, None, None)
    await until(lambda: not watches_of(server, client.session_id))


async def test_leaving_one_kind_leaves_the_others(
    client: zk.Client, server: AnyServer, root: str, witness: RawClient
) -> None:
    """Entered and left in any order, several watches of a kind, and changes made by somebody else."""
    rng = random.Random(4466)
    for number in range(100):
        path = witness.create(f"{root}/{number}")
        opened: list[tuple[str, Watch]] = []
        for _ in range(rng.randint(2, 15)):
            if len(opened) > 1 and rng.random() < 0.5:
                _, watch = opened.pop(rng.randrange(len(opened)))
                await watch.__aexit__(None, None, None)
            else:
                opened.append((kind := rng.choice(KINDS), open_watch(client, kind, path)))
                await opened[-1][1].__aenter__()
        await expect(client, path, opened, made_by=witness)
        for _, watch in opened:
            await watch.__aexit__(None, None, None)
    await until(lambda: not watches_of(server, client.session_id))


async def test_left_in_any_order_nothing_is_watched(
    client: zk.Client, server: AnyServer, root: str, witness: RawClient
) -> None:
    """From 3.9 on a one-shot watch that was there first stays beside a lasting one, unless it is removed, too."""
    rng = random.Random(3)
    orders = [order for count in (2, 3, 5) for order in permutations(KINDS, count)]
    for number, order in enumerate(rng.sample(orders, 100)):
        path = witness.create(f"{root}/{number}")
        opened = [open_watch(client, kind, path) for kind in order]
        for watch in opened:
            await watch.__aenter__()
        if number % 2:
            rng.shuffle(opened)
        for watch in opened:
            await watch.__aexit__(None, None, None)
        assert not await client.check_watches(path), order
    assert not watches_of(server, client.session_id)


async def test_all_kinds_after_a_reconnect(proxy: ChaosProxy, root: str, witness: RawClient) -> None:
    rng = random.Random(4471)
    async with zk.open_client(proxy.hosts) as client:
        opened: dict[str, list[tuple[str, Watch]]] = {}
        for number in range(20):
            path = witness.create(f"{root}/{number}")
            opened[path] = [(kind, open_watch(client, kind, path)) for kind in rng.sample(KINDS, rng.randint(2, 5))]
            for _, watch in opened[path]:
                await watch.__aenter__()
        proxy.refuse()
        proxy.cut()
        await reach(client, zk.SessionState.SUSPENDED)
        proxy.heal()
        await reach(client, zk.SessionState.CONNECTED)
        for path, watches in opened.items():
            for _, watch in watches:
                if isinstance(watch, zk.ChangeStream):
                    assert brief(await next_change(watch)) == ("GAP", "reconnected")
            await expect(client, path, watches, made_by=witness)
            for _, watch in watches:
                await watch.__aexit__(None, None, None)
