"""Views of one client: another root, another policy, another list of servers."""

from __future__ import annotations

import zk_sansio as zk

from .._port import Harness, World
from .._run import check
from .._tools import away, next_brief, raises, reach


@check
async def check_chroot(harness: Harness, world: World) -> None:
    """Every path that goes in or comes out is below the chroot of the connect string."""
    root = world.root
    async with harness.open_client(world.hosts + root) as client:
        assert client.chroot == root
        assert await client.create("/a/b", b"x", make_parents=True) == "/a/b"
        assert world.get(f"{root}/a/b") == b"x"
        assert [path async for path, _ in client.walk("/")] == ["/", "/a", "/a/b"]
        assert await client.create("/e", ephemeral=True) == "/e"
        assert await client.get_ephemerals() == ["/e"]
        with raises(zk.NoNodeError) as caught:
            await client.get("/none")
        assert caught.value.path == "/none"
        (made,) = await client.transaction().create("/t").commit()
        assert isinstance(made, zk.Created)
        assert made.path == "/t"
        with raises(zk.TransactionError) as failed:
            await client.transaction().create("/t").commit()
        assert failed.value.path == "/t"
        pipeline = client.pipeline()
        pending = pipeline.create("/p")
        await pipeline.run()
        assert pending.value.path == "/p"
        async with client.watch("/a", recursive=True) as changes, client.watch_exists("/new") as new:
            await client.set("/a/b", b"")
            await client.create("/new")
            assert await next_brief(changes) == ("DATA_CHANGED", "/a/b")
            assert (await new.fired()).path == "/new"
        async with client.watch("/a", recursive=True, snapshot=True) as changes:
            assert [await next_brief(changes) for _ in range(2)] == [("CREATED", "/a"), ("CREATED", "/a/b")]
        await client.delete("/a", recursive=True)
        assert world.children(root) == ["e", "new", "p", "t"]


@check
async def check_missing_chroot(harness: Harness, world: World) -> None:
    """A chroot need not be there, and can be made from inside."""
    async with harness.open_client(f"{world.hosts}{world.root}/app/x") as client:
        assert await client.exists("/") is None
        with raises(zk.NoNodeError) as caught:
            await client.create("/a")
        assert caught.value.path == "/a"
        await client.create("/a", make_parents=True)
        assert world.children(f"{world.root}/app/x") == ["a"]


@check
async def check_at(harness: Harness, world: World) -> None:
    """A view below a path shares the session and the watches."""
    world.create(f"{world.root}/app")
    async with harness.open_client(world.hosts + world.root) as client:
        app = client.at("/app")
        assert (app.chroot, app.session_id) == (f"{world.root}/app", client.session_id)
        assert await app.create("/x", b"1") == "/x"
        assert (await client.get("/app/x")).data == b"1"
        assert (await app.at("/x").get("/")).data == b"1"
        async with app.watch_data("/x") as watch:
            await client.set("/app/x", b"2")
            assert (await watch.fired()).path == "/x"
        with raises(zk.InvalidPathError):
            client.at("app")


@check
async def check_using(harness: Harness, world: World) -> None:
    """A view with another policy: what is repeated, and whether calls wait for a connection."""

    async def repeat() -> None:
        with world.proxy() as proxy:
            async with harness.open_client(proxy.hosts, session_timeout=2) as client:
                once = client.using(retry=zk.RetryPolicy(max_attempts=1))
                proxy.cut_before_reply(op=4)
                with raises(zk.ConnectionLossError):
                    await once.get(world.root)
                proxy.cut_before_reply(op=4)
                await client.get(world.root)

    async def wait() -> None:
        with world.proxy() as proxy:
            async with harness.open_client(proxy.hosts, session_timeout=2) as client, away(harness, client, proxy):
                hasty = client.using(while_suspended="fail")
                for call in (hasty.get(world.root), hasty.at(world.root).create("/a")):
                    with raises(zk.SuspendedError) as caught:
                        await call
                    assert caught.value.maybe_applied is False

    await harness.together(repeat, wait)
    assert world.children(world.root) == []


@check
async def check_set_hosts(harness: Harness, world: World) -> None:
    """The client goes over to another list of servers, with its session."""
    with world.proxy() as first, world.proxy() as second:
        async with harness.open_client(first.hosts, session_timeout=2) as client:
            session = client.session_id
            assert client.server == first.hosts
            await client.create(f"{world.root}/e", ephemeral=True)
            client.set_hosts(second.hosts)
            first.refuse()
            first.cut()
            assert await client.exists(f"{world.root}/e") is not None
            await reach(harness, client, zk.SessionState.CONNECTED)
            assert (client.server, client.session_id) == (second.hosts, session)
            with raises(zk.InvalidRequestError):
                client.set_hosts(f"{first.hosts}/app")
            with raises(zk.InvalidRequestError):
                client.set_hosts("")
            assert client.server == second.hosts
