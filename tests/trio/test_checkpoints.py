"""Every coroutine that returns lets others run, and notices that it is cancelled: trio's own convention."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

import zk_trio
from tests.trio.fake import FakeServer
from zk_sansio.client import Engine, ZnodeClient
from zk_sansio.client._reader import Reader
from zk_trio import ChangeStream, Client, OneShotWatch, Pipeline, ReadBatch, StateStream, Transaction

pytestmark = pytest.mark.trio

A = "10.0.0.1"
CLIENT = (Reader, ZnodeClient, Client)


async def next_change(client: Client, *, snapshot: bool = False) -> None:
    async with client.watch("/t", snapshot=snapshot) as changes:
        await client.set("/t/a", b"")
        await client.create("/t/z")
        await client.delete("/t/z")
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            await anext(changes)


async def fired(client: Client) -> None:
    async with client.watch_exists("/t/w") as watch:
        await client.create("/t/w")
        for _ in range(2):
            with assert_checkpoints():
                await watch.fired()
    await client.delete("/t/w")


async def next_state(client: Client) -> None:
    async with client.states() as states:
        with assert_checkpoints():
            await anext(states)


async def scope(stream: Any) -> None:
    async with stream:
        pass


async def leave(client: Client) -> None:
    """A stream that is closed twice: both are checkpoints."""
    async with client.watch("/t") as changes:
        for _ in range(2):
            with assert_checkpoints():
                await changes.aclose()


async def walk(client: Client) -> None:
    async for _ in client.walk("/none"):
        pass


async def close(client: Client) -> None:
    await client.aclose()
    with assert_checkpoints():
        await client.aclose()
    with assert_checkpoints():
        await client._engine.close(0)


# In this order, on one client.
CALLS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "Client.get": lambda c: c.get("/t"),
    "Client.exists": lambda c: c.exists("/none"),
    "Client.get_children": lambda c: c.get_children("/t"),
    "Client.get_children_with_stat": lambda c: c.get_children_with_stat("/t"),
    "Client.get_acl": lambda c: c.get_acl("/t"),
    "Client.count_descendants": lambda c: c.count_descendants(),
    "Client.get_ephemerals": lambda c: c.get_ephemerals(),
    "Client.sync": lambda c: c.sync(),
    "Client.walk": walk,
    "Client.create": lambda c: c.create("/t/n"),
    "Client.create_with_stat": lambda c: c.create_with_stat("/t/m"),
    "Client.ensure_path": lambda c: c.ensure_path("/"),
    "Client.ensure_path 2": lambda c: c.ensure_path("/t/n"),
    "Client.set": lambda c: c.set("/t", b""),
    "Client.set_acl": lambda c: c.set_acl("/t", zk_trio.OPEN),
    "Client.delete": lambda c: c.delete("/t/n"),
    "Client.delete 2": lambda c: c.delete("/t/m", recursive=True),
    "Transaction.commit": lambda c: c.transaction().commit(),
    "ReadBatch.run": lambda c: c.multi_read().run(),
    "Pipeline.run": lambda c: c.pipeline().run(),
    "Client.get_many": lambda c: c.get_many([]),
    "Client.get_many 2": lambda c: c.get_many(["/t"]),
    "ChangeStream.__aenter__": lambda c: scope(c.watch("/t")),
    "ChangeStream.__anext__": next_change,
    "ChangeStream.__anext__ 2": lambda c: next_change(c, snapshot=True),
    "ChangeStream.aclose": leave,
    "OneShotWatch.__aenter__": lambda c: scope(c.watch_data("/t")),
    "OneShotWatch.fired": fired,
    "StateStream.__aenter__": lambda c: scope(c.states()),
    "StateStream.__anext__": next_state,
    "Client.wait_until_gone": lambda c: c.wait_until_gone("/none"),
    "Client.wait_for": lambda c: c.wait_for("/t"),
    "Client.check_watches": lambda c: c.check_watches("/t"),
    "Client.add_auth": lambda c: c.add_auth("digest", "bob:x"),
    "Client.whoami": lambda c: c.whoami(),
    "Client.get_config": lambda c: c.get_config(),
    "Client.reconfig": lambda c: c.reconfig(leaving="3"),
    "Engine.wait_until_serving": lambda c: c._engine.wait_until_serving(),
    "Engine.batch": lambda c: c._engine.batch([]),
    "Client.aclose": close,
}


async def test_everything_that_returns_is_a_checkpoint(fake: FakeServer, autojump_clock: MockClock) -> None:
    for path in ("/t", "/t/a", "/zookeeper", "/zookeeper/config"):
        fake.make(path)
    async with zk_trio.open_client(A) as client:
        for name, call in CALLS.items():
            try:
                with assert_checkpoints():
                    await call(client)
            except AssertionError as error:
                raise AssertionError(name) from error


async def test_everything_that_returns_notices_a_cancellation(fake: FakeServer, autojump_clock: MockClock) -> None:
    for path in ("/t", "/t/a", "/zookeeper", "/zookeeper/config"):
        fake.make(path)
    async with zk_trio.open_client(A) as client:
        for name, call in CALLS.items():
            with trio.CancelScope() as cancelled:
                cancelled.cancel()
                await call(client)
            assert cancelled.cancelled_caught, name
            await wait_all_tasks_blocked()


async def test_opening_and_leaving_are_checkpoints(fake: FakeServer, autojump_clock: MockClock) -> None:
    for open_timeout in (15, 0):
        opening = zk_trio.open_client(A, open_timeout=open_timeout)
        with assert_checkpoints():
            await opening.__aenter__()
        with assert_checkpoints():
            await opening.__aexit__(None, None, None)


async def test_nothing_public_was_forgotten() -> None:
    checked = {name.split()[0] for name in CALLS}
    # Left at once, so that the exception of a body is never replaced by a cancellation.
    silent = {f"{cls.__name__}.__aexit__" for cls in (ChangeStream, OneShotWatch, StateStream)}
    internal = {"Engine.call", "Engine.finish", "Engine.wait_for_room", "Engine.close"}
    public = {
        f"{'Client' if issubclass(cls, Reader) else cls.__name__}.{name}"
        for cls in (*CLIENT, ChangeStream, OneShotWatch, StateStream, Transaction, ReadBatch, Pipeline, Engine)
        for name, member in vars(cls).items()
        if (inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member))
        and (not name.startswith("_") or name.startswith("__"))
    }
    assert checked | silent | internal == public
