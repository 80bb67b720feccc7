from __future__ import annotations

import struct

import pytest

from tests.session.harness import (
    EXPIRED,
    PASSWORD,
    SESSION_ID,
    TICKET,
    Peer,
    T,
    framed,
    only,
    reply,
    response,
)
from zk_sansio.errors import ConnectionLossError, RemoteProtocolError, SessionExpiredError
from zk_sansio.session import Dial, SessionState, SessionTicket, StateChanged
from zk_sansio.wire import GetData

CONNECTING, CONNECTED, SUSPENDED, EXPIRED_STATE = (
    SessionState.CONNECTING,
    SessionState.CONNECTED,
    SessionState.SUSPENDED,
    SessionState.EXPIRED,
)


def connect_bytes(peer: Peer) -> bytes:
    """Connect, and return what is sent."""
    assert peer.session.connection_made(peer.dial(), peer.now)
    return peer.session.data_to_send(peer.now)


def expected_request(zxid: int, timeout_ms: int, session_id: int, password: bytes, read_only: int) -> bytes:
    return struct.pack(">iiqiqi", 45, 0, zxid, timeout_ms, session_id, 16) + password + bytes([read_only])


# --- what is sent


def test_new_session() -> None:
    assert connect_bytes(Peer(timeout=7.5)) == expected_request(0, 7500, 0, bytes(16), 0)


def test_no_ticket_before_there_is_a_session() -> None:
    assert Peer().session.ticket is None


def test_read_only_is_said() -> None:
    assert connect_bytes(Peer(read_only=True)) == expected_request(0, 12000, 0, bytes(16), 1)


def test_resumed_with_a_ticket() -> None:
    ticket = SessionTicket(session_id=-0x37FF_FFFF_FFFF_FFFE, password=PASSWORD, last_zxid=0x1_0000_0003)
    peer = Peer(ticket=ticket)
    assert connect_bytes(peer) == expected_request(0x1_0000_0003, 12000, -0x37FF_FFFF_FFFF_FFFE, PASSWORD, 0)
    assert peer.session.ticket == ticket
    peer.receive(response(session_id=ticket.session_id))
    assert peer.states() == [CONNECTED]
    assert peer.session.session_id == ticket.session_id


def test_whether_a_ticket_was_accepted() -> None:
    assert not Peer().session.resuming
    peer = Peer(ticket=TICKET)
    peer.open()
    peer.lose()
    assert peer.session.resuming
    peer.connect()
    peer.lose()
    peer.open()
    peer.receive(EXPIRED)
    assert (peer.session.state, peer.session.resuming) == (EXPIRED_STATE, False)
    peer = Peer(ticket=TICKET)
    peer.open()
    peer.receive(EXPIRED)
    assert (peer.session.state, peer.session.resuming) == (EXPIRED_STATE, True)


def test_nothing_is_sent_behind_the_connect_request() -> None:
    peer = Peer(credentials=[("digest", b"bob:secret")])
    peer.session.submit(GetData("/a"))
    peer.session.add_auth("digest", b"eve:secret")
    assert len(connect_bytes(peer)) == 49
    assert peer.session.data_to_send(peer.now) == b""


# --- what is answered


@pytest.mark.parametrize("read_only", [False, None])
def test_accepted(read_only: bool | None) -> None:
    peer = Peer()
    peer.open()
    peer.accept(timeout_ms=8000, read_only=read_only)
    assert peer.drain() == [StateChanged(CONNECTING, CONNECTED)]
    assert peer.session.session_id == SESSION_ID
    assert peer.session.timeout == 8
    assert peer.session.ticket == SessionTicket(session_id=SESSION_ID, password=PASSWORD)
    assert peer.up()
    assert peer.session.server is not None
    assert peer.session.server.address.startswith("10.0.0.")


@pytest.mark.parametrize(
    "answer",
    [EXPIRED, response(session_id=SESSION_ID + 1), response(timeout_ms=-1), response(session_id=0, timeout_ms=0)],
    ids=["timeout 0", "another id", "negative timeout", "both"],
)
def test_expired(answer: bytes) -> None:
    peer = Peer(ticket=TICKET)
    call = peer.session.submit(GetData("/a"))
    peer.open()
    peer.receive(answer)
    done, change = peer.drain()
    assert done is call
    assert isinstance(call.error, SessionExpiredError)
    assert call.error.path == "/a"
    assert not call.error.maybe_applied
    assert isinstance(change, StateChanged)
    assert change.new is EXPIRED_STATE
    assert change.error is peer.session.error
    assert not peer.up()
    assert peer.session.next_timeout() == float("inf")


def goes_on(peer: Peer, why: str) -> None:
    """The session tells of nothing, remembers why, and goes to the next server."""
    assert (peer.up(), peer.session.state) == (False, CONNECTING)
    assert peer.drain() == []
    assert only(list(peer.session.failures.values())) == why
    failed = only(list(peer.session.failures))
    peer.tick()
    dial = only(peer.attempts)
    assert isinstance(dial, Dial)
    assert str(dial.server) != failed


@pytest.mark.parametrize(
    "answer, why",
    [
        (EXPIRED, "the server refused a new session"),
        (response(read_only=True), "the server refused a new session"),
        (reply(0, 0, -119), "the server refused the session: "),
        (reply(0, 0, 0), "the server refused the session: a reply header"),
        (framed(b""), "not a connect response: "),
        (framed(b"x" * 11), "not a connect response: "),
        (framed(response()[4:-12]), "not a connect response: "),
        (framed(response()[4:20] + struct.pack(">i", -2) + bytes(17)), "not a connect response: "),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a reply of 1213486160 bytes is over the limit"),
        (b"\xff\xff\xff\xf0", "a frame of -16 bytes"),
    ],
    ids=[
        "refused",
        "read-only",
        "bare header -119",
        "bare header 0",
        "empty",
        "garbage",
        "cut short",
        "bad length",
        "not ZooKeeper",
        "negative length",
    ],
)
def test_refused(answer: bytes, why: str) -> None:
    peer = Peer()
    peer.open()
    peer.receive(answer)
    said = only(list(peer.session.failures.values()))
    assert said.startswith(why)
    goes_on(peer, said)


def test_why_a_read_only_server_refused() -> None:
    peer = Peer()
    peer.open()
    peer.receive(reply(0, 0, -119))
    assert "read-only mode" in only(list(peer.session.failures.values()))


def test_more_than_asked_for() -> None:
    peer = Peer()
    peer.open()
    peer.receive(response() + reply(1, 5))
    assert peer.states() == [CONNECTED, SUSPENDED]
    assert not peer.up()


def test_end_of_stream_without_an_answer() -> None:
    peer = Peer()
    peer.open()
    peer.lose()
    goes_on(peer, "closed by the server")


@pytest.mark.parametrize(
    "error, why",
    [
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (OSError("odd"), "odd"),
        (OSError(), "OSError"),
        (RemoteProtocolError("TLS went wrong"), "TLS went wrong"),
    ],
)
def test_connection_lost_without_an_answer(error: OSError | RemoteProtocolError, why: str) -> None:
    peer = Peer()
    peer.open()
    peer.session.connection_lost(error, peer.now)
    goes_on(peer, why)


def test_a_silent_server_comes_last_in_the_next_round() -> None:
    peer = Peer()
    peer.open()
    silent = peer.session.server
    peer.lose()
    order = []
    for _ in range(5):
        dial = peer.dial()
        order.append(dial.server)
        peer.session.attempt_failed(dial, "refused", peer.now)
    assert order[4] == silent
    assert len(set(order[:2])) == 2
    assert set(order[2:]) == {*order[:2], silent}


def test_deadline() -> None:
    peer = Peer()
    dial = peer.dial()
    assert peer.session.connection_made(dial, peer.now)
    assert peer.session.next_timeout() == dial.deadline
    # No byte that dribbles in gets the server more time.
    for byte in response()[:-1]:
        peer.advance((dial.deadline - peer.now) / 2)
        peer.receive(bytes([byte]))
        assert peer.session.next_timeout() == dial.deadline
    peer.now = dial.deadline
    peer.session.handle_timeout(peer.now)
    goes_on(peer, "no answer to the handshake in time")


def test_the_wait_for_the_handshake_is_shared_over_the_servers() -> None:
    peer = Peer(hosts=",".join(f"10.0.0.{n}" for n in range(1, 5)), connect_timeout=100)
    dial = peer.dial()
    assert dial.deadline - peer.now == pytest.approx(T / 4)
    assert Peer(connect_timeout=1.5).dial().deadline == 1001.5


# --- how a session goes on


def test_reattached() -> None:
    peer = Peer()
    peer.connect(timeout_ms=8000)
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(zxid=0x2_0000_0001)
    peer.lose()
    request = peer.open()
    assert (request.session_id, request.password, request.last_zxid) == (SESSION_ID, PASSWORD, 0x2_0000_0001)
    assert request.timeout_ms == 12000  # what the user asked for, not what was granted
    peer.accept(timeout_ms=6000, password=bytes(16))
    assert peer.states() == [CONNECTED, SUSPENDED, CONNECTED]
    assert peer.session.timeout == 6
    assert peer.session.ticket == SessionTicket(session_id=SESSION_ID, password=bytes(16), last_zxid=0x2_0000_0001)


def test_expired_at_reattachment() -> None:
    peer = Peer()
    peer.connect()
    peer.lose()
    peer.drain()
    peer.open()
    peer.receive(EXPIRED)
    change = only(peer.drained(StateChanged))
    assert (change.old, change.new) == (SUSPENDED, EXPIRED_STATE)


def test_end_of_stream_at_reattachment_is_no_expiry() -> None:
    peer = Peer()
    peer.connect()
    peer.lose()
    peer.drain()
    for _ in range(3):
        peer.open()
        peer.lose()
    assert peer.drain() == []
    peer.connect()
    assert peer.states() == [CONNECTED]


def test_why_it_was_lost() -> None:
    peer = Peer()
    peer.connect()
    server = str(peer.session.server)
    peer.drain()
    peer.lose()
    change = only(peer.drained(StateChanged))
    assert isinstance(change.error, ConnectionLossError)
    assert change.error.reason == "closed by the server"
    assert change.error.server == server


def test_a_strange_password_cannot_be_resumed_from() -> None:
    peer = Peer()
    peer.connect(password=b"short")
    assert peer.session.state is CONNECTED
    assert peer.session.ticket is None
