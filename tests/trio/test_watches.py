"""Watches as scopes: what is told, in what order, and that nothing is lost in silence or left behind."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.trio.fake import (  # type: ignore[attr-defined]
    ADD_WATCH,
    CHILDREN,
    CHILDREN_CHANGED,
    CREATED,
    DATA_CHANGED,
    DELETED,
    EXISTS,
    GET,
    REMOVE_WATCHES,
    SET,
    SET_WATCHES,
    SET_WATCHES2,
    Do,
    FakeServer,
)
from zk_trio import (
    ChangeStream,
    Client,
    ClosedError,
    EventType,
    Gap,
    LocalProtocolError,
    NoNodeError,
    SessionExpiredError,
    SessionState,
    WatchEvent,
)

pytestmark = pytest.mark.trio

A = "10.0.0.1"


async def drained(changes: ChangeStream[Any]) -> list[Any]:
    """What a stream has to tell now."""
    told = []
    while True:
        with trio.move_on_after(0.001) as scope:
            told.append(await anext(changes))
        if scope.cancelled_caught:
            return told


async def reconnected(client: Client, fake: FakeServer) -> None:
    """Lose the connection, and wait for the next one."""
    fake.drop()
    await connected(client)


async def connected(client: Client) -> None:
    await wait_all_tasks_blocked()
    async with client.states() as states:
        async for state in states:
            if state is SessionState.CONNECTED:
                return


@pytest.mark.parametrize("chroot", ["", "/app"])
async def test_a_persistent_watch(fake: FakeServer, chroot: str, autojump_clock: MockClock) -> None:
    if chroot:
        fake.make(chroot)
    async with zk_trio.open_client(A + chroot) as client:
        async with client.watch("/a") as changes:
            assert isinstance(changes, ChangeStream)
            assert await client.check_watches("/a", zk_trio.WatcherType.PERSISTENT)
            await client.create("/a")
            await client.set("/a", b"1")
            await client.create("/a/b")
            await client.set("/a/b", b"1")
            await client.delete("/a/b")
            await client.delete("/a")
            told = await drained(changes)
            assert [(event.type, event.path) for event in told] == [
                (EventType.CREATED, "/a"),
                (EventType.DATA_CHANGED, "/a"),
                (EventType.CHILDREN_CHANGED, "/a"),
                (EventType.CHILDREN_CHANGED, "/a"),
                (EventType.DELETED, "/a"),
            ]
            assert [event.zxid for event in told] == sorted(event.zxid for event in told)
        assert not await client.check_watches("/a")
        assert fake.watches == 0


@pytest.mark.parametrize("chroot", ["", "/app"])
async def test_a_recursive_watch(fake: FakeServer, chroot: str, autojump_clock: MockClock) -> None:
    if chroot:
        fake.make(chroot)
    async with zk_trio.open_client(A + chroot) as client:
        async with client.watch("/", recursive=True) as changes:
            await client.create("/a/b", make_parents=True)
            await client.set("/a/b", b"1")
            await client.delete("/a", recursive=True)
            assert [(event.type, event.path) for event in await drained(changes)] == [
                (EventType.CREATED, "/a"),
                (EventType.CREATED, "/a/b"),
                (EventType.DATA_CHANGED, "/a/b"),
                (EventType.DELETED, "/a/b"),
                (EventType.DELETED, "/a"),
            ]
        await client.sync()
        assert fake.watches == 0


async def test_an_event_is_there_before_the_reply_that_shows_what_it_tells(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    order: list[str] = []
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        await client.create("/a")
        async with client.watch("/a") as changes, client.watch_data("/a") as once:
            await client.set("/a", b"1")
            # Both were told before the call returned, so that neither has to be waited for.
            with trio.move_on_after(0):
                order.append((await once.fired()).type.name)
            assert list(changes._buffer) == [WatchEvent(EventType.DATA_CHANGED, "/a", fake.zxid)]
            assert order == [] or order == ["DATA_CHANGED"]
            assert once._event is not None

            async def other() -> None:
                await fake.change(DATA_CHANGED, "/a", b"2")

            nursery.start_soon(other)
            while (await client.get("/a")).data != b"2":
                pass
            assert len(changes._buffer) == 2


async def test_leaving_the_scope_removes_the_watch_and_later_requests_come_after_it(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client:
        async with client.watch("/a") as changes:
            assert fake.watches == 1
        await client.exists("/a")
        assert fake.watches == 0
        assert fake.ops() == [ADD_WATCH, REMOVE_WATCHES, EXISTS]
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        await changes.aclose()
        await changes.aclose()
        assert fake.ops() == [ADD_WATCH, REMOVE_WATCHES, EXISTS]


async def test_the_scopes_share_one_watch_on_the_server(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        async with client.watch("/a") as first:
            async with client.at("/").watch("/a") as second:
                await client.create("/a")
                assert len(await drained(second)) == 1
            await client.delete("/a")
            assert fake.watches == 1
            assert len(await drained(first)) == 2
        await client.sync()
        assert fake.watches == 0


async def test_iterating_ends_when_the_stream_is_closed_elsewhere(fake: FakeServer, autojump_clock: MockClock) -> None:
    told = []
    async with zk_trio.open_client(A) as client, client.watch("/a") as changes, trio.open_nursery() as nursery:

        async def consume() -> None:
            async for change in changes:
                told.append(change)

        nursery.start_soon(consume)
        await client.create("/a")
        await wait_all_tasks_blocked()
        await changes.aclose()
    assert len(told) == 1


async def test_a_scope_is_entered_once(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/a")
    async with zk_trio.open_client(A) as client:
        for scope in client.watch("/a"), client.watch_data("/a"), client.states():
            async with scope:
                pass
            with pytest.raises(LocalProtocolError, match="this scope was entered already; make a new one"):
                async with scope:
                    pass


async def test_entering_fails_as_its_request_does(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        fake.then(-102, op=ADD_WATCH)
        with pytest.raises(zk_trio.NoAuthError) as caught:
            async with client.watch("/a"):
                pass
        assert caught.value.path == "/a"
        for scope in client.watch_data("/a"), client.watch_children("/a"):
            with pytest.raises(NoNodeError):
                async with scope:
                    pass
        assert fake.watches == 0
        assert len(client._engine.session._watches) == 0


async def test_a_reconnect_leaves_a_gap(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        async with client.watch("/a") as changes, client.watch("/", recursive=True) as all_changes:
            await client.create("/a")
            fake.drop()
            fake.make("/missed")
            await connected(client)
            await client.set("/a", b"")
            assert [change.reason if isinstance(change, Gap) else change.path for change in await drained(changes)] == [
                "/a",
                "reconnected",
                "/a",
            ]
            assert Gap("reconnected") in await drained(all_changes)
            assert SET_WATCHES2 in fake.ops()
        await client.sync()
        assert fake.watches == 0


async def test_a_new_session_leaves_a_gap(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        async with client.watch("/a") as changes:
            fake.expire()
            await connected(client)
            assert client.session_id == 0x5002
            await client.create("/a")
            told = await drained(changes)
            assert told[0] == Gap("new session")
            assert [change.path for change in told[1:]] == ["/a"]
        await client.sync()
        assert fake.watches == 0


async def test_what_was_told_before_the_end_comes_before_the_error(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client, client.watch("/a") as changes:
        await client.create("/a")
        await client.aclose()
        assert [change.path for change in [await anext(changes)] if isinstance(change, WatchEvent)] == ["/a"]
        with pytest.raises(ClosedError):
            await anext(changes)
        with pytest.raises(ClosedError):
            await anext(changes)


async def test_streams_hear_of_an_expiry_that_ends_the_client(fake: FakeServer, autojump_clock: MockClock) -> None:
    with pytest.raises(SessionExpiredError):
        async with zk_trio.open_client(A, on_expiry="raise") as client, client.watch("/a") as changes:
            fake.expire()
            with trio.CancelScope(shield=True), pytest.raises(SessionExpiredError):
                await anext(changes)
            await trio.sleep_forever()


async def test_a_stream_that_is_closed_between_two_steps_of_its_reader(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    for _ in range(10):
        async with zk_trio.open_client(A) as client, client.watch("/a") as changes, trio.open_nursery() as nursery:
            await client.create("/a")
            await client.delete("/a")

            async def close(changes: ChangeStream[Any] = changes) -> None:
                changes._leave()
                await trio.lowlevel.checkpoint()

            nursery.start_soon(close)
            async for _ in changes:
                pass


async def test_a_slow_consumer_gets_one_gap(
    fake: FakeServer, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A + "/app") as client:
        fake.make("/app")
        await client.create("/a")
        async with client.watch("/a", buffer=3) as changes:
            for number in range(3):
                await client.set("/a", b"%d" % number)
            assert len(await drained(changes)) == 3
            with caplog.at_level(logging.WARNING, "zk_sansio"):
                for number in range(5):
                    await client.set("/a", b"%d" % number)
            assert "the watch of /app/a is read too slowly: 3 changes make place for a gap" in caplog.text
            told = await drained(changes)
            assert told[0] == Gap("overflow")
            # What came before the gap has made place, what came after it has not.
            assert [change.type for change in told[1:]] == [EventType.DATA_CHANGED]
            for number in range(50):
                await client.set("/a", b"%d" % number)
            told = await drained(changes)
            assert told.count(Gap("overflow")) == 1
            assert told[0] == Gap("overflow")


async def test_a_flood_of_events_holds_up_neither_replies_nor_pings(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    fake.make("/a")
    async with zk_trio.open_client(A, session_timeout=9) as client, trio.open_nursery() as nursery:
        async with client.watch("/a", buffer=10) as changes:

            async def flood() -> None:
                for _ in range(3000):
                    await fake.change(DATA_CHANGED, "/a")

            nursery.start_soon(flood)
            for _ in range(20):
                assert (await client.get("/a")).stat.czxid
            await trio.sleep(9)
            assert fake.pings >= 2
            assert len(changes._buffer) <= 10
            assert client.state is SessionState.CONNECTED


# --- streams that repair themselves


@pytest.mark.parametrize("chroot", ["", "/app"])
async def test_a_snapshot_begins_with_what_there_is(fake: FakeServer, chroot: str, autojump_clock: MockClock) -> None:
    for path in (chroot, "/t", "/t/a", "/t/b", "/t/a/c"):
        if path:
            fake.make(path if path == chroot else chroot + path)
    async with zk_trio.open_client(A + chroot) as client:
        async with client.watch("/t", recursive=True, snapshot=True) as changes:
            told = await drained(changes)
            assert [(event.type.name, event.path) for event in told] == [
                ("CREATED", "/t"),
                ("CREATED", "/t/a"),
                ("CREATED", "/t/b"),
                ("CREATED", "/t/a/c"),
            ]
        async with client.watch("/t", snapshot=True) as changes:
            assert [event.path for event in await drained(changes)] == ["/t"]
        async with client.watch("/missing", snapshot=True) as changes:
            assert await drained(changes) == []
            await client.create("/missing")
            assert [event.path for event in await drained(changes)] == ["/missing"]


@pytest.mark.parametrize("old", [False, True], ids=["3.9", "3.8"])
async def test_a_snapshot_repairs_gaps(fake: FakeServer, old: bool, autojump_clock: MockClock) -> None:
    fake.old = old
    for path in ("/t", "/t/same", "/t/data", "/t/gone", "/t/new"):
        fake.make(path)
    async with zk_trio.open_client(A) as client:
        async with client.watch("/t", recursive=True, snapshot=True, buffer=4) as changes:
            assert len(await drained(changes)) == 5
            fake.drop()
            fake.make("/t/more")
            fake.zxid += 1
            fake._set("/t/data", b"x")
            fake._remove("/t/gone")
            fake._remove("/t/new")
            fake.make("/t/new")
            told = [(event.type.name, event.path) for event in await drained(changes)]
            await connected(client)
            told += [(event.type.name, event.path) for event in await drained(changes)]
            assert sorted(told) == [
                ("CREATED", "/t/more"),
                ("CREATED", "/t/new"),
                ("DATA_CHANGED", "/t/data"),
                ("DELETED", "/t/gone"),
                ("DELETED", "/t/new"),
            ]
            # An overflow is repaired in the same way.
            for number in range(20):
                await client.create(f"/t/{number}")
            told = [(event.type.name, event.path) for event in await drained(changes)]
            assert sorted(told) == sorted(("CREATED", f"/t/{number}") for number in range(20))


async def test_a_snapshot_that_is_being_read_when_its_session_expires(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    for path in ("/t", "/t/a"):
        fake.make(path)
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        told: list[str] = []

        async def consume() -> None:
            async with client.watch("/t", recursive=True, snapshot=True) as changes:
                async for change in changes:
                    told.append(f"{change.type.name} {change.path}")

        fake.then(None, None, Do.IGNORE)
        nursery.start_soon(consume)
        await wait_all_tasks_blocked()
        fake.lost_packets = {A}
        fake.expire()
        fake.make("/t/b")
        await wait_all_tasks_blocked()
        fake.lost_packets = set()
        await connected(client)
        await client.create("/t/c")
        await wait_all_tasks_blocked()
        assert sorted(told) == ["CREATED /t", "CREATED /t/a", "CREATED /t/b", "CREATED /t/c"]
        nursery.cancel_scope.cancel()


async def test_a_snapshot_loses_nothing_to_a_cancelled_wait(fake: FakeServer, autojump_clock: MockClock) -> None:
    for number in range(30):
        fake.make(f"/{number}")
    async with zk_trio.open_client(A) as client, client.watch("/", recursive=True, snapshot=True) as changes:
        told = []
        for _ in range(200):
            with trio.CancelScope() as scope:
                scope.cancel()
                told.append(await anext(changes))
            with trio.move_on_after(0.01):
                told.append(await anext(changes))
        assert len(told) == 31
        assert len({change.path for change in told}) == 31


async def test_a_stream_loses_nothing_to_a_cancelled_wait(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client, client.watch("/", recursive=True) as changes:
        for number in range(10):
            await client.create(f"/{number}")
        told = []
        for _ in range(30):
            with trio.CancelScope() as scope:
                scope.cancel()
                told.append(await anext(changes))
            with trio.move_on_after(0.01):
                told.append(await anext(changes))
        assert len(told) == 10


async def test_a_snapshot_that_cannot_be_read_says_so_and_goes_on(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client, client.watch("/t", snapshot=True) as changes:
        fake.then(-102, op=EXISTS)
        with pytest.raises(zk_trio.NoAuthError):
            await anext(changes)
        assert (await anext(changes)).type is EventType.CREATED


# --- watches that fire once


@pytest.mark.parametrize("chroot", ["", "/app"])
async def test_one_shot_watches(fake: FakeServer, chroot: str, autojump_clock: MockClock) -> None:
    if chroot:
        fake.make(chroot)
    async with zk_trio.open_client(A + chroot) as client:
        await client.create("/a", b"0")
        async with client.watch_data("/a") as data, client.watch_children("/a") as children:
            assert data.seen.data == b"0"
            assert children.seen == []
            await client.set("/a", b"1")
            assert (await data.fired())[:2] == (EventType.DATA_CHANGED, "/a")
            assert (await data.fired())[:2] == (EventType.DATA_CHANGED, "/a")
            await client.create("/a/b")
            assert (await children.fired())[:2] == (EventType.CHILDREN_CHANGED, "/a")
        async with client.watch_exists("/a/b") as there, client.watch_exists("/c") as missing:
            assert there.seen is not None
            assert missing.seen is None
            await client.delete("/a/b")
            assert (await there.fired())[:2] == (EventType.DELETED, "/a/b")
            await client.create("/c")
            assert (await missing.fired())[:2] == (EventType.CREATED, "/c")
        async with client.watch_exists("/c"), client.watch_data("/c"), client.watch_children("/c"):
            assert fake.watches == 2
        await client.sync()
        assert fake.watches == 0


async def test_waiting_for_a_one_shot_watch(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery, client.watch_exists("/a") as watch:
        nursery.start_soon(fake.change, CREATED, "/a")
        assert (await watch.fired()).type is EventType.CREATED


@pytest.mark.parametrize("change", [None, CREATED])
async def test_one_shot_watches_survive_a_reconnect(
    fake: FakeServer, change: int | None, autojump_clock: MockClock
) -> None:
    async with zk_trio.open_client(A) as client, client.watch_exists("/a") as watch:
        fake.drop()
        if change:
            fake.make("/a")
        await connected(client)
        assert SET_WATCHES in fake.ops()
        if not change:
            await client.create("/a")
        event = await watch.fired()
        assert event == (EventType.CREATED, "/a", fake.zxid if not change else None)


async def test_one_shot_watches_end_with_their_session(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        async with client.watch_exists("/a") as watch, client.watch_exists("/a") as other, trio.open_nursery() as n:

            async def expect() -> None:
                with pytest.raises(SessionExpiredError):
                    await other.fired()

            n.start_soon(expect)
            await wait_all_tasks_blocked()
            fake.expire()
            await connected(client)
            with pytest.raises(SessionExpiredError):
                await watch.fired()
            with pytest.raises(SessionExpiredError):
                await watch.fired()


async def test_a_watch_that_the_server_could_not_keep_says_look_again(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    """It was to be derived from a lasting watch, and that was refused."""
    fake.make("/a")
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        fake.then(Do.HOLD, op=GET)
        nursery.start_soon(client.get, "/")
        await wait_all_tasks_blocked()

        async def lasting() -> None:
            with pytest.raises(zk_trio.NoAuthError):
                async with client.watch("/a"):
                    pass

        fake.then(-102, op=ADD_WATCH)
        nursery.start_soon(lasting)
        await wait_all_tasks_blocked()

        async def once() -> None:
            async with client.watch_data("/a") as watch:
                assert await watch.fired() == (EventType.NONE, "/a", None)

        nursery.start_soon(once)
        await wait_all_tasks_blocked()
        await fake.release()


async def test_wait_for_and_wait_until_gone(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        await client.wait_until_gone("/a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.wait_for, "/a")
            await wait_all_tasks_blocked()
            await client.create("/a")
        assert (await client.wait_for("/a")).version == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.wait_until_gone, "/a")
            await wait_all_tasks_blocked()
            await client.set("/a", b"")
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            await client.delete("/a")
        await client.sync()
        assert fake.watches == 0


async def test_waiting_that_is_given_up_leaves_no_watch(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/a")
    async with zk_trio.open_client(A) as client:
        waits: list[Callable[[], Any]] = [lambda: client.wait_for("/b"), lambda: client.wait_until_gone("/a")]
        for wait in waits:
            with trio.move_on_after(1) as scope:
                await wait()
            assert scope.cancelled_caught
            await client.sync()
            assert fake.watches == 0


async def test_an_old_server_removes_all_kinds_at_once(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.old = True
    async with zk_trio.open_client(A) as client:
        async with client.watch("/a", recursive=True):
            pass
        await client.sync()
        await client.sync()
        assert fake.watches == 0


# --- states


async def test_states(fake: FakeServer, autojump_clock: MockClock) -> None:
    told: list[SessionState] = []
    async with zk_trio.open_client(A, session_timeout=9) as client, trio.open_nursery() as nursery:

        async def consume() -> None:
            async with client.states() as states:
                async for state in states:
                    told.append(state)

        nursery.start_soon(consume)
        await wait_all_tasks_blocked()
        fake.lost_packets = {A}
        fake.drop()
        await trio.sleep(20)
        fake.lost_packets.clear()
        await connected(client)
        fake.expire()
        await connected(client)
        await wait_all_tasks_blocked()
        await client.aclose()
    assert told == [
        SessionState.CONNECTED,
        SessionState.SUSPENDED,
        SessionState.PRESUMED_LOST,
        SessionState.CONNECTED,
        SessionState.SUSPENDED,
        SessionState.EXPIRED,
        SessionState.CONNECTING,
        SessionState.CONNECTED,
        SessionState.CLOSED,
    ]


async def test_a_slow_reader_of_states_gets_the_newest(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        async with client.states() as states:
            for _ in range(3):
                await reconnected(client, fake)
            assert await anext(states) is SessionState.CONNECTED
            with trio.move_on_after(1) as scope:
                await anext(states)
            assert scope.cancelled_caught
        with pytest.raises(StopAsyncIteration):
            await anext(states)
        assert not client._engine.listeners


async def test_a_reader_of_states_that_is_left_elsewhere(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        stream = client.states()
        ended = trio.Event()

        async def consume() -> None:
            async for _ in stream:
                pass
            ended.set()

        async with stream:
            nursery.start_soon(consume)
            await wait_all_tasks_blocked()
        await ended.wait()


async def walk(client: Client, path: str) -> AsyncIterator[str]:
    async for each, _ in client.walk(path):
        yield each


async def test_walks(fake: FakeServer, autojump_clock: MockClock) -> None:
    for path in ("/t", "/t/a", "/t/b", "/t/a/c"):
        fake.make(path)
    async with zk_trio.open_client(A) as client:
        assert [path async for path in walk(client, "/t")] == ["/t", "/t/a", "/t/b", "/t/a/c"]
        assert [path async for path in walk(client, "/none")] == []
        # What vanishes meanwhile is left out.
        found = []
        async for path, stat in client.walk("/t"):
            found.append(path)
            if path == "/t/a":
                await fake.change(DELETED, "/t/a/c")
                assert stat.num_children == 1
        assert found == ["/t", "/t/a", "/t/b"]
        fake.then(-102, op=12)
        with pytest.raises(zk_trio.NoAuthError):
            assert [path async for path in walk(client, "/t")] == []
    assert fake.ops().count(CHILDREN) == 0
    assert SET not in fake.ops()
    assert CHILDREN_CHANGED == EventType.CHILDREN_CHANGED
