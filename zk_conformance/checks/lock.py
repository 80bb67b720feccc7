"""The lock: one holder at a time, in the order of asking, and nobody's znode left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from time import monotonic

import zk_sansio as zk

from .._port import Harness, Proxy, World
from .._run import check, check_each
from .._tools import LIMIT, away, outcome, raises, reach, ticket_of, until

TIMEOUT = 1.0
"""A session timeout that is soon over."""

Scenario = Callable[[Harness, World, zk.Client, str], Awaitable[None]]


def queue(world: World, path: str) -> list[str]:
    """Who queues, by full paths, the holder first."""
    return [f"{path}/{name}" for name in sorted(world.children(path), key=lambda name: int(name[-10:]))]


async def nobody_queues(harness: Harness, world: World, client: zk.Client, path: str) -> None:
    """Wait until the client can take the lock, and nobody's znode nor watch is left."""
    session = client.session_id
    await harness.within(LIMIT, partial(hold, harness, world, client, path))
    await until(harness, lambda: not queue(world, path), lambda: f"left in the queue: {queue(world, path)}")
    await until(harness, lambda: not world.watches(session), lambda: f"watches: {world.watches(session)}")


async def hold(harness: Harness, world: World, client: zk.Client, path: str) -> None:
    """Take the lock, and see that it is ours."""
    async with client.lock(path) as lock:
        assert queue(world, path)[0] == lock.node
        stat = world.exists(lock.node)
        assert stat is not None
        assert (stat.ephemeral_owner, stat.czxid) == (client.session_id, lock.token)
        lock.check()


async def hold_without_waiting(harness: Harness, world: World, client: zk.Client, path: str) -> None:
    """Take it if nobody has it, and nobody has."""
    async with client.lock(path).try_acquire() as lock:
        assert lock is not None
        assert queue(world, path)[0] == lock.node


async def hold_and_write(harness: Harness, world: World, client: zk.Client, path: str) -> None:
    """Take it and write, which may fail with an unknown outcome."""
    async with client.lock(path) as lock:
        with suppress(zk.ConnectionLossError):
            await lock.guarded().set(world.root, b"guarded").commit()
        lock.check()


SCENARIOS: dict[str, Scenario] = {
    "free": hold,
    "tried": hold_without_waiting,
    "guarded": hold_and_write,
}


@check
async def check_lock(harness: Harness, world: World) -> None:
    """It is taken and given back; its znode says who holds it."""
    path = f"{world.root}/new/lock"
    async with harness.open_client(world.hosts) as client:
        for _ in range(2):
            asking = client.lock(path, data=b"host-7", acl=zk.READ_ONLY)
            assert await asking.contenders() == []
            async with asking as lock:
                assert lock.path == path
                assert queue(world, path) == [lock.node]
                assert await asking.contenders() == [lock.node.rpartition("/")[2]]
                assert world.get(lock.node) == b"host-7"
                assert world.ephemerals(client.session_id) == {lock.node}
                stat = world.exists(lock.node)
                assert stat is not None
                assert stat.czxid == lock.token
                assert (await client.get_acl(lock.node)).acl == tuple(zk.READ_ONLY)
                lock.check()
                assert not lock.lost
            assert world.exists(lock.node) is None
        with raises(zk.LocalProtocolError):
            async with asking:
                pass
        with raises(zk.LocalProtocolError):
            lock.check()


@check
async def check_lock_contention(harness: Harness, world: World) -> None:
    """Of many callers of several clients one holds it at a time, and they have their turns in the order of tokens."""
    callers, rounds = 5, 4
    path, counter = world.create(f"{world.root}/lock"), world.create(f"{world.root}/counter", b"0")
    tokens: list[int] = []
    inside: list[int] = []

    async def work(client: zk.Client) -> None:
        for _ in range(rounds):
            async with client.lock(path) as lock:
                inside.append(lock.token)
                tokens.append(lock.token)
                # Not atomic: two at a time would lose an addition.
                value = int((await client.get(counter)).data or b"")
                await client.set(counter, b"%d" % (value + 1))
                assert inside == [lock.token]
                inside.remove(lock.token)

    async with harness.open_client(world.hosts) as one, harness.open_client(world.hosts) as two:
        await harness.together(*[partial(work, client) for client in (one, two) for _ in range(callers)])
        assert world.get(counter) == b"%d" % (2 * callers * rounds)
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 2 * callers * rounds
        await nobody_queues(harness, world, one, path)
        await nobody_queues(harness, world, two, path)


@check
async def check_lock_order(harness: Harness, world: World) -> None:
    """Who came first is first, and each waits for the one in front only."""
    path = world.create(f"{world.root}/lock")
    turns: list[int] = []
    async with harness.open_client(world.hosts) as one, harness.open_client(world.hosts) as two:

        async def wait(n: int) -> None:
            await until(harness, lambda: len(queue(world, path)) > n)
            async with (one, two)[n % 2].lock(path):
                turns.append(n)

        async def watch() -> None:
            async with one.lock(path):
                await until(harness, lambda: len(queue(world, path)) == 5)
                in_front = queue(world, path)[:-1]
                await until(harness, lambda: len(watched()) == 4)
                assert watched() == set(in_front)

        def watched() -> set[str]:
            return {*world.watches(one.session_id), *world.watches(two.session_id)}

        await harness.together(watch, *[partial(wait, n) for n in range(4)])
        assert turns == [0, 1, 2, 3]


@check
async def check_lock_tried(harness: Harness, world: World) -> None:
    """Who only tries does not wait, and queues only if nobody else does."""
    path = world.create(f"{world.root}/lock")
    got: list[bool] = []
    async with harness.open_client(world.hosts) as one, harness.open_client(world.hosts) as two:

        async def attempt(client: zk.Client) -> None:
            async with client.lock(path).try_acquire() as lock:
                got.append(lock is not None)
                if lock is not None:
                    await until(harness, lambda: len(got) == 8)

        await harness.together(*[partial(attempt, client) for client in (one, two) for _ in range(4)])
        assert got.count(True) == 1
        async with one.lock(path):
            before = world.exists(path)
            async with two.lock(path).try_acquire() as lock:
                assert lock is None
            assert world.exists(path) == before
        async with two.lock(path).try_acquire() as lock:
            assert lock is not None
            assert queue(world, path) == [lock.node]
        assert queue(world, path) == []


@check
async def check_lock_guarded(harness: Harness, world: World) -> None:
    """Guarded writes happen while the lock is held; an error among them has the place that it was given."""
    root = world.root
    async with harness.open_client(world.hosts) as client:
        with raises(zk.LeaseLostError):
            async with client.at(root).lock("/lock") as lock:
                writes = lock.guarded().create("/a", b"x").set("/a", b"y")
                assert len(writes) == 2
                created, stat = await writes.commit()
                assert isinstance(created, zk.Created)
                assert isinstance(stat, zk.Stat)
                assert (created.path, stat.version) == ("/a", 1)
                with raises(zk.TransactionError) as refused:
                    await lock.guarded().set("/a", b"z").delete("/none").commit()
                assert (refused.value.index, refused.value.error.path) == (1, "/none")
                assert world.get(f"{root}/a") == b"y"
                lock.check()
                world.delete(root + lock.node)  # by an operator's hand
                with raises(zk.LeaseLostError) as lost:
                    await lock.guarded().set("/a", b"z").commit()
                assert lost.value.path == lock.node
                assert lock.lost
        assert world.get(f"{root}/a") == b"y"
        assert world.ephemerals(client.session_id) == set()


@check_each(SCENARIOS)
async def check_lock_interrupted(harness: Harness, world: World, scenario: Scenario) -> None:
    """Interrupted anywhere, nobody's znode stays in the queue."""
    path = world.create(f"{world.root}/lock")
    async with harness.open_client(world.hosts) as client:
        interrupted = 0
        for step in count():
            completed = False

            async def complete() -> None:
                nonlocal completed
                await scenario(harness, world, client, path)
                completed = True

            reached = await harness.interrupt(step, complete)
            await nobody_queues(harness, world, client, path)
            assert reached or completed
            interrupted += not completed
            if not reached:
                break
        assert interrupted > 0
        await nobody_queues(harness, world, client, path)


@check
async def check_lock_waiting_interrupted(harness: Harness, world: World) -> None:
    """Interrupted anywhere behind somebody else, who goes when we wait or give up, nobody's znode stays either."""
    path = world.create(f"{world.root}/lock")
    async with harness.open_client(world.hosts) as client:

        async def attempt(step: int) -> tuple[bool, bool]:
            in_front = world.create(f"{path}/lock-{-1:010d}")
            reached = completed = over = False

            async def complete() -> None:
                nonlocal completed
                await hold(harness, world, client, path)
                completed = True

            async def wait() -> None:
                nonlocal reached, over
                try:
                    reached = await harness.interrupt(step, complete)
                finally:
                    over = True

            async def leave() -> None:
                await until(harness, lambda: over or in_front in world.watches(client.session_id))
                world.delete(in_front)

            await harness.together(wait, leave)
            return reached, completed

        interrupted = 0
        for step in count():
            reached, completed = await attempt(step)
            await nobody_queues(harness, world, client, path)
            assert reached or completed
            interrupted += not completed
            if not reached:
                break
        assert interrupted >= 4


@check_each(SCENARIOS)
async def check_lock_replies_lost(harness: Harness, world: World, scenario: Scenario) -> None:
    """Whichever request or reply is lost, the lock is held, and left."""
    traps: list[Callable[[Proxy, int], None]] = [
        lambda proxy, k: proxy.cut_before_request(k),
        lambda proxy, k: proxy.cut_after_request(k),
        lambda proxy, k: proxy.cut_before_reply(k),
    ]

    async def lose(n: int) -> None:
        path = world.create(f"{world.root}/lock{n}")
        for k in count(1):
            with world.proxy() as proxy:
                async with harness.open_client(proxy.hosts, session_timeout=4) as client:
                    traps[n](proxy, k)
                    await scenario(harness, world, client, path)
                    sprung = proxy.cuts
                    proxy.heal()
                    await nobody_queues(harness, world, client, path)
            if not sprung:
                break
        assert k > 3

    await harness.together(*[partial(lose, n) for n in range(len(traps))])


@check
async def check_lock_interrupted_and_the_reply_is_lost(harness: Harness, world: World) -> None:
    """The znode that nobody waits for any more is found on the next connection, and removed."""
    path = world.create(f"{world.root}/lock")
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=4) as client:
            proxy.black_hole("replies")
            with raises(TimeoutError):
                await harness.within(0.1, partial(hold, harness, world, client, path))
            await until(harness, lambda: queue(world, path))
            async with away(harness, client, proxy):
                proxy.heal()
            await nobody_queues(harness, world, client, path)


@check
async def check_lock_suspended(harness: Harness, world: World) -> None:
    """A lock outlives its connection, and a place in the queue does."""
    path = world.create(f"{world.root}/lock")
    turns: list[str] = []
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=4) as client:

            async def first() -> None:
                async with client.lock(path) as lock:
                    await until(harness, lambda: len(queue(world, path)) == 2)
                    before = queue(world, path)
                    async with away(harness, client, proxy):
                        pass
                    lock.check()
                    assert queue(world, path) == before
                    turns.append("first")

            async def second() -> None:
                await until(harness, lambda: queue(world, path))
                async with client.lock(path):
                    turns.append("second")

            await harness.together(first, second)
            assert turns == ["first", "second"]
            await nobody_queues(harness, world, client, path)


@check
async def check_lock_presumed_lost(harness: Harness, world: World) -> None:
    """When no server answers the lock is lost within the session timeout, and what was to be written is not."""
    path, data = world.create(f"{world.root}/lock"), world.create(f"{world.root}/data", b"")
    with world.proxy() as proxy:
        async with harness.open_client(proxy.hosts, session_timeout=TIMEOUT) as client:
            with raises(zk.LeaseLostError) as caught:
                async with client.lock(path) as lock:
                    writes = lock.guarded().set(data, b"too late")
                    timeout, began = client.session_timeout, monotonic()
                    proxy.black_hole()
                    try:
                        await until(harness, lambda: lock.lost)
                        if harness.cancels:
                            await harness.sleep(5)
                    finally:
                        lasted = monotonic() - began
                        with raises(zk.LeaseLostError):
                            lock.check()
                        with raises(zk.LeaseLostError):
                            await writes.commit()
            assert caught.value.path == lock.node
            assert lasted < timeout + 1
            proxy.heal()
            await reach(harness, client, zk.SessionState.CONNECTED)
            async with client.lock(path) as lock:
                await lock.guarded().set(data, b"in time").commit()
        assert world.get(data) == b"in time"


@check
async def check_lock_expired(harness: Harness, world: World) -> None:
    """When a server says that the session is over the lock is lost, and who waits in the new session gets it."""
    path, data = world.create(f"{world.root}/lock"), world.create(f"{world.root}/data", b"")
    with world.proxy() as proxy:
        async with (
            harness.open_client(proxy.hosts, session_timeout=4) as client,
            harness.open_client(world.hosts) as other,
        ):
            with raises(zk.LeaseLostError):
                async with client.lock(path) as stale:
                    await expire(harness, world, client, proxy)
                    await until(harness, lambda: stale.lost)
                    async with other.lock(path) as lock:
                        assert lock.token > stale.token
                        await lock.guarded().set(data, b"other").commit()
                    with raises(zk.LeaseLostError):
                        await stale.guarded().set(data, b"stale").commit()
            with raises(zk.LeaseLostError):
                async with client.lock(path) as stale:
                    proxy.refuse()
                    proxy.cut()
                    world.expire(ticket_of(client))
                    await until(harness, lambda: not queue(world, path))
                    async with other.lock(path) as lock:
                        await lock.guarded().set(data, b"another").commit()
                        proxy.heal()
                        # The server refuses it, whatever this client knows by then.
                        await outcome(lambda: stale.guarded().set(data, b"stale").commit())
                        await until(harness, lambda: stale.lost)
            await nobody_queues(harness, world, client, path)
            assert world.get(data) == b"another"


async def expire(harness: Harness, world: World, client: zk.Client, proxy: Proxy) -> None:
    """End a session while its client cannot be reached, and let the client find out."""
    ticket = ticket_of(client)
    proxy.refuse()
    proxy.cut()
    await reach(harness, client, zk.SessionState.SUSPENDED)
    world.expire(ticket)
    proxy.heal()


@check
async def check_lock_expired_in_the_queue(harness: Harness, world: World) -> None:
    """Who waits when the session ends waits on in the next one, at the end of the queue."""
    path = world.create(f"{world.root}/lock")
    turns: list[str] = []
    with world.proxy() as proxy:
        async with (
            harness.open_client(proxy.hosts, session_timeout=4) as client,
            harness.open_client(world.hosts) as other,
        ):

            async def in_front() -> None:
                async with other.lock(path):
                    await until(harness, lambda: len(queue(world, path)) == 3)
                    old = client.session_id
                    await expire(harness, world, client, proxy)
                    await until(harness, lambda: client.session_id not in (0, old) and len(queue(world, path)) == 3)
                    turns.append("in front")

            async def wait(client: zk.Client, place: int, name: str) -> None:
                await until(harness, lambda: len(queue(world, path)) == place)
                async with client.lock(path):
                    turns.append(name)

            await harness.together(
                in_front, partial(wait, client, 1, "expired"), partial(wait, other, 2, "behind it, at first")
            )
            assert turns == ["in front", "behind it, at first", "expired"]
            await nobody_queues(harness, world, client, path)


@check
async def check_lock_and_closing(harness: Harness, world: World) -> None:
    """The end of a client is the end of its locks, and of waiting for them."""
    path = world.create(f"{world.root}/lock")
    async with harness.open_client(world.hosts) as client:

        async def use() -> None:
            async with client.lock(path) as lock:
                await until(harness, lambda: len(queue(world, path)) == 2)
                await client.aclose()
                await until(harness, lambda: lock.lost, limit=LIMIT)

        async def wait() -> None:
            await until(harness, lambda: queue(world, path))
            async with client.lock(path):
                raise AssertionError("it has a turn")

        found: list[object] = []

        async def note(function: Callable[[], Awaitable[object]]) -> None:
            found.append(await outcome(function))

        await harness.together(partial(note, use), partial(note, wait))
        assert {type(each) for each in found} == {zk.LeaseLostError, zk.ClosedError}
    assert queue(world, path) == []
