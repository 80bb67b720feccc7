"""One connection alone."""

from __future__ import annotations

import struct
from math import inf
from typing import Any

import pytest

from tests.session.harness import PASSWORD, STAT, notification, pong, reply, response
from zk_sansio.errors import ConnectionLossError, LocalProtocolError, RemoteProtocolError
from zk_sansio.session import Call, ConnectionInput, ConnectionState, HostPort
from zk_sansio.session._connection import Connection, Fired, loss_reason
from zk_sansio.session._hosts import Server
from zk_sansio.wire import (
    XID_AUTH,
    XID_PING,
    Auth,
    ConnectRequest,
    ConnectResponse,
    EventType,
    Exists,
    GetData,
    Ping,
    Request,
    SetData,
    WatcherEvent,
)

SERVER = Server(HostPort("10.0.0.1"), "10.0.0.1")
HANDSHAKE = ConnectRequest(last_zxid=7, timeout_ms=9000, session_id=0, password=bytes(16), read_only=False)
PING = Ping().encode(XID_PING)


def fresh(now: float = 0.0) -> Connection:
    return Connection(SERVER, HANDSHAKE, max_reply=100_000, deadline=now + 5, now=now)


def serving(now: float = 0.0) -> Connection:
    connection = fresh(now)
    connection.data_to_send(now)
    connection.receive_data(response(), now)
    connection.timeout = 9.0
    for happened in (ConnectionInput.ACCEPTED, ConnectionInput.AUTHENTICATED, ConnectionInput.RESTORED):
        connection.advance(happened)
    return connection


def call_of(request: Request[Any], xid: int) -> Call[Any]:
    return Call(request, xid, request.encode(xid))


def send(connection: Connection, xid: int, request: Request[Any] | None = None) -> Call[Any]:
    call = call_of(request or SetData("/a", b""), xid)
    connection.send(call, call.frame)
    return call


def test_the_handshake_goes_first() -> None:
    connection = fresh()
    assert connection.queued_bytes == 49
    assert connection.data_to_send(0) == HANDSHAKE.encode()
    assert connection.queued_bytes == 0
    assert connection.data_to_send(0) == b""
    assert connection.next_timeout() == 5
    assert connection.ping_due() == inf
    (answer,) = connection.receive_data(response(session_id=9), 1.0)
    assert answer == ConnectResponse(timeout_ms=12000, session_id=9, password=PASSWORD, read_only=False)
    assert connection.error is None
    assert connection.last_heard == 1.0


def test_everything_queued_goes_out_in_one_piece() -> None:
    connection = serving()
    calls = [send(connection, xid) for xid in (1, 2)]
    auth = call_of(Auth(0, "digest", b"x"), XID_AUTH)
    connection.send_auth(auth)
    frames = [call.frame for call in (*calls, auth)]
    assert connection.queued_bytes == sum(map(len, frames))
    connection.ping(0.5)
    assert connection.data_to_send(1.0) == PING + b"".join(frames)
    assert list(connection.pending) == calls
    assert list(connection.auth_pending) == [auth]
    assert connection.last_sent == 1.0


def test_what_was_handed_over() -> None:
    connection = serving()
    for xid in (1, 2):
        send(connection, xid)
    assert connection.sent_pending == 0
    connection.data_to_send(1.0)
    send(connection, 3)
    assert connection.sent_pending == 2
    connection.receive_data(reply(1, 10), 2.0)
    assert connection.sent_pending == 1
    assert connection.take_head().xid == 2
    assert connection.sent_pending == 0
    assert [call.xid for call in connection.pending] == [3]


def test_what_is_received_in_order() -> None:
    connection = serving()
    calls = [send(connection, xid) for xid in (1, 2)]
    auth = call_of(Auth(0, "digest", b"x"), XID_AUTH)
    connection.send_auth(auth)
    connection.data_to_send(1.0)
    received = connection.receive_data(
        reply(-4)
        + reply(1, 10, 0, struct.pack(">qqqqiiiqiiq", *STAT))
        + notification(EventType.DELETED, "/a", 11)
        + reply(2, 12, -101),
        2.0,
    )
    assert received == [auth, calls[0], Fired(WatcherEvent(EventType.DELETED, 3, "/a"), 11), calls[1]]
    assert calls[0].result == STAT
    assert connection.last_zxid == 12
    assert not connection.pending
    assert not connection.auth_pending
    assert connection.error is None


def test_a_large_reply_goes_into_one_buffer() -> None:
    connection = serving()
    call = send(connection, 1, GetData("/a"))
    connection.data_to_send(1.0)
    body = struct.pack(">i", 90_000) + bytes(90_000) + struct.pack(">qqqqiiiqiiq", *STAT)
    frame = reply(1, 10, 0, body)
    assert connection.receive_data(frame[:50_000], 2.0) == []
    assert connection.last_heard == 0.0
    buffer = connection.buffer
    assert buffer is not None
    buffer[:] = frame[50_000:]
    assert connection.buffer_filled(len(buffer), 3.0) == [call]
    assert connection.last_heard == 3.0
    assert call.result.data == bytes(90_000)


@pytest.mark.parametrize("data", [reply(5, 1), reply(0, 1), struct.pack(">i", 3) + b"abc"])
def test_after_an_error_nothing_more_is_received(data: bytes) -> None:
    connection = serving()
    send(connection, 1)
    connection.data_to_send(1.0)
    assert connection.receive_data(data, 2.0) == []
    assert isinstance(connection.error, RemoteProtocolError)
    first = connection.error
    connection.receive_data(struct.pack(">i", -1), 2.0)
    assert connection.error is first


def test_the_time_of_sending_of_the_latest_answer() -> None:
    connection = serving()
    for number in range(4):
        send(connection, 2 * number + 1)
        send(connection, 2 * number + 2)
        connection.data_to_send(float(number + 1))
    assert connection.answered_sent == 0.0
    connection.receive_data(b"".join(reply(xid, xid, -101) for xid in (1, 2, 3)), 9.0)
    assert connection.answered_sent == 2.0
    connection.receive_data(reply(4, 4, -101), 9.0)
    assert connection.answered_sent == 2.0
    connection.receive_data(b"".join(reply(xid, xid, -101) for xid in (5, 6, 7, 8)), 9.0)
    assert connection.answered_sent == 4.0


def test_a_ping_s_time_of_sending() -> None:
    connection = serving()
    connection.ping(3.0)
    connection.ping(6.0)
    connection.data_to_send(6.0)
    connection.receive_data(pong(), 7.0)
    assert connection.answered_sent == 3.0
    assert connection.receive_data(pong() + pong(), 7.0) == []
    assert connection.answered_sent == 6.0
    assert isinstance(connection.error, RemoteProtocolError)


def test_a_refused_ping_is_a_call_that_nobody_waits_for() -> None:
    connection = serving()
    connection.ping(3.0)
    (call,) = connection.receive_data(pong(-124), 7.0)
    assert isinstance(call, Call)
    assert call.abandoned
    assert call.error is not None


def test_deadlines() -> None:
    connection = serving(now=10.0)
    assert connection.read_timeout == 6.0
    assert connection.ping_due() == 13.0
    assert connection.silence_due() == 16.0
    assert connection.next_timeout() == 13.0
    connection.receive_data(notification(EventType.CREATED, "/a"), 15.0)
    assert connection.silence_due() == 19.0  # and not 21: nothing sent after 10 was answered
    connection.ping(15.0)
    assert connection.ping_due() == 18.0
    connection.receive_data(pong(), 16.0)
    assert connection.silence_due() == 22.0
    connection.advance(ConnectionInput.CLOSE)
    connection.deadline = 17.0
    assert connection.ping_due() == inf
    assert connection.next_timeout() == 17.0


def test_the_end_is_the_end() -> None:
    connection = serving()
    connection.advance(ConnectionInput.END)
    assert connection.state is ConnectionState.ENDED
    with pytest.raises(LocalProtocolError):
        connection.advance(ConnectionInput.END)


def test_a_reply_that_cannot_be_read_is_that_call_s() -> None:
    connection = serving()
    first, second = send(connection, 1, Exists("/a")), send(connection, 2, Exists("/b"))
    connection.data_to_send(1.0)
    assert connection.receive_data(reply(1, 5) + reply(2, 6, -101), 2.0) == [first]
    assert first.error is connection.error
    assert not second.done


@pytest.mark.parametrize(
    "error, reason",
    [
        (None, "closed by the server"),
        (OSError(32, "Broken pipe"), "Broken pipe"),
        (OSError("plain"), "plain"),
        (TimeoutError(), "TimeoutError"),
        (ConnectionLossError("gone"), "connection lost (gone); the request was not sent"),
    ],
)
def test_why_a_connection_went_away(error: Any, reason: str) -> None:
    assert loss_reason(error) == reason
