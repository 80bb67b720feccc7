"""The end of a session at its user's wish, at every stage of its life; and what may follow an expired one."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from tests.session.harness import EXPIRED, PASSWORD, SESSION_ID, Peer, connected, notification, only, watch
from zk_sansio.errors import ClosedError, ConnectionLossError, LocalProtocolError, SessionExpiredError
from zk_sansio.session import (
    Call,
    Dial,
    Rearmed,
    Session,
    SessionState,
    SessionTicket,
    StateChanged,
    WatchersLost,
    WatchKind,
    parse_hosts,
)
from zk_sansio.wire import AddWatch, AddWatchMode, Auth, CloseSession, EventType, GetData, SetData, SetWatches2

CLOSED, CONNECTED = SessionState.CLOSED, SessionState.CONNECTED
BOB = ("digest", b"bob:secret")


def is_over(peer: Peer) -> None:
    """The session is closed, and every input is harmless."""
    session = peer.session
    assert session.state is CLOSED
    assert isinstance(session.error, ClosedError)
    assert not session.connected
    assert session.server is None
    assert session.next_timeout() == inf
    assert session.next_attempt(peer.now) is None
    assert session.data_to_send(peer.now) == b""
    assert session.receive_buffer() is None
    peer.drain()
    peer.receive(b"late")
    peer.lose()
    peer.jump(1000)
    session.handle_timeout(peer.now)
    session.close(peer.now, 1)
    assert peer.drain() == []


# --- in order


def test_in_order() -> None:
    peer = connected()
    call, queued = peer.session.submit(SetData("/a", b"")), None
    peer.take()
    queued = peer.session.submit(SetData("/b", b""))
    peer.session.close(peer.now, 2)
    late = peer.session.submit(GetData("/c"))
    assert isinstance(late.error, ClosedError)
    assert not late.error.maybe_applied
    assert late.error.path == "/c"
    assert peer.taken() == [SetData("/b", b""), CloseSession()]
    assert peer.session.state is CONNECTED
    assert peer.session.next_timeout() == peer.now + 2
    assert peer.session.next_attempt(peer.now) is None
    peer.answer()
    peer.answer()
    assert peer.calls() == [call, queued]
    assert call.error is None
    assert queued.error is None
    peer.answer()
    change = only(peer.drained(StateChanged))
    assert (change.old, change.new) == (CONNECTED, CLOSED)
    assert change.error is peer.session.error
    is_over(peer)


@pytest.mark.parametrize("end", ["end of stream", "error", "nonsense", "grace", "too late", "unasked", "too large"])
def test_whatever_ends_it(end: str) -> None:
    peer = connected(max_reply=1000)
    call = peer.session.submit(SetData("/a", b""))
    peer.session.close(peer.now, 2)
    peer.take()
    match end:
        case "end of stream":
            peer.lose()
        case "error":
            peer.session.connection_lost(OSError("reset"), peer.now)
        case "nonsense":
            peer.receive(b"\xff\xff\xff\xff")
        case "grace":
            peer.advance(1.999)
            assert peer.up()
            peer.advance(0.001)
        case "too late":
            peer.jump(100)
            peer.tick()
        case "unasked":
            peer.requests.pop(0)
            peer.answer()
        case _:
            peer.receive(b"\0\1\0\0")
    assert peer.session.state is CLOSED
    assert only(peer.calls()) is call
    assert call.error is not None
    assert call.error.maybe_applied
    assert isinstance(call.error, ClosedError) == (end != "too large")
    is_over(peer)


def test_nothing_that_arrives_prolongs_the_grace() -> None:
    peer = connected()
    due = peer.now + 2
    peer.session.close(peer.now, 2)
    peer.take()
    for _ in range(7):
        peer.advance(0.25)
        peer.notify(EventType.CREATED, "/a")
        peer.receive(b"\0")
        peer.receive(notification(EventType.CREATED, "/a")[1:])
        assert peer.session.next_timeout() == due
    peer.advance(0.25)
    is_over(peer)


def test_a_handed_over_close_is_the_last_request() -> None:
    peer = connected()
    peer.session.close(peer.now, 2)
    unsent = peer.session.data_to_send(peer.now)
    assert unsent.hex() == "00000008" + "00000001" + "fffffff5"


def test_calls_that_were_never_sent() -> None:
    peer = connected()
    call = peer.session.submit(SetData("/a", b""))
    peer.session.close(peer.now, 2)
    peer.lose()
    assert isinstance(call.error, ClosedError)
    assert not call.error.maybe_applied


@pytest.mark.parametrize("code", [-112, -115, -124, -5, -999])
def test_an_error_closes_it_as_well(code: int) -> None:
    peer = connected()
    peer.session.close(peer.now, 2)
    peer.take()
    peer.answer(code=code)
    is_over(peer)


def test_twice() -> None:
    peer = connected()
    peer.session.close(peer.now, 2)
    peer.session.close(peer.now, 50)
    peer.session.close(peer.now, 50, keep_session=True)
    assert peer.taken() == [CloseSession()]
    assert peer.session.next_timeout() == peer.now + 2
    peer.serve()
    is_over(peer)


def test_no_new_credentials() -> None:
    peer = connected()
    peer.session.close(peer.now, 2)
    call = peer.session.add_auth(*BOB)
    assert isinstance(call.error, ClosedError)
    assert peer.session.credentials == ()
    assert peer.taken() == [CloseSession()]
    peer.serve()
    assert isinstance(peer.session.add_auth(*BOB).error, ClosedError)


def test_watches_go_with_it() -> None:
    peer = connected()
    watcher = watch(peer, "/a", WatchKind.PERSISTENT)
    peer.session.close(peer.now, 2)
    peer.take()
    peer.session.unwatch(watcher)
    assert peer.take() == []
    peer.answer_all()
    is_over(peer)


def test_the_session_expires_while_it_is_closed() -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.session.close(peer.now, 2)
    peer.take()
    peer.answer(code=-112)
    assert isinstance(call.error, SessionExpiredError)
    assert peer.session.state.over
    assert not peer.up()


# --- without a connection, or before it serves


def test_while_connecting() -> None:
    peer = Peer()
    waiting = peer.session.submit(SetData("/a", b""))
    auth = peer.session.add_auth(*BOB)
    dial = peer.dial()
    peer.session.close(peer.now, 2)
    assert peer.calls() == [waiting, auth]
    assert isinstance(waiting.error, ClosedError)
    assert isinstance(auth.error, ClosedError)
    assert not waiting.error.maybe_applied
    peer.session.attempt_failed(dial, "late", peer.now)
    is_over(peer)


def test_during_the_handshake() -> None:
    peer = Peer()
    waiting = peer.session.submit(SetData("/a", b""))
    peer.open()
    peer.session.close(peer.now, 2)
    assert isinstance(waiting.error, ClosedError)
    is_over(peer)


def test_while_suspended() -> None:
    peer = connected()
    peer.lose()
    waiting = peer.session.submit(SetData("/a", b""))
    peer.session.close(peer.now, 2)
    assert isinstance(waiting.error, ClosedError)
    assert peer.states() == [SessionState.SUSPENDED, CLOSED]
    is_over(peer)


class Slow:
    """A mechanism that needs two answers."""

    name = "SLOW"
    done = False

    def start(self) -> bytes:
        return b"1"

    def step(self, token: bytes | None, /) -> bytes | None:
        if token == b"more":
            return b"2"
        self.done = True
        return None


@pytest.mark.parametrize("code", [0, -115, -5])
def test_while_authenticating(code: int) -> None:
    peer = Peer(sasl=lambda host: Slow())
    waiting = peer.session.submit(SetData("/a", b""))
    peer.open()
    peer.accept()
    peer.take()
    peer.session.close(peer.now, 2)
    assert isinstance(waiting.error, ClosedError)
    assert peer.taken() == [CloseSession()]
    peer.answer(b"more", code=code)
    assert peer.take() == []
    assert peer.session.state is SessionState.CONNECTING
    peer.answer()
    is_over(peer)


@pytest.mark.parametrize("code", [0, -5, -115, -112])
def test_while_restoring(code: int) -> None:
    peer = connected(credentials=[BOB])
    watch(peer, "/a", WatchKind.DATA)
    peer.lose()
    waiting = peer.session.submit(SetData("/a", b""))
    peer.open()
    peer.accept()
    peer.take()
    peer.session.close(peer.now, 2)
    assert isinstance(waiting.error, ClosedError)
    assert peer.taken() == [CloseSession()]
    peer.answer()  # the credentials
    peer.answer(code=code)  # the watches
    if code == 0:
        assert peer.session.state is SessionState.SUSPENDED
        peer.answer()
    assert peer.states() == [SessionState.SUSPENDED, CLOSED]
    is_over(peer)


def test_an_auth_call_without_an_answer() -> None:
    peer = connected()
    call = peer.session.add_auth(*BOB)
    peer.session.close(peer.now, 2)
    peer.take()
    peer.lose()
    assert peer.calls() == [call]
    assert isinstance(call.error, ClosedError)


def test_no_grace_beyond_the_session_s_own_deadline() -> None:
    peer = connected(credentials=[BOB])
    peer.lose()
    peer.advance(11)
    peer.open()
    peer.accept(timeout_ms=4000)
    peer.take()
    peer.session.close(peer.now, 10)
    peer.take()
    peer.advance(3.5)
    assert peer.up()
    peer.advance(0.5)  # by now the server may have dropped it; there is nothing left to close
    assert peer.states() == [SessionState.SUSPENDED, CLOSED]
    is_over(peer)


# --- the session is kept


@pytest.mark.parametrize("stage", ["connecting", "handshake", "restoring", "connected", "suspended"])
def test_kept(stage: str) -> None:
    peer = Peer(credentials=[BOB])
    if stage == "handshake":
        peer.open()
    elif stage != "connecting":
        peer.connect()
        if stage != "connected":
            peer.lose()
        if stage == "restoring":
            peer.open()
            peer.accept()
            peer.take()
    peer.session.close(peer.now, 2, keep_session=True)
    if stage in ("connecting", "handshake"):
        assert peer.session.ticket is None
    else:
        assert peer.session.ticket == SessionTicket(session_id=SESSION_ID, password=PASSWORD)
    is_over(peer)


def test_what_becomes_of_calls_when_it_is_kept() -> None:
    peer = connected()
    sent = peer.session.submit(SetData("/a", b""))
    peer.take()
    queued = peer.session.submit(SetData("/b", b""))
    peer.session.close(peer.now, 2, keep_session=True)
    assert [call.error and call.error.maybe_applied for call in (sent, queued)] == [True, False]
    assert peer.calls() == [sent, queued]
    assert peer.session.data_to_send(peer.now) == b""


def test_kept_and_resumed() -> None:
    peer = connected()
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(zxid=321)
    peer.session.close(peer.now, 2, keep_session=True)
    ticket = peer.session.ticket
    assert ticket is not None
    again = Peer(ticket=ticket)
    request = again.open()
    assert (request.session_id, request.password, request.last_zxid) == (SESSION_ID, PASSWORD, 321)
    again.accept()
    assert again.states() == [CONNECTED]


# --- a successor


def expire(peer: Peer) -> None:
    peer.lose()
    peer.open()
    peer.receive(EXPIRED)
    assert peer.session.state is SessionState.EXPIRED


def successor_of(peer: Peer) -> Peer:
    return Peer(session=peer.session.successor(), now=peer.now)


@pytest.mark.parametrize("how", ["connecting", "connected", "suspended", "closed"])
def test_only_an_expired_session_has_a_successor(how: str) -> None:
    peer = Peer()
    if how != "connecting":
        peer.connect()
    if how == "suspended":
        peer.lose()
    if how == "closed":
        peer.session.close(peer.now, 1, keep_session=True)
    with pytest.raises(LocalProtocolError, match=f"this one is {how}"):
        peer.session.successor()


def test_a_successor() -> None:
    peer = connected(credentials=[BOB], expire_locally=True)
    peer.session.add_auth("digest", b"eve:secret")
    peer.session.submit(GetData("/a"))
    peer.serve()
    lasting = watch(peer, "/p", WatchKind.PERSISTENT)
    deep = watch(peer, "/r", WatchKind.RECURSIVE)
    once = watch(peer, "/d", WatchKind.DATA)
    expire(peer)
    assert only(peer.drained(WatchersLost)).watchers == [once]
    new = successor_of(peer)
    assert isinstance(new.session, Session)
    assert new.session.options == peer.session.options
    assert new.session.credentials == (BOB, ("digest", b"eve:secret"))
    assert new.session.state is SessionState.CONNECTING
    assert (new.session.ticket, new.session.last_zxid, new.session.deadline) == (None, 0, None)
    request = new.open()
    assert (request.session_id, request.last_zxid) == (0, 0)
    new.accept(session_id=88)
    assert new.taken() == [
        Auth(0, *BOB),
        Auth(0, "digest", b"eve:secret"),
        SetWatches2(0, [], [], [], ["/p"], ["/r"]),
    ]
    new.answer_all()
    rearmed, change = new.drain()
    assert rearmed == Rearmed([lasting, deep], True)
    assert isinstance(change, StateChanged)
    assert change.new is CONNECTED
    new.lose()
    new.connect()
    assert only(new.drained(Rearmed)).new_session is False


def test_a_successor_connects_at_once_to_the_latest_servers() -> None:
    peer = connected()
    peer.session.update_servers(parse_hosts("10.0.1.1")[0], peer.now)
    peer.open()
    peer.receive(EXPIRED)
    new = successor_of(peer)
    attempt = new.session.next_attempt(new.now)
    assert isinstance(attempt, Dial)
    assert attempt.server.address == "10.0.1.1"


def test_nothing_is_rearmed_where_nothing_was_set() -> None:
    peer = connected()
    watch(peer, "/d", WatchKind.DATA)
    expire(peer)
    new = successor_of(peer)
    new.connect()
    assert new.drained(Rearmed) == []
    watch(new, "/p", WatchKind.PERSISTENT)
    new.lose()
    new.connect()
    assert only(new.drained(Rearmed)).new_session is False


def test_a_watcher_that_leaves_between_the_sessions() -> None:
    peer = connected()
    first, second = watch(peer, "/p", WatchKind.PERSISTENT), watch(peer, "/q", WatchKind.PERSISTENT)
    expire(peer)
    peer.session.unwatch(first)
    new = successor_of(peer)
    new.session.unwatch(second)
    new.connect()
    assert new.drained(Rearmed) == []
    new.session.submit(AddWatch("/p", AddWatchMode.PERSISTENT))
    assert len(new.take()) == 1


def test_watchers_that_nobody_takes_over() -> None:
    peer = connected()
    lasting = watch(peer, "/p", WatchKind.PERSISTENT)
    expire(peer)
    assert peer.session.release_watchers() == [lasting]
    assert not lasting.armed
    assert peer.session.release_watchers() == []


def test_attempts_of_the_old_session_do_not_count() -> None:
    peer = connected(expire_locally=True)
    peer.lose()
    dial = peer.dial()
    peer.advance(20)
    assert peer.session.state is SessionState.EXPIRED
    new = successor_of(peer)
    assert not peer.session.connection_made(dial, peer.now)
    assert not new.session.connection_made(dial, new.now)
    peer.session.attempt_failed(dial, "late", peer.now)
    assert new.session.failures == {}
    new.connect()
    assert new.session.state is CONNECTED


def test_calls_of_an_expired_session() -> None:
    peer = connected()
    sent: Call[Any] = peer.session.submit(SetData("/a", b""))
    peer.take()
    expire(peer)
    assert isinstance(sent.error, ConnectionLossError)
    after = peer.session.submit(SetData("/b", b""))
    assert isinstance(after.error, SessionExpiredError)
    auth = peer.session.add_auth(*BOB)
    assert isinstance(auth.error, SessionExpiredError)
    assert auth.error.path is None
