from __future__ import annotations

from typing import Any

import pytest

from tests.session.harness import (
    EXPIRED,
    TICKET,
    Peer,
    connected,
    notification,
    only,
    pong,
    reply,
    watch,
)
from zk_sansio.errors import AuthFailedError, ConnectionLossError, SessionExpiredError
from zk_sansio.session import Call, Notification, Rearmed, SessionState, StateChanged, Watcher, WatchKind
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Auth,
    Create,
    EventType,
    Exists,
    GetChildren,
    GetData,
    Request,
    SetData,
    SetWatches,
    SetWatches2,
)

CONNECTING, CONNECTED, SUSPENDED = SessionState.CONNECTING, SessionState.CONNECTED, SessionState.SUSPENDED
BOB, EVE = ("digest", b"bob:secret"), ("digest", b"eve:secret")


# --- calls


def test_what_was_handed_over_may_be_applied() -> None:
    peer = connected()
    session = peer.session
    server = str(session.server)
    answered, sent, sent_too = (session.submit(SetData(f"/{n}", b"")) for n in range(3))
    peer.take()
    queued, queued_too = (session.submit(Create(f"/{n}")) for n in range(3, 5))
    peer.answer()
    peer.lose()
    waiting = session.submit(GetData("/5"))
    *calls, change = peer.drain()
    assert calls == [answered, sent, sent_too, queued, queued_too]
    assert isinstance(change, StateChanged)
    assert answered.error is None
    for number, (call, maybe_applied) in enumerate(
        [(sent, True), (sent_too, True), (queued, False), (queued_too, False)], 1
    ):
        assert isinstance(call, Call)
        error = call.error
        assert isinstance(error, ConnectionLossError)
        assert (error.path, error.maybe_applied, error.server) == (f"/{number}", maybe_applied, server)
        assert call.sent == maybe_applied
    assert not waiting.done


def test_bytes_that_come_too_late_are_ignored() -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.lose()
    peer.answer()
    peer.lose()
    peer.session.connection_lost(OSError("late"), peer.now)
    peer.session.receive_buffer_filled(1, peer.now)
    assert only(peer.calls()) is call
    assert isinstance(call.error, ConnectionLossError)


def test_waiting_calls_go_out_in_order_once_connected() -> None:
    peer = Peer()
    first: list[Request[Any]] = [GetData("/1"), SetData("/2", b""), GetData("/3")]
    calls = [peer.session.submit(request) for request in first]
    peer.open()
    peer.accept()
    later = peer.session.submit(GetData("/4"))
    assert peer.taken() == [*first, GetData("/4")]
    peer.answer_all()
    assert peer.calls() == [*calls, later]


def test_waiting_calls_survive_attempts_that_fail() -> None:
    peer = connected(credentials=[BOB])
    peer.lose()
    call = peer.session.submit(GetData("/a"))
    peer.open()
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.taken() == [Auth(0, *BOB)]
    peer.lose()
    assert call not in peer.calls()
    peer.connect()
    assert peer.taken() == [GetData("/a")]
    peer.answer()
    assert call.done
    assert call.error is None


def test_waiting_calls_fail_with_the_session() -> None:
    peer = connected()
    peer.lose()
    call = peer.session.submit(SetData("/a", b""))
    peer.open()
    peer.receive(EXPIRED)
    assert isinstance(call.error, SessionExpiredError)
    assert not call.error.maybe_applied
    after = peer.session.submit(SetData("/b", b""))
    assert isinstance(after.error, SessionExpiredError)
    assert after.error.path == "/b"
    assert after not in peer.calls()  # its caller has it already
    watched = peer.session.submit(GetData("/b", True), Watcher("/b", WatchKind.DATA))
    assert isinstance(watched.error, SessionExpiredError)
    assert not peer.session._watches._arming


def test_who_is_blamed_for_an_end_of_stream() -> None:
    peer = connected()
    first, second = peer.session.submit(GetData("/a")), peer.session.submit(GetData("/b"))
    peer.lose()
    assert (first.blamed, second.blamed) == (0, 0)  # never sent
    peer.connect()
    first, second = peer.session.submit(GetData("/a")), peer.session.submit(GetData("/b"))
    peer.take()
    peer.lose()
    assert (first.blamed, second.blamed) == (1, 0)
    peer.connect()
    first = peer.session.submit(GetData("/a"))
    peer.take()
    peer.session.connection_lost(ConnectionResetError("reset"), peer.now)
    assert first.blamed == 1
    peer.connect()
    first = peer.session.submit(GetData("/a"))
    peer.take()
    peer.advance(20)
    assert first.error is not None
    assert first.blamed == 0  # silence is nobody's fault


# --- credentials, watches, calls: in this order


def test_order_of_restoration() -> None:
    peer = connected(credentials=[BOB, EVE])
    watch(peer, "/data", WatchKind.DATA)
    watch(peer, "/exist", WatchKind.EXIST)
    watch(peer, "/child", WatchKind.CHILD)
    lasting = watch(peer, "/persistent", WatchKind.PERSISTENT)
    deep = watch(peer, "/recursive", WatchKind.RECURSIVE)
    zxid = peer.session.last_zxid
    peer.lose()
    peer.drain()
    call = peer.session.submit(GetData("/a"))
    peer.open()
    peer.accept()
    assert peer.taken() == [
        Auth(0, *BOB),
        Auth(0, *EVE),
        SetWatches2(zxid, ["/data"], ["/exist"], ["/child"], ["/persistent"], ["/recursive"]),
    ]
    peer.answer()
    peer.answer()
    # What fired while the connection was away comes before the reply, and before anything is announced.
    peer.notify(EventType.DATA_CHANGED, "/data")
    assert peer.session.state is SUSPENDED
    peer.answer()
    fired, rearmed, change = peer.drain()
    assert isinstance(fired, Notification)
    assert rearmed == Rearmed([lasting, deep], False)
    assert isinstance(change, StateChanged)
    assert change.new is CONNECTED
    assert peer.taken() == [GetData("/a")]
    peer.answer()
    assert peer.calls() == [call]


def test_one_shots_alone_need_no_set_watches_2() -> None:
    peer = connected()
    watch(peer, "/data", WatchKind.DATA)
    zxid = peer.session.last_zxid
    peer.lose()
    peer.open()
    peer.accept()
    assert peer.taken() == [SetWatches(zxid, ["/data"], [], [])]
    peer.answer()
    assert peer.states() == [SUSPENDED, CONNECTED]


def test_one_shots_are_not_told_of_the_gap() -> None:
    peer = connected()
    watch(peer, "/data", WatchKind.DATA)
    peer.lose()
    peer.connect()
    assert peer.drained(Rearmed) == []


def test_answers_in_any_order_complete_the_restoration() -> None:
    peer = connected(credentials=[BOB])
    watch(peer, "/data", WatchKind.DATA)
    peer.lose()
    peer.drain()
    peer.open()
    peer.accept()
    peer.take()
    auth, watches = peer.answered(), peer.answered()
    peer.receive(watches)
    assert peer.states() == []
    peer.receive(auth)
    assert peer.states() == [CONNECTED]


def test_watches_come_back_in_batches() -> None:
    peer = Peer()
    paths = [f"/app/some/folder/{number:06}" for number in range(10_000)]
    peer.connect()
    watchers = []
    for path in paths:
        watcher = Watcher(path, WatchKind.DATA)
        peer.session.submit(GetData(path, True), watcher)
        watchers.append(watcher)
    peer.take()
    peer.receive(*(peer.answered() for _ in paths))
    peer.lose()
    peer.drain()
    peer.open()
    peer.accept()
    batches = peer.taken()
    assert len(batches) > 3
    restored: list[str] = []
    for batch in batches:
        assert isinstance(batch, SetWatches)
        assert not isinstance(batch, SetWatches2)
        assert batch.relative_zxid == peer.session.last_zxid
        assert len(batch.encode(1)) < 128 * 1024
        restored += batch.data
    assert restored == paths
    for _ in batches[1:]:
        peer.answer()
    assert peer.states() == []
    peer.answer()
    assert peer.states() == [CONNECTED]


@pytest.mark.parametrize("code", [-5, -6, -102, -999])
def test_watches_that_cannot_be_set_end_the_connection(code: int) -> None:
    peer = connected()
    watch(peer, "/data", WatchKind.DATA)
    peer.lose()
    peer.drain()
    peer.open()
    peer.accept()
    peer.take()
    peer.answer(code=code)
    assert not peer.up()
    assert peer.states() == []
    assert "cannot be restored" in only(list(peer.session.failures.values()))
    peer.connect()
    assert peer.states() == [CONNECTED]


def test_a_small_frame_limit_does_not_keep_the_session_from_restoring() -> None:
    # The limit is for what users send; watches are split by what every server takes.
    peer = connected(max_request=100)
    watchers = [watch(peer, f"/some/long/path/{number}", WatchKind.DATA) for number in range(10)]
    peer.lose()
    peer.drain()
    peer.connect()
    assert peer.states() == [CONNECTED]
    assert all(watcher.armed for watcher in watchers)


def test_a_path_that_just_fits_is_restored_although_that_takes_more_room() -> None:
    peer = connected(max_request=60)
    path = "/" + "a" * (60 - 8 - 4 - 1 - 1)
    watcher = watch(peer, path, WatchKind.DATA)
    peer.lose()
    peer.connect()
    assert watcher.armed
    peer.session.unwatch(watcher)
    assert len(peer.take()) == 1


def test_expired_while_restoring() -> None:
    peer = connected()
    watch(peer, "/data", WatchKind.DATA)
    peer.lose()
    peer.drain()
    peer.open()
    peer.accept()
    peer.take()
    peer.answer(code=-112)
    assert not peer.up()
    assert peer.states() == [SessionState.EXPIRED]


def test_credentials_refused_while_restoring() -> None:
    peer = connected()
    peer.session.add_auth(*BOB)
    peer.serve()
    peer.lose()
    call = peer.session.submit(GetData("/a"))
    peer.open()
    peer.accept()
    peer.take()
    peer.answer(code=-115)
    assert peer.states()[-1] is SessionState.AUTH_FAILED
    assert isinstance(peer.session.error, AuthFailedError)
    assert "scheme 'digest'" in str(peer.session.error)
    assert isinstance(call.error, AuthFailedError)


def test_lost_while_restoring() -> None:
    peer = connected(credentials=[BOB])
    watch(peer, "/data", WatchKind.DATA)
    for answers in range(3):
        peer.lose()
        peer.open()
        peer.accept()
        peer.take()
        for _ in range(min(answers, 1)):
            peer.answer()
    peer.lose()
    peer.drain()
    peer.connect()
    assert peer.states() == [CONNECTED]


# --- the last zxid


def test_the_last_zxid_is_that_of_ordinary_replies_alone() -> None:
    peer = connected()
    session = peer.session
    session.submit(GetData("/a"))
    session.submit(GetData("/b"))
    session.submit(GetData("/c"))
    session.add_auth(*BOB)
    peer.take()
    peer.advance(4)
    peer.take()
    peer.receive(reply(-4, 900))
    peer.requests = [request for request in peer.requests if request[0] > 0]
    assert session.last_zxid == 0
    peer.answer(zxid=7)
    assert session.last_zxid == 7
    peer.receive(notification(EventType.DATA_CHANGED, "/a", 901), pong())
    assert session.last_zxid == 7
    peer.answer(zxid=6)
    assert session.last_zxid == 7
    peer.answer(zxid=-1, code=-101)
    assert session.last_zxid == 7
    ticket = session.ticket
    assert ticket is not None
    assert ticket.last_zxid == 7
    peer.lose()
    assert peer.open().last_zxid == 7


def test_an_error_reply_counts_too() -> None:
    peer = connected()
    peer.session.submit(SetData("/a", b"", 3))
    peer.take()
    peer.answer(code=-103, zxid=0x5_0000_0001)
    assert peer.session.last_zxid == 0x5_0000_0001


def test_a_connection_lost_between_two_batches_loses_no_event() -> None:
    # The reply to the first batch tells a zxid; the events of the second one are older, and have not come.
    peer = connected()
    watchers = [watch(peer, f"/{number:0>60000}", WatchKind.DATA) for number in range(3)]
    seen = peer.session.last_zxid
    peer.lose()
    peer.open()
    peer.accept()
    assert len(peer.take()) == 3
    peer.answer(zxid=seen + 50)
    peer.lose()
    peer.drain()
    assert peer.open().last_zxid == seen
    peer.accept()
    for _, request in peer.take():
        assert isinstance(request, SetWatches)
        assert request.relative_zxid == seen
    assert all(watcher.armed for watcher in watchers)


def test_a_batch_that_fails_loses_no_event() -> None:
    peer = connected()
    for number in range(2):
        watch(peer, f"/{number:0>60000}", WatchKind.DATA)
    seen = peer.session.last_zxid
    peer.lose()
    peer.open()
    peer.accept()
    peer.take()
    refused = peer.answered(code=-5, zxid=seen + 50)
    event = notification(EventType.DATA_CHANGED, f"/{1:0>60000}")
    peer.receive(refused, event, peer.answered(zxid=seen + 50))
    assert not peer.up()
    fired = peer.fired()
    assert peer.open().last_zxid == seen or fired
    peer.accept()
    again = [path for _, request in peer.take() if isinstance(request, SetWatches) for path in request.data]
    assert len(again) + len(fired) == 2


def test_what_is_seen_after_the_restoration_counts() -> None:
    peer = connected()
    watch(peer, "/a", WatchKind.DATA)
    peer.lose()
    peer.connect()
    peer.session.submit(GetData("/b"))
    peer.take()
    peer.answer(zxid=5000)
    assert peer.session.last_zxid == 5000


def test_a_ticket_s_zxid_goes_with_it() -> None:
    peer = Peer(ticket=TICKET)
    peer.connect()
    assert peer.session.last_zxid == TICKET.last_zxid
    assert peer.session.ticket == TICKET


# --- watches that are being set while the connection goes


def test_a_watch_whose_reply_was_lost_is_not_restored() -> None:
    peer = connected()
    watchers = []
    requests: list[tuple[Request[Any], WatchKind]] = [
        (GetData("/a", True), WatchKind.DATA),
        (Exists("/b", True), WatchKind.EXIST),
        (GetChildren("/c", True), WatchKind.CHILD),
        (AddWatch("/d", AddWatchMode.PERSISTENT), WatchKind.PERSISTENT),
    ]
    for request, kind in requests:
        assert request.target is not None
        watchers.append(Watcher(request.target, kind))
        peer.session.submit(request, watchers[-1])
    peer.take()
    peer.lose()
    peer.drain()
    assert not any(watcher.armed for watcher in watchers)
    peer.open()
    peer.accept()
    assert peer.take() == []
    assert peer.states() == [CONNECTED]
