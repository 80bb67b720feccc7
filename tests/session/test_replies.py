"""Replies: which call they belong to, what is in them, and what becomes of a stream that makes no sense."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.session.harness import (
    STAT,
    Peer,
    connected,
    framed,
    notification,
    only,
    pong,
    reply,
    watch,
)
from zk_sansio.errors import (
    AuthFailedError,
    ConnectionLossError,
    ErrorCode,
    MarshallingError,
    NoNodeError,
    RemoteProtocolError,
    ReplyTooLargeError,
    ServerError,
    SessionExpiredError,
    SessionMovedError,
)
from zk_sansio.session import Call, Notification, Session, SessionState, StateChanged, Watcher, WatchKind
from zk_sansio.wire import (
    Create,
    CreateMode,
    EventType,
    Exists,
    Failed,
    GetChildren,
    GetData,
    Multi,
    Request,
    SetData,
    Sync,
    Znode,
    decode_request,
)

CONNECTED, SUSPENDED = SessionState.CONNECTED, SessionState.SUSPENDED


def test_in_order() -> None:
    peer = connected()
    calls = [peer.session.submit(GetData(f"/{number}")) for number in range(5)]
    assert [xid for xid, _ in peer.take()] == [call.xid for call in calls]
    results = [Znode(bytes([number]), STAT) for number in range(5)]
    peer.receive(*(peer.answered(result) for result in results))
    assert peer.calls() == calls
    assert [call.result for call in calls] == results
    assert all(call.done and call.error is None for call in calls)
    assert peer.session.in_flight == 0


def test_the_order_of_calls_is_the_order_on_the_wire() -> None:
    peer = connected()
    requests: list[Request[Any]] = [GetData("/a"), SetData("/a", b"x"), GetChildren("/"), Sync("/"), Exists("/a")]
    for request in requests:
        peer.session.submit(request)
    assert peer.taken() == requests


def test_the_order_of_events_is_the_order_of_frames() -> None:
    peer = connected()
    watch(peer, "/a", WatchKind.DATA)
    watch(peer, "/b", WatchKind.DATA)
    first, second = peer.session.submit(SetData("/a", b"")), peer.session.submit(SetData("/b", b""))
    peer.take()
    peer.receive(
        notification(EventType.DATA_CHANGED, "/a"),
        peer.answered(),
        notification(EventType.DATA_CHANGED, "/b"),
        peer.answered(),
    )
    kinds = [event if isinstance(event, Call) else type(event) for event in peer.drain()]
    assert kinds == [Notification, first, Notification, second]


def test_auth_overtakes() -> None:
    peer = connected()
    calls = [peer.session.submit(SetData("/a", b"")) for _ in range(3)]
    auth = peer.session.add_auth("digest", b"bob:secret")
    assert [xid for xid, _ in peer.take()] == [call.xid for call in calls] + [-4]
    peer.receive(reply(-4))
    assert peer.calls() == [auth]
    peer.requests.pop()
    peer.answer_all()
    assert peer.calls() == calls


# --- a stream that makes no sense


def ends(peer: Peer, frames: bytes, why: str) -> list[Call[Any]]:
    """*frames* end the connection; return the calls that fail, all with the connection's loss."""
    peer.drain()
    peer.receive(frames)
    *failed, change = peer.drain()
    assert isinstance(change, StateChanged)
    assert change.new is SUSPENDED
    assert isinstance(change.error, ConnectionLossError)
    assert why in change.error.reason
    calls = [call for call in failed if isinstance(call, Call)]
    assert len(calls) == len(failed)
    for call in calls:
        assert isinstance(call.error, ConnectionLossError)
        assert call.error.reason == change.error.reason
    assert peer.session.state is SUSPENDED
    peer.connect()
    assert peer.states() == [CONNECTED]
    return calls


def test_an_xid_out_of_order() -> None:
    peer = connected()
    calls = [peer.session.submit(GetData("/a")) for _ in range(3)]
    peer.take()
    peer.requests.pop(0)
    wrong = peer.answered()
    assert ends(peer, wrong, f"a reply with xid {calls[1].xid}, but {calls[0].xid} is next") == calls


def test_a_reply_with_nothing_pending() -> None:
    peer = connected()
    assert ends(peer, reply(1, 5), "a reply with xid 1, but no request is under way") == []


def test_a_reply_that_comes_before_its_request_was_sent() -> None:
    # No server can know the number; whatever becomes of it, nothing breaks.
    peer = connected()
    call = peer.session.submit(SetData("/a", b""))
    peer.receive(reply(call.xid, 5, -101))
    peer.lose()
    assert peer.calls() == [call]
    assert isinstance(call.error, NoNodeError | ConnectionLossError)
    assert call.blamed == 0
    peer.connect()


def test_a_reply_that_comes_twice() -> None:
    peer = connected()
    call = peer.session.submit(SetData("/a", b""))
    peer.take()
    answer = peer.answered()
    peer.receive(answer)
    assert only(peer.calls()) is call
    assert ends(peer, answer, "no request is under way") == []


@pytest.mark.parametrize("xid", [0, -3, -4, -5, -8, -(2**31)])
def test_an_xid_that_means_nothing(xid: int) -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.take()
    assert ends(peer, reply(xid, 5), f"a reply with xid {xid}, but {call.xid} is next") == [call]


def test_an_answer_to_a_ping_that_was_not_sent() -> None:
    peer = connected()
    peer.advance(4)
    peer.take()
    peer.receive(pong())
    assert ends(peer, pong(), "an answer to a ping that was not sent") == []


@pytest.mark.parametrize("frame", [b"", b"\0", bytes(15)])
def test_a_frame_without_a_whole_header(frame: bytes) -> None:
    assert ends(connected(), framed(frame), "a reply is cut short") == []


@pytest.mark.parametrize("body", [b"", bytes(11), b"\0\0\0\1\0\0\0\3\xff\xff\xff\xff", b"\0\0\0\1\0\0\0\3\0\0\0\x09/"])
def test_a_notification_that_cannot_be_read(body: bytes) -> None:
    assert ends(connected(), reply(-1, 5, 0, body), "not a watcher event") == []


@pytest.mark.parametrize("length", [-1, -(2**31)])
def test_a_negative_length(length: int) -> None:
    assert ends(connected(), struct.pack(">i", length), f"a frame of {length} bytes") == []


def test_what_came_before_the_nonsense_counts() -> None:
    peer = connected()
    good, bad = peer.session.submit(GetData("/a")), peer.session.submit(GetData("/b"))
    peer.take()
    peer.receive(peer.answered(), reply(99, 5))
    assert peer.calls() == [good, bad]
    assert good.error is None
    assert isinstance(bad.error, ConnectionLossError)


@pytest.mark.parametrize("path", ["", "a", "a/b", "/a//b", "//", "/\0", "/\U0001f600"])
@pytest.mark.parametrize("kind", [*EventType, 0, 99, -99])
def test_a_notification_of_an_odd_path_or_kind_is_nobody_s(path: str, kind: int) -> None:
    peer = connected()
    watch(peer, "/", WatchKind.CHILD)
    watch(peer, "/x", WatchKind.RECURSIVE)
    peer.receive(notification(kind, path))
    assert peer.fired() == []
    assert peer.up()


# --- errors


def test_an_error_reply() -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(code=-101, zxid=77)
    assert peer.calls() == [call]
    error = call.error
    assert isinstance(error, NoNodeError)
    assert (error.path, error.operation, error.zxid, error.maybe_applied) == ("/a", "get", 77, False)


@pytest.mark.parametrize("code", [-9, -126, -9999, 1, 2**31 - 1, -(2**31)])
def test_an_error_code_that_nobody_knows(code: int) -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(code=code)
    assert type(call.error) is ServerError
    assert call.error.code == code
    assert peer.session.state is CONNECTED


def test_a_body_behind_an_error_says_nothing() -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    ((xid, _),) = peer.take()
    peer.receive(reply(xid, 7, -5, b"anything"))
    assert isinstance(call.error, MarshallingError)
    assert peer.session.state is CONNECTED


def test_more_bytes_than_expected_are_ignored() -> None:
    peer = connected()
    call = peer.session.submit(Sync("/a"))
    ((xid, _),) = peer.take()
    peer.receive(reply(xid, 7, 0, b"\0\0\0\2/aand something new"))
    assert call.result == "/a"


def test_a_failed_multi_is_no_error_of_the_header() -> None:
    peer = connected()
    call = peer.session.submit(Multi([Create("/a"), Create("/b")]))
    peer.take()
    peer.answer([Failed(-110), Failed(-2)])
    assert call.error is None
    assert call.result == [Failed(-110), Failed(-2)]


def test_the_session_moved() -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(code=-118)
    assert isinstance(call.error, SessionMovedError)
    assert peer.session.state is CONNECTED


@pytest.mark.parametrize(
    "request_, body",
    [
        (GetData("/a"), b""),
        (GetData("/a"), b"\0\0\0\5abc"),
        (GetData("/a"), b"\xff\xff\xff\xf0" + bytes(68)),
        (Exists("/a"), bytes(67)),
        (GetChildren("/a"), b"\x7f\xff\xff\xff"),
        (Sync("/a"), b"\0\0\0\2\xff\xff"),
        (Multi([Create("/a")]), b"\0\0\0\x63\0\0\0\0\0"),
    ],
)
def test_a_reply_that_cannot_be_read(request_: Request[Any], body: bytes) -> None:
    peer = connected()
    call, behind = peer.session.submit(request_), peer.session.submit(GetData("/b"))
    (xid, _), _ = peer.take()
    peer.receive(reply(xid, 7, 0, body))
    assert peer.calls() == [call, behind]
    assert type(call.error) is RemoteProtocolError
    assert f"the reply to {request_.name} cannot be read" in str(call.error)
    assert call.error.path == request_.target
    assert call.error.maybe_applied
    assert isinstance(behind.error, ConnectionLossError)
    assert not peer.up()


# --- replies over the limit


@pytest.mark.parametrize("request_, maybe_applied", [(GetData("/a"), False), (SetData("/a", b""), True)])
def test_a_reply_over_the_limit(request_: Request[Any], maybe_applied: bool) -> None:
    peer = connected(max_reply=1000)
    call, behind, unsent = peer.session.submit(request_), peer.session.submit(SetData("/b", b"")), None
    peer.take()
    unsent = peer.session.submit(SetData("/c", b""))
    peer.receive(struct.pack(">i", 1001))
    assert peer.calls() == [call, behind, unsent]
    error = call.error
    assert isinstance(error, ReplyTooLargeError)
    assert (error.size, error.limit, error.path, error.maybe_applied) == (1001, 1000, "/a", maybe_applied)
    assert isinstance(behind.error, ConnectionLossError)
    assert behind.error.maybe_applied
    assert isinstance(unsent.error, ConnectionLossError)
    assert not unsent.error.maybe_applied
    peer.connect()


def test_a_reply_at_the_limit() -> None:
    peer = connected(max_reply=1000)
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(Znode(bytes(1000 - 16 - 4 - 68), STAT))
    assert call.done
    assert call.error is None


def test_a_frame_over_the_limit_that_nobody_asked_for() -> None:
    assert ends(connected(max_reply=1000), struct.pack(">i", 1001), "a reply of 1001 bytes is over the limit") == []


def test_an_abandoned_call_s_reply_over_the_limit() -> None:
    peer = connected(max_reply=1000)
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.session.abandon(call)
    peer.receive(struct.pack(">i", 1001))
    assert peer.calls() == []
    assert not peer.up()


# --- the session is over


@pytest.mark.parametrize(
    "code, state, kind",
    [
        (-112, SessionState.EXPIRED, SessionExpiredError),
        (-12, SessionState.EXPIRED, SessionExpiredError),
        (-115, SessionState.AUTH_FAILED, AuthFailedError),
        (-124, SessionState.AUTH_FAILED, AuthFailedError),
    ],
)
@pytest.mark.parametrize("where", ["call", "watch", "ping", "auth", "own"])
def test_an_error_that_ends_the_session(code: int, state: SessionState, kind: type, where: str) -> None:
    peer = connected()
    session = peer.session
    if where == "own":
        session.unwatch(watch(peer, "/w", WatchKind.DATA))
    elif where == "ping":
        peer.advance(4)
    elif where == "auth":
        session.add_auth("digest", b"bob:secret")
    watcher = Watcher("/a", WatchKind.DATA) if where == "watch" else None
    call: Call[Any] = session.submit(GetData("/a", True) if watcher else SetData("/a", b""), watcher)
    peer.take()
    queued = session.submit(SetData("/b", b""))
    if where == "ping":
        peer.receive(pong(code))
    else:
        peer.answer(code=code)
    assert session.state is state
    assert isinstance(session.error, kind)
    events = peer.drain()
    assert isinstance(events[-1], StateChanged)
    assert events[-1].error is session.error
    calls = [event for event in events if isinstance(event, Call)]
    assert [c for c in calls if c.xid != -4] == [call, queued]
    assert call.error is not None
    assert queued.error is not None
    assert {type(call.error), type(queued.error)} == {kind}
    assert call.error.maybe_applied == (where not in ("call", "watch"))
    assert not queued.error.maybe_applied
    assert queued.error.path == "/b"
    assert not peer.up()
    # Whatever follows is void.
    peer.answer_all()
    assert peer.drain() == []


def test_what_refused_the_credentials() -> None:
    peer = connected()
    peer.session.add_auth("kerberos", b"x")
    peer.take()
    peer.answer(code=-115)
    assert "the server refused the credentials of scheme 'kerberos'" in str(peer.session.error)


def test_what_arrives_behind_the_end_of_the_session() -> None:
    # All in one piece: the refusal overtakes, and the replies behind it are answers nevertheless.
    peer = connected()
    session = peer.session
    gone = watch(peer, "/w", WatchKind.DATA)
    session.unwatch(gone)
    call, failed = session.submit(GetData("/a")), session.submit(GetData("/b"))
    auth = session.add_auth("digest", b"bob:secret")
    lost = session.submit(GetData("/c"))
    peer.take()
    removal, first, second = peer.answered(), peer.answered(), peer.answered(code=-112)
    peer.receive(reply(-4, 0, -115), removal, first, notification(EventType.DATA_CHANGED, "/x"), second)
    assert session.state is SessionState.AUTH_FAILED
    calls = peer.calls()
    assert set(calls) == {auth, call, failed, lost}
    assert len(calls) == 4
    assert call.error is None
    assert isinstance(failed.error, SessionExpiredError)
    assert isinstance(lost.error, AuthFailedError)


def test_a_ping_s_other_errors_mean_nothing() -> None:
    peer = connected()
    peer.advance(4)
    peer.take()
    peer.receive(pong(-101))
    assert peer.drain() == []
    assert peer.up()


# --- xids


def set_next_xid(session: Session, xid: int) -> None:
    session._book._next_xid = xid


def test_xids_wrap_around() -> None:
    peer = connected()
    set_next_xid(peer.session, 2**31 - 4)
    for _ in range(5):
        peer.session.submit(SetData("/a", b""))
    xids = [xid for xid, _ in peer.take()]
    assert xids == [2**31 - 4, 2**31 - 3, 2**31 - 2, 1, 2]
    peer.answer_all()
    assert len(peer.calls()) == 5
    assert peer.up()


def test_an_xid_is_kept_while_waiting() -> None:
    peer = Peer()
    call = peer.session.submit(GetData("/a"))
    peer.connect()
    other = peer.session.submit(GetData("/b"))
    assert [xid for xid, _ in peer.take()] == [call.xid, other.xid]


def test_what_is_sent_is_a_whole_frame_each() -> None:
    peer = connected()
    peer.session.submit(Create("/a", b"x", mode=CreateMode.EPHEMERAL))
    peer.session.submit(GetData("/b"))
    data = peer.session.data_to_send(peer.now)
    (length,) = struct.unpack_from(">i", data)
    assert isinstance(decode_request(data[4 : 4 + length])[1], Create)
    assert isinstance(decode_request(data[8 + length :])[1], GetData)
    assert peer.session.data_to_send(peer.now) == b""


def test_known_codes_of_errors_are_all_told_apart() -> None:
    peer = connected()
    over = {ErrorCode.OK, ErrorCode.SESSION_EXPIRED, ErrorCode.UNKNOWN_SESSION, ErrorCode.AUTH_FAILED}
    over.add(ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH)
    for code in set(ErrorCode) - over:
        call = peer.session.submit(GetData("/a"))
        peer.take()
        peer.answer(code=code)
        assert getattr(call.error, "code", None) == code or code == ErrorCode.INVALID_CALLBACK
        assert peer.session.state is CONNECTED
