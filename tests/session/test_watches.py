"""Watches as a user of a session has them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.session.harness import EXPIRED, Peer, connected, notification, only, watch, watching
from zk_sansio.errors import AuthFailedError, ClosedError, RequestTooLargeError, SessionExpiredError
from zk_sansio.session import (
    Call,
    Notification,
    Rearmed,
    SessionState,
    StateChanged,
    Watcher,
    WatchersLost,
    WatchEvent,
    WatchKind,
)
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    EventType,
    Exists,
    GetData,
    RemoveWatches,
    Request,
    SetWatches,
    SetWatches2,
    WatcherType,
)

DATA, EXIST, CHILD, PERSISTENT, RECURSIVE = WatchKind
CREATED, DELETED, CHANGED, CHILDREN = (
    EventType.CREATED,
    EventType.DELETED,
    EventType.DATA_CHANGED,
    EventType.CHILDREN_CHANGED,
)
REMOVALS = {
    DATA: WatcherType.DATA,
    EXIST: WatcherType.DATA,
    CHILD: WatcherType.CHILDREN,
    PERSISTENT: WatcherType.ANY,
    RECURSIVE: WatcherType.ANY,
}


def submit(peer: Peer, path: str, kind: WatchKind) -> tuple[Call[Any], Watcher]:
    watcher = Watcher(path, kind)
    return peer.session.submit(watching(path, kind), watcher), watcher


# --- notifications


@pytest.mark.parametrize("zxid, told", [(-1, None), (0, None), (77, 77)])
def test_a_notification(zxid: int, told: int | None) -> None:
    peer = connected()
    watcher = watch(peer, "/a", DATA)
    peer.notify(CHANGED, "/a", zxid)
    assert peer.drain() == [Notification(WatchEvent(CHANGED, "/a", told), [watcher])]
    peer.notify(CHANGED, "/a", zxid)
    assert peer.drain() == []


def test_the_watch_is_set_before_the_next_frame_is_looked_at() -> None:
    peer = connected()
    call, watcher = submit(peer, "/a", DATA)
    peer.take()
    event = b"".join((peer.answered(), notification(CHANGED, "/a")))
    peer.receive(event)
    done, fired = peer.drain()
    assert done is call
    assert isinstance(fired, Notification)
    assert fired.watchers == [watcher]


def test_exists_decides_by_the_reply() -> None:
    peer = connected()
    call, watcher = submit(peer, "/a", EXIST)
    peer.take()
    peer.answer()
    assert call.error is None
    assert watcher.kind is DATA
    missing = watch(peer, "/b", EXIST)
    assert missing.kind is EXIST
    assert missing.armed


@pytest.mark.parametrize("code", [-101, -102])
def test_no_watch_without_success(code: int) -> None:
    peer = connected()
    call, watcher = submit(peer, "/a", DATA)
    peer.take()
    peer.answer(code=code)
    assert peer.calls() == [call]
    assert not watcher.armed
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.take() == []


def test_derived_events_follow_their_origin() -> None:
    peer = connected()
    recursive = watch(peer, "/a", RECURSIVE)
    child = watch(peer, "/a", CHILD)
    peer.notify(CREATED, "/a/b", 9)
    assert peer.drain() == [
        Notification(WatchEvent(CREATED, "/a/b", 9), [recursive]),
        Notification(WatchEvent(CHILDREN, "/a", 9), [child]),
    ]


def test_a_watch_that_could_not_be_derived_is_told_at_once() -> None:
    peer = connected()
    lasting, _ = submit(peer, "/a", RECURSIVE)
    call, watcher = submit(peer, "/a", DATA)
    assert peer.taken() == [AddWatch("/a", AddWatchMode.PERSISTENT_RECURSIVE), GetData("/a", False)]
    peer.answer(code=-6)
    peer.answer()
    assert peer.drain() == [lasting, call, Notification(WatchEvent(EventType.NONE, "/a", None), (watcher,))]
    assert call.error is None
    assert not watcher.armed


def test_a_refused_request_leaves_no_trace() -> None:
    peer = connected(max_request=100)
    watcher = watch(peer, "/" + "a" * 60, DATA)
    for _ in range(2):
        with pytest.raises(RequestTooLargeError):
            peer.session.submit(AddWatch("/" + "a" * 100, AddWatchMode.PERSISTENT), Watcher("/" + "a" * 100, DATA))
    with pytest.raises(ValueError, match="invalid path"):
        peer.session.submit(GetData("nonsense", True), Watcher("nonsense", DATA))
    assert not peer.session._watches._arming
    peer.session.unwatch(watcher)
    assert peer.taken() == [RemoveWatches(watcher.path, WatcherType.DATA)]


# --- unwatch


@pytest.mark.parametrize("kind", WatchKind)
def test_unwatch(kind: WatchKind) -> None:
    peer = connected()
    first, second = watch(peer, "/a", kind), watch(peer, "/a", kind)
    peer.session.unwatch(first)
    assert peer.take() == []
    peer.session.unwatch(second)
    peer.session.unwatch(second)
    assert peer.taken() == [RemoveWatches("/a", REMOVALS[kind])]
    peer.answer()
    assert peer.drain() == []
    assert peer.take() == []
    peer.notify(CHANGED, "/a")
    assert peer.drain() == []


@pytest.mark.parametrize("code", [-121, -5, -6, -101])
def test_a_removal_that_is_refused_changes_nothing(code: int) -> None:
    peer = connected()
    peer.session.unwatch(watch(peer, "/a", PERSISTENT))
    peer.take()
    peer.answer(code=code)
    assert peer.drain() == []
    assert peer.take() == []
    assert peer.up()


@pytest.mark.parametrize("kind", [DATA, EXIST, CHILD])
def test_a_one_shot_that_was_there_first_goes_with_the_lasting_watch(kind: WatchKind) -> None:
    # From 3.9 on the server keeps both.
    peer = connected()
    once, lasting = watch(peer, "/a", kind), watch(peer, "/a", PERSISTENT)
    peer.session.unwatch(once)
    assert peer.take() == []
    peer.session.unwatch(lasting)
    assert peer.taken() == [RemoveWatches("/a", WatcherType.ANY)]


def test_unwatch_while_another_request_sets_the_same() -> None:
    peer = connected()
    watcher = watch(peer, "/a", DATA)
    _, other = submit(peer, "/a", DATA)
    peer.take()
    peer.session.unwatch(watcher)
    assert peer.take() == []
    peer.answer()
    assert other.armed
    peer.session.unwatch(other)
    assert peer.taken() == [RemoveWatches("/a", WatcherType.DATA)]


def test_unwatch_before_the_answer() -> None:
    # Whoever is still waiting for the call abandons that; the watcher is not in the table yet.
    peer = connected()
    call, watcher = submit(peer, "/a", DATA)
    peer.take()
    peer.session.unwatch(watcher)
    assert peer.take() == []
    peer.answer()
    assert peer.calls() == [call]
    assert watcher.armed


def test_unwatch_after_it_has_fired() -> None:
    peer = connected()
    watcher = watch(peer, "/a", DATA)
    peer.notify(CHANGED, "/a")
    peer.session.unwatch(watcher)
    assert peer.take() == []


@pytest.mark.parametrize("kind", WatchKind)
def test_unwatch_while_suspended(kind: WatchKind) -> None:
    peer = connected()
    watcher = watch(peer, "/a", kind)
    peer.lose()
    peer.session.unwatch(watcher)
    peer.open()
    peer.accept()
    assert peer.take() == []
    assert peer.session.state is SessionState.CONNECTED
    assert peer.drained(Rearmed) == []


@pytest.mark.parametrize("kind", WatchKind)
def test_unwatch_while_restoring(kind: WatchKind) -> None:
    peer = connected()
    watcher = watch(peer, "/a", kind)
    watch(peer, "/b", kind)
    peer.lose()
    peer.open()
    peer.accept()
    assert len(peer.take()) == 1
    peer.session.unwatch(watcher)
    assert peer.take() == []
    waiting = peer.session.submit(GetData("/c"))
    peer.answer()
    assert peer.session.state is SessionState.CONNECTED
    assert all(watcher not in rearmed.watchers for rearmed in peer.drained(Rearmed))
    taken = peer.taken()
    if kind in (PERSISTENT, RECURSIVE):
        # It would report for ever.
        assert taken == [RemoveWatches("/a", REMOVALS[kind]), GetData("/c")]
    else:
        # Reports once, to nobody.
        assert taken == [GetData("/c")]
    assert not waiting.done
    peer.notify(CHANGED, "/a")
    assert peer.drain() == []


def test_unwatch_while_restoring_and_setting_it_again() -> None:
    peer = connected()
    watcher = watch(peer, "/a", RECURSIVE)
    peer.lose()
    peer.open()
    peer.accept()
    peer.take()
    peer.session.unwatch(watcher)
    _, again = submit(peer, "/a", RECURSIVE)
    peer.answer()
    assert peer.taken() == [AddWatch("/a", AddWatchMode.PERSISTENT_RECURSIVE)]
    peer.answer()
    assert again.armed


def test_unwatch_after_the_end() -> None:
    peer = connected()
    one, two = watch(peer, "/a", PERSISTENT), watch(peer, "/b", PERSISTENT)
    peer.lose()
    peer.open()
    peer.receive(EXPIRED)
    peer.session.unwatch(one)
    successor = peer.session.successor()
    peer.session.unwatch(two)
    assert not successor._watches.watchers(RECURSIVE)
    assert not one.armed


def test_a_lasting_watch_goes_with_the_last_who_uses_it() -> None:
    # The recursive watcher leaves first; a one-shot watch is made of its events, and the last of them.
    peer = connected()
    recursive = watch(peer, "/a", RECURSIVE)
    data, child = watch(peer, "/a", DATA), watch(peer, "/a", CHILD)
    peer.session.unwatch(recursive)
    assert peer.take() == []
    peer.notify(CREATED, "/a/b")
    assert only(peer.fired()).watchers == [child]
    assert peer.take() == []
    peer.notify(CHANGED, "/a")
    assert only(peer.fired()).watchers == [data]
    assert peer.taken() == [RemoveWatches("/a", WatcherType.ANY)]


def test_the_last_one_may_be_a_child_watch() -> None:
    peer = connected()
    recursive, child = watch(peer, "/a", RECURSIVE), watch(peer, "/a", CHILD)
    peer.session.unwatch(recursive)
    peer.notify(CREATED, "/a/b")
    assert only(peer.fired()).watchers == [child]
    assert peer.taken() == [RemoveWatches("/a", WatcherType.ANY)]


# --- abandoned calls


@pytest.mark.parametrize("kind", WatchKind)
@pytest.mark.parametrize("stage", ["waiting", "queued", "sent", "answered"])
def test_an_abandoned_call_leaves_no_watch(kind: WatchKind, stage: str) -> None:
    peer = connected()
    if stage == "waiting":
        peer.lose()
        peer.drain()
    call, watcher = submit(peer, "/a", kind)
    if stage in ("sent", "answered"):
        peer.take()
    if stage == "answered":
        peer.answer(code=-101 if kind is EXIST else 0)
        assert peer.calls() == [call]
    peer.session.abandon(call)
    if stage == "waiting":
        peer.connect()
        peer.drain()
        assert peer.take() == []
    else:
        if stage != "answered":
            peer.take()
            peer.answer(code=-101 if kind is EXIST else 0)
        assert peer.taken() == [RemoveWatches("/a", REMOVALS[kind])]
        peer.answer()
    assert peer.drain() == []
    assert not watcher.armed
    assert not peer.session._watches._arming


def test_an_abandoned_call_leaves_the_watches_of_others() -> None:
    peer = connected()
    watcher = watch(peer, "/a", DATA)
    call, _ = submit(peer, "/a", DATA)
    peer.take()
    peer.session.abandon(call)
    peer.answer()
    assert peer.take() == []
    assert watcher.armed


def test_an_abandoned_call_that_failed_has_set_nothing() -> None:
    peer = connected()
    call, _ = submit(peer, "/a", DATA)
    peer.take()
    peer.session.abandon(call)
    peer.answer(code=-102)
    assert peer.take() == []
    assert peer.drain() == []


def test_an_abandoned_call_whose_reply_is_lost() -> None:
    peer = connected()
    call, watcher = submit(peer, "/a", RECURSIVE)
    peer.take()
    peer.session.abandon(call)
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.take() == []
    assert peer.calls() == []
    assert not watcher.armed


# --- a new connection


def test_a_watch_that_fires_while_it_is_restored() -> None:
    peer = connected()
    watcher = watch(peer, "/a", DATA)
    peer.lose()
    peer.open()
    peer.accept()
    peer.take()
    peer.notify(CHANGED, "/a")
    peer.drain()
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.take() == []
    assert not watcher.armed


def test_lasting_watches_hear_of_a_gap_before_they_hear_of_anything_else() -> None:
    peer = connected()
    once, persistent, recursive = (
        watch(peer, "/a/b", DATA),
        watch(peer, "/a/b", PERSISTENT),
        watch(peer, "/a", RECURSIVE),
    )
    peer.lose()
    peer.open()
    peer.accept()
    peer.take()
    peer.drain()
    peer.notify(CHANGED, "/a/b")  # found by comparing; what else has changed, nobody tells
    peer.answer()
    events = peer.drain()
    assert [list(event.watchers) for event in events if isinstance(event, Notification)] == [[once]]
    assert [event for event in events if isinstance(event, Rearmed)] == [Rearmed([persistent, recursive], False)]
    peer.notify(CHANGED, "/a/b")
    assert list(only(peer.fired()).watchers) == [persistent, recursive]


def test_the_form_of_a_request_is_that_of_its_time() -> None:
    # Submitted while a lasting watch was there to derive it from; by the time it is answered there is none.
    peer = connected()
    lasting = watch(peer, "/a", PERSISTENT)
    peer.lose()
    call, watcher = submit(peer, "/a", DATA)
    peer.session.unwatch(lasting)
    peer.connect()
    assert peer.taken() == [GetData("/a", False)]
    peer.drain()
    peer.answer()
    assert peer.drain() == [call, Notification(WatchEvent(EventType.NONE, "/a", None), (watcher,))]


def test_a_watch_set_while_suspended() -> None:
    peer = connected()
    peer.lose()
    _, watcher = submit(peer, "/a", PERSISTENT)
    peer.open()
    peer.accept()
    assert peer.taken() == [AddWatch("/a", AddWatchMode.PERSISTENT)]
    peer.answer()
    assert watcher.armed
    assert peer.drained(Rearmed) == []  # it was set after the gap


def test_rearmed_after_every_gap() -> None:
    peer = connected()
    persistent, recursive = watch(peer, "/a", PERSISTENT), watch(peer, "/a", RECURSIVE)
    for _ in range(2):
        peer.lose()
        peer.connect()
        assert peer.drained(Rearmed) == [Rearmed([persistent, recursive], False)]
    assert persistent.armed


def test_watches_set_beside_those_that_are_restored() -> None:
    peer = connected()
    watch(peer, "/a", DATA)
    peer.lose()
    peer.open()
    peer.accept()
    submit(peer, "/a", DATA)
    assert [type(request) for request in peer.taken()] == [SetWatches]
    peer.answer()
    assert peer.taken() == [GetData("/a", True)]
    peer.answer()
    peer.notify(CHANGED, "/a")
    assert len(only(peer.fired()).watchers) == 2


# --- the end


def all_kinds(peer: Peer) -> dict[WatchKind, Watcher]:
    return {kind: watch(peer, f"/{kind.value}", kind) for kind in WatchKind}


def test_watches_are_lost_when_the_session_is_closed() -> None:
    peer = connected()
    watchers = all_kinds(peer)
    peer.session.close(peer.now, 1)
    peer.serve()
    lost, change = peer.drain()
    assert isinstance(lost, WatchersLost)
    assert lost.watchers == list(watchers.values())
    assert isinstance(lost.error, ClosedError)
    assert isinstance(change, StateChanged)
    assert not any(watcher.armed for watcher in watchers.values())


def test_watches_are_lost_when_the_credentials_are_refused() -> None:
    peer = connected()
    watchers = all_kinds(peer)
    peer.session.add_auth("digest", b"bob:secret")
    peer.take()
    peer.answer(code=-115)
    lost = only(peer.drained(WatchersLost))
    assert lost.watchers == list(watchers.values())
    assert isinstance(lost.error, AuthFailedError)


def test_lasting_watches_outlive_an_expired_session() -> None:
    peer = connected()
    watchers = all_kinds(peer)
    peer.lose()
    peer.open()
    peer.receive(EXPIRED)
    lost = only(peer.drained(WatchersLost))
    assert lost.watchers == [watchers[kind] for kind in WatchKind if kind.one_shot]
    assert isinstance(lost.error, SessionExpiredError)
    assert watchers[PERSISTENT].armed
    assert watchers[RECURSIVE].armed


@pytest.mark.parametrize("kind", WatchKind)
def test_a_watch_answered_behind_the_end_of_the_session_is_lost_at_once(kind: WatchKind) -> None:
    peer = connected()
    call, watcher = submit(peer, "/a", kind)
    auth = peer.session.add_auth("digest", b"bob:secret")
    peer.take()
    answer = peer.answered(code=-101 if kind is EXIST else 0)
    peer.receive(peer.answered(code=-115), answer)
    events = peer.drain()
    assert {event for event in events if isinstance(event, Call)} == {call, auth}
    assert [event.watchers for event in events if isinstance(event, WatchersLost)] == [[watcher]]
    assert not watcher.armed


def test_the_requests_that_restore_are_what_they_should_be() -> None:
    peer = connected()
    all_kinds(peer)
    zxid = peer.session.last_zxid
    peer.lose()
    peer.open()
    peer.accept()
    expected: list[Request[Any]] = [
        SetWatches2(zxid, ["/data"], ["/exist"], ["/child"], ["/persistent"], ["/recursive"])
    ]
    assert peer.taken() == expected


def test_a_watched_exists_behind_another() -> None:
    peer = connected()
    _, first = submit(peer, "/a", EXIST)
    _, second = submit(peer, "/a", EXIST)
    assert peer.taken() == [Exists("/a", True), Exists("/a", True)]
    peer.answer(code=-101)
    peer.answer()
    assert (first.kind, second.kind) == (EXIST, DATA)
    peer.notify(DELETED, "/a")
    assert set(only(peer.fired()).watchers) == {first, second}
