"""Cancelling an operation at each of its awaits leaves nothing behind: no ephemeral, no watch, no connection."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

import pytest
import trio

import zk_trio as zk
from tests.integration.tools import connections_of, ephemerals_of, open_connections, reach, until, watches_of
from tests.support.proxy import ChaosProxy
from tests.support.raw import RawClient
from tests.support.servers import AnyServer

pytestmark = pytest.mark.trio

Operation = Callable[[zk.Client, str], Awaitable[object]]


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope of the current task when that task has been resumed so many times."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = scope
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(step: int, operation: Callable[[], Awaitable[object]]) -> bool:
    """Run an operation that is cancelled at its await of this number; return whether that has interrupted it."""
    with trio.CancelScope() as scope:
        if step == 0:
            scope.cancel()
        instrument = CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def watch(client: zk.Client, path: str, *, recursive: bool = False) -> None:
    async with client.watch(path, recursive=recursive) as changes:
        await client.set(path, b"")
        await anext(changes)


async def watch_snapshot(client: zk.Client, path: str, *, recursive: bool = False) -> None:
    async with client.watch(path, recursive=recursive, snapshot=True) as changes:
        await anext(changes)
        await client.set(path, b"")
        await anext(changes)


async def watch_data(client: zk.Client, path: str) -> None:
    async with client.watch_data(path) as data:
        await client.set(path, b"")
        await data.fired()


async def watch_children(client: zk.Client, path: str) -> None:
    async with client.watch_children(path) as children:
        await client.create(f"{path}/a")
        await children.fired()


async def watch_exists(client: zk.Client, path: str) -> None:
    async with client.watch_exists(f"{path}/a") as exists, client.watch_exists(path):
        await client.create(f"{path}/a")
        await exists.fired()


async def wait_until_gone(client: zk.Client, path: str) -> None:
    await client.create(f"{path}/a")

    async def remove() -> None:
        await client.delete(f"{path}/a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(remove)
        await client.wait_until_gone(f"{path}/a")


async def wait_for(client: zk.Client, path: str) -> None:
    async def make() -> None:
        await client.create(f"{path}/a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await client.wait_for(f"{path}/a")


async def walk(client: zk.Client, path: str) -> None:
    await client.ensure_path(f"{path}/a/b")
    assert [found async for found, _ in client.walk(path)] == [path, f"{path}/a", f"{path}/a/b"]


async def delete_tree(client: zk.Client, path: str) -> None:
    await client.ensure_path(f"{path}/a/b")
    await client.delete(path, recursive=True)


async def pipeline(client: zk.Client, path: str) -> None:
    pipeline = client.pipeline()
    for n in range(10):
        pipeline.create(f"{path}/{n}", ephemeral=True)
        pipeline.create(f"{path}/s", ephemeral=True, sequential=True)
    await pipeline.run()


async def long_pipeline(client: zk.Client, path: str) -> None:
    """More than may be in flight, so that it comes in parts."""
    pipeline = client.pipeline()
    for n in range(1_500):
        pipeline.create(f"{path}/{n}", ephemeral=n % 100 == 0)
    await pipeline.run()


async def add_auth(client: zk.Client, path: str) -> None:
    await client.add_auth("digest", "bob:secret")


async def reconfig(client: zk.Client, path: str) -> None:
    with pytest.raises(zk.UnimplementedError):
        await client.reconfig(leaving="1")


async def states(client: zk.Client, path: str) -> None:
    async with client.states() as states:
        assert await anext(states) is zk.SessionState.CONNECTED


OPERATIONS: dict[str, Operation] = {
    "create": lambda c, p: c.create(f"{p}/n"),
    "create sequential": lambda c, p: c.create(f"{p}/n", sequential=True),
    "create container": lambda c, p: c.create(f"{p}/n", container=True),
    "create TTL": lambda c, p: c.create(f"{p}/n", ttl=100),
    "create ephemeral": lambda c, p: c.create(f"{p}/n", ephemeral=True),
    "create ephemeral with stat": lambda c, p: c.create_with_stat(f"{p}/n", ephemeral=True),
    "create ephemeral sequential": lambda c, p: c.create(f"{p}/n", ephemeral=True, sequential=True),
    "create protected": lambda c, p: c.create(f"{p}/n", protected=True, ephemeral=True),
    "create protected sequential": lambda c, p: c.create(f"{p}/n", protected=True, ephemeral=True, sequential=True),
    "create with parents": lambda c, p: c.create(f"{p}/a/b/n", ephemeral=True, make_parents=True),
    "ensure path": lambda c, p: c.ensure_path(f"{p}/a/b/c"),
    "transaction": lambda c, p: (
        c.transaction().create(f"{p}/e", ephemeral=True).create(f"{p}/s", ephemeral=True, sequential=True).commit()
    ),
    "pipeline": pipeline,
    "long pipeline": long_pipeline,
    "get": lambda c, p: c.get(p),
    "get many": lambda c, p: c.get_many([p] * 10),
    "exists": lambda c, p: c.exists(p),
    "get children": lambda c, p: c.get_children(p),
    "get children with stat": lambda c, p: c.get_children_with_stat(p),
    "get ACL": lambda c, p: c.get_acl(p),
    "count descendants": lambda c, p: c.count_descendants(p),
    "get ephemerals": lambda c, p: c.get_ephemerals(p),
    "sync": lambda c, p: c.sync(p),
    "walk": walk,
    "multi read": lambda c, p: c.multi_read().get(p).get_children(p).run(),
    "set": lambda c, p: c.set(p, b""),
    "set at a version": lambda c, p: c.set(p, b"", version=0),
    "set ACL": lambda c, p: c.set_acl(p, zk.OPEN),
    "delete": lambda c, p: c.delete(p),
    "delete at a version": lambda c, p: c.delete(p, version=0),
    "delete tree": delete_tree,
    "watch": watch,
    "watch recursively": lambda c, p: watch(c, p, recursive=True),
    "watch with a snapshot": watch_snapshot,
    "watch recursively with a snapshot": lambda c, p: watch_snapshot(c, p, recursive=True),
    "watch data": watch_data,
    "watch children": watch_children,
    "watch exists": watch_exists,
    "wait until gone": wait_until_gone,
    "wait for": wait_for,
    "check watches": lambda c, p: c.check_watches(p),
    "add auth": add_auth,
    "who am I": lambda c, p: c.whoami(),
    "get config": lambda c, p: c.get_config(),
    "reconfig": reconfig,
    "states": states,
}


async def nothing_left(client: zk.Client, server: AnyServer, path: str) -> None:
    session = client.session_id
    await until(lambda: not ephemerals_of(server, session))
    await until(lambda: not watches_of(server, session))

    async def no_child_watch() -> bool:
        return not await client.check_watches(path, zk.WatcherType.CHILDREN)

    await until(no_child_watch)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_cancelled_at_every_await(client: zk.Client, server: AnyServer, root: str, name: str) -> None:
    session = client.session_id
    for step in count():
        path = await client.create(f"{root}/{step}")
        interrupted = await cancelled_at(step, partial(OPERATIONS[name], client, path))
        assert await client.exists(root) is not None  # the next call works
        if not interrupted:
            break
        await nothing_left(client, server, path)
    assert step > 0
    assert client.session_id == session
    assert connections_of(server, session) == 1
    await client.delete(root, recursive=True)
    await nothing_left(client, server, root)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "states"])
async def test_cancelled_without_a_connection(proxy: ChaosProxy, server: AnyServer, root: str, name: str) -> None:
    """What waits for a connection and is cancelled is never sent."""
    async with zk.open_client(proxy.hosts) as client:
        path = await client.create(f"{root}/path")
        before = await client.get_children_with_stat(path)
        proxy.refuse()
        proxy.cut()
        await reach(client, zk.SessionState.SUSPENDED)
        for patience in (0, 0.01):
            with trio.move_on_after(patience) as scope:
                await OPERATIONS[name](client, path)
            assert scope.cancelled_caught
        proxy.heal()
        assert await client.get_children_with_stat(path) == before
        assert await client.get_children(root) == ["path"]
        await nothing_left(client, server, path)


LEFT: dict[str, Operation] = {
    "plain": lambda c, p: c.create(f"{p}/e", ephemeral=True),
    "protected": lambda c, p: c.create(f"{p}/e", ephemeral=True, protected=True),
    "protected sequential": lambda c, p: c.create(f"{p}/e", ephemeral=True, protected=True, sequential=True),
    "transaction": lambda c, p: c.transaction().create(f"{p}/e", ephemeral=True).create(f"{p}/p").commit(),
    "pipeline": pipeline,
}


@pytest.mark.parametrize("name", LEFT)
async def test_cancelled_and_the_reply_is_lost(
    proxy: ChaosProxy, server: AnyServer, root: str, witness: RawClient, name: str
) -> None:
    """The ephemeral that nobody waits for any more is found on the next connection, and removed."""
    async with zk.open_client(proxy.hosts) as client:
        async with trio.open_nursery() as nursery:
            proxy.black_hole("replies")
            nursery.start_soon(LEFT[name], client, root)
            await until(lambda: witness.children(root))
            nursery.cancel_scope.cancel()
        assert ephemerals_of(server, client.session_id)
        proxy.cut()
        proxy.heal()
        await reach(client, zk.SessionState.CONNECTED)
        if name == "pipeline":
            # A sequential znode without a tag cannot be found again: nobody knows its number.
            await until(lambda: all(name.startswith("s") for name in witness.children(root)))
        else:
            await nothing_left(client, server, root)
        assert await client.exists(root) is not None


async def test_many_cancelled_at_once(client: zk.Client, server: AnyServer, root: str) -> None:
    """Two hundred side by side, each interrupted somewhere or not at all: only what was acknowledged is left."""
    rng = random.Random(7)
    made: set[str] = set()

    async def create(n: int) -> None:
        kind = n % 4
        if kind == 3:
            results = await client.transaction().create(f"{root}/t{n}", ephemeral=True).commit()
            made.update(each.path for each in results if isinstance(each, zk.Created))
        else:
            made.add(await client.create(f"{root}/n{n}", ephemeral=True, sequential=kind == 1, protected=kind == 2))

    async def watch(n: int) -> None:
        async with client.watch(f"{root}/{n % 10}", recursive=n % 2 == 0), client.watch_exists(f"{root}/{n % 7}"):
            await client.exists(root)

    async with trio.open_nursery() as nursery:
        for n in range(100):
            nursery.start_soon(cancelled_at, rng.randrange(5), partial(create, n))
            nursery.start_soon(cancelled_at, rng.randrange(9), partial(watch, n))
    assert 0 < len(made) < 100
    await until(lambda: ephemerals_of(server, client.session_id) == made)
    await until(lambda: not watches_of(server, client.session_id))


async def test_open_and_close_cancelled_at_every_await(server: AnyServer, root: str, witness: RawClient) -> None:
    async def use() -> None:
        async with zk.open_client(server.hosts) as client:
            await client.create(f"{root}/e", ephemeral=True)

    for step in count():
        interrupted = await cancelled_at(step, use)
        await until(lambda: open_connections(server) == 1)  # the witness's; the server learns of it a moment later
        assert witness.children(root) == []
        if not interrupted:
            break
    assert step > 2


async def test_close_cancelled(server: AnyServer, root: str, witness: RawClient) -> None:
    """A client that is closed while it is being cancelled still ends its session."""

    def gone(session_id: int) -> bool:
        return not connections_of(server, session_id)

    for step in range(4):
        async with zk.open_client(server.hosts) as client:
            await client.create(f"{root}/e", ephemeral=True)
            await cancelled_at(step, client.aclose)
        assert witness.children(root) == []
        await until(partial(gone, client.session_id))
