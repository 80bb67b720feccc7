"""A call that is cancelled, or whose timeout passes, at each of its waits, leaves nothing behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any

import zk_sansio as zk

from .._port import Harness, World
from .._run import check, check_each
from .._tools import away, nothing_held, outcome, raises, until

Operation = Callable[[Harness, zk.Client, str], Awaitable[object]]


async def watch(harness: Harness, client: zk.Client, path: str, **options: Any) -> None:
    """Wait for a change in a stream."""
    async with client.watch(path, **options) as changes:
        if options.get("snapshot"):
            await anext(changes)
        await client.set(path, b"")
        await anext(changes)


async def watch_data(harness: Harness, client: zk.Client, path: str) -> None:
    """Wait for a change of data."""
    async with client.watch_data(path) as data:
        await client.set(path, b"")
        await data.fired()


async def watch_children(harness: Harness, client: zk.Client, path: str) -> None:
    """Wait for a change of the children."""
    async with client.watch_children(path) as children:
        await client.create(f"{path}/a")
        await children.fired()


async def watch_exists(harness: Harness, client: zk.Client, path: str) -> None:
    """Wait for a znode and for a change of another one."""
    async with client.watch_exists(f"{path}/a") as exists, client.watch_exists(path):
        await client.create(f"{path}/a")
        await exists.fired()


async def wait_for(harness: Harness, client: zk.Client, path: str) -> None:
    """Wait for a znode that somebody else makes."""
    await harness.together(lambda: client.wait_for(f"{path}/a"), lambda: client.create(f"{path}/a"))


async def walk(harness: Harness, client: zk.Client, path: str) -> None:
    """Visit a tree."""
    await client.ensure_path(f"{path}/a/b")
    assert [found async for found, _ in client.walk(path)] == [path, f"{path}/a", f"{path}/a/b"]


async def delete_tree(harness: Harness, client: zk.Client, path: str) -> None:
    """Remove a tree."""
    await client.ensure_path(f"{path}/a/b")
    await client.delete(path, recursive=True)


async def run_pipeline(harness: Harness, client: zk.Client, path: str) -> None:
    """Send many requests, more than may be in flight."""
    pipeline = client.pipeline()
    for n in range(40):
        pipeline.create(f"{path}/{n}", ephemeral=n % 3 == 0)
        pipeline.create(f"{path}/s", ephemeral=n % 3 == 1, sequential=True)
    await pipeline.run()


async def reconfig(harness: Harness, client: zk.Client, path: str) -> None:
    """Ask for what is refused."""
    with raises(zk.UnimplementedError, zk.NoAuthError):
        await client.reconfig(leaving="1")


async def states(harness: Harness, client: zk.Client, path: str) -> None:
    """Look at the state."""
    async with client.states() as found:
        assert await anext(found) is zk.SessionState.CONNECTED


OPERATIONS: dict[str, Operation] = {
    "create": lambda h, c, p: c.create(f"{p}/n"),
    "create sequential": lambda h, c, p: c.create(f"{p}/n", sequential=True),
    "create container": lambda h, c, p: c.create(f"{p}/n", container=True),
    "create TTL": lambda h, c, p: c.create(f"{p}/n", ttl=100),
    "create ephemeral": lambda h, c, p: c.create(f"{p}/n", ephemeral=True),
    "create ephemeral with stat": lambda h, c, p: c.create_with_stat(f"{p}/n", ephemeral=True),
    "create ephemeral sequential": lambda h, c, p: c.create(f"{p}/n", ephemeral=True, sequential=True),
    "create protected": lambda h, c, p: c.create(f"{p}/n", protected=True, ephemeral=True),
    "create protected sequential": lambda h, c, p: c.create(f"{p}/n", protected=True, ephemeral=True, sequential=True),
    "create with parents": lambda h, c, p: c.create(f"{p}/a/b/n", ephemeral=True, make_parents=True),
    "ensure path": lambda h, c, p: c.ensure_path(f"{p}/a/b/c"),
    "transaction": lambda h, c, p: (
        c.transaction().create(f"{p}/e", ephemeral=True).create(f"{p}/s", ephemeral=True, sequential=True).commit()
    ),
    "pipeline": run_pipeline,
    "get": lambda h, c, p: c.get(p),
    "get many": lambda h, c, p: c.get_many([p] * 10),
    "exists": lambda h, c, p: c.exists(p),
    "get children": lambda h, c, p: c.get_children(p),
    "get children with stat": lambda h, c, p: c.get_children_with_stat(p),
    "get ACL": lambda h, c, p: c.get_acl(p),
    "count descendants": lambda h, c, p: c.count_descendants(p),
    "get ephemerals": lambda h, c, p: c.get_ephemerals(p),
    "sync": lambda h, c, p: c.sync(p),
    "walk": walk,
    "multi read": lambda h, c, p: c.multi_read().get(p).get_children(p).run(),
    "set": lambda h, c, p: c.set(p, b""),
    "set at a version": lambda h, c, p: c.set(p, b"", version=0),
    "set ACL": lambda h, c, p: c.set_acl(p, zk.OPEN),
    "delete": lambda h, c, p: c.delete(p),
    "delete at a version": lambda h, c, p: c.delete(p, version=0),
    "delete tree": delete_tree,
    "watch": watch,
    "watch a tree": partial(watch, recursive=True),
    "watch with a snapshot": partial(watch, snapshot=True),
    "watch a tree with a snapshot": partial(watch, recursive=True, snapshot=True),
    "watch data": watch_data,
    "watch children": watch_children,
    "watch exists": watch_exists,
    "wait for": wait_for,
    "wait until gone": lambda h, c, p: c.wait_until_gone(f"{p}/none"),
    "check watches": lambda h, c, p: c.check_watches(p),
    "add auth": lambda h, c, p: c.add_auth("digest", "bob:secret"),
    "whoami": lambda h, c, p: c.whoami(),
    "get config": lambda h, c, p: c.get_config(),
    "reconfig": reconfig,
    "states": states,
}


@check_each(OPERATIONS)
async def check_interrupted(harness: Harness, world: World, operation: Operation) -> None:
    """Interrupted anywhere, an operation leaves no ephemeral and no watch, and the client works on."""
    root = world.root
    async with harness.open_client(world.hosts, max_in_flight=16) as client:
        session = client.session_id
        interrupted = 0
        for step in count():
            path = await client.create(f"{root}/{step}")
            completed = False

            async def complete(path: str = path) -> None:
                nonlocal completed
                await operation(harness, client, path)
                completed = True

            reached = await harness.interrupt(step, complete)
            assert await client.exists(root) is not None  # the next call works
            assert reached or completed
            if not reached:
                break
            if completed:  # an event loop may deliver a cancellation too late, and what was made is its caller's
                for mine in world.ephemerals(session):
                    await client.delete(mine)
            else:
                interrupted += 1
                await nothing_held(harness, world, client, path)
        assert interrupted > 0
        assert (client.state, client.session_id) == (zk.SessionState.CONNECTED, session)
        await client.delete(root, recursive=True)
        await nothing_held(harness, world, client, root)


@check
async def check_interrupted_without_a_connection(harness: Harness, world: World) -> None:
    """What waits for a connection and is interrupted is never sent."""
    path = world.create(f"{world.root}/path")
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=4) as client:
            before = world.exists(path)
            async with away(harness, client, proxy):
                for name, operation in OPERATIONS.items():
                    if name != "states":
                        for seconds in (0, 0.003):
                            with raises(TimeoutError):
                                await harness.within(seconds, partial(operation, harness, client, path))
            assert await client.exists(path) == before
            assert world.children(world.root) == ["path"]
            await nothing_held(harness, world, client, path)


@check
async def check_interrupted_and_the_reply_is_lost(harness: Harness, world: World) -> None:
    """An ephemeral that nobody waits for any more is found on the next connection, and removed."""
    root = world.root
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=4) as client:
            creates: dict[str, Callable[[], Awaitable[object]]] = {
                "plain": lambda: client.create(f"{root}/plain", ephemeral=True),
                "protected": lambda: client.create(f"{root}/x", ephemeral=True, protected=True),
                "sequential": lambda: client.create(f"{root}/x", ephemeral=True, protected=True, sequential=True),
                "transaction": lambda: (
                    client.transaction().create(f"{root}/t", ephemeral=True).create(f"{root}/kept").commit()
                ),
            }

            async def give_up(create: Callable[[], Awaitable[object]]) -> None:
                with raises(TimeoutError):
                    await harness.within(0.1, create)

            proxy.black_hole("replies")
            await harness.together(*[partial(give_up, create) for create in creates.values()])
            await until(harness, lambda: len(world.ephemerals(client.session_id)) == 4)
            async with away(harness, client, proxy):
                proxy.heal()
            await nothing_held(harness, world, client, root)
            assert world.children(root) == ["kept"]


@check
async def check_many_interrupted(harness: Harness, world: World) -> None:
    """Many side by side, each interrupted somewhere or not at all: only what was acknowledged is left."""
    root = world.root
    made: set[str] = set()

    async def create(n: int) -> None:
        if n % 4 == 3:
            results = await client.transaction().create(f"{root}/t{n}", ephemeral=True).commit()
            made.update(each.path for each in results if isinstance(each, zk.Created))
        else:
            made.add(await client.create(f"{root}/n{n}", ephemeral=True, sequential=n % 4 == 1, protected=n % 4 == 2))

    async def wait(n: int) -> None:
        async with client.watch(f"{root}/{n % 5}", recursive=n % 2 == 0), client.watch_exists(f"{root}/{n % 3}"):
            await client.exists(root)

    async with harness.open_client(world.hosts) as client:
        creates = [partial(harness.interrupt, n % 3, partial(create, n)) for n in range(32)]
        waits = [partial(harness.interrupt, n % 5, partial(wait, n)) for n in range(32)]
        await harness.together(*[each for pair in zip(creates, waits, strict=True) for each in pair])
        assert made
        assert len(made) < 32
        await until(harness, lambda: world.ephemerals(client.session_id) == made)
        await until(harness, lambda: not world.watches(client.session_id))


@check
async def check_open_and_close_interrupted(harness: Harness, world: World) -> None:
    """Interrupted anywhere from its opening to its end, a client leaves no session, connection, task or thread."""
    root, before = world.root, world.connections()
    completed = False

    async def use() -> None:
        nonlocal completed
        async with harness.open_client(world.hosts) as client:
            await client.create(f"{root}/e", ephemeral=True)
            async with client.watch(root):
                pass
        completed = True

    for step in count():
        completed = False
        reached = await harness.interrupt(step, use)
        await until(harness, lambda: world.connections() <= before)
        await until(harness, lambda: not harness.leftovers(), lambda: f"left: {harness.leftovers()}")
        assert world.children(root) == []
        if not reached:
            break
    assert completed
    assert step > 2


@check
async def check_close_interrupted(harness: Harness, world: World) -> None:
    """A client whose closing is interrupted still ends its session."""
    for step in count():
        async with harness.open_client(world.hosts) as client:
            await client.create(f"{world.root}/e", ephemeral=True)
            reached = await harness.interrupt(step, client.aclose)
        assert world.children(world.root) == []
        assert client.state is zk.SessionState.CLOSED
        if not reached:
            break
    assert step > 0


@check
async def check_slow_call(harness: Harness, world: World) -> None:
    """A call that takes too long ends in time; its late answer goes to nobody else."""
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=4) as client:
            proxy.black_hole("replies")
            for path in (world.root, f"{world.root}/none"):
                with raises(TimeoutError):
                    await harness.within(0.05, partial(client.get, path))
            proxy.heal()
            assert (await client.get(world.root)).stat == world.exists(world.root)
            assert isinstance(await outcome(lambda: client.get(f"{world.root}/none")), zk.NoNodeError)
            assert client.state is zk.SessionState.CONNECTED
