"""A call may be cancelled wherever it waits: nothing is left behind, here or on the server, and the client goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.trio.fake import CREATE, CREATE2, MULTI, Do, FakeServer
from zk_trio import Client, ConnectionLossError, SessionState

pytestmark = pytest.mark.trio

A = "10.0.0.1"
Call = Callable[[Client], Awaitable[Any]]


async def watching(stream: Any) -> None:
    async with stream:
        await trio.sleep_forever()


async def snapshot(client: Client) -> None:
    async with client.watch("/t", recursive=True, snapshot=True) as changes:
        async for _ in changes:
            pass


async def walk(client: Client) -> None:
    async for _ in client.walk("/t"):
        pass


async def many(client: Client, *, sequential: bool = False) -> None:
    pipeline = client.pipeline()
    pipeline.create("/t/p1", ephemeral=True)
    pipeline.get("/t/a")
    pipeline.create("/t/p2-", ephemeral=True, sequential=sequential)
    pipeline.get_children("/t")
    await pipeline.run()


OPERATIONS: dict[str, Call] = {
    "get": lambda c: c.get("/t/a"),
    "exists": lambda c: c.exists("/none"),
    "get_children": lambda c: c.get_children("/t"),
    "get_children_with_stat": lambda c: c.get_children_with_stat("/t"),
    "get_acl": lambda c: c.get_acl("/t"),
    "count_descendants": lambda c: c.count_descendants(),
    "get_ephemerals": lambda c: c.get_ephemerals(),
    "sync": lambda c: c.sync(),
    "walk": walk,
    "multi_read": lambda c: c.multi_read().get("/t").run(),
    "create": lambda c: c.create("/t/n"),
    "create ephemeral": lambda c: c.create("/t/n", ephemeral=True),
    "create ephemeral sequential": lambda c: c.create("/t/n-", ephemeral=True, sequential=True),
    "create protected": lambda c: c.create("/t/n-", ephemeral=True, sequential=True, protected=True),
    "create with parents": lambda c: c.create("/t/x/y/n", ephemeral=True, make_parents=True),
    "create_with_stat": lambda c: c.create_with_stat("/t/n", ephemeral=True, protected=True),
    "ensure_path": lambda c: c.ensure_path("/t/x/y"),
    "set": lambda c: c.set("/t/a", b""),
    "set version": lambda c: c.set("/t/a", b"", version=0),
    "delete": lambda c: c.delete("/t/a"),
    "delete version": lambda c: c.delete("/t/a", version=0),
    "delete tree": lambda c: c.delete("/t", recursive=True),
    "set_acl": lambda c: c.set_acl("/t", zk_trio.OPEN),
    "transaction": lambda c: c.transaction().create("/t/n", ephemeral=True).set("/t/a", b"").commit(),
    "pipeline": many,
    "pipeline sequential": partial(many, sequential=True),
    "get_many": lambda c: c.get_many(["/t", "/none"]),
    "watch": lambda c: watching(c.watch("/t")),
    "watch recursive": lambda c: watching(c.watch("/t", recursive=True)),
    "watch snapshot": snapshot,
    "watch_data": lambda c: watching(c.watch_data("/t")),
    "watch_children": lambda c: watching(c.watch_children("/t")),
    "watch_exists": lambda c: watching(c.watch_exists("/none")),
    "wait_for": lambda c: c.wait_for("/none"),
    "wait_until_gone": lambda c: c.wait_until_gone("/t"),
    "check_watches": lambda c: c.check_watches("/t"),
    "whoami": lambda c: c.whoami(),
    "get_config": lambda c: c.get_config(),
    "reconfig": lambda c: c.reconfig(joining="server.1=a"),
    "add_auth": lambda c: c.add_auth("digest", "bob:x"),
    "states": lambda c: watching(c.states()),
}
# Nobody can find a sequential znode without a tag whose name was lost; the session's end removes it.
LOSABLE = {name: call for name, call in OPERATIONS.items() if not name.endswith(" sequential")}
FATES = {
    "held": [Do.HOLD],
    "not executed": [Do.DROP],
    "executed, reply lost": [Do.LOSE],
    "lost, and lost again": [Do.LOSE, None, Do.LOSE],
}


class Attempt:
    """One call that is cancelled at some point, unless it is faster."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.finished = False

    async def make(self, call: Call, client: Client) -> None:
        with self.scope:
            # A write whose reply is lost may end like this; then its caller has been told.
            with suppress(ConnectionLossError):
                await call(client)
            self.finished = True


@asynccontextmanager
async def nothing_left(fake: FakeServer, **settings: Any) -> AsyncIterator[tuple[Client, Attempt]]:
    """A client that must be as idle at the end of the scope as at its beginning."""
    fake.nodes = {"/": fake.nodes["/"]}
    for path in ("/t", "/t/a", "/t/b", "/zookeeper", "/zookeeper/config"):
        fake.make(path)
    async with zk_trio.open_client(A, session_timeout=9, **settings) as client:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        attempt = Attempt()
        yield client, attempt
        await settled(client)
        # What the session does in the background is done by the time that it has answered this.
        for _ in range(4):
            await client.sync()
        await wait_all_tasks_blocked()
        engine = client._engine
        session = engine.session
        assert session.in_flight == session.queued_bytes == 0
        assert len(session._watches) == 0
        assert not session._watches._arming
        assert not session._book.own
        assert not session._book.auth_waiting
        assert not session._orphans._suspects
        assert not engine._room
        assert not engine._turn
        assert not engine.listeners
        assert fake.ephemerals == [] or attempt.finished
        assert fake.watches == 0
        assert trio.lowlevel.current_statistics().tasks_living == before


async def settled(client: Client) -> None:
    async with client.states() as states:
        async for state in states:
            if state is SessionState.CONNECTED:
                return


@pytest.mark.parametrize("name", OPERATIONS)
async def test_before_anything_is_done(fake: FakeServer, name: str, autojump_clock: MockClock) -> None:
    """In a scope that is cancelled already: the call may be made or not, but it does not wait."""
    async with nothing_left(fake) as (client, attempt):
        attempt.scope.cancel()
        await attempt.make(OPERATIONS[name], client)
        assert attempt.scope.cancelled_caught


@pytest.mark.parametrize("name", OPERATIONS)
async def test_without_a_connection(fake: FakeServer, name: str, autojump_clock: MockClock) -> None:
    """What was not sent never will be."""
    async with nothing_left(fake) as (client, attempt):
        fake.lost_packets = {A}
        fake.drop()
        await wait_all_tasks_blocked()
        handled = len(fake.requests)
        attempt.scope.deadline = trio.current_time() + 0.01
        await attempt.make(OPERATIONS[name], client)
        assert attempt.scope.cancelled_caught
        assert client._engine.session.in_flight == 0
        assert client._engine.session.queued_bytes == 0
        fake.lost_packets = set()
        await settled(client)
        await wait_all_tasks_blocked()
        assert len(fake.requests) == handled


@pytest.mark.parametrize("name", OPERATIONS)
async def test_while_waiting_for_room(fake: FakeServer, name: str, autojump_clock: MockClock) -> None:
    async with nothing_left(fake, max_in_flight=1) as (client, attempt), trio.open_nursery() as nursery:
        fake.then(Do.HOLD)
        nursery.start_soon(client.sync)
        await wait_all_tasks_blocked()
        attempt.scope.deadline = trio.current_time() + 0.01
        await attempt.make(OPERATIONS[name], client)
        assert not client._engine._room
        await fake.release()


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("name", LOSABLE)
async def test_at_every_request(fake: FakeServer, name: str, fate: str, autojump_clock: MockClock) -> None:
    """The call is cancelled when the server has got its first request, its second ..., and whatever becomes of that."""
    for nth in range(20):
        async with nothing_left(fake) as (client, attempt):
            fake.then(*[None] * nth, *FATES[fate])  # type: ignore[misc]
            got_it = fake.alarm(nth + 1)
            attempt.scope.deadline = trio.current_time() + 3

            async def cancel(attempt: Attempt = attempt, got_it: trio.Event = got_it) -> None:
                await got_it.wait()
                attempt.scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                await attempt.make(LOSABLE[name], client)
                nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked()
            await fake.release()
            fake.forget()
        if attempt.finished or not got_it.is_set():
            return
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize(
    "name", ["create ephemeral", "create protected", "create_with_stat", "transaction", "create with parents"]
)
async def test_while_finding_out_what_became_of_an_ephemeral(
    fake: FakeServer, name: str, autojump_clock: MockClock
) -> None:
    """Its reply was lost, the client has reconnected and is looking for it when the caller gives up."""
    for fate in Do.HOLD, Do.LOSE, Do.DROP:
        for nth in range(20):
            async with nothing_left(fake) as (client, attempt):
                for op in CREATE, CREATE2, MULTI:
                    fake.then(Do.LOSE, op=op)
                fake.then(*[None] * nth, fate, Do.HOLD)
                attempt.scope.deadline = trio.current_time() + 1
                await attempt.make(OPERATIONS[name], client)
                await fake.release()
                fake.forget()
            if attempt.finished:
                break
        else:
            raise AssertionError("it never comes to an end")


async def test_a_reply_that_comes_when_its_caller_is_being_cancelled(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    """Both happen in one step: the result is there and is given, or nothing is left of it."""
    for _ in range(20):
        async with nothing_left(fake) as (client, _):
            fake.then(Do.HOLD, op=CREATE)
            made: list[str] = []

            async def create(client: Client = client, made: list[str] = made) -> None:
                made.append(await client.create("/t/n", ephemeral=True))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(create)
                await wait_all_tasks_blocked()
                fake.release_now()
                await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if made:
                await client.delete("/t/n")
