"""Errors: a class for every code, messages that read well, attributes that survive pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest

from zk_sansio import errors
from zk_sansio.errors import (
    AuthFailedError,
    BadVersionError,
    CallTimeoutError,
    ClosedError,
    ConnectError,
    ConnectionLossError,
    ErrorCode,
    FourLetterError,
    InvalidPathError,
    InvalidRequestError,
    LeaseLostError,
    LocalProtocolError,
    NodeExistsError,
    NoNodeError,
    ProtocolError,
    RemoteProtocolError,
    ReplyTooLargeError,
    RequestTooLargeError,
    ServerError,
    SessionError,
    SessionExpiredError,
    SessionMovedError,
    SuspendedError,
    TlsError,
    TransactionError,
    ZooKeeperError,
    error_from_code,
)
from zk_sansio.wire import SetData

CLASSES = [thing for thing in vars(errors).values() if inspect.isclass(thing) and issubclass(thing, ZooKeeperError)]

# --- codes

SENT: dict[int, type[ZooKeeperError]] = {
    -2: errors.RuntimeInconsistencyError,
    -3: errors.DataInconsistencyError,
    -5: errors.MarshallingError,
    -6: errors.UnimplementedError,
    -8: errors.BadArgumentsError,
    -12: SessionExpiredError,
    -13: errors.NewConfigNoQuorumError,
    -14: errors.ReconfigInProgressError,
    -101: NoNodeError,
    -102: errors.NoAuthError,
    -103: BadVersionError,
    -108: errors.NoChildrenForEphemeralsError,
    -110: NodeExistsError,
    -111: errors.NotEmptyError,
    -112: SessionExpiredError,
    -114: errors.InvalidAclError,
    -115: AuthFailedError,
    -118: SessionMovedError,
    -119: errors.NotReadOnlyError,
    -120: errors.EphemeralOnLocalSessionError,
    -121: errors.NoWatcherError,
    -123: errors.ReconfigDisabledError,
    -124: AuthFailedError,
    -125: errors.QuotaExceededError,
    -127: errors.ThrottledError,
}
"""What servers send."""

NOT_SENT: dict[int, type[ZooKeeperError]] = {
    -1: errors.ServerSystemError,
    -4: ConnectionLossError,
    -7: errors.OperationTimeoutError,
    -100: errors.ApiError,
    -113: ServerError,
    -122: errors.RequestTimeoutError,
}
"""Markers, and what clients make themselves; if one comes all the same, it is no surprise."""

UNKNOWN = [-9, -15, -116, -117, -126, -999, 1, 2**31 - 1, -(2**31)]
"""Of the C client only, or of no version."""


@pytest.mark.parametrize("code, kind", [*SENT.items(), *NOT_SENT.items()])
def test_class_of_a_code(code: int, kind: type[ZooKeeperError]) -> None:
    error = error_from_code(code, "/a", operation="get", zxid=7)
    assert type(error) is kind
    assert str(error)
    if isinstance(error, ServerError):
        assert (error.code, error.path, error.operation, error.zxid) == (code, "/a", "get", 7)
        assert str(error).startswith("get /a: ")
        assert str(error).endswith(f" ({ErrorCode(code).name} {code})")


def test_every_known_code_is_here() -> None:
    assert {*SENT, *NOT_SENT, 0} == set(ErrorCode)
    used = {type(error_from_code(code)) for code in {*SENT, *NOT_SENT}}
    assert used >= {kind for kind in CLASSES if issubclass(kind, ServerError)}  # no class without a code


@pytest.mark.parametrize("code", UNKNOWN)
def test_unknown_code(code: int) -> None:
    error = error_from_code(code, "/a", operation="get")
    assert type(error) is ServerError
    assert error.code == code
    assert str(error) == f"get /a: the server answered with an error (unknown code {code})"


def test_session_errors_know_their_code() -> None:
    codes = {
        ConnectionLossError: -4,
        SuspendedError: -4,
        ConnectError: -4,
        ClosedError: -4,
        TlsError: -4,
        SessionExpiredError: -112,
        SessionMovedError: -118,
        AuthFailedError: -115,
    }
    assert {kind: kind.code for kind in CLASSES if issubclass(kind, SessionError) and kind is not SessionError} == codes


# --- whether the change may have happened

UNCERTAIN = {errors.OperationTimeoutError, errors.RequestTimeoutError, CallTimeoutError}


def test_what_may_have_been_applied() -> None:
    assert {kind for kind in CLASSES if kind.maybe_applied} == UNCERTAIN
    reported = error_from_code(-4, "/a")
    assert reported.maybe_applied
    assert reported.path == "/a"
    for kind in ConnectionLossError, SuspendedError, SessionExpiredError, ClosedError:
        assert not kind("reason").maybe_applied
        assert kind("reason", maybe_applied=True).maybe_applied


# --- messages

SECRET = b"hunter2"
SMALLER = "split it, or raise jute.maxbuffer on every server and max_request here"
EXAMPLES: list[tuple[ZooKeeperError, str]] = [
    (ZooKeeperError("something"), "something"),
    (ServerError(-999), "the server answered with an error (unknown code -999)"),
    (ServerError(-113, "/a"), "/a: the server answered with an error (INVALID_CALLBACK -113)"),
    (NodeExistsError(-110, "/a", operation="create"), "create /a: the znode exists already (NODE_EXISTS -110)"),
    (NodeExistsError(-110, operation="create"), "create: the znode exists already (NODE_EXISTS -110)"),
    (NoNodeError(-101, "/a", operation="get"), "get /a: no such znode (NO_NODE -101)"),
    (NoNodeError(-101, "/a"), "/a: no such znode (NO_NODE -101)"),
    (
        NoNodeError(-101, "/a/b", operation="create with TTL"),
        "create with TTL /a/b: no such znode (NO_NODE -101); its parent does not exist",
    ),
    (
        TransactionError(2, SetData("/a", SECRET), BadVersionError(-103, "/a")),
        f"operation 2 of the transaction failed, nothing was applied: {BadVersionError(-103, '/a')}",
    ),
    (SessionError("something"), "something"),
    (ConnectionLossError("reset"), "connection lost (reset); the request was not sent"),
    (
        ConnectionLossError("reset", "/a", maybe_applied=True, server="zk1:2181"),
        "/a: connection to zk1:2181 lost (reset); the change may have been applied",
    ),
    (SuspendedError("no connection", "/a"), "/a: connection lost (no connection); the request was not sent"),
    (SessionExpiredError(), "session expired: the server ended the session"),
    (SessionExpiredError("no server in time", "/a"), "/a: session expired: no server in time"),
    (SessionMovedError(), "the session is in use through another connection"),
    (AuthFailedError("the server answered AUTH_FAILED"), "the server answered AUTH_FAILED"),
    (ConnectError("no server in 10 s"), "no server in 10 s"),
    (
        ConnectError("no server in 10 s", {"a:1": "refused", "b:2": "timed out"}),
        "no server in 10 s (a:1: refused; b:2: timed out)",
    ),
    (ClosedError(), "the client is closed"),
    (ClosedError("closed", "/a", maybe_applied=True), "closed; the change may have been applied"),
    (TlsError("certificate has expired"), "TLS: certificate has expired"),
    (TlsError("no shared cipher", server="zk1:2281", permanent=True), "TLS with zk1:2281: no shared cipher"),
    (FourLetterError("ruok", "not in the server's whitelist"), "ruok: not in the server's whitelist"),
    (CallTimeoutError(2.5), "no outcome within 2.5 s; what was asked for may still happen"),
    (LeaseLostError("/l", "it expired"), "the lease of /l is lost: it expired"),
    (ProtocolError("something"), "something"),
    (LocalProtocolError("something"), "something"),
    (InvalidRequestError("something"), "something"),
    (InvalidPathError("a\0", "it is bad"), r"invalid path 'a\x00': it is bad"),
    (
        RequestTooLargeError(2000000, 1048575),
        f"the request has 2000000 bytes, the limit is 1048575; {SMALLER}",
    ),
    (
        RequestTooLargeError(5, 4, "/a"),
        f"/a: the request has 5 bytes, the limit is 4; {SMALLER}",
    ),
    (RemoteProtocolError("a frame of -1 bytes"), "a frame of -1 bytes"),
    (ReplyTooLargeError(5, 4), "a reply of 5 bytes is over the limit of 4; raise max_reply to receive it"),
    (ReplyTooLargeError(5, 4, "/a"), "/a: a reply of 5 bytes is over the limit of 4; raise max_reply to receive it"),
    *(
        (kind(code, "/a", operation="set", zxid=9), f"set /a: {kind.meaning} ({ErrorCode(code).name} {code})")
        for code, kind in {**SENT, **NOT_SENT}.items()
        if issubclass(kind, ServerError)
    ),
]


def name_of(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, ZooKeeperError) else None


def test_every_class_has_an_example() -> None:
    assert {type(error) for error, _ in EXAMPLES} == set(CLASSES)


@pytest.mark.parametrize("error, text", EXAMPLES, ids=name_of)
def test_message(error: ZooKeeperError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("error, text", EXAMPLES, ids=name_of)
def test_no_message_holds_a_secret(error: ZooKeeperError, text: str) -> None:
    assert "hunter2" not in f"{error} {error!r}"


def test_what_an_error_is_about() -> None:
    cause = BadVersionError(-103, "/a")
    error = TransactionError(1, "op", cause)
    assert (error.index, error.op, error.error, error.path) == (1, "op", cause, "/a")
    assert ConnectError("no").failures == {}
    assert ZooKeeperError("x").path is None
    assert TlsError("x", server="zk1:2281", permanent=True).permanent
    assert not TlsError("x").permanent
    asked = FourLetterError("ruok", "no answer")
    assert (asked.word, asked.reason) == ("ruok", "no answer")
    too_large = RequestTooLargeError(5, 4, "/a")
    assert (too_large.size, too_large.limit, too_large.path) == (5, 4, "/a")
    invalid = InvalidPathError("a", "why")
    assert (invalid.path, invalid.reason) == ("a", "why")


def test_mistakes_are_value_errors() -> None:
    assert {kind for kind in CLASSES if issubclass(kind, ValueError)} == {
        InvalidRequestError,
        InvalidPathError,
        RequestTooLargeError,
    }


# --- pickle

FULL: list[ZooKeeperError] = [
    *(error for error, _ in EXAMPLES),
    SuspendedError("reset", "/a", maybe_applied=True, server="zk1:2181"),
    SessionExpiredError("gone", "/a", maybe_applied=True),
    TransactionError(0, SetData("/a", b"x"), ConnectionLossError("reset", maybe_applied=True, server="zk1:2181")),
]


def same(one: Any, other: Any) -> bool:
    """Whether two errors are equal in all that they have, errors inside of them included."""
    if isinstance(one, ZooKeeperError):
        return (
            type(one) is type(other)
            and str(one) == str(other)
            and one.__dict__.keys() == other.__dict__.keys()
            and all(same(value, other.__dict__[name]) for name, value in one.__dict__.items())
            and len(one.args) == len(other.args)
            and all(map(same, one.args, other.args))
        )
    return bool(one == other)


@pytest.mark.parametrize("error", FULL, ids=name_of)
def test_pickle(error: ZooKeeperError) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert same(error, pickle.loads(pickle.dumps(error, protocol)))
    assert same(error, copy.copy(error))


def test_pickle_keeps_notes() -> None:
    error = ConnectionLossError("reset", "/a", maybe_applied=True)
    error.add_note("while closing")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while closing"]


# --- the tree in the docstring


def printed_tree() -> Iterator[tuple[str, str | None]]:
    """Each class that the docstring names, and the class above it."""
    assert errors.__doc__ is not None
    above: list[str] = []
    depth = 0
    for line in errors.__doc__.split("::\n")[1].split("\nFacts are")[0].splitlines():
        found = re.match(r"(    [ │├└─]*)(.*?)(?:   .*)?$", line)
        if found is None or found[2].startswith("("):
            continue
        lead, names = found.groups()
        if "├" in lead or "└" in lead or not above:  # otherwise the line above goes on
            depth = (len(lead) - 4) // 4
        for name in re.findall(r"\w+Error", names):
            del above[depth:]
            yield name, above[-1] if above else None
            above.append(name)


def test_the_printed_tree_is_the_tree() -> None:
    printed = list(printed_tree())
    assert len(printed) == len(dict(printed))
    assert dict(printed) == {
        kind.__name__: next((base.__name__ for base in kind.__bases__ if base in CLASSES), None) for kind in CLASSES
    }


def test_what_is_public() -> None:
    assert set(errors.__all__) == {kind.__name__ for kind in CLASSES} | {"ErrorCode", "error_from_code"}
    assert all(kind.__doc__ for kind in CLASSES)
