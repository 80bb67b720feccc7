"""Who may go on, in what order, and who is woken for what."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from tests.client.stepping import Bench, Task
from tests.support.peer import string, strings
from zk_sansio.errors import (
    ClosedError,
    ConnectionLossError,
    NodeExistsError,
    RequestTooLargeError,
    SessionExpiredError,
    SuspendedError,
)
from zk_sansio.session import SessionOptions, SessionState
from zk_sansio.wire import Create, CreateMode, Delete, GetChildren, RemoveWatches, Request, SetData, WatcherType

TWO = SessionOptions(max_in_flight=2)


def children(bench: Bench, *names: str) -> list[Task[list[str]]]:
    return [bench.start(bench.client.get_children(f"/{name}")) for name in names]


def asked(requests: Sequence[Request[object]]) -> str:
    return "".join(str(request.target).strip("/") for request in requests)


def done(tasks: Sequence[Task[list[str]]]) -> str:
    return "".join("x" if task.done else "." for task in tasks)


def test_callers_wait_above_the_limit_and_go_on_in_the_order_in_which_they_came() -> None:
    bench = Bench(TWO)
    tasks = children(bench, *"abcde")
    assert asked(bench.sent()) == "ab"
    bench.reply(strings([]))
    assert asked(bench.sent()) == "c"
    # There is room for one, but it is d's.
    bench.reply(strings([]))
    tasks += children(bench, "f")
    assert asked(bench.sent()) == "d"
    bench.reply(strings([]))
    bench.reply(strings([]))
    assert asked(bench.sent()) == "ef"
    bench.reply(strings([]))
    bench.reply(strings([]))
    assert done(tasks) == "xxxxxx"
    assert bench.session.in_flight == 0


def test_one_reply_makes_room_for_one() -> None:
    bench = Bench(TWO)
    children(bench, *"abcdef")
    bench.sent()
    bench.reply(strings([]))
    bench.engine.let_in()
    bench.engine.let_in()
    assert bench.session.in_flight == 2


def test_no_more_are_let_in_than_there_is_room_for_before_they_have_run() -> None:
    bench = Bench(TWO)
    children(bench, *"abcdef")
    bench.sent()
    bench.session.receive_data(b"", 0)  # all fail, and those that waited are let in
    bench.engine.deliver()
    bench.engine.let_in()
    assert len(bench.engine._turn) == 2
    bench.runtime.run()
    assert bench.session.in_flight == 2
    assert not bench.engine._turn


def test_a_caller_that_gives_up_leaves_the_queue() -> None:
    bench = Bench(TWO)
    tasks = children(bench, *"abcde")
    tasks[3].cancel()
    tasks[2].cancel()
    assert asked(bench.sent()) == "ab"
    bench.reply(strings([]))
    assert asked(bench.sent()) == "e"
    assert not bench.engine._room


def test_a_caller_that_gives_up_when_it_was_let_in_takes_no_room() -> None:
    bench = Bench(TWO)
    tasks = children(bench, *"abcd")
    bench.sent()
    bench.session.receive_data(b"", 0)
    bench.engine.deliver()
    assert len(bench.engine._turn) == 2
    tasks[2].cancel()
    assert len(bench.engine._turn) == 1
    bench.runtime.run()
    assert not bench.engine._turn


def test_bytes_count_too_and_all_go_on_at_the_low_mark() -> None:
    bench = Bench(SessionOptions(high_water=1000, low_water=500))
    sets = [bench.start(bench.client.set(f"/{name}", bytes(600))) for name in "abcd"]
    assert bench.session.queued_bytes > 1000
    assert asked(bench.sent()) == "ab"
    assert asked(bench.sent()) == "cd"
    assert not any(task.done for task in sets)


def test_the_end_lets_everybody_in_to_hear_of_it() -> None:
    bench = Bench(TWO, on_expiry="raise")
    tasks = children(bench, *"abcde")
    bench.sent()
    bench.hang_up()
    bench.connect(timeout_ms=0)
    assert done(tasks) == "xxxxx"
    for task in tasks:
        assert isinstance(task.error, SessionExpiredError)
    assert bench.engine.ended_by is bench.engine.error is not None
    (late,) = children(bench, "f")
    assert isinstance(late.error, SessionExpiredError)
    assert bench.runtime.checkpoints


def test_callers_that_wait_are_reported_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(SessionOptions(max_in_flight=1, timeout=1000))
    with caplog.at_level(logging.WARNING, "zk_sansio"):
        children(bench, *"abc")
        assert [record.getMessage() for record in caplog.records] == [
            "callers wait: 1 requests without an answer, 19 bytes not sent"
        ]
        bench.runtime.time = 59.0
        children(bench, "d")
        assert len(caplog.records) == 1
        bench.runtime.time = 60.0
        children(bench, "e")
        assert len(caplog.records) == 2


def test_a_batch_comes_in_portions_and_is_woken_when_half_is_done() -> None:
    bench = Bench(SessionOptions(max_in_flight=4))
    task = bench.start(bench.client.get_many(f"/{name}" for name in "abcdefghij"))
    assert asked(bench.sent()) == "abcd"
    assert task.steps == 1
    bench.reply(code=-101)
    assert task.steps == 1
    bench.reply(code=-101)
    assert task.steps == 2
    assert asked(bench.sent()) == "ef"
    for _ in range(2):
        bench.reply(code=-101)
    assert asked(bench.sent()) == "gh"
    for _ in range(2):
        bench.reply(code=-101)
    assert asked(bench.sent()) == "ij"
    for _ in range(4):
        assert not task.done
        bench.reply(code=-101)
    assert len(task.result) == 10
    assert task.steps == 5


def test_a_batch_waits_for_its_turn_behind_single_callers() -> None:
    bench = Bench(TWO)
    batch = bench.start(bench.client.get_many(["/1", "/2", "/3", "/4"]))
    singles = children(bench, *"ab")
    assert asked(bench.sent()) == "12"
    bench.reply(code=-101)
    assert asked(bench.sent()) == "a"
    bench.reply(code=-101)
    assert asked(bench.sent()) == "b"
    bench.reply(strings([]))
    assert asked(bench.sent()) == "3"
    bench.reply(strings([]))
    assert asked(bench.sent()) == "4"
    assert done(singles) == "xx"
    bench.reply(code=-101)
    bench.reply(code=-101)
    assert len(batch.result) == 4


def test_a_wide_batch_of_which_nothing_is_its_own_fault() -> None:
    """Others fill the limit, so that a batch gets in one by one."""
    bench = Bench(TWO)
    others = children(bench, "a")
    batch = bench.start(bench.client.get_many(["/1", "/2", "/3"]))
    assert asked(bench.sent()) == "a1"
    bench.reply(strings([]))
    assert asked(bench.sent()) == "2"
    for _ in range(2):
        bench.reply(code=-101)
    assert asked(bench.sent()) == "3"
    bench.reply(code=-101)
    assert len(batch.result) == 3
    assert done(others) == "x"


def test_a_batch_that_is_cancelled_leaves_nothing() -> None:
    bench = Bench(TWO)
    task = bench.start(bench.client.get_many(["/1", "/2", "/3"]))
    bench.sent()
    task.cancel()
    assert isinstance(task.error, KeyboardInterrupt)
    assert bench.session.in_flight == 2  # they keep their places
    for _ in range(2):
        bench.reply(code=-101)
    assert bench.session.in_flight == 0
    assert not bench.engine._room


def test_ephemerals_of_a_cancelled_batch_are_removed_answered_or_not() -> None:
    bench = Bench()
    pipeline = bench.client.pipeline()
    pipeline.create("/a", ephemeral=True)
    pipeline.create("/p")
    pipeline.create("/b-", ephemeral=True, sequential=True)
    task = bench.start(pipeline.run())
    assert len(bench.sent()) == 3
    bench.reply(string("/a"))
    bench.reply(string("/p"))
    task.cancel()
    assert bench.sent() == [Delete("/a", -1)]
    assert bench.runtime.flushes > 1
    bench.reply(string("/b-0000000007"))
    assert bench.sent() == [Delete("/b-0000000007", -1)]


def test_ephemerals_of_a_batch_that_is_cancelled_while_it_repeats_are_removed() -> None:
    bench = Bench()
    pipeline = bench.client.pipeline()
    pipeline.create("/a", ephemeral=True)
    pipeline.get_children("/b")
    task = bench.start(pipeline.run())
    bench.sent()
    bench.reply(string("/a"))
    bench.hang_up()
    bench.connect()
    assert bench.sent() == [GetChildren("/b")]
    task.cancel()
    assert bench.sent() == [Delete("/a", -1)]


def test_ephemerals_of_a_batch_whose_session_is_over_belong_to_nobody_here() -> None:
    bench = Bench(TWO)
    pipeline = bench.client.pipeline()
    for name in "abcd":
        pipeline.create(f"/{name}", ephemeral=True)
    task = bench.start(pipeline.run())
    bench.sent()
    bench.reply(string("/a"))
    assert asked(bench.sent()) == "c"
    bench.hang_up()
    bench.connect(timeout_ms=0)
    bench.connect(0x88)
    task.cancel()
    assert [request for request in bench.sent() if isinstance(request, Delete)] == []


def test_a_batch_that_waited_while_one_session_followed_the_other() -> None:
    bench = Bench(TWO)
    bench.hang_up()
    children(bench, "x", "y")
    pipeline = bench.client.pipeline()
    pipeline.create("/a", ephemeral=True)
    pipeline.get_children("/b")
    task = bench.start(pipeline.run())
    bench.connect(timeout_ms=0)
    bench.connect(0x88)
    assert asked(bench.sent()) == "ab"
    bench.reply(string("/a"))
    task.cancel()
    assert bench.sent() == [Delete("/a", -1)]


def test_a_batch_that_comes_too_late() -> None:
    bench = Bench()
    bench.start(bench.client.aclose())
    bench.hang_up()
    (error,) = bench.start(bench.client.get_many(["/a"])).result
    assert isinstance(error, ClosedError)


def test_two_calls_for_one_ephemeral_of_which_each_gets_its_answer() -> None:
    bench = Bench()
    first = bench.start(bench.client.create("/e", ephemeral=True))
    second = bench.start(bench.client.create("/e", ephemeral=True))
    bench.sent()
    bench.reply(string("/e"))
    bench.reply(code=-110)
    assert first.result == "/e"
    assert isinstance(second.error, NodeExistsError)
    assert not bench.engine._races


def test_a_batch_with_a_request_that_cannot_be_sent() -> None:
    bench = Bench(SessionOptions(max_request=1000))
    pipeline = bench.client.pipeline()
    pipeline.create("/a", ephemeral=True)
    pipeline.set("/b", bytes(1000))
    flushes = bench.runtime.flushes
    task = bench.start(pipeline.run())
    assert isinstance(task.error, RequestTooLargeError)
    assert bench.runtime.flushes > flushes  # what was submitted does not lie about
    assert bench.sent() == [Create("/a", b"", [(31, ("world", "anyone"))], CreateMode.EPHEMERAL)]  # type: ignore[list-item]
    bench.reply(string("/a"))
    assert bench.sent() == [Delete("/a", -1)]


def test_calls_that_do_not_wait() -> None:
    bench = Bench(connected=False, chroot="/app")
    fast = bench.client.using(while_suspended="fail")
    with pytest.raises(SuspendedError) as caught:
        _ = bench.start(fast.get("/a")).result
    assert caught.value.path == "/a"
    assert not caught.value.maybe_applied
    assert bench.runtime.checkpoints == 1
    bench.connect()
    task = bench.start(fast.get_children("/a"))
    bench.sent()
    bench.hang_up()
    with pytest.raises(SuspendedError):
        _ = task.result
    # A client that is at its end says so, whatever the policy.
    bench.session.close(0.0, 1.0)
    bench.deliver()
    with pytest.raises(ClosedError):
        _ = bench.start(fast.get("/a")).result


def test_a_write_that_may_have_happened_is_never_reported_as_not_sent() -> None:
    bench = Bench()
    fast = bench.client.using(while_suspended="fail")
    for task in (
        bench.start(fast.set("/a", b"x", version=1)),
        bench.start(fast.delete("/a", version=1)),
        bench.start(fast.create("/a", protected=True)),
        bench.start(fast.create("/a", ephemeral=True)),
    ):
        bench.sent()
        bench.hang_up()
        assert isinstance(task.error, ConnectionLossError)
        assert task.error.maybe_applied, task.error
        assert not isinstance(task.error, SuspendedError)
        bench.connect()
        bench.sent()


def test_closing() -> None:
    bench = Bench()
    task = bench.start(bench.client.aclose())
    assert not task.done
    assert [request.name for request in bench.sent()] == ["close session"]
    bench.reply()
    assert task.done
    assert task.result is None
    assert bench.session.state is SessionState.CLOSED
    assert bench.runtime.nudges
    assert isinstance(bench.engine.error, ClosedError)
    assert bench.engine.ended_by is None
    again = bench.start(bench.client.aclose())
    assert again.result is None
    assert bench.runtime.checkpoints


def test_closing_takes_no_longer_than_its_grace() -> None:
    bench = Bench()
    task = bench.start(bench.client.aclose(grace=2.0))
    bench.sent()
    bench.session.handle_timeout(1.9)
    bench.deliver()
    assert not task.done
    bench.session.handle_timeout(2.0)
    bench.deliver()
    assert task.done


def test_waiting_for_a_server() -> None:
    bench = Bench(connected=False)
    task = bench.start(bench.engine.wait_until_serving())
    assert not task.done
    bench.connect()
    assert task.done
    assert bench.start(bench.engine.wait_until_serving()).done
    assert bench.runtime.checkpoints
    assert not bench.engine.listeners


def test_waiting_for_a_server_that_never_comes() -> None:
    bench = Bench(connected=False)
    task = bench.start(bench.engine.wait_until_serving())
    bench.start(bench.client.aclose())
    with pytest.raises(ClosedError):
        _ = task.result


def test_a_new_session_takes_the_place_of_one_that_expired(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    old = bench.session
    (pending,) = children(bench, "a")
    bench.sent()
    with caplog.at_level(logging.INFO, "zk_sansio"):
        bench.hang_up()
        bench.connect(timeout_ms=0)
    assert bench.session is not old
    assert bench.engine.error is None
    assert isinstance(pending.error, SessionExpiredError) or not pending.done
    bench.connect(0x88)
    assert bench.client.session_id == 0x88
    messages = [record.getMessage() for record in caplog.records]
    assert "session 0x0000000000000077: connected -> suspended (closed by the server)" in messages
    assert "session 0x0000000000000077 expired; a new one takes its place" in messages


def test_late_pings_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with caplog.at_level(logging.WARNING, "zk_sansio"):
        bench.session.handle_timeout(6.0)
        bench.deliver()
    (record,) = caplog.records
    assert "a ping was due" in record.getMessage()


def test_watchers_that_nobody_wants_are_removed_from_the_server() -> None:
    bench = Bench()
    stream = bench.client.watch("/a")
    task = bench.start(stream.__aenter__())
    bench.sent()
    bench.reply(b"\0\0\0\0")
    assert task.done
    assert bench.start(stream.aclose()).done
    assert bench.sent() == [RemoveWatches("/a", WatcherType.ANY)]
    bench.reply()


def test_requests_are_encoded_once_they_are_made() -> None:
    bench = Bench(connected=False)
    data = bytearray(b"old")
    bench.start(bench.client.set("/a", data))  # type: ignore[arg-type]
    data[:] = b"new"
    bench.connect()
    assert bench.sent() == [SetData("/a", b"old", -1)]


def test_no_more_bytes_are_let_in_than_the_mark_allows() -> None:
    bench = Bench(SessionOptions(high_water=1000, low_water=500, max_request=10_000))
    sets = [bench.start(bench.client.set(f"/{name}", bytes(400))) for name in "abcdefgh"]
    sets.append(bench.start(bench.client.transaction().set("/i", bytes(2000)).delete("/j").commit()))  # type: ignore[arg-type]
    sets.append(bench.start(bench.client.set("/k", bytes(10))))
    assert asked(bench.sent()) == "abc"
    assert bench.session.queued_bytes <= 1000 + 450
    assert asked(bench.sent()) == "def"
    assert asked(bench.sent()) == "ghNone"
    assert asked(bench.sent()) == "k"
    assert not any(task.done for task in sets)
    assert not bench.engine._turn


def test_a_newcomer_does_not_overtake_a_caller_that_was_let_in_and_has_not_run_yet() -> None:
    bench = Bench(TWO)
    children(bench, *"abc")
    bench.sent()
    bench.session.receive_data(b"", 0.0)  # both are lost, so there is room
    bench.engine.deliver()  # c may go on, but has not run
    tasks = [bench.runtime.start(bench.client.get_children(f"/{name}")) for name in "de"]
    assert bench.session.in_flight <= 2
    assert not any(task.done for task in tasks)
