"""Writes: creates in every mode, sets, deletes; and what the server says when they are not possible."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import zk_sansio as zk

from .._port import Harness, World
from .._run import check, check_each
from .._tools import raises, until

TAG = r"_c_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-"
MODES: dict[str, dict[str, Any]] = {
    "persistent": {},
    "ephemeral": {"ephemeral": True},
    "sequential": {"sequential": True},
    "ephemeral sequential": {"ephemeral": True, "sequential": True},
    "container": {"container": True},
    "TTL": {"ttl": 100},
    "sequential TTL": {"ttl": 100, "sequential": True},
}


@check_each(MODES)
async def check_create(harness: Harness, world: World, options: dict[str, Any]) -> None:
    """A znode is made as asked, with or without a tag, with or without its Stat told."""
    async with harness.open_client(world.hosts) as client:
        for protected in (False, True):
            path = await client.create(f"{world.root}/n", b"data", protected=protected, **options)
            number = r"\d{10}" if "sequential" in options else ""
            assert re.fullmatch(rf"{world.root}/{TAG if protected else ''}n{number}", path)
            assert world.get(path) == b"data"
            path, stat = await client.create_with_stat(f"{world.root}/m", None, protected=protected, **options)
            assert re.fullmatch(rf"{world.root}/{TAG if protected else ''}m{number}", path)
            assert world.get(path) is None
            assert world.exists(path) == stat
            assert stat.ephemeral_owner == (client.session_id if "ephemeral" in options else 0)
            below = [await client.create(f"{world.root}/{protected}/a/n", make_parents=True, **options)]
            below.append(await client.create(f"{world.root}/{protected}/a/b/m", make_parents=True, **options))
            assert len(world.children(f"{world.root}/{protected}/a")) == 2
            assert await client.count_descendants(f"{world.root}/{protected}") == 4


@check
async def check_sequence(harness: Harness, world: World) -> None:
    """The number is the parent's count of its children, and a name may be nothing but the number."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        assert await client.create(f"{root}/", sequential=True) == f"{root}/0000000000"
        assert await client.create(f"{root}/a-", sequential=True, ephemeral=True) == f"{root}/a-0000000001"
        assert await client.at(root).create("/a-", sequential=True) == "/a-0000000002"


@check
async def check_ephemerals_go_with_the_session(harness: Harness, world: World) -> None:
    """They are gone when the scope of the client is left, and the others stay."""
    async with harness.open_client(world.hosts) as client:
        await client.create(f"{world.root}/e", ephemeral=True)
        await client.create(f"{world.root}/s", ephemeral=True, sequential=True)
        await client.create(f"{world.root}/p")
        assert len(world.children(world.root)) == 3
    assert world.children(world.root) == ["p"]


@check
async def check_create_refused(harness: Harness, world: World) -> None:
    """The server's word, with the facts; nothing is made."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        await client.create(f"{root}/e", ephemeral=True)
        before = world.exists(root)
        with raises(zk.NodeExistsError) as exists:
            await client.create(f"{root}/e")
        assert (exists.value.code, exists.value.path, exists.value.operation) == (-110, f"{root}/e", "create")
        assert exists.value.zxid == client.last_zxid
        with raises(zk.NoNodeError) as parent:
            await client.create(f"{root}/a/b")
        assert (parent.value.code, parent.value.path) == (-101, f"{root}/a/b")
        with raises(zk.NoChildrenForEphemeralsError) as childless:
            await client.create(f"{root}/e/child", make_parents=True)
        assert childless.value.code == -108
        assert world.exists(root) == before


@check
async def check_ensure_path(harness: Harness, world: World) -> None:
    """Missing parents are made, those that are there are left alone, and so does who comes at the same time."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        await client.ensure_path(f"{root}/a/b/c")
        kept = world.set(f"{root}/a/b", b"kept")
        await client.ensure_path(f"{root}/a/b/c")
        assert world.exists(f"{root}/a/b") == kept
        await client.ensure_path(f"{root}/a/b/d/e", container=True)
        assert world.children(f"{root}/a/b") == ["c", "d"]
        await client.ensure_path("/")
        await harness.together(*[partial(client.create, f"{root}/x/y/{n}", make_parents=True) for n in range(10)])
        assert len(world.children(f"{root}/x/y")) == 10


@check
async def check_set(harness: Harness, world: World) -> None:
    """Data are replaced, whatever the version, or only at the version asked for."""
    path = world.create(f"{world.root}/a")
    async with harness.open_client(world.hosts) as client:
        assert await client.set(path, b"1") == world.exists(path)
        stat = await client.set(path, None, version=1)
        assert (stat.version, world.get(path)) == (2, None)
        with raises(zk.BadVersionError) as caught:
            await client.set(path, b"3", version=1)
        assert (caught.value.code, caught.value.path, caught.value.maybe_applied) == (-103, path, False)
        with raises(zk.NoNodeError):
            await client.set(f"{path}/none", b"")
        assert world.get(path) is None


@check
async def check_delete(harness: Harness, world: World) -> None:
    """A znode is removed, whatever its version or at the one asked for, unless it has children."""
    root = world.root
    for name in ("a", "b", "c", "c/d"):
        world.create(f"{root}/{name}")
    async with harness.open_client(world.hosts) as client:
        await client.delete(f"{root}/a")
        with raises(zk.BadVersionError):
            await client.delete(f"{root}/b", version=1)
        await client.delete(f"{root}/b", version=0)
        assert world.children(root) == ["c"]
        with raises(zk.NotEmptyError) as caught:
            await client.delete(f"{root}/c")
        assert (caught.value.code, caught.value.path) == (-111, f"{root}/c")
        with raises(zk.NoNodeError):
            await client.delete(f"{root}/a")
        with raises(zk.InvalidRequestError):
            await client.delete("/")


@check
async def check_recursive_delete(harness: Harness, world: World) -> None:
    """A tree is removed with all that is below it, also while it grows."""
    top = world.create(f"{world.root}/top")
    world.create(f"{world.root}/other")
    async with harness.open_client(world.hosts, max_in_flight=10) as client:
        pipeline = client.pipeline()
        for n in range(30):
            pipeline.create(f"{top}/{n}")
            pipeline.create(f"{top}/{n}/x")
        await pipeline.run()

        async def grow() -> None:
            with raises(zk.NoNodeError):  # in the end nothing can be made there any more
                for n in range(10_000):
                    await client.create(f"{top}/{n % 30}/y{n}")

        async def remove() -> None:
            await until(harness, lambda: len(world.children(f"{top}/3")) > 1)
            await client.delete(top, recursive=True)

        await harness.together(grow, remove)
        assert world.children(world.root) == ["other"]
        with raises(zk.NoNodeError) as caught:
            await client.delete(top, recursive=True)
        assert (caught.value.path, caught.value.operation) == (top, "delete")
        with raises(zk.InvalidRequestError):
            await client.delete(f"{world.root}/other", recursive=True, version=0)


@check
async def check_access_control(harness: Harness, world: World) -> None:
    """Lists are read and written, at any version or at the one asked for."""
    path = world.create(f"{world.root}/a")
    acl = [zk.digest_acl("bob", "secret"), zk.ip_acl("127.0.0.1", zk.Perms.READ | zk.Perms.ADMIN)]
    async with harness.open_client(world.hosts) as client:
        found = await client.get_acl(path)
        assert (tuple(found.acl), found.stat) == (zk.OPEN, world.exists(path))
        assert (await client.set_acl(path, acl, version=0)).aversion == 1
        assert list((await client.get_acl(path)).acl) == acl
        with raises(zk.BadVersionError):
            await client.set_acl(path, zk.OPEN, version=0)
        assert await client.set_acl(path, zk.OPEN) == (await client.get_acl(path)).stat
        made = await client.create(f"{path}/b", acl=zk.READ_ONLY)
        assert tuple((await client.get_acl(made)).acl) == zk.READ_ONLY
        for call in (client.get_acl(f"{path}/none"), client.set_acl(f"{path}/none", zk.OPEN)):
            with raises(zk.NoNodeError):
                await call
