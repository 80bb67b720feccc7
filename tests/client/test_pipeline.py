from __future__ import annotations

import pytest

from tests.client.stepping import Bench
from tests.support.peer import buffer, stat, string, strings
from zk_sansio.acl import OPEN
from zk_sansio.client import RetryPolicy
from zk_sansio.errors import (
    ConnectionLossError,
    InvalidPathError,
    LocalProtocolError,
    NodeExistsError,
    NoNodeError,
    RequestTooLargeError,
    SuspendedError,
)
from zk_sansio.session import SessionOptions
from zk_sansio.wire import (
    Children,
    Create,
    CreateContainer,
    Created,
    CreateMode,
    CreateTTL,
    Delete,
    Exists,
    GetChildren,
    GetChildren2,
    GetData,
    SetData,
    Stat,
    Sync,
    Znode,
)

STAT = Stat(5, 6, 0, 0, 2, 0, 0, 0, 0, 0, 7)
STAT_BYTES = stat(czxid=5, mzxid=6, pzxid=7, version=2)


@pytest.mark.parametrize("chroot", ["", "/app"])
def test_requests_and_results_in_order(chroot: str) -> None:
    bench = Bench(chroot=chroot)
    pipeline = bench.client.pipeline()
    pendings = [
        pipeline.create("/a", b"x", ephemeral=True),
        pipeline.create("/", sequential=True),
        pipeline.create("/c", container=True),
        pipeline.create("/t", ttl=1.5),
        pipeline.exists("/a"),
        pipeline.get("/a"),
        pipeline.set("/a", None, version=4),
        pipeline.get_children("/"),
        pipeline.get_children_with_stat("/a"),
        pipeline.sync(),
        pipeline.delete("/a", version=7),
    ]
    assert len(pipeline) == len(pendings) == 11
    task = bench.start(pipeline.run())
    assert len(pipeline) == 0
    acl = list(OPEN)
    top = chroot or "/"
    assert bench.sent() == [
        Create(f"{chroot}/a", b"x", acl, CreateMode.EPHEMERAL),
        Create(f"{chroot}/", b"", acl, CreateMode.PERSISTENT_SEQUENTIAL),
        CreateContainer(f"{chroot}/c", b"", acl, CreateMode.CONTAINER),
        CreateTTL(f"{chroot}/t", b"", acl, CreateMode.PERSISTENT_WITH_TTL, 1500),
        Exists(f"{chroot}/a"),
        GetData(f"{chroot}/a"),
        SetData(f"{chroot}/a", None, 4),
        GetChildren(top),
        GetChildren2(f"{chroot}/a"),
        Sync(top),
        Delete(f"{chroot}/a", 7),
    ]
    for record in (
        string(f"{chroot}/a"),
        string(f"{chroot}/0000000001"),
        string(f"{chroot}/c") + STAT_BYTES,
        string(f"{chroot}/t") + STAT_BYTES,
        STAT_BYTES,
        buffer(b"x") + STAT_BYTES,
        STAT_BYTES,
        strings(["a", "b"]),
        strings([]) + STAT_BYTES,
        string(top),
        b"",
    ):
        assert not task.done
        bench.reply(record)
    assert task.result == [pending.value for pending in pendings]  # type: ignore[attr-defined]
    assert task.result == [
        Created("/a", None),
        Created("/0000000001", None),
        Created("/c", STAT),
        Created("/t", STAT),
        STAT,
        Znode(b"x", STAT),
        STAT,
        ["a", "b"],
        Children([], STAT),
        top,
        None,
    ]
    # Once for the start, once when everything was there.
    assert task.steps == 2
    assert all(pending.done and pending.error is None for pending in pendings)  # type: ignore[attr-defined]


@pytest.mark.parametrize("chroot", ["", "/app"])
def test_each_has_its_own_outcome(chroot: str) -> None:
    bench = Bench(chroot=chroot)
    pipeline = bench.client.pipeline()
    missing, there = pipeline.get("/a"), pipeline.create("/b")
    task = bench.start(pipeline.run())
    bench.sent()
    bench.reply(code=-101)
    bench.reply(code=-110)
    first, second = task.result
    assert isinstance(first, NoNodeError)
    assert first is missing.error
    assert first.path == "/a"
    assert isinstance(second, NodeExistsError)
    assert second.path == "/b"
    with pytest.raises(NoNodeError):
        _ = missing.value
    with pytest.raises(NodeExistsError):
        _ = there.value


def test_before_it_has_run() -> None:
    pending = Bench().client.pipeline().get("/a")
    assert not pending.done
    assert pending.error is None
    with pytest.raises(LocalProtocolError, match=r"the pipeline has not run yet; await its run\(\) first"):
        _ = pending.value


def test_it_can_run_again_with_what_was_collected_since() -> None:
    bench = Bench()
    pipeline = bench.client.pipeline()
    first = pipeline.get_children("/a")
    task = bench.start(pipeline.run())
    assert bench.sent() == [GetChildren("/a")]
    bench.reply(strings([]))
    assert task.result == [[]]
    pipeline.get_children("/b")
    task = bench.start(pipeline.run())
    assert bench.sent() == [GetChildren("/b")]
    bench.reply(strings(["c"]))
    assert task.result == [["c"]]
    assert first.value == []


def test_nothing() -> None:
    bench = Bench()
    assert bench.start(bench.client.pipeline().run()).result == []
    assert bench.start(bench.client.get_many([])).result == []
    assert bench.runtime.checkpoints == 2


def test_wrong_arguments() -> None:
    bench = Bench(SessionOptions(max_request=1000))
    pipeline = bench.client.pipeline()
    kept, wrong = pipeline.delete("/a"), pipeline.get("b")
    with pytest.raises(InvalidPathError):
        _ = bench.start(pipeline.run()).result
    assert not kept.done
    assert not wrong.done
    pipeline.set("/a", bytes(1000))
    with pytest.raises(RequestTooLargeError):
        _ = bench.start(pipeline.run()).result
    # What had been sent before its caller heard of the fault must not lie about until something else is sent.
    assert bench.session.queued_bytes == 0 or bench.runtime.flushes


def test_get_many() -> None:
    bench = Bench()
    task = bench.start(bench.client.get_many(["/a", "/b"]))
    assert bench.sent() == [GetData("/a"), GetData("/b")]
    bench.reply(buffer(b"1") + STAT_BYTES)
    bench.reply(code=-101)
    znode, missing = task.result
    assert znode == Znode(b"1", STAT)
    assert isinstance(missing, NoNodeError)


def test_reads_and_what_was_not_sent_are_repeated() -> None:
    bench = Bench()
    pipeline = bench.client.pipeline()
    pipeline.get_children("/a")
    pipeline.get_children("/b")
    task = bench.start(pipeline.run())
    assert len(bench.sent()) == 2
    bench.reply(strings(["1"]))
    bench.hang_up()
    bench.connect()
    assert bench.sent() == [GetChildren("/b")]
    bench.reply(strings(["2"]))
    assert task.result == [["1"], ["2"]]


def test_writes_behind_one_of_unknown_outcome_are_not_made() -> None:
    bench = Bench()
    pipeline = bench.client.pipeline()
    pipeline.set("/a", b"1")
    pipeline.get_children("/b")
    task = bench.start(pipeline.run())
    bench.sent()
    pipeline.delete("/c")
    bench.hang_up()
    bench.connect()
    assert bench.sent() == [GetChildren("/b")]
    bench.reply(strings([]))
    lost, names = task.result
    assert isinstance(lost, ConnectionLossError)
    assert lost.maybe_applied
    assert names == []


def test_writes_that_were_not_sent_are_made_unless_one_before_them_is_unknown() -> None:
    for sent_before, again in (True, []), (False, [Delete("/a", -1), Delete("/b", -1)]):
        bench = Bench(connected=True)
        pipeline = bench.client.pipeline()
        pipeline.delete("/a")
        task = bench.start(pipeline.run())
        if sent_before:
            bench.sent()
        pipeline.delete("/b")
        second = bench.start(pipeline.run())
        bench.hang_up()
        bench.connect()
        if sent_before:
            assert isinstance(task.result[0], ConnectionLossError)
            assert bench.sent() == [Delete("/b", -1)]
        else:
            assert bench.sent() == again
            bench.reply()
            assert task.result == [None]
        bench.reply()
        assert second.result == [None]


def test_what_is_unknown_is_repeated_where_the_caller_says_so() -> None:
    bench = Bench(retry=RetryPolicy(repeat_unknown=True))
    pipeline = bench.client.pipeline()
    pipeline.delete("/a")
    pipeline.delete("/b")
    task = bench.start(pipeline.run())
    bench.sent()
    bench.hang_up()
    bench.connect()
    assert bench.sent() == [Delete("/a", -1), Delete("/b", -1)]
    bench.reply(code=-101)
    bench.reply()
    gone, deleted = task.result
    assert isinstance(gone, NoNodeError)
    assert gone.maybe_applied
    assert deleted is None


def test_what_an_overloaded_server_refuses_is_repeated_after_a_pause() -> None:
    bench = Bench()
    pipeline = bench.client.pipeline()
    pipeline.delete("/a")
    pipeline.delete("/b")
    task = bench.start(pipeline.run())
    bench.sent()
    bench.reply()
    bench.reply(code=-127)
    assert bench.sent() == [Delete("/b", -1)]
    bench.reply(code=-127)
    assert bench.sent() == [Delete("/b", -1)]
    bench.reply()
    assert task.result == [None, None]
    assert bench.runtime.slept == [0.1, 0.2]


def test_a_request_that_closes_the_connection_twice_fails_and_says_so() -> None:
    bench = Bench()
    pipeline = bench.client.pipeline()
    pipeline.get_children("/poison")
    pipeline.get_children("/b")
    task = bench.start(pipeline.run())
    for _ in range(2):
        assert bench.sent() == [GetChildren("/poison"), GetChildren("/b")]
        bench.hang_up()
        bench.connect()
    assert bench.sent() == [GetChildren("/b")]
    bench.reply(strings([]))
    poison, names = task.result
    assert names == []
    assert isinstance(poison, ConnectionLossError)
    assert poison.__notes__ == ["the server closed the connection on this request twice, so it is not sent again"]


def test_policies_without_retries() -> None:
    bench = Bench(retry=RetryPolicy(max_attempts=1))
    task = bench.start(bench.client.get_many(["/a"]))
    bench.sent()
    bench.hang_up()
    assert isinstance(task.result[0], ConnectionLossError)


def test_calls_that_do_not_wait_for_a_connection() -> None:
    bench = Bench(SessionOptions(max_in_flight=2))
    pipeline = bench.client.using(while_suspended="fail").pipeline()
    pendings = [pipeline.get_children(f"/{number}") for number in range(4)]
    task = bench.start(pipeline.run())
    assert len(bench.sent()) == 2
    bench.reply(strings(["x"]))
    assert len(bench.sent()) == 1
    bench.hang_up()
    first, *others = task.result
    assert first == ["x"]
    assert [type(other) for other in others] == [SuspendedError] * 3
    assert [pending.error and pending.error.path for pending in pendings] == [None, "/1", "/2", "/3"]
    again = bench.start(bench.client.using(while_suspended="fail").get_many(["/a"]))
    assert isinstance(again.result[0], SuspendedError)
