"""How much may be under way, and how large it may be."""

from __future__ import annotations

import random
from math import inf, nan
from typing import Any

import pytest

from tests.session.harness import PASSWORD, Peer, connected
from zk_sansio.errors import InvalidPathError, InvalidRequestError, RequestTooLargeError
from zk_sansio.session import Batch, Call, Session, SessionOptions, SessionTicket, Waitable
from zk_sansio.wire import Auth, Create, CreateMode, CreateTTL, GetData, Request, Sasl, SetData

# --- congestion


def pressure(session: Session) -> tuple[bool, bool]:
    """Whether callers should wait, and whether those who wait may go on."""
    return session.congested, session.has_room


@pytest.mark.parametrize("up", [True, False])
def test_too_many_requests(up: bool) -> None:
    peer = Peer(max_in_flight=3)
    if up:
        peer.connect()
    session = peer.session
    for number in range(3):
        assert session.in_flight == number
        assert pressure(session) == (False, True)
        session.submit(GetData("/a"))
    assert session.in_flight == 3
    assert pressure(session) == (True, False)
    session.submit(GetData("/a"))  # callers are asked to wait, not made to
    if not up:
        peer.connect()
    peer.take()
    peer.answer()
    assert pressure(session) == (True, False)
    peer.answer()
    assert pressure(session) == (False, True)
    peer.answer_all()
    assert session.in_flight == 0


@pytest.mark.parametrize("up", [True, False])
def test_too_many_bytes(up: bool) -> None:
    peer = Peer(high_water=1000, low_water=500)
    if up:
        peer.connect()
    session = peer.session
    assert session.queued_bytes == 0
    session.submit(SetData("/a", bytes(400)))
    first = session.queued_bytes
    assert 400 < first < 500
    assert pressure(session) == (False, True)
    session.submit(SetData("/a", bytes(400)))
    # Between the marks nobody new has to wait, and nobody who waits may go on.
    assert session.queued_bytes == 2 * first
    assert pressure(session) == (False, False)
    session.submit(SetData("/a", bytes(400)))
    assert pressure(session) == (True, False)
    if up:
        session.data_to_send(peer.now)
        assert session.queued_bytes == 0
        assert pressure(session) == (False, True)
        assert session.in_flight == 3
    else:
        peer.connect()
        assert session.queued_bytes == 3 * first


def test_at_the_marks() -> None:
    peer = Peer()
    peer.session.submit(SetData("/a", bytes(400)))
    size = peer.session.queued_bytes
    for high, low, congested, has_room in [
        (size, size, True, True),
        (size + 1, size - 1, False, False),
        (size + 1, size, False, True),
    ]:
        marked = Peer(high_water=high, low_water=low)
        marked.session.submit(SetData("/a", bytes(400)))
        assert pressure(marked.session) == (congested, has_room)


def test_what_is_lost_makes_room() -> None:
    peer = connected(max_in_flight=2)
    for _ in range(2):
        peer.session.submit(SetData("/a", bytes(100)))
    assert peer.session.congested
    peer.lose()
    assert (peer.session.in_flight, peer.session.queued_bytes) == (0, 0)
    assert peer.session.has_room
    peer.session.submit(SetData("/a", bytes(100)))
    peer.session.close(peer.now, 1)
    assert (peer.session.in_flight, peer.session.queued_bytes) == (0, 0)


# --- sizes


def test_a_request_over_the_limit_is_refused_before_anything_happens() -> None:
    peer = connected(max_request=200)
    fits = SetData("/a", bytes(200 - 8 - 6 - 4 - 4))
    call = peer.session.submit(fits)
    with pytest.raises(RequestTooLargeError) as caught:
        peer.session.submit(SetData("/a", bytes(200 - 8 - 6 - 4 - 4 + 1)))
    assert (caught.value.size, caught.value.limit, caught.value.path) == (201, 200, "/a")
    assert peer.session.in_flight == 1
    after = peer.session.submit(GetData("/b"))
    assert after.xid == call.xid + 1
    assert peer.taken() == [fits, GetData("/b")]
    peer.answer_all()
    assert peer.calls() == [call, after]


@pytest.mark.parametrize("up", [True, False])
def test_a_request_that_no_server_accepts(up: bool) -> None:
    peer = Peer()
    if up:
        peer.connect()
    requests: list[Request[Any]] = [
        GetData("relative"),
        Create("/a", mode=CreateMode.CONTAINER),
        CreateTTL("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=0),
    ]
    for wrong in requests:
        with pytest.raises(InvalidRequestError):
            peer.session.submit(wrong)
    with pytest.raises(InvalidPathError):
        peer.session.submit(GetData("/a/"))
    assert peer.session.in_flight == 0
    assert peer.session.queued_bytes == 0


# --- options


def test_the_largest_timeout_can_be_asked_for() -> None:
    peer = Peer(timeout=(2**31 - 1) / 1000)
    assert peer.open().timeout_ms == 2**31 - 1


@pytest.mark.parametrize("timeout", [0, -1, inf, nan, 2**31 / 1000, (2**31 - 0.5) / 1000])
def test_no_such_timeout(timeout: float) -> None:
    with pytest.raises(InvalidRequestError, match="timeout is a positive number of seconds"):
        SessionOptions(timeout=timeout)


@pytest.mark.parametrize(
    "wrong",
    [
        {"connect_timeout": 0},
        {"connect_timeout": -1.0},
        {"max_request": 0},
        {"max_reply": 0},
        {"max_in_flight": 0},
        {"high_water": 0},
        {"low_water": -1},
        {"low_water": 11, "high_water": 10},
    ],
)
def test_no_such_option(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=r"must be|positive"):
        SessionOptions(**wrong)


def test_options_keep_secrets() -> None:
    def secret_factory(host: object) -> Any:
        raise AssertionError

    assert "secret_factory" not in repr(SessionOptions(sasl=secret_factory))


@pytest.mark.parametrize(
    "wrong",
    [
        {"session_id": 0},
        {"password": b""},
        {"password": bytes(15)},
        {"session_id": 2**63},
        {"session_id": -(2**63) - 1},
        {"last_zxid": 2**63},
    ],
)
def test_no_such_ticket(wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"session_id": 1, "password": PASSWORD, **wrong}
    with pytest.raises(InvalidRequestError):
        SessionTicket(**fields)


def test_a_ticket_keeps_its_secret() -> None:
    assert "password" not in repr(SessionTicket(session_id=1, password=b"0123456789abcdef"))


def test_no_servers() -> None:
    with pytest.raises(InvalidRequestError):
        Session([], SessionOptions(), random.Random(1))


# --- calls


def test_a_call_says_what_it_is_and_keeps_secrets() -> None:
    call: Call[Any] = Call(SetData("/a", b"hush"), 7, b"frame")
    assert repr(call) == "<Call set /a xid=7 queued>"
    call.sent = True
    assert repr(call) == "<Call set /a xid=7 sent>"
    call.fail(InvalidRequestError("no"))
    assert repr(call) == "<Call set /a xid=7 done>"
    assert call.frame == b""
    assert repr(Call(Sasl(b"hush"), 7, b"")) == "<Call SASL  xid=7 queued>"
    assert "hush" not in repr(Auth(0, "digest", b"hush"))


def test_what_can_be_waited_for() -> None:
    assert Waitable().waiter is None
    batch = Batch()
    assert (batch.left, batch.wake_at, batch.waiter) == (0, 0, None)
    call: Call[Any] = Call(GetData("/a"), 1, b"")
    assert isinstance(call, Waitable)
    assert (call.waiter, call.batch, call.abandoned, call.blamed) == (None, None, False, 0)
