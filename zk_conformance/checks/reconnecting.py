"""Lost requests and lost replies: what is repeated, what is found out, and what is told of the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import zk_sansio as zk

from .._port import Harness, Proxy, World
from .._run import check, check_each
from .._tools import away, outcome, raises, reach, until

Operation = Callable[[zk.Client, str], Awaitable[object]]
Effects = Callable[[World, str], int]


class Kind(NamedTuple):
    """A kind of write.

    Attributes:
        run: makes it, at a path whose znode exists, at version 0 and without children.
        effects: how often it has had its effect.
        certain: whether it succeeds whatever reply is lost.
        sent_again: whether it succeeds whatever request is lost on its way.
    """

    run: Operation
    effects: Effects
    certain: bool
    sent_again: bool


def children(world: World, path: str) -> int:
    """How many children there are."""
    return len(world.children(path))


def version(world: World, path: str) -> int:
    """How often the data were written."""
    stat = world.exists(path)
    assert stat is not None
    return stat.version


def gone(world: World, path: str) -> int:
    """1 if there is no such znode."""
    return int(world.exists(path) is None)


def whole(world: World, path: str) -> int:
    """How often the transaction happened, always as a whole."""
    found = version(world, path), children(world, path)
    assert found in ((0, 0), (1, 2))
    return found[0]


def once(world: World, path: str) -> int:
    """There is nothing to see."""
    return 1


async def remove_tree(client: zk.Client, path: str) -> None:
    """Make a tree, and remove it."""
    again = client.using(retry=zk.RetryPolicy(repeat_unknown=True))
    for name in ("a", "a/b", "c"):
        await again.ensure_path(f"{path}/{name}")
    await client.delete(path, recursive=True)


async def read(client: zk.Client, path: str) -> None:
    """Read in all ways."""
    assert (await client.get(path)).stat.version == 0
    assert await client.exists(path) is not None
    assert await client.get_children(path) == []
    assert (await client.get_children_with_stat(path)).names == []
    assert await client.count_descendants(path) == 0
    assert [found async for found, _ in client.walk(path)] == [path]
    (znode,) = await client.multi_read().get(path).run()
    assert isinstance(znode, zk.Znode)
    assert all(isinstance(each, zk.Znode) for each in await client.get_many([path] * 3))
    await client.sync()


async def watch(client: zk.Client, path: str) -> None:
    """Watch in all ways."""
    shots = client.watch_data(path), client.watch_children(path), client.watch_exists(f"{path}/none")
    async with client.watch(path), shots[0], shots[1], shots[2], client.watch(path, recursive=True):
        pass


async def identify(client: zk.Client, path: str) -> None:
    """Add an identity."""
    await client.add_auth("digest", "bob:secret")
    assert zk.Id("digest", "bob") in await client.whoami()


async def set_at_version(client: zk.Client, path: str) -> None:
    """Write what was read."""
    await client.set(path, b"new", version=(await client.get(path)).stat.version)


KINDS = {
    "create": Kind(lambda c, p: c.create(f"{p}/n"), children, False, False),
    "ephemeral": Kind(lambda c, p: c.create(f"{p}/n", ephemeral=True), children, True, True),
    "protected": Kind(
        lambda c, p: c.create(f"{p}/n", protected=True, sequential=True, ephemeral=True), children, True, True
    ),
    "ensured path": Kind(lambda c, p: c.ensure_path(f"{p}/a/b"), children, True, True),
    "set": Kind(lambda c, p: c.set(p, b"new"), version, False, False),
    "set at version": Kind(set_at_version, version, False, True),
    "delete": Kind(lambda c, p: c.delete(p), gone, False, False),
    "recursive delete": Kind(remove_tree, gone, True, True),
    "transaction": Kind(
        lambda c, p: c.transaction().create(f"{p}/a").create(f"{p}/b").set(p, b"").commit(), whole, False, False
    ),
    "reads": Kind(read, once, True, True),
    "watches": Kind(watch, once, True, True),
    "identity": Kind(identify, once, True, True),
}


async def attempt(client: zk.Client, kind: Kind, path: str) -> zk.ConnectionLossError | None:
    """Make a write; return the error that leaves its outcome open."""
    try:
        await kind.run(client, path)
    except zk.ConnectionLossError as error:
        return error
    return None


@check_each(KINDS)
async def check_lost(harness: Harness, world: World, kind: Kind) -> None:
    """Whatever request or reply is lost, the effect happens at most once, and what is told of it is true."""
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts) as client:
            assert await attempt(client, kind, world.create(f"{world.root}/undisturbed")) is None
        needed = proxy.requests - 1  # without the end of the session

    async def lose(k: int, reply: bool) -> None:
        path = world.create(f"{world.root}/{k}-{reply}")
        with world.proxy() as proxy:
            async with harness.open_client(proxy.hosts, session_timeout=2) as client:
                (proxy.cut_before_reply if reply else proxy.cut_before_request)(k)
                error = await attempt(client, kind, path)
                effects = kind.effects(world, path)
                if error is None:
                    assert effects == 1, f"succeeded with {effects} effects"
                else:
                    assert effects in (0, 1)
                    assert error.maybe_applied is True
                    assert not (kind.certain if reply else kind.sent_again), f"request {k} should be repeated"
                assert await client.exists(world.root) is not None
                await until(harness, lambda: proxy.cuts == 1)  # the removal of a watch is not waited for

    assert needed >= 1
    places = [*range(1, needed + 1)][:8]
    await harness.together(*[partial(lose, k, reply) for k in places for reply in (False, True)])


@check
async def check_not_sent(harness: Harness, world: World) -> None:
    """What is asked for without a connection waits for one, or fails and was not sent."""
    root = world.root
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2, while_suspended="fail") as client:
            patient = client.using(while_suspended="wait")

            async def disturb() -> None:
                async with away(harness, client, proxy):
                    for call in (
                        client.get(root),
                        client.create(f"{root}/a"),
                        client.transaction().delete(root).commit(),
                    ):
                        with raises(zk.SuspendedError) as caught:
                            await call
                        assert caught.value.maybe_applied is False
                    for each in await client.get_many([root, root]):
                        assert isinstance(each, zk.SuspendedError)
                    with raises(TimeoutError):
                        await harness.within(0.02, lambda: patient.create(f"{root}/never"))
                    await harness.sleep(0.02)
                    assert world.children(root) == []

            async def wait() -> None:
                await until(harness, lambda: client.state is zk.SessionState.SUSPENDED)
                await patient.create(f"{root}/b")

            await harness.together(disturb, wait)
            assert world.children(root) == ["b"]


@check
async def check_policy(harness: Harness, world: World) -> None:
    """What is repeated is for the user to say, and a request that ends the connection twice is given up."""
    root = world.root

    async def once(proxy: Proxy, client: zk.Client) -> None:
        proxy.cut_before_reply(op=1)
        with raises(zk.ConnectionLossError) as caught:
            await client.using(retry=zk.RetryPolicy(max_attempts=1)).create(f"{root}/a", ephemeral=True)
        assert (caught.value.maybe_applied, caught.value.path) == (True, f"{root}/a")
        assert caught.value.server == proxy.hosts

    async def always(proxy: Proxy, client: zk.Client) -> None:
        proxy.cut_before_reply(op=5)
        stat = await client.using(retry=zk.RetryPolicy(repeat_unknown=True)).set(root, b"x")
        assert stat.version == 2  # made twice, as was asked for

    async def twice(proxy: Proxy, client: zk.Client) -> None:
        for _ in range(3):
            proxy.cut_before_reply(op=4)
        with raises(zk.ConnectionLossError) as caught:
            await client.get(root)
        assert "twice" in caught.value.__notes__[0]
        assert proxy.cuts == 2
        proxy.heal()
        await client.get(root)

    async def use(function: Callable[[Proxy, zk.Client], Awaitable[None]]) -> None:
        with world.proxy() as proxy:
            async with harness.open_client(proxy.hosts, session_timeout=1) as client:
                await function(proxy, client)

    await harness.together(partial(use, once), partial(use, always), partial(use, twice))


@check
async def check_lost_pipeline(harness: Harness, world: World) -> None:
    """What is behind the lost write is not made again, since it may build on it; reads are."""
    root = world.root
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client:
            proxy.cut_before_reply(3)
            pipeline = client.pipeline()
            for n in range(5):
                pipeline.create(f"{root}/{n}")
            names = pipeline.get_children(root)
            first, second, *lost, _ = await pipeline.run()
            assert (first.path, second.path) == (f"{root}/0", f"{root}/1")
            for error in lost:
                assert isinstance(error, zk.ConnectionLossError)
                assert error.maybe_applied is True
            assert sorted(names.value) == world.children(root) == ["0", "1", "2"]


@check
async def check_lost_ephemeral_of_a_rival(harness: Harness, world: World) -> None:
    """An ephemeral znode that somebody else made meanwhile is not taken for ours."""
    path = f"{world.root}/e"
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client:
            results: list[Any] = []

            async def create() -> None:
                results.append(await outcome(lambda: client.create(path, ephemeral=True)))

            async def rival() -> None:
                await until(harness, lambda: proxy.cuts)
                world.create(path, ephemeral=True)
                proxy.listen_again()

            proxy.cut_before_request(op=1)
            proxy.refuse()
            await harness.together(create, rival)
            assert isinstance(results[0], zk.NodeExistsError)
            assert world.ephemerals(client.session_id) == set()
            world.delete(path)


@check
async def check_everything_lost(harness: Harness, world: World) -> None:
    """Many calls of all kinds are in flight, and the connection is cut again and again."""
    kinds = [kind for name, kind in KINDS.items() if name != "identity"] * 2
    for n in range(len(kinds)):
        world.create(f"{world.root}/{n}")
    errors: dict[int, zk.ConnectionLossError | None] = {}
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=2) as client:
            session = client.session_id

            async def work(n: int) -> None:
                errors[n] = await attempt(client, kinds[n], f"{world.root}/{n}")

            async def disturb() -> None:
                for n in range(4):
                    (proxy.cut_before_reply if n % 2 else proxy.cut_after_request)()
                    await until(harness, lambda n=n: proxy.cuts > n or len(errors) == len(kinds))  # type: ignore[misc]
                proxy.heal()

            await harness.together(disturb, *[partial(work, n) for n in range(len(kinds))])
            await reach(harness, client, zk.SessionState.CONNECTED)
            await client.sync()
            for n, error in errors.items():
                effects = kinds[n].effects(world, f"{world.root}/{n}")
                assert effects in ((1,) if error is None else (0, 1))
                assert error is None or error.maybe_applied is True
            assert client.session_id == session
