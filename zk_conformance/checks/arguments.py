"""Arguments that make no sense are refused at once: nothing is sent, and the client works on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import zk_sansio as zk

from .._port import Harness, World
from .._run import check, check_each
from .._tools import raises

PATHS = ["", "a", "/a/", "//", "/a//b", "/a/../b", "/.", "/\0", "/\ud800", "/\ue000", "/\U0001f600"]
HOSTS: dict[str, Any] = {
    "empty": "",
    "none": [],
    "no host": ":2181",
    "bad port": "a:x",
    "port too large": "a:65536",
    "scheme": "zk://a:2181",
    "user": "bob:secret@a:2181",
    "two chroots": ["a/x", "b/x"],
    "open bracket": "[::1",
    "chroot": "a/app/",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "session timeout": {"session_timeout": 0},
    "open timeout": {"open_timeout": -1},
    "close grace": {"close_grace": float("nan")},
    "connect timeout": {"connect_timeout": 0},
    "expiry": {"on_expiry": "ignore"},
    "suspension": {"while_suspended": True},
    "flight": {"max_in_flight": 0},
    "marks": {"high_water": 1, "low_water": 2},
    "credentials": {"auth": ["digest:bob:secret"]},
}


@check
async def check_paths(harness: Harness, world: World) -> None:
    """Every operation refuses every path that no server accepts."""
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts) as client:
            calls: list[Callable[[str], Awaitable[object]]] = [
                client.get,
                client.exists,
                client.get_children,
                client.get_children_with_stat,
                client.get_acl,
                client.count_descendants,
                client.sync,
                client.create,
                client.create_with_stat,
                client.ensure_path,
                client.delete,
                client.wait_for,
                client.wait_until_gone,
                client.check_watches,
                lambda path: client.delete(path, recursive=True),
                lambda path: client.create(path, make_parents=True, protected=True),
                lambda path: client.set(path, b""),
                lambda path: client.set_acl(path, zk.OPEN),
                lambda path: client.get_many([path]),
                lambda path: client.transaction().create(path).commit(),
                lambda path: client.transaction().set(path, b"").commit(),
                lambda path: client.transaction().delete(path).commit(),
                lambda path: client.transaction().check(path).commit(),
                lambda path: client.multi_read().get(path).run(),
                lambda path: anext(client.walk(path)),
                lambda path: client.watch(path).__aenter__(),
                lambda path: client.watch(path, recursive=True, snapshot=True).__aenter__(),
                lambda path: client.watch_data(path).__aenter__(),
                lambda path: client.watch_children(path).__aenter__(),
                lambda path: client.watch_exists(path).__aenter__(),
            ]
            asked = proxy.requests
            for path in PATHS:
                for view in ("/", world.root):
                    for call in calls:
                        with raises(zk.InvalidPathError, zk.InvalidRequestError):
                            await call(path)
                    with raises(zk.InvalidPathError):
                        await client.at(view).get(path)
            assert proxy.requests == asked
            await client.exists(world.root)


@check
async def check_options(harness: Harness, world: World) -> None:
    """Options that exclude each other, or cannot be packed."""
    async with harness.open_client(world.hosts) as client:
        wrong: list[dict[str, Any]] = [
            {"container": True, "ttl": 1},
            {"container": True, "ephemeral": True},
            {"ephemeral": True, "ttl": 1},
            {"ttl": 0},
            {"ttl": 2.0**40},
        ]
        for options in wrong:
            with raises(zk.InvalidRequestError):
                await client.create(f"{world.root}/a", **options)
            with raises(zk.InvalidRequestError):
                await client.transaction().create(f"{world.root}/a", **options).commit()
        for version in (2**31, -(2**40)):
            with raises(zk.InvalidRequestError):
                await client.set(world.root, b"", version=version)
        with raises(zk.RequestTooLargeError) as caught:
            await client.create(f"{world.root}/a", bytes(1 << 20))
        assert (caught.value.path, caught.value.limit) == (f"{world.root}/a", 0xFFFFF)
        assert world.children(world.root) == []
        assert await client.exists(world.root) is not None


@check_each(HOSTS)
async def check_hosts(harness: Harness, world: World, hosts: Any) -> None:
    """A connect string that makes no sense; a password in it is not repeated."""
    with raises(zk.InvalidRequestError) as caught:
        async with harness.open_client(hosts):
            raise AssertionError("it opened")
    assert "secret" not in str(caught.value)


@check_each(SETTINGS)
async def check_settings(harness: Harness, world: World, settings: dict[str, Any]) -> None:
    """A setting that makes no sense."""
    with raises(zk.InvalidRequestError) as caught:
        async with harness.open_client(world.hosts, **settings):
            raise AssertionError("it opened")
    assert "secret" not in str(caught.value)


@check
async def check_unknown_setting(harness: Harness, world: World) -> None:
    """A setting that there is not."""
    settings: dict[str, Any] = {"sesion_timeout": 3}
    with raises(TypeError) as caught:
        async with harness.open_client(world.hosts, **settings):
            raise AssertionError("it opened")
    assert "sesion_timeout" in str(caught.value)
