from __future__ import annotations

from typing import Any

import pytest

from zk_sansio.client import RetryPolicy
from zk_sansio.errors import (
    AuthFailedError,
    ClosedError,
    ConnectionLossError,
    NoNodeError,
    RemoteProtocolError,
    ReplyTooLargeError,
    SessionExpiredError,
    SuspendedError,
    ThrottledError,
    ZooKeeperError,
)
from zk_sansio.session import Call
from zk_sansio.wire import Delete, GetData, Request

NOT_SENT = ConnectionLossError("gone")
SENT = ConnectionLossError("gone", maybe_applied=True)
THROTTLED = ThrottledError(-127)
READ, WRITE = GetData("/a"), Delete("/a")


def failed(request: Request[Any], error: ZooKeeperError) -> Call[Any]:
    call: Call[Any] = Call(request, 1, b"")
    call.fail(error)
    return call


@pytest.mark.parametrize(
    "request_, error, again, again_if_unknown",
    [
        (READ, NOT_SENT, True, True),
        (READ, SENT, True, True),
        (READ, THROTTLED, True, True),
        (WRITE, NOT_SENT, True, True),
        (WRITE, SENT, False, True),
        (WRITE, THROTTLED, True, True),
        *[
            (request, error, False, False)
            for request in (READ, WRITE)
            for error in (
                SuspendedError("gone"),
                NoNodeError(-101),
                SessionExpiredError(),
                ClosedError(),
                AuthFailedError("no"),
                RemoteProtocolError("?"),
                ReplyTooLargeError(2, 1),
            )
        ],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_repeated(request_: Request[Any], error: ZooKeeperError, again: bool, again_if_unknown: bool) -> None:
    call = failed(request_, error)
    assert RetryPolicy().repeats(call, 1, 0, 0.0) is again
    assert RetryPolicy(repeat_unknown=True).repeats(call, 1, 0, 0.0) is again_if_unknown
    assert not RetryPolicy(max_attempts=1).repeats(call, 1, 0, 0.0)
    # Only where nobody knows is it worth reading.
    assert RetryPolicy().decides(call, 1, 0, 0.0) is (error is SENT)


@pytest.mark.parametrize("error", [NOT_SENT, SENT, THROTTLED])
def test_limits(error: ZooKeeperError) -> None:
    call = failed(READ, error)
    assert RetryPolicy(max_attempts=3).repeats(call, 2, 0, 1e9)
    assert not RetryPolicy(max_attempts=3).repeats(call, 3, 0, 0.0)
    assert RetryPolicy(max_seconds=5.0).repeats(call, 1000, 0, 4.9)
    assert not RetryPolicy(max_seconds=5.0).repeats(call, 1, 0, 5.0)


def test_limits_of_finding_out() -> None:
    call = failed(WRITE, SENT)
    assert RetryPolicy(max_attempts=3).decides(call, 2, 0, 1e9)
    assert not RetryPolicy(max_attempts=3).decides(call, 3, 0, 0.0)
    assert RetryPolicy(max_seconds=5.0).decides(call, 1000, 0, 4.9)
    assert not RetryPolicy(max_seconds=5.0).decides(call, 1, 0, 5.0)
    assert RetryPolicy().decides(call, 2, 1, 0.0)
    assert not RetryPolicy().decides(call, 2, 2, 0.0)


def test_twice() -> None:
    policy = RetryPolicy(max_attempts=1, max_seconds=2.0, pause=3.0)
    assert policy.twice() == RetryPolicy(max_attempts=1, max_seconds=2.0, pause=3.0, repeat_unknown=True)


def test_a_request_that_closes_the_connection_twice_is_left_alone() -> None:
    assert RetryPolicy(repeat_unknown=True).repeats(failed(READ, SENT), 2, 1, 0.0)
    assert not RetryPolicy(repeat_unknown=True).repeats(failed(READ, SENT), 2, 2, 0.0)
    assert RetryPolicy().repeats(failed(READ, THROTTLED), 9, 2, 0.0)


def test_pauses() -> None:
    policy = RetryPolicy(pause=0.5)
    assert [policy.pause_before(THROTTLED, n) for n in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert policy.pause_before(SENT, 3) == 0.0
    assert policy.pause_before(None, 1) == 0.0
