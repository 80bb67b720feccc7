"""The lock, on trio and against a server that disobeys: turns, ends, and everything that may go wrong in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.recipes.world import (
    TIMEOUT,
    A,
    B,
    assert_idle,
    away,
    end_session,
    expire,
    hang_up,
    nothing_left,
    open_client,
    presume_lost,
    queue,
    reach,
    settled,
)
from tests.support.peer import DELETED
from tests.trio.fake import (
    CHILDREN,
    CLOSE,
    CREATE2,
    CREATE_CONTAINER,
    DELETE,
    EXISTS,
    NO_AUTH,
    NO_NODE,
    REMOVE_WATCHES,
    SYNC,
    THROTTLED,
    Do,
    FakeServer,
)
from zk_adapter import plain_errors
from zk_conformance import stopped_at
from zk_trio import (
    Client,
    ClosedError,
    ConnectionLossError,
    LeaseLostError,
    LocalProtocolError,
    Lock,
    NoAuthError,
    NoChildrenForEphemeralsError,
    RetryPolicy,
    SessionExpiredError,
    SessionState,
    SuspendedError,
    ZooKeeperError,
)

pytestmark = pytest.mark.trio

UNIMPLEMENTED, NO_CHILDREN_FOR_EPHEMERALS = -6, -108
PATH = "/app/lock"
CURATORS = f"{PATH}/_c_8cd4bb36-ea93-4ec0-ba6c-46a2cc2c7b2f-lock-"


@pytest.fixture
async def fake(fake: FakeServer, nursery: trio.Nursery) -> FakeServer:
    """A server with the lock's znode. Who waits for ever gives up after some hours, which cost nothing."""

    async def give_up() -> None:
        await trio.sleep(10_000)
        raise trio.TooSlowError

    nursery.start_soon(give_up)
    clear(fake)
    return fake


class Log:
    """Who holds, and that nobody else does."""

    def __init__(self) -> None:
        self.holders: list[Any] = []
        self.tokens: list[int] = []
        self.inside = 0

    async def hold(self, client: Client, name: object, seconds: float = 1) -> None:
        """Take the lock, and keep it for a while."""
        async with client.lock(PATH) as lock:
            self.holders.append(name)
            self.tokens.append(lock.token)
            self.inside += 1
            assert self.inside == 1
            try:
                await trio.sleep(seconds)
            finally:
                self.inside -= 1


@asynccontextmanager
async def background(function: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Do something as soon as the scope waits."""

    async def run() -> None:
        await wait_all_tasks_blocked()
        await function()

    with plain_errors():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield


async def lose(client: Client, fake: FakeServer) -> None:
    """Wait until the session of a holder is presumed lost."""
    await presume_lost(fake, client)
    await trio.lowlevel.checkpoint()
    raise AssertionError("the body was not cancelled")


def since(fake: FakeServer, mark: int) -> list[tuple[int, str]]:
    """The requests that came since then: opcode, and path."""
    return [(each.op, each.path()) for each in fake.requests[mark:] if each.op > 0]


# --- turns


async def test_take_and_give_back(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        lock = client.lock(PATH, data=b"host-7")
        async with lock as entered:
            assert entered is lock
            assert queue(fake, PATH) == [lock.node]
            node = fake.nodes[lock.node]
            assert (node.data, node.owner, node.czxid) == (b"host-7", client.session_id, lock.token)
            assert lock.path == PATH
            assert not lock.lost
            lock.check()
        assert queue(fake, PATH) == []
        assert fake.ops() == [CREATE2, CHILDREN, DELETE]
        assert_idle(client)


async def test_its_acl(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        async with client.lock(PATH, acl=zk_trio.READ_ONLY) as lock:
            assert (await client.get_acl(lock.node)).acl == tuple(zk_trio.READ_ONLY)


async def test_everybody_has_a_turn_in_order_and_alone(fake: FakeServer, autojump_clock: MockClock) -> None:
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        async with trio.open_nursery() as nursery:
            for n in range(12):
                nursery.start_soon(log.hold, (one, two)[n % 2], n)
                await wait_all_tasks_blocked()
    assert log.holders == list(range(12))
    assert log.tokens == sorted(log.tokens)
    assert len(set(log.tokens)) == 12


async def test_a_release_wakes_one(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client(A) as one, open_client(B) as two:
        log = Log()
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(log.hold, (one, two)[n % 2], n)
                await wait_all_tasks_blocked()
            in_order = queue(fake, PATH)
            assert fake.watches == 9
            assert {path for link in fake.links for path in link.data} == set(in_order[:-1])
            assert not any(link.child for link in fake.links)
            mark = len(fake.requests)
            await trio.sleep(1)
            await wait_all_tasks_blocked()
            # The holder leaves; the next one looks whether it is its turn. Nobody else does anything.
            requests = [each for each in since(fake, mark) if each[0] != REMOVE_WATCHES]
            assert requests == [(DELETE, in_order[0]), (CHILDREN, PATH)]
            assert log.holders == [0, 1]
            assert fake.watches == 8
    assert log.holders == list(range(10))


async def test_who_gives_up_makes_room_for_those_behind(fake: FakeServer, autojump_clock: MockClock) -> None:
    """The one behind moves up, without a turn."""
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.hold, one, "first")
            await wait_all_tasks_blocked()
            giving_up = trio.CancelScope()

            async def give_up() -> None:
                with giving_up:
                    await log.hold(two, "never")

            nursery.start_soon(give_up)
            await wait_all_tasks_blocked()
            nursery.start_soon(log.hold, one, "third")
            await wait_all_tasks_blocked()
            giving_up.cancel()
            await trio.sleep(0.5)
            first, _ = queue(fake, PATH)
            assert {path for link in fake.links for path in link.data} == {first}
            assert log.holders == ["first"]
    assert log.holders == ["first", "third"]


@pytest.mark.parametrize("name", ["lock-", CURATORS.rpartition("/")[2]])
async def test_other_clients_that_queue_likewise(fake: FakeServer, name: str, autojump_clock: MockClock) -> None:
    """Curator's recipe, with protection and without."""
    fake.make(f"{PATH}/{name}0000000000")
    async with open_client() as client:
        with trio.move_on_after(5) as waiting:
            async with client.lock(PATH):
                raise AssertionError("somebody else has it")
        assert waiting.cancelled_caught
        log = Log()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.hold, client, "ours")
            await trio.sleep(1)
            assert log.holders == []
            await fake.change(DELETED, f"{PATH}/{name}0000000000")
            await wait_all_tasks_blocked()
            assert log.holders == ["ours"]


async def test_children_that_do_not_queue(fake: FakeServer, autojump_clock: MockClock) -> None:
    for name in ("config", "a" * 32 + "__lock__0000000000", "lease-0000000000"):
        fake.make(f"{PATH}/{name}")
    async with open_client() as client:
        with trio.fail_after(1):
            async with client.lock(PATH) as lock:
                assert await lock.contenders() == [lock.node.rpartition("/")[2]]
            assert await lock.contenders() == []


async def test_data_of_the_one_in_front_may_change(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        log = Log()
        async with client.lock(PATH) as lock, trio.open_nursery() as nursery:
            nursery.start_soon(log.hold, client, "next")
            await wait_all_tasks_blocked()
            for n in range(3):
                await client.set(lock.node, b"%d" % n)
                await wait_all_tasks_blocked()
            assert log.holders == []
            nursery.cancel_scope.cancel()


async def test_contenders(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        assert await client.lock("/nowhere").contenders() == []
        log = Log()
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(log.hold, client, n)
                await wait_all_tasks_blocked()
            asking = client.lock(PATH)
            assert [f"{PATH}/{name}" for name in await asking.contenders()] == queue(fake, PATH)
            assert len(queue(fake, PATH)) == 3
            nursery.cancel_scope.cancel()
        assert await asking.contenders() == []
        async with asking:
            pass  # asking has not used it up


async def test_one_lock_one_scope(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        async with nothing_left(fake, client, path=PATH):
            lock = client.lock(PATH)
            async with lock:
                for again in lock, lock.try_acquire():
                    with pytest.raises(LocalProtocolError, match="already"):
                        await again.__aenter__()
                lock.check()
                assert queue(fake, PATH) == [lock.node]
            for again in lock, lock.try_acquire():
                with pytest.raises(LocalProtocolError, match="already"):
                    await again.__aenter__()
            with trio.move_on_after(0):
                async with (cancelled := client.lock(PATH)):
                    pass
            with pytest.raises(LocalProtocolError, match="already"):
                await cancelled.__aenter__()


async def test_a_lock_is_not_reentrant(fake: FakeServer, autojump_clock: MockClock) -> None:
    """Another lock on the same path is another place in the queue, in the same task too."""
    async with open_client() as client:
        async with client.lock(PATH):
            with trio.move_on_after(100) as waiting:
                async with client.lock(PATH):
                    raise AssertionError
            assert waiting.cancelled_caught
            async with client.lock(PATH).try_acquire() as lock:
                assert lock is None


async def test_locks_within_locks(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        async with client.lock(PATH) as outer, client.lock("/app/other") as inner:
            assert sorted(fake.ephemerals) == sorted([outer.node, inner.node])
            outer.check()
            inner.check()


async def test_a_view_of_the_client(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, open_client(B + PATH) as other:
        async with client.at("/app").lock("/lock") as lock:
            assert lock.node.startswith("/lock/_c_")
            async with other.lock("/").try_acquire() as other_lock:
                assert other_lock is None
            await lock.guarded().create("/data").commit()
            assert "/app/data" in fake.nodes
        async with other.lock("/").try_acquire() as other_lock:
            assert other_lock is not None
            assert [f"{PATH}{other_lock.node}"] == queue(fake, PATH)


async def test_calls_that_do_not_wait_for_a_connection(fake: FakeServer, autojump_clock: MockClock) -> None:
    """To wait in a queue is to wait, whatever the client's policy for single calls."""
    async with open_client(while_suspended="fail") as client, nothing_left(fake, client, path=PATH):
        log = Log()
        async with client.lock(PATH) as lock, trio.open_nursery() as nursery:
            nursery.start_soon(log.hold, client, 1)
            await wait_all_tasks_blocked()
            async with away(fake, client):
                nursery.start_soon(log.hold, client, 2)
                with pytest.raises(SuspendedError):
                    await lock.guarded().set(PATH, b"").commit()
                await trio.sleep(1)
            await settled(client)
            nursery.start_soon(log.hold, client, 3)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_a_body_that_fails(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(ZeroDivisionError) as caught:
            async with client.lock(PATH) as lock:
                raise ZeroDivisionError
        assert caught.value.__cause__ is None
        assert not lock.lost


# --- without waiting


async def test_try_when_it_is_free(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        async with client.lock(PATH).try_acquire() as lock:
            assert lock is not None
            assert queue(fake, PATH) == [lock.node]
            lock.check()
        assert queue(fake, PATH) == []


async def test_try_when_it_is_held_is_one_read(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client(A) as one, open_client(B) as two:
        async with one.lock(PATH):
            mark = len(fake.requests)
            async with two.lock(PATH).try_acquire() as lock:
                assert lock is None
            assert since(fake, mark) == [(CHILDREN, PATH)]


async def test_try_where_nobody_has_been_yet(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        async with client.lock("/new/lock").try_acquire() as lock:
            assert lock is not None
            assert queue(fake, "/new/lock") == [lock.node]


async def test_several_try_at_once(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        outcomes: list[bool] = []

        async def attempt(client: Client) -> None:
            async with client.lock(PATH).try_acquire() as lock:
                outcomes.append(lock is not None)
                assert outcomes.count(True) <= 1
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            for n in range(6):
                nursery.start_soon(attempt, (one, two)[n % 2])
        assert sorted(outcomes) == [False] * 5 + [True]


async def test_somebody_comes_between_looking_and_queueing(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        outcomes: list[Lock | None] = []

        async def attempt() -> None:
            async with one.lock(PATH).try_acquire() as lock:
                outcomes.append(lock)

        async with trio.open_nursery() as nursery:
            fake.then(Do.HOLD, op=CHILDREN)
            nursery.start_soon(attempt)
            await wait_all_tasks_blocked()
            async with two.lock(PATH) as lock:
                await fake.release()
                await wait_all_tasks_blocked()
                assert outcomes == [None]
                assert queue(fake, PATH) == [lock.node]


@pytest.mark.parametrize("held", [False, True])
async def test_a_body_that_fails_though_it_only_tried(fake: FakeServer, held: bool, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        if held:
            fake.make(f"{PATH}/lock-0000000000")
        with pytest.raises(ZeroDivisionError):
            async with client.lock(PATH).try_acquire() as lock:
                assert (lock is None) is held
                raise ZeroDivisionError
        assert fake.ephemerals == []


async def test_what_was_only_tried_can_be_lost_too(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError):
            async with client.lock(PATH).try_acquire():
                await lose(client, fake)


# --- where the znode of the lock is missing


async def test_a_path_that_is_missing(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        async with client.lock("/a/b/lock") as lock:
            assert queue(fake, "/a/b/lock") == [lock.node]
        assert fake.ops().count(CREATE_CONTAINER) == 3
        assert "/a/b/lock" in fake.nodes


async def test_a_server_without_containers(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.then(UNIMPLEMENTED, op=CREATE_CONTAINER)
    async with open_client() as client:
        async with client.lock("/a/b/lock") as lock:
            assert queue(fake, "/a/b/lock") == [lock.node]
        assert fake.ops().count(CREATE_CONTAINER) == 1


async def test_a_container_that_vanishes_again_and_again(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.then(NO_NODE, NO_NODE, NO_NODE, op=CREATE2)
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        async with client.lock(PATH) as lock:
            assert queue(fake, PATH) == [lock.node]


async def test_everything_is_deleted_while_others_wait(fake: FakeServer, autojump_clock: MockClock) -> None:
    """An operator's recursive delete: all queue again, and nobody waits for ever."""
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        fake.make(f"{PATH}/lock-0000000000")
        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(log.hold, (one, two)[n % 2], n)
                await wait_all_tasks_blocked()
            # From the last to the first, and the path itself.
            for path in [*queue(fake, PATH)[::-1], PATH]:
                await fake.change(DELETED, path)
            await trio.sleep(10)
        assert sorted(log.holders) == [0, 1, 2, 3]


async def test_the_path_is_deleted_before_we_have_looked(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        log = Log()
        async with trio.open_nursery() as nursery:
            fake.then(Do.HOLD, op=CREATE2)
            nursery.start_soon(log.hold, client, "we")
            await wait_all_tasks_blocked()
            for path in [*queue(fake, PATH), PATH]:
                fake.zxid += 1
                fake._remove(path)
            fake._changes.clear()
            await fake.release()
        assert log.holders == ["we"]


# --- somebody deletes znodes of the queue


async def test_our_znode_is_deleted_while_we_wait(fake: FakeServer, autojump_clock: MockClock) -> None:
    """We notice when it would be our turn, and queue again behind the others."""
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(log.hold, (one, two)[n % 2], n)
                await wait_all_tasks_blocked()
            await fake.change(DELETED, queue(fake, PATH)[1])
        assert log.holders == [0, 2, 1]
        assert log.tokens == sorted(log.tokens)


async def test_our_znode_is_deleted_while_we_hold(fake: FakeServer, autojump_clock: MockClock) -> None:
    """Nothing tells the body, but no guarded write happens any more, and leaving the scope says so."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError, match="its znode is gone"):
            async with client.lock(PATH) as lock:
                await fake.change(DELETED, lock.node)
                await trio.sleep(1)
        assert lock.lost
        with pytest.raises(LeaseLostError, match="its znode is gone"):
            async with client.lock(PATH) as lock:
                await fake.change(DELETED, lock.node)
                with pytest.raises(LeaseLostError):
                    await lock.guarded().create("/app/written").commit()
                assert lock.lost
                with pytest.raises(trio.Cancelled):
                    await trio.lowlevel.checkpoint()
        assert "/app/written" not in fake.nodes


async def test_our_znode_is_deleted_while_we_hold_and_the_body_fails(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(ZeroDivisionError):
            async with client.lock(PATH) as lock:
                await fake.change(DELETED, lock.node)
                raise ZeroDivisionError
        assert lock.lost
        with trio.CancelScope() as scope:
            async with client.lock(PATH) as lock:
                await fake.change(DELETED, lock.node)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert lock.lost


async def test_the_reply_to_our_own_release_is_lost(fake: FakeServer, autojump_clock: MockClock) -> None:
    """Then the znode is gone because we have deleted it, which is no loss."""
    for retry in RetryPolicy(), RetryPolicy(repeat_unknown=True), RetryPolicy(max_attempts=1):
        async with open_client(retry=retry) as client:
            fake.then(Do.LOSE, Do.LOSE, op=DELETE)
            async with client.lock(PATH) as lock:
                pass
            assert not lock.lost
            assert fake.ephemerals == []


# --- the end of a lease


async def test_the_body_is_cancelled_when_the_session_is_presumed_lost(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        cancelled_at = 0.0
        with pytest.raises(LeaseLostError, match="no server has answered") as caught:
            async with client.lock(PATH) as lock:
                deadline = client._engine.session.deadline
                try:
                    await lose(client, fake)
                finally:
                    cancelled_at = trio.current_time()
                    assert lock.lost
                    with pytest.raises(LeaseLostError):
                        lock.check()
                    # Not yet: it could not do it.
                    assert queue(fake, PATH) == [lock.node]
        assert cancelled_at == deadline
        assert caught.value.path == lock.node
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__  # the cancellation is our own affair
        assert lock.lost


async def test_a_session_that_is_suspended_for_less(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        async with client.lock(PATH) as lock:
            for _ in range(5):
                async with away(fake, client):
                    await trio.sleep(TIMEOUT / 4)
                await settled(client)
                lock.check()
        assert not lock.lost


async def test_expiry_while_held(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError, match="its session is expired"):
            async with client.lock(PATH):
                await expire(fake, client)
                await trio.sleep_forever()
        async with client.lock(PATH) as lock:
            lock.check()


async def test_expiry_while_held_ends_the_client_if_asked_to(fake: FakeServer, autojump_clock: MockClock) -> None:
    with pytest.raises(LeaseLostError, match="its session is expired"):
        async with open_client(on_expiry="raise") as client:
            async with client.lock(PATH):
                await expire(fake, client)
                await trio.sleep_forever()
    with pytest.raises(SessionExpiredError):
        async with open_client(on_expiry="raise") as client:
            with suppress(LeaseLostError):
                async with client.lock(PATH):
                    await expire(fake, client)
                    await trio.sleep_forever()
            await trio.sleep_forever()


async def test_a_body_that_raises_an_error_of_its_own(fake: FakeServer, autojump_clock: MockClock) -> None:
    """It is what comes out; it was raised because of the loss, perhaps."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(ZeroDivisionError) as caught:
            async with client.lock(PATH) as lock:
                try:
                    await lose(client, fake)
                finally:
                    raise ZeroDivisionError
        assert lock.lost
        assert isinstance(caught.value.__context__, trio.Cancelled)


async def test_a_body_that_has_checked(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        for guarded in False, True:
            with pytest.raises(LeaseLostError) as caught:
                async with client.lock(PATH) as lock:
                    try:
                        await lose(client, fake)
                    finally:
                        if guarded:
                            await lock.guarded().create("/app/written").commit()
                        lock.check()
            assert caught.value is not lock._lease.error  # type: ignore[union-attr]
        assert "/app/written" not in fake.nodes


async def test_a_body_whose_calls_fail_with_the_session(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError, match="its session is expired") as caught:
            async with client.lock(PATH):
                with trio.CancelScope(shield=True):
                    await end_session(fake, client)
                    fake.lost_packets = {A}
                    hang_up(fake, client)
                    await reach(client, SessionState.SUSPENDED)
                    fake.lost_packets = set()
                    await client.set(PATH, b"")
        assert isinstance(caught.value.__cause__, SessionExpiredError)


async def test_a_body_that_goes_on(fake: FakeServer, autojump_clock: MockClock) -> None:
    """It swallows the cancellation; the loss comes out all the same."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError) as caught:
            async with client.lock(PATH) as lock:
                with suppress(trio.Cancelled):
                    await lose(client, fake)
                with trio.CancelScope(shield=True):
                    await reach(client, SessionState.CONNECTED)
                    await trio.sleep(100)
                    assert queue(fake, PATH) == [lock.node]
                with pytest.raises(LeaseLostError):
                    lock.check()
        assert caught.value.__cause__ is None


async def test_a_body_with_tasks(fake: FakeServer, autojump_clock: MockClock) -> None:
    """All are cancelled, and the loss comes out alone."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError):
            async with client.lock(PATH), trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trio.sleep_forever)
                await lose(client, fake)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_body_with_tasks_whose_calls_fail_with_the_session(
    fake: FakeServer, cancelled: bool, autojump_clock: MockClock
) -> None:
    """Then that, in whatever groups, is how the loss came about: it comes out as what it is."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):

        async def call() -> None:
            with trio.CancelScope(shield=True):
                await client.set(PATH, b"")

        async def check(lock: Lock) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
            lock.check()

        with pytest.raises(LeaseLostError, match="its session is expired") as caught:
            async with client.lock(PATH) as lock, trio.open_nursery() as outer:
                await end_session(fake, client)
                fake.lost_packets = {A}
                hang_up(fake, client)
                await reach(client, SessionState.SUSPENDED)
                fake.lost_packets = set()
                async with trio.open_nursery() as inner:
                    outer.start_soon(check, lock)
                    inner.start_soon(call)
                    outer.start_soon(call)
                    if not cancelled:
                        inner.cancel_scope.shield = outer.cancel_scope.shield = True
        assert isinstance(caught.value.__cause__, ExceptionGroup)


async def test_a_body_with_tasks_of_which_one_fails(fake: FakeServer, autojump_clock: MockClock) -> None:
    """What comes out is a group then, from which our own cancellation is taken."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):

        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError

        with pytest.RaisesGroup(ZeroDivisionError):
            async with client.lock(PATH) as lock, trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(fail)
                await lose(client, fake)
        assert lock.lost


async def test_cancelled_from_outside_before_it_is_lost(fake: FakeServer, autojump_clock: MockClock) -> None:
    """The cancellation is not turned into an error, and not swallowed."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with trio.CancelScope() as outer:
            async with client.lock(PATH) as lock:
                outer.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await presume_lost(fake, client)
            raise AssertionError("it goes on")
        assert outer.cancelled_caught
        assert lock.lost


async def test_cancelled_from_outside_after_it_is_lost(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with trio.CancelScope() as outer:
            async with client.lock(PATH) as lock:
                try:
                    await lose(client, fake)
                finally:
                    outer.cancel()
                    with pytest.raises(trio.Cancelled):
                        await trio.lowlevel.checkpoint()
            raise AssertionError("it goes on")
        assert lock.lost
        # Whether it ends in the cancellation, which began inside, or in the loss: it ends.


async def test_cancelled_from_outside_at_the_same_moment(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        deadline = client._engine.session.deadline
        assert deadline is not None
        outcomes = []
        try:
            with trio.CancelScope(deadline=deadline) as outer:
                async with client.lock(PATH):
                    outer.deadline = client._engine.session.deadline or 0
                    await lose(client, fake)
                raise AssertionError("it goes on")
        except LeaseLostError as error:
            outcomes.append(error)
        assert outer.cancelled_caught or outcomes


async def test_the_next_lock_is_taken_at_once(fake: FakeServer, autojump_clock: MockClock) -> None:
    """The session lives after all: the stale znode goes first, so that nobody waits for it."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError):
            async with client.lock(PATH) as stale:
                await lose(client, fake)
        async with client.lock(PATH) as lock:
            assert queue(fake, PATH) == [lock.node]
            assert lock.token > stale.token
            lock.check()
        assert stale.lost
        assert not lock.lost


async def test_others_get_it_when_the_session_lives_after_all(fake: FakeServer, autojump_clock: MockClock) -> None:
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        async with trio.open_nursery() as nursery:
            with pytest.raises(LeaseLostError):
                async with one.lock(PATH):
                    nursery.start_soon(log.hold, two, "two")
                    await lose(one, fake)
            assert log.holders == []
            await settled(one)
            assert log.holders == ["two"]


async def test_a_stale_znode_and_a_connection_that_breaks_again(fake: FakeServer, autojump_clock: MockClock) -> None:
    """It is looked for on each connection until a server has answered."""
    for fate in Do.DROP, Do.LOSE, Do.BREAK_OFF:
        for op in EXISTS, DELETE:
            async with open_client() as client, nothing_left(fake, client, path=PATH):
                with pytest.raises(LeaseLostError):
                    async with client.lock(PATH):
                        fake.then(fate, fate, op=op)
                        await lose(client, fake)
                await settled(client)
                fake.forget()


async def test_closed_while_held(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        with pytest.raises(LeaseLostError, match="its client is being closed"):
            async with client.lock(PATH) as lock:
                await client.aclose()
                assert lock.lost
                await trio.sleep_forever()
    assert fake.ephemerals == []


async def test_closed_by_another_task_while_held(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        with pytest.RaisesGroup(LeaseLostError):
            async with trio.open_nursery() as nursery:
                async with client.lock(PATH):
                    nursery.start_soon(client.aclose)
                    await trio.sleep_forever()
        with pytest.raises(ClosedError):
            async with client.lock(PATH):
                pass
    assert fake.ephemerals == []


async def test_closed_while_waiting(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make(f"{PATH}/lock-0000000000")
    async with open_client() as client:
        with pytest.RaisesGroup(ClosedError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Log().hold, client, 1)
                await wait_all_tasks_blocked()
                await client.aclose()
    assert fake.ephemerals == []


# --- what nobody has noticed in time


async def test_a_program_that_was_stopped(fake: FakeServer, autojump_clock: MockClock) -> None:
    """It goes on with the next line of the body, long after its session has expired."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        for look in "check", "lost", "guarded", "leave":
            with pytest.raises(LeaseLostError, match="no server has answered"):
                async with client.lock(PATH) as lock:
                    await end_session(fake, client)
                    hang_up(fake, client)
                    autojump_clock.jump(TIMEOUT)
                    if look == "check":
                        with pytest.raises(LeaseLostError):
                            lock.check()
                    elif look == "lost":
                        assert lock.lost
                    elif look == "guarded":
                        mark = len(fake.requests)
                        with pytest.raises(LeaseLostError):
                            await lock.guarded().create("/app/written").commit()
                        assert len(fake.requests) == mark
            assert lock.lost
            await settled(client)
        assert "/app/written" not in fake.nodes


async def test_a_program_that_was_busy_and_still_has_its_session(fake: FakeServer, autojump_clock: MockClock) -> None:
    """The server has its last ping, and our znode: whoever comes too late to look has held the lock all the same."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        async with client.lock(PATH) as lock:
            autojump_clock.jump(TIMEOUT)
        assert not lock.lost


async def test_a_program_that_was_stopped_and_a_server_that_is_away(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    """Nobody can tell whether the lock was held to the end, so it was not."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        with pytest.raises(LeaseLostError, match="no server has answered"):
            async with client.lock(PATH):
                fake.lost_packets = {A}
                hang_up(fake, client)
                autojump_clock.jump(TIMEOUT)
        fake.lost_packets = set()


@pytest.mark.parametrize("fate", [Do.HOLD, Do.IGNORE])
async def test_a_session_that_expires_while_we_leave(fake: FakeServer, fate: Do, autojump_clock: MockClock) -> None:
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        fake.then(fate, op=DELETE)
        async with background(partial(expire, fake, client)):
            async with client.lock(PATH) as lock:
                pass
        assert not lock.lost
        await settled(client)
        fake.then(fate, op=DELETE)
        with pytest.raises(LeaseLostError, match="no server has answered"):
            async with background(partial(expire, fake, client)):
                async with client.lock(PATH) as lock:
                    autojump_clock.jump(TIMEOUT)


async def test_a_session_that_expires_when_the_body_is_done(fake: FakeServer, autojump_clock: MockClock) -> None:
    """As long as the body ran, the server could not have ended the session: nothing was lost."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        async with client.lock(PATH) as lock:
            await expire(fake, client)
        assert not lock.lost


# --- limits


async def test_a_limit_for_waiting_only(fake: FakeServer, autojump_clock: MockClock) -> None:
    """As the guide has it."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        for _ in range(2):
            with trio.move_on_after(5) as scope:
                async with client.lock(PATH):
                    scope.deadline = float("inf")
                    await trio.sleep(100)
                    with trio.move_on_after(5) as waiting:
                        async with client.lock(PATH):
                            raise AssertionError
                    assert waiting.cancelled_caught
            assert not scope.cancelled_caught


async def test_scopes_that_are_left_in_the_wrong_order(fake: FakeServer, autojump_clock: MockClock) -> None:
    """trio says so, loudly; the lock is given back all the same."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):

        async def cross() -> None:
            async with AsyncExitStack() as stack:
                with trio.CancelScope():
                    await stack.enter_async_context(client.lock(PATH))

        with pytest.RaisesGroup(
            pytest.RaisesExc(RuntimeError, match="Cancel scope stack corrupted"), flatten_subgroups=True
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cross)
        await settled(client)


# --- leaving without a connection


async def test_leaving_does_not_wait_for_a_connection(fake: FakeServer, autojump_clock: MockClock) -> None:
    """The session takes the znode away as soon as it can; nobody is the better for waiting here."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        async with client.lock(PATH) as lock:
            fake.lost_packets = {A}
            hang_up(fake, client)
            await reach(client, SessionState.SUSPENDED)
            began = trio.current_time()
        assert trio.current_time() == began
        assert not lock.lost
        assert queue(fake, PATH) == [lock.node]
        fake.lost_packets = set()
        await settled(client)
        assert queue(fake, PATH) == []


async def test_a_server_that_falls_silent_when_we_leave(fake: FakeServer, autojump_clock: MockClock) -> None:
    """That takes some seconds at most."""
    async with open_client() as client, nothing_left(fake, client, path=PATH):
        fake.then(Do.IGNORE, op=DELETE)
        async with client.lock(PATH) as lock:
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(3)
        assert not lock.lost
        assert queue(fake, PATH) == [lock.node]
        await trio.sleep(TIMEOUT)


async def test_giving_up_without_a_connection(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make(f"{PATH}/lock-0000000000")
    async with open_client() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Log().hold, client, "never")
            await wait_all_tasks_blocked()
            async with away(fake, client):
                began = trio.current_time()
                nursery.cancel_scope.cancel()
        assert trio.current_time() == began
        await settled(client)
        assert fake.ephemerals == []


# --- a session that ends while we queue


@pytest.mark.parametrize("expire_locally", [False, True])
async def test_expiry_in_the_queue(fake: FakeServer, expire_locally: bool, autojump_clock: MockClock) -> None:
    """We queue again, at the end; those behind us have moved up meanwhile."""
    log = Log()
    async with open_client(A, expire_locally=expire_locally) as one, open_client(B) as two:
        async with nothing_left(fake, one, two, path=PATH):
            async with trio.open_nursery() as nursery:
                for n, client in enumerate([two, one, two]):
                    nursery.start_soon(log.hold, client, n, 3 * TIMEOUT)
                    await wait_all_tasks_blocked()
                if expire_locally:
                    async with away(fake, one):
                        await reach(one, SessionState.EXPIRED)
                        # The server has not noticed: our old znode is still there, and we come behind it.
                        assert len(queue(fake, PATH)) == 3
                    await reach(one, SessionState.CONNECTED)
                    await wait_all_tasks_blocked()
                    assert len(queue(fake, PATH)) == 4
                    stale = queue(fake, PATH)[1]
                    fake.zxid += 1
                    fake._end_session(fake.nodes[stale].owner)
                    await fake._fire()
                else:
                    await expire(fake, one)
        assert log.holders == [0, 2, 1]
        assert log.tokens == sorted(log.tokens)


async def test_expiry_in_the_queue_of_a_client_that_ends_with_it(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make(f"{PATH}/lock-0000000000")
    with pytest.raises(SessionExpiredError):
        async with open_client(on_expiry="raise") as client:
            async with background(partial(expire, fake, client)):
                await Log().hold(client, "never")
    assert fake.ephemerals == []


@pytest.mark.parametrize("op", [CREATE2, CHILDREN])
async def test_expiry_before_we_wait_of_a_client_that_ends_with_it(
    fake: FakeServer, op: int, autojump_clock: MockClock
) -> None:
    fake.then(Do.IGNORE, op=op)
    with pytest.raises(SessionExpiredError):
        async with open_client(on_expiry="raise") as client:
            async with background(partial(expire, fake, client)):
                await Log().hold(client, "never")
    assert fake.ephemerals == []


async def test_a_place_that_is_made_in_the_next_session(fake: FakeServer, autojump_clock: MockClock) -> None:
    """We have waited for room until then: the lock is tied to the session that made its znode, and to no other."""
    async with open_client(max_in_flight=1) as client, nothing_left(fake, client, path=PATH):
        fake.then(Do.HOLD, op=SYNC)

        async def wait_for_room() -> None:
            with suppress(SessionExpiredError):
                await client.sync()

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(wait_for_room)
                await wait_all_tasks_blocked()
            async with background(partial(expire, fake, client)):
                async with client.lock(PATH) as lock:
                    assert fake.nodes[lock.node].owner == client.session_id
                    for _ in range(3):
                        await trio.sleep(TIMEOUT)
                        lock.check()
            with pytest.raises(LeaseLostError):
                async with client.lock(PATH):
                    await lose(client, fake)


@pytest.mark.parametrize("op", [CREATE2, CHILDREN, EXISTS])
@pytest.mark.parametrize("fate", [Do.HOLD, Do.IGNORE])
async def test_expiry_at_every_step_of_queueing(fake: FakeServer, op: int, fate: Do, autojump_clock: MockClock) -> None:
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.hold, two, "two")
            await wait_all_tasks_blocked()
            fake.then(fate, op=op)
            nursery.start_soon(log.hold, one, "one")
            await wait_all_tasks_blocked()
            await expire(fake, one)
        assert log.holders == ["two", "one"]


async def test_presumed_lost_in_the_queue(fake: FakeServer, autojump_clock: MockClock) -> None:
    """Who does not hold has nothing to lose: the place in the queue is kept if the session lives."""
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        async with trio.open_nursery() as nursery:
            for n, client in enumerate([two, one, two]):
                nursery.start_soon(log.hold, client, n, 3 * TIMEOUT)
                await wait_all_tasks_blocked()
            await presume_lost(fake, one)
        assert log.holders == [0, 1, 2]


async def test_a_turn_that_comes_while_we_are_away(fake: FakeServer, autojump_clock: MockClock) -> None:
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.hold, two, "two")
            await wait_all_tasks_blocked()
            nursery.start_soon(log.hold, one, "one")
            await wait_all_tasks_blocked()
            async with away(fake, one):
                await trio.sleep(2)
                assert log.holders == ["two"]
                assert len(queue(fake, PATH)) == 1
        assert log.holders == ["two", "one"]


# --- refusals


@pytest.mark.parametrize("op, left", [(CREATE2, False), (CHILDREN, False), (EXISTS, False), (DELETE, True)])
async def test_no_permission(fake: FakeServer, op: int, left: bool, autojump_clock: MockClock) -> None:
    """To queue takes the right to create, to read and to delete children; without the last one our znode stays."""
    if op == EXISTS:
        fake.make(f"{PATH}/lock-0000000000")
    async with open_client() as client:
        fake.then(NO_AUTH, NO_AUTH, op=op)
        with pytest.raises(NoAuthError):
            async with client.lock(PATH):
                pass
        await settled(client)
        assert bool(fake.ephemerals) is left
    assert fake.ephemerals == []


async def test_a_path_that_cannot_be_made(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        fake.then(NO_AUTH, op=CREATE_CONTAINER)
        with pytest.raises(NoAuthError):
            async with client.lock("/a/b"):
                pass
        fake.then(NO_CHILDREN_FOR_EPHEMERALS, op=CREATE2)
        with pytest.raises(NoChildrenForEphemeralsError):
            async with client.lock(PATH):
                pass
        for path in "lock", "/a/", "/a//b", "/a/../b":
            with pytest.raises(zk_trio.InvalidPathError):
                client.lock(path)
    assert fake.ephemerals == []


@pytest.mark.parametrize("op", [CREATE2, CHILDREN, DELETE, EXISTS])
async def test_an_overloaded_server(fake: FakeServer, op: int, autojump_clock: MockClock) -> None:
    log = Log()
    async with open_client(A) as one, open_client(B) as two, nothing_left(fake, one, two, path=PATH):
        fake.then(THROTTLED, THROTTLED, op=op)
        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(log.hold, (one, two)[n % 2], n)
        assert sorted(log.holders) == [0, 1, 2, 3]


# --- at every request, at every wait

Scenario = Callable[[FakeServer, Client, Client], Awaitable[None]]


async def alone(fake: FakeServer, client: Client, other: Client) -> None:
    """Nobody else wants it."""
    async with client.lock(PATH) as lock:
        await held(fake, client, lock)


async def first(fake: FakeServer, client: Client, other: Client) -> None:
    """The path is missing."""
    fake.nodes.pop(PATH, None)
    await alone(fake, client, other)


async def trying(fake: FakeServer, client: Client, other: Client) -> None:
    """Without waiting."""
    async with client.lock(PATH).try_acquire() as lock:
        if lock is not None:
            await held(fake, client, lock)


async def guarding(fake: FakeServer, client: Client, other: Client) -> None:
    """With a write."""
    async with client.lock(PATH) as lock:
        await held(fake, client, lock)
        with suppress(ConnectionLossError):
            await lock.guarded().set(PATH, b"x").commit()
        await held(fake, client, lock)


async def queueing(fake: FakeServer, client: Client, other: Client) -> None:
    """Behind somebody who leaves after a while, and in front of somebody."""
    async with trio.open_nursery() as nursery:
        started = trio.Event()

        async def in_front() -> None:
            with trio.CancelScope(shield=True):
                async with other.lock(PATH) as lock:
                    started.set()
                    await trio.sleep(0.2)
                    assert queue(fake, PATH)[0] == lock.node

        nursery.start_soon(in_front)
        await started.wait()
        async with client.lock(PATH) as lock:
            await held(fake, client, lock)


async def held(fake: FakeServer, client: Client, lock: Lock) -> None:
    """This session's znode is the first, and stays it."""
    for _ in range(2):
        node = queue(fake, PATH)[0]
        assert node == lock.node
        assert fake.nodes[node].owner == client.session_id
        assert fake.nodes[node].czxid == lock.token
        lock.check()
        await trio.sleep(0.01)


SCENARIOS: dict[str, Scenario] = {
    "alone": alone,
    "first": first,
    "trying": trying,
    "guarding": guarding,
    "queueing": queueing,
}
FATES: dict[str, list[Do | int | None]] = {
    "not executed": [Do.DROP],
    "executed, reply lost": [Do.LOSE],
    "lost, and lost again": [Do.LOSE, None, Do.LOSE],
    "dropped, then lost": [Do.DROP, Do.LOSE],
    "broken off": [Do.BREAK_OFF],
    "silence": [Do.IGNORE],
    "overloaded": [THROTTLED],
}


def clear(fake: FakeServer) -> None:
    fake.forget()
    fake.nodes = {path: node for path, node in fake.nodes.items() if path == "/"}
    for path in ("/app", PATH):
        fake.make(path)


async def wake_at(fake: FakeServer, count: int, then: Callable[[], Any]) -> None:
    """Do something when so many requests have come."""
    await fake.alarm(count).wait()
    then()


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_reply_is_lost_at_every_request(
    fake: FakeServer, name: str, fate: str, autojump_clock: MockClock
) -> None:
    """The lock is held properly all the same, and left properly."""
    for nth in range(40):
        clear(fake)
        async with open_client(A) as client, open_client(B) as other, nothing_left(fake, client, other, path=PATH):
            fake.then(*[None] * nth, *FATES[fate])
            if fate == "overloaded":
                fake.then(*[None] * 100, op=REMOVE_WATCHES)  # the session does not insist on that
            before = len(fake.requests)
            with trio.fail_after(60):
                try:
                    await SCENARIOS[name](fake, client, other)
                except* ConnectionLossError:
                    # The server has closed the connection on the same request twice.
                    assert len(FATES[fate]) > 1
            sent = len(fake.requests) - before
            fake.forget()
        if sent <= nth:
            return
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_session_expires_at_every_request(fake: FakeServer, name: str, autojump_clock: MockClock) -> None:
    """Before we hold it we queue again; afterwards we are told, unless we were done anyway."""
    for nth in range(1, 40):
        clear(fake)
        async with open_client(A) as client, open_client(B) as other, nothing_left(fake, client, other, path=PATH):
            over = False
            async with trio.open_nursery() as nursery:

                async def end(client: Client = client, nth: int = nth) -> None:
                    await fake.alarm(nth).wait()
                    await expire(fake, client)

                nursery.start_soon(end)
                await wait_all_tasks_blocked()
                with trio.fail_after(60):
                    try:
                        await SCENARIOS[name](fake, client, other)
                    except* (LeaseLostError, SessionExpiredError):
                        pass
                    except* (AssertionError, IndexError):
                        pass  # the body's, which has not heard of the expiry yet
                over = nursery.child_tasks != frozenset()
                nursery.cancel_scope.cancel()
        if over:
            return
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("name", SCENARIOS)
async def test_cancelled_at_every_wait(fake: FakeServer, name: str, autojump_clock: MockClock) -> None:
    cancelled = 0
    for step in range(60):
        clear(fake)
        async with open_client(A) as client, open_client(B) as other, nothing_left(fake, client, other, path=PATH):
            with trio.CancelScope() as scope:
                waited = await stopped_at(step, partial(SCENARIOS[name], fake, client, other), scope.cancel)
            if not scope.cancelled_caught:
                # It may have been too late to cancel it, in what is shielded.
                assert fake.ephemerals == []
                if not waited:
                    break
            cancelled += scope.cancelled_caught
    else:
        raise AssertionError("it never comes to an end")
    assert cancelled >= 3


@pytest.mark.parametrize("fate", [fate for fate in FATES if fate != "overloaded"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_cancelled_at_every_request_whatever_becomes_of_it(
    fake: FakeServer, name: str, fate: str, autojump_clock: MockClock
) -> None:
    """Cancelled when the server has got its first request, its second ..., whose reply is lost."""
    for nth in range(40):
        clear(fake)
        async with open_client(A) as client, open_client(B) as other, nothing_left(fake, client, other, path=PATH):
            fake.then(*[None] * nth, *FATES[fate])
            got_it = fake.alarm(nth + 1)
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()

                async def cancel(got_it: trio.Event = got_it, scope: trio.CancelScope = scope) -> None:
                    await got_it.wait()
                    scope.cancel()

                nursery.start_soon(cancel)
                with trio.fail_after(60), scope:
                    try:
                        await SCENARIOS[name](fake, client, other)
                    except* ConnectionLossError:
                        assert len(FATES[fate]) > 1
                nursery.cancel_scope.cancel()
            reached = got_it.is_set()
            fake.forget()
        if not reached:
            return
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("name", ["alone", "queueing"])
@pytest.mark.parametrize("op", [CREATE2, CHILDREN, DELETE])
async def test_cancelled_at_every_wait_after_a_lost_reply(
    fake: FakeServer, name: str, op: int, autojump_clock: MockClock
) -> None:
    """While what became of a request is being found out."""
    for step in range(80):
        clear(fake)
        async with open_client(A) as client, open_client(B) as other, nothing_left(fake, client, other, path=PATH):
            fake.then(Do.LOSE, op=op)
            with trio.CancelScope() as scope:
                waited = await stopped_at(step, partial(SCENARIOS[name], fake, client, other), scope.cancel)
            fake.forget()
        if not scope.cancelled_caught and not waited:
            return
    raise AssertionError("it never comes to an end")


async def test_a_reply_that_comes_when_its_caller_is_being_cancelled(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    """Both happen in one step, whichever comes first."""
    for op in CREATE2, CHILDREN:
        for _ in range(10):
            clear(fake)
            async with open_client() as client, nothing_left(fake, client, path=PATH):
                fake.then(Do.HOLD, op=op)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(alone, fake, client, client)
                    await wait_all_tasks_blocked()
                    fake.release_now()
                    await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()


async def test_nobody_is_left_behind_when_a_client_goes(fake: FakeServer, autojump_clock: MockClock) -> None:
    """Its scope is left by an error while some of its tasks hold, wait and try."""
    async with open_client(B) as other, nothing_left(fake, other, path=PATH):
        with pytest.RaisesGroup(ZeroDivisionError):
            async with open_client(A) as client, trio.open_nursery() as nursery:
                for n in range(3):
                    nursery.start_soon(Log().hold, client, n, 100)
                await wait_all_tasks_blocked()
                assert len(queue(fake, PATH)) == 3
                raise ZeroDivisionError
        assert queue(fake, PATH) == []


async def test_a_crowd_on_a_narrow_connection(fake: FakeServer, autojump_clock: MockClock) -> None:
    """One request at a time; every other caller gives up at some point."""
    log = Log()
    async with open_client(max_in_flight=1) as client, nothing_left(fake, client, path=PATH):

        async def impatient(seconds: float) -> None:
            with trio.move_on_after(seconds):
                await log.hold(client, seconds, 0.01)

        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(log.hold, client, n, 0.01)
                nursery.start_soon(impatient, n * 0.004)
    assert {n for n in log.holders if isinstance(n, int)} == set(range(20))
    assert log.tokens == sorted(log.tokens)


# --- what the session and the client do for it


@pytest.mark.parametrize("op", [EXISTS, DELETE])
async def test_an_overloaded_server_and_a_stale_znode(fake: FakeServer, op: int, autojump_clock: MockClock) -> None:
    async with open_client() as client:
        with pytest.raises(LeaseLostError):
            async with client.lock(PATH):
                fake.then(THROTTLED, op=op)
                await lose(client, fake)
        await settled(client)
        await trio.sleep(100)
        assert fake.ephemerals == []


async def test_a_create_that_waited_for_room_until_the_next_session(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    async with open_client(max_in_flight=1, retry=RetryPolicy(max_attempts=1)) as client:
        fake.then(Do.HOLD, op=SYNC)
        fake.then(Do.LOSE, op=CREATE2)

        async def fail(function: Callable[[], Awaitable[object]]) -> None:
            with suppress(ConnectionLossError, SessionExpiredError):
                await function()

        async with trio.open_nursery() as nursery:
            for function in client.sync, client.sync, partial(Log().hold, client, "never"):
                nursery.start_soon(fail, function)
                await wait_all_tasks_blocked()
            await expire(fake, client)
        await settled(client)
        await trio.sleep(100)
        assert fake.ephemerals == []


async def test_closing_while_held_and_the_answer_is_late(fake: FakeServer, autojump_clock: MockClock) -> None:
    """By then somebody else has it."""
    async with open_client(A) as one, open_client(B) as two:
        fake.then(Do.IGNORE, op=CLOSE)
        log = Log()
        async with trio.open_nursery() as nursery:
            with suppress(LeaseLostError):
                async with one.lock(PATH) as lock:
                    nursery.start_soon(log.hold, two, "two")
                    nursery.start_soon(one.aclose)
                    with trio.CancelScope(shield=True):
                        await wait_all_tasks_blocked()
                        await end_session(fake, one)
                        await wait_all_tasks_blocked()
                    assert log.holders == ["two"]
                    assert lock.lost


# --- the end of the counter


async def test_numbers_that_are_used_up(fake: FakeServer, autojump_clock: MockClock) -> None:
    """A real server gives the same number again after 2**31 znodes below one path: there is no order any more."""
    fake.make(f"{PATH}/_c_ffffffff-ffff-ffff-ffff-ffffffffffff-lock-{2**31 - 1}")
    fake.nodes[PATH].created = 2**31 - 1
    async with open_client() as client:
        with pytest.raises(ZooKeeperError, match="used up"):
            async with client.lock(PATH):
                raise AssertionError("somebody else has it")
        with pytest.raises(ZooKeeperError, match="used up"):
            await client.lock(PATH)._acquire(wait=False)
        assert fake.ephemerals == []
