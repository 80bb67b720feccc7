"""Calls whose connection is lost: what is repeated, what is found out, and what is told to be unknown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import zk_trio
from tests.trio.fake import (  # type: ignore[attr-defined]
    CHILDREN,
    CREATE,
    CREATE2,
    DATA_CHANGED,
    DELETE,
    DELETED,
    EXISTS,
    GET,
    MULTI,
    NO_AUTH,
    SET,
    SYNC,
    THROTTLED,
    Do,
    FakeServer,
)
from zk_trio import (
    BadVersionError,
    Client,
    ConnectionLossError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    RetryPolicy,
    SessionExpiredError,
    SessionState,
    SuspendedError,
    ThrottledError,
)

pytestmark = pytest.mark.trio

A = "10.0.0.1"
REFUSED = ConnectionRefusedError(111, "Connection refused")
Call = Callable[[Client], Awaitable[Any]]

READS: dict[str, Call] = {
    "get": lambda c: c.get("/t"),
    "exists": lambda c: c.exists("/t"),
    "get_children": lambda c: c.get_children("/t"),
    "get_acl": lambda c: c.get_acl("/t"),
    "sync": lambda c: c.sync(),
    "whoami": lambda c: c.whoami(),
    "multi_read": lambda c: c.multi_read().get("/t").run(),
    "get_many": lambda c: c.get_many(["/t"]),
}
WRITES: dict[str, Call] = {
    "create": lambda c: c.create("/t/n"),
    "create sequential": lambda c: c.create("/t/n", sequential=True),
    "set": lambda c: c.set("/t", b""),
    "delete": lambda c: c.delete("/t"),
    "set_acl": lambda c: c.set_acl("/t", zk_trio.OPEN),
    "transaction": lambda c: c.transaction().delete("/t").commit(),
    "reconfig": lambda c: c.reconfig(joining="server.1=a"),
}


@pytest.mark.parametrize("fate", [Do.DROP, Do.LOSE, Do.BREAK_OFF])
@pytest.mark.parametrize("name", READS)
async def test_reads_are_repeated(fake: FakeServer, name: str, fate: Do, autojump_clock: MockClock) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client:
        fake.then(fate, None, fate)
        await READS[name](client)
        await READS[name](client)
    assert len(fake.requests) == 5


@pytest.mark.parametrize("name", WRITES | READS)
async def test_what_was_not_sent_is_sent_later(fake: FakeServer, name: str, autojump_clock: MockClock) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        fake.unreachable = {A: REFUSED}
        fake.drop()
        await wait_all_tasks_blocked()
        nursery.start_soon((WRITES | READS)[name], client)
        await trio.sleep(5)
        assert fake.requests == []
        fake.unreachable = {}
    assert len(fake.requests) == 2  # it, and the end of the session


@pytest.mark.parametrize("fate", [Do.DROP, Do.LOSE])
@pytest.mark.parametrize("name", WRITES)
async def test_writes_that_were_sent_may_have_happened(
    fake: FakeServer, name: str, fate: Do, autojump_clock: MockClock
) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client:
        fake.then(fate)
        with pytest.raises(ConnectionLossError) as caught:
            await WRITES[name](client)
        error = caught.value
        assert error.maybe_applied
        assert not isinstance(error, SuspendedError)
        assert error.server == f"{A}:2181"
        assert error.reason == "closed by the server"
        assert "the change may have been applied" in str(error)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("name", ["set", "delete", "create"])
async def test_writes_are_repeated_where_the_caller_says_that_it_does_no_harm(
    fake: FakeServer, name: str, autojump_clock: MockClock
) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client:
        fake.then(Do.DROP, Do.DROP)
        twice = client.using(retry=RetryPolicy(repeat_unknown=True))
        with pytest.raises(ConnectionLossError) as caught:
            await WRITES[name](twice)
        assert caught.value.__notes__ == [
            "the server closed the connection on this request twice, so it is not sent again"
        ]
        assert caught.value.maybe_applied
        fake.then(Do.LOSE)
        if name == "set":
            await WRITES[name](twice)
        else:
            # Its first try has worked, as the caller may guess: an answer to the second cannot rule it out.
            with pytest.raises((NoNodeError, NodeExistsError)) as refused:
                await WRITES[name](twice)
            assert refused.value.maybe_applied


async def test_a_request_that_closes_the_connection_twice_is_given_up(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client:
        for name, call in READS.items():
            if name == "get_many":
                continue
            fake.then(Do.DROP, Do.DROP)
            with pytest.raises(ConnectionLossError) as caught:
                await call(client)
            assert caught.value.__notes__ == [
                "the server closed the connection on this request twice, so it is not sent again"
            ]
        # Those that only came along are not to blame.
        pipeline = client.pipeline()
        pipeline.get("/t")
        pipeline.exists("/t")
        fake.then(Do.DROP, Do.DROP, op=GET)
        poison, stat = await pipeline.run()
        assert isinstance(poison, ConnectionLossError)
        assert poison.__notes__
        assert stat.czxid
    assert client.state is SessionState.CLOSED


async def test_poison_that_is_decided_by_reading_is_given_up_too(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/t")
    calls: list[tuple[int, Call]] = [
        (SET, lambda c: c.set("/t", b"", version=0)),
        (DELETE, lambda c: c.delete("/t", version=0)),
        (CREATE, lambda c: c.create("/t/e", ephemeral=True)),
        (CREATE, lambda c: c.create("/t/p", protected=True)),
    ]
    async with zk_trio.open_client(A) as client:
        await client.sync()
        for op, call in calls:
            before = fake.ops().count(op)
            fake.then(*[Do.DROP] * 5, op=op)
            with pytest.raises(ConnectionLossError) as caught:
                await call(client)
            assert caught.value.__notes__
            assert fake.ops().count(op) == before + 2
            fake.forget()


# --- policies


async def test_no_retry(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A, retry=RetryPolicy(max_attempts=1)) as client:
        for call in (READS | WRITES).values():
            fake.then(Do.DROP)
            if call is READS["get_many"]:
                (error,) = await client.get_many(["/t"])
            else:
                with pytest.raises(ConnectionLossError) as caught:
                    await call(client)
                error = caught.value
            assert isinstance(error, ConnectionLossError)
        for versioned in (
            lambda: client.set("/t", b"", version=0),
            lambda: client.delete("/t", version=0),
            lambda: client.create("/t/e", ephemeral=True),
            lambda: client.create("/t/p", protected=True),
        ):
            handled = len(fake.requests)
            fake.then(Do.DROP)
            with pytest.raises(ConnectionLossError) as caught:
                await versioned()
            assert caught.value.maybe_applied
            assert len(fake.requests) == handled + 1


async def test_a_number_of_attempts(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client:
        thrice = client.using(retry=RetryPolicy(max_attempts=3))
        fake.then(*[THROTTLED] * 9)
        with pytest.raises(ThrottledError):
            await thrice.get("/t")
        assert fake.ops() == [GET] * 3
        fake.forget()
        fake.then(Do.LOSE, Do.LOSE, Do.LOSE, Do.LOSE, op=SET)
        with pytest.raises(ConnectionLossError):
            await client.using(retry=RetryPolicy(max_attempts=1)).set("/t", b"", version=0)


async def test_an_amount_of_time(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client:
        fake.then(*[THROTTLED] * 99)
        with pytest.raises(ThrottledError):
            await client.using(retry=RetryPolicy(max_seconds=3.0, pause=1.0)).get("/t")
        # At 0, 1 and 3 s; by then it is too late for another.
        assert fake.ops() == [GET] * 3
        assert trio.current_time() == 3.0


async def test_an_overloaded_server_is_given_time(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/t")
    async with zk_trio.open_client(A) as client:
        fake.then(*[THROTTLED] * 9, op=SET)
        await client.set("/t", b"x")
        # 0.1 + 0.2 + ... + 3.2, then 5 at most.
        assert trio.current_time() == pytest.approx(6.3 + 3 * 5.0)
        assert fake.nodes["/t"].version == 1


# --- calls that do not wait


async def test_failing_while_suspended(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/app")
    fake.make("/app/t")
    async with zk_trio.open_client(A + "/app", while_suspended="fail") as client:
        fake.unreachable = {A: REFUSED}
        fake.drop()
        await wait_all_tasks_blocked()
        for name, call in (READS | WRITES).items():
            if name == "get_many":
                (error,) = await client.get_many(["/t"])
            else:
                with pytest.raises(SuspendedError) as caught:
                    await call(client)
                error = caught.value
            assert isinstance(error, SuspendedError)
            assert not error.maybe_applied
            assert error.path in ("/t", "/t/n", "/", None)
        assert trio.current_time() == 0
        async with trio.open_nursery() as nursery:
            # One call can do otherwise.
            nursery.start_soon(client.using(while_suspended="wait").get, "/t")
            await trio.sleep(2)
            fake.unreachable = {}
        await client.get("/t")


async def test_what_was_sent_is_unknown_though_its_caller_does_not_wait(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    fake.make("/t")
    calls: list[Call] = [
        lambda c: c.set("/t", b"", version=0),
        lambda c: c.delete("/t", version=0),
        lambda c: c.create("/t/e", ephemeral=True),
        lambda c: c.create("/t/p", protected=True),
    ]
    async with zk_trio.open_client(A, while_suspended="fail") as client:
        for call in calls:
            fake.then(Do.DROP)
            with pytest.raises(ConnectionLossError) as caught:
                await call(client)
            assert caught.value.maybe_applied
            assert not isinstance(caught.value, SuspendedError)
            assert isinstance(caught.value.__cause__, SuspendedError)
            await connected(client)


async def connected(client: Client) -> None:
    async with client.states() as states:
        async for state in states:
            if state is SessionState.CONNECTED:
                return


# --- writes with a version


@pytest.mark.parametrize("what", ["set", "delete"])
async def test_a_versioned_write_that_did_not_happen_is_made_again(
    fake: FakeServer, what: str, autojump_clock: MockClock
) -> None:
    fake.make("/t", b"old")
    async with zk_trio.open_client(A) as client:
        await client.sync()
        fake.requests.clear()
        fake.then(Do.DROP)
        if what == "set":
            assert (await client.set("/t", b"new", version=0)).version == 1
            assert fake.ops() == [SET, SYNC, GET, SET]
        else:
            await client.delete("/t", version=0)
            assert fake.ops() == [DELETE, SYNC, GET, DELETE]


@pytest.mark.parametrize("what", ["set", "delete"])
async def test_a_versioned_write_that_another_one_forestalled_is_refused(
    fake: FakeServer, what: str, autojump_clock: MockClock
) -> None:
    fake.make("/app")
    fake.make("/app/t", b"old")
    async with zk_trio.open_client(A + "/app") as client:
        await client.get("/t")
        fake.then(Do.DROP)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                with pytest.raises(BadVersionError) as caught:
                    if what == "set":
                        await client.set("/t", b"ours", version=0)
                    else:
                        await client.delete("/t", version=0)
                assert caught.value.path == "/t"
                assert caught.value.operation == what
                assert not caught.value.maybe_applied

            fake.unreachable = {A: REFUSED}
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            await fake.change(DATA_CHANGED, "/app/t", b"theirs")
            fake.unreachable = {}


@pytest.mark.parametrize(
    "what, meanwhile",
    [("set", None), ("set", "again"), ("set", "gone"), ("set", "anew"), ("delete", None), ("delete", "anew")],
)
async def test_where_reading_cannot_tell_the_outcome_stays_unknown(
    fake: FakeServer, what: str, meanwhile: str | None, autojump_clock: MockClock
) -> None:
    fake.make("/t", b"old")
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        await client.get("/t")

        async def write() -> None:
            with pytest.raises(ConnectionLossError) as caught:
                if what == "set":
                    await client.set("/t", b"ours", version=0)
                else:
                    await client.delete("/t", version=0)
            assert caught.value.maybe_applied
            assert caught.value.path == "/t"

        fake.then(Do.LOSE)
        fake.unreachable = {A: REFUSED}
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        if meanwhile == "again":
            await fake.change(DATA_CHANGED, "/t", b"theirs")
        if meanwhile in ("gone", "anew") and what == "set":
            await fake.change(DELETED, "/t")
        if meanwhile == "anew":
            fake.make("/t", b"another")
        fake.unreachable = {}


@pytest.mark.parametrize("code", [NO_AUTH, -999])
async def test_reading_that_is_refused_leaves_the_outcome_unknown(
    fake: FakeServer, code: int, autojump_clock: MockClock
) -> None:
    fake.make("/t")
    calls: list[tuple[int, Call]] = [
        (GET, lambda c: c.set("/t", b"", version=0)),
        (GET, lambda c: c.delete("/t", version=1)),
        (GET, lambda c: c.create("/t/e", ephemeral=True)),
        (CHILDREN, lambda c: c.create("/t/p", protected=True)),
    ]
    async with zk_trio.open_client(A) as client:
        for op, call in calls:
            fake.then(Do.LOSE)
            fake.then(code, op=op)
            with pytest.raises(ConnectionLossError) as caught:
                await call(client)
            assert caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, zk_trio.ServerError)


async def test_a_session_that_expires_before_reading_leaves_the_outcome_unknown(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    fake.make("/app")
    fake.make("/app/t")
    calls: list[tuple[str, Call]] = [
        ("/t", lambda c: c.set("/t", b"", version=0)),
        ("/t", lambda c: c.delete("/t", version=1)),
        ("/t/p", lambda c: c.create("/t/p", protected=True)),
        ("/t/e", lambda c: c.create("/t/e", ephemeral=True)),
    ]
    async with zk_trio.open_client(A + "/app") as client:
        for path, call in calls:
            async with trio.open_nursery() as nursery:

                async def write(path: str = path, call: Call = call) -> None:
                    with pytest.raises(SessionExpiredError) as caught:
                        await call(client)
                    assert caught.value.maybe_applied
                    assert caught.value.path == path

                fake.then(Do.LOSE)
                fake.unreachable = {A: REFUSED}
                nursery.start_soon(write)
                await wait_all_tasks_blocked()
                fake.expire()
                fake.unreachable = {}
            await connected(client)


# --- ephemerals


@pytest.mark.parametrize("chroot", ["", "/app"])
@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("fate", [Do.LOSE, Do.DROP])
async def test_an_ephemeral_is_found_again(
    fake: FakeServer, fate: Do, lost: int, chroot: str, autojump_clock: MockClock
) -> None:
    if chroot:
        fake.make(chroot)
    async with zk_trio.open_client(A + chroot) as client:
        fake.then(fate, op=CREATE)
        fake.then(*[Do.LOSE] * (lost - 1), op=SYNC)
        fake.then(*[Do.LOSE] * (lost - 1), op=EXISTS)
        assert await client.create("/e", b"x", ephemeral=True) == "/e"
        fake.then(fate, op=CREATE)
        with pytest.raises(NodeExistsError) as caught:
            await client.create("/e", b"x", ephemeral=True)
        assert caught.value.path == "/e"
        assert fake.ephemerals == [f"{chroot}/e"]
        fake.then(fate, op=CREATE2)
        path, stat = await client.create_with_stat("/f", ephemeral=True)
        assert path == "/f"
        assert stat.ephemeral_owner == client.session_id


async def test_an_ephemeral_of_somebody_else_is_not_taken_for_ours(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:

        async def create() -> None:
            with pytest.raises(NodeExistsError):
                await client.create("/e", ephemeral=True)

        fake.then(Do.DROP)
        fake.unreachable = {A: REFUSED}
        nursery.start_soon(create)
        await wait_all_tasks_blocked()
        fake.make("/e", owner=0x77)
        fake.unreachable = {}


async def test_of_two_calls_for_one_ephemeral_none_is_told_that_it_has_it(
    fake: FakeServer, autojump_clock: MockClock
) -> None:
    """One of them made it and the other one did not, and nobody can tell which is which."""
    errors: list[ConnectionLossError] = []
    async with zk_trio.open_client(A) as client:
        fake.then(Do.HOLD)
        async with trio.open_nursery() as nursery:

            async def create() -> None:
                with pytest.raises(ConnectionLossError) as caught:
                    await client.create("/e", ephemeral=True)
                errors.append(caught.value)

            nursery.start_soon(create)
            nursery.start_soon(create)
            await wait_all_tasks_blocked()
            fake.drop()
        assert [error.maybe_applied for error in errors] == [True, True]


@pytest.mark.parametrize("chroot", ["", "/app"])
@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("fate", [Do.LOSE, Do.DROP])
@pytest.mark.parametrize("ephemeral", [False, True])
async def test_a_protected_znode_is_found_again(
    fake: FakeServer, ephemeral: bool, fate: Do, lost: int, chroot: str, autojump_clock: MockClock
) -> None:
    if chroot:
        fake.make(chroot)
    async with zk_trio.open_client(A + chroot) as client:
        await client.create("/q")
        fake.then(fate, op=CREATE)
        fake.then(*[Do.LOSE] * (lost - 1), op=SYNC)
        fake.then(*[Do.LOSE] * (lost - 1), op=CHILDREN)
        path = await client.create("/q/n-", b"x", ephemeral=ephemeral, sequential=True, protected=True)
        assert path.startswith("/q/_c_")
        assert path.endswith("-n-0000000000")
        assert await client.get_children("/q") == [path.removeprefix("/q/")]
        fake.then(fate, op=CREATE2)
        path, stat = await client.create_with_stat("/q/m", ephemeral=ephemeral, protected=True)
        assert path.endswith("-m")
        assert stat.ephemeral_owner == (client.session_id if ephemeral else 0)


async def test_a_protected_znode_whose_parent_has_gone(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/q")
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:

        async def create() -> None:
            with pytest.raises(NoNodeError) as caught:
                await client.create("/q/n-", sequential=True, protected=True)
            assert caught.value.path == "/q/n-"

        fake.then(Do.DROP)
        fake.unreachable = {A: REFUSED}
        nursery.start_soon(create)
        await wait_all_tasks_blocked()
        await fake.change(DELETED, "/q")
        fake.unreachable = {}


@pytest.mark.parametrize("vanishes", [False, True])
async def test_a_protected_ephemeral_of_a_session_that_is_over_is_made_anew(
    fake: FakeServer, vanishes: bool, autojump_clock: MockClock
) -> None:
    """It would vanish under its owner (CURATOR-498).

    The caller gets that far only if it waits for room while one session follows the other.
    """
    fake.make("/q")
    async with zk_trio.open_client(A, max_in_flight=1) as client, trio.open_nursery() as nursery:
        result: list[str] = []

        async def create() -> None:
            result.append(await client.create("/q/n-", ephemeral=True, sequential=True, protected=True))

        async def other() -> None:
            with suppress(SessionExpiredError):
                await client.sync()

        fake.then(Do.HOLD)
        nursery.start_soon(create)
        await wait_all_tasks_blocked()
        for _ in range(2):
            nursery.start_soon(other)  # they wait for room, and will be in front of what create() does next
        await wait_all_tasks_blocked()
        fake.lost_packets = {A}
        fake.expire(keep_nodes=True)
        await wait_all_tasks_blocked()
        if vanishes:
            fake.then(-101, op=DELETE)
        fake.lost_packets = set()
        while not result and trio.current_time() < 100:
            await trio.sleep(1)
        (old,) = [path for path, node in fake.nodes.items() if node.owner == 0x5001] or [None]  # type: ignore[list-item]
        assert (old is not None) is vanishes
        assert result[0].endswith("-n-0000000001")
        assert fake.nodes[result[0]].owner == client.session_id == 0x5002


async def test_an_ephemeral_of_a_session_that_is_over_is_not_ours(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A, max_in_flight=1) as client, trio.open_nursery() as nursery:
        failed = trio.Event()

        async def create() -> None:
            with pytest.raises(NodeExistsError):
                await client.create("/e", ephemeral=True)
            failed.set()

        async def other() -> None:
            with suppress(SessionExpiredError):
                await client.sync()

        fake.then(Do.HOLD)
        nursery.start_soon(create)
        await wait_all_tasks_blocked()
        for _ in range(2):
            nursery.start_soon(other)
        await wait_all_tasks_blocked()
        fake.lost_packets = {A}
        fake.expire(keep_nodes=True)
        await wait_all_tasks_blocked()
        fake.lost_packets = set()
        await failed.wait()
        assert client.session_id == 0x5002


async def test_a_znode_that_is_found_and_gone_again_is_made_anew(fake: FakeServer, autojump_clock: MockClock) -> None:
    fake.make("/q")
    async with zk_trio.open_client(A) as client, trio.open_nursery() as nursery:
        result: list[object] = []

        async def create() -> None:
            result.extend(await client.create_with_stat("/q/n", protected=True))

        fake.then(Do.LOSE, op=CREATE2)
        fake.then(Do.HOLD, op=CHILDREN)
        nursery.start_soon(create)
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        (made,) = [path for path in fake.nodes if path.startswith("/q/")]
        await fake.change(DELETED, made)
        await fake.release()
        await wait_all_tasks_blocked()
        assert result[0] == made
        assert made in fake.nodes


# --- parents and trees


async def test_missing_parents_are_made(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        assert await client.create("/a/b/c", b"x", make_parents=True) == "/a/b/c"
        assert fake.nodes["/a/b/c"].data == b"x"
        assert fake.nodes["/a/b"].data == b""
        with pytest.raises(NoNodeError) as caught:
            await client.create("/x/y")
        assert caught.value.path == "/x/y"
        assert "its parent does not exist" in str(caught.value)
        assert await client.create("/l/n-", sequential=True, ephemeral=True, make_parents=True) == "/l/n-0000000000"
        assert await client.create("/c/c", container=True, make_parents=True) == "/c/c"
        # Replies that are lost change nothing.
        fake.then(None, None, Do.LOSE)
        assert await client.create("/m/n", make_parents=True) == "/m/n"
        # A container may vanish before its first child is made.
        fake.then(-101, op=CREATE)
        assert await client.create("/m/o", make_parents=True) == "/m/o"


async def test_parents_that_somebody_else_makes_meanwhile(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        await client.create("/a")
        fake.then(-101, op=EXISTS)
        await client.ensure_path("/a")
        fake.then(-101, None, op=CREATE)
        fake.then(-101, op=EXISTS)
        await client.create("/a/b", make_parents=True)


async def test_paths_that_must_be_there(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A + "/app/x") as client:
        await client.ensure_path("/")
        await client.ensure_path("/")
        await client.at("/y").ensure_path("/z", container=True)
        assert set(fake.nodes) == {"/", "/app", "/app/x", "/app/x/y", "/app/x/y/z"}
        assert await client.create("/a", make_parents=True) == "/a"


async def test_a_refusal_on_the_way_to_the_parents(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        fake.then(-101, NO_AUTH, op=CREATE)
        with pytest.raises(NoAuthError) as caught:
            await client.create("/a/b", make_parents=True)
        assert caught.value.path == "/a"


async def test_trees_are_deleted(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A) as client:
        for number in range(600):
            fake.make(f"/t{number}") if number < 2 else fake.make(f"/t1/{number}")
        await client.delete("/t1", recursive=True)
        assert set(fake.nodes) == {"/", "/t0"}
        with pytest.raises(NoNodeError) as caught:
            await client.delete("/t1", recursive=True)
        assert caught.value.path == "/t1"
        assert caught.value.operation == "delete"


async def test_trees_that_others_change_meanwhile(fake: FakeServer, autojump_clock: MockClock) -> None:
    for path in ("/t", "/t/a", "/t/b"):
        fake.make(path)
    async with zk_trio.open_client(A) as client:
        fake.then(None, -101, -111, op=DELETE)  # one had gone, the top has got a child
        await client.delete("/t", recursive=True)
        assert set(fake.nodes) == {"/"}
        fake.make("/t")
        fake.then(NO_AUTH, op=DELETE)
        with pytest.raises(NoAuthError) as caught:
            await client.delete("/t", recursive=True)
        assert caught.value.path == "/t"
        fake.then(Do.LOSE, op=DELETE)
        await client.delete("/t", recursive=True)
        assert set(fake.nodes) == {"/"}


async def test_views_share_everything_but_their_policy(fake: FakeServer, autojump_clock: MockClock) -> None:
    async with zk_trio.open_client(A, while_suspended="fail", retry=RetryPolicy(max_attempts=2)) as client:
        view = client.at("/a").at("/b")
        assert view.chroot == "/a/b"
        assert view.session_id == client.session_id
        assert (view._retry, view._fail_fast) == (client._retry, True)
        other = view.using(while_suspended="wait")
        assert (other._retry, other._fail_fast, other.chroot) == (client._retry, False, "/a/b")
        other = view.using(retry=RetryPolicy())
        assert (other._retry, other._fail_fast, other.chroot) == (RetryPolicy(), True, "/a/b")
        await client.ensure_path("/a/b")
        assert await view.create("/c") == "/c"
        assert "/a/b/c" in fake.nodes
    assert MULTI not in fake.ops()
