"""Requests: both directions, the checks before anything is sent, and what stays out of a repr."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import EXCHANGES, REQUESTS, int32, repeatable
from zk_sansio import wire
from zk_sansio.acl import ACL, ANYONE, CREATOR_ALL, OPEN, Perms
from zk_sansio.errors import InvalidPathError, InvalidRequestError, LocalProtocolError, RemoteProtocolError
from zk_sansio.wire import (
    HEADER,
    MAX_TTL_MS,
    AddWatch,
    AddWatchMode,
    Auth,
    Check,
    CheckWatches,
    ConnectRequest,
    ConnectResponse,
    Create,
    Create2,
    CreateContainer,
    Created,
    CreateMode,
    CreateTTL,
    Delete,
    Exists,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetChildren2,
    GetData,
    GetEphemerals,
    OpCode,
    Reconfig,
    RemoveWatches,
    Request,
    Sasl,
    SetACL,
    SetData,
    SetWatches,
    Stat,
    Sync,
    WatcherType,
    WhoAmI,
    Znode,
    decode_request,
)

STAT = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)

# --- the table of operations

OPCODES: dict[str, int] = {
    "Create": 1,
    "Delete": 2,
    "Exists": 3,
    "GetData": 4,
    "SetData": 5,
    "GetACL": 6,
    "SetACL": 7,
    "GetChildren": 8,
    "Sync": 9,
    "Ping": 11,
    "GetChildren2": 12,
    "Check": 13,
    "Multi": 14,
    "Create2": 15,
    "Reconfig": 16,
    "CheckWatches": 17,
    "RemoveWatches": 18,
    "CreateContainer": 19,
    "CreateTTL": 21,
    "MultiRead": 22,
    "Auth": 100,
    "SetWatches": 101,
    "Sasl": 102,
    "GetEphemerals": 103,
    "GetAllChildrenNumber": 104,
    "SetWatches2": 105,
    "AddWatch": 106,
    "WhoAmI": 107,
    "CloseSession": -11,
}
NOT_IDEMPOTENT = {
    "Create",
    "Create2",
    "CreateContainer",
    "CreateTTL",
    "Delete",
    "SetData",
    "SetACL",
    "Check",
    "Multi",
    "Reconfig",
    "Sasl",
}


def test_opcodes() -> None:
    assert {kind.__name__: number for number, kind in wire.REQUESTS.items()} == OPCODES
    assert all(kind.opcode == number for number, kind in wire.REQUESTS.items())
    assert set(wire.REQUESTS) == set(OpCode) - {OpCode.ERROR}
    assert set(REQUESTS) == set(EXCHANGES) == set(wire.REQUESTS.values())  # each is tried here


def test_what_may_be_sent_twice() -> None:
    assert {kind.__name__ for kind in wire.REQUESTS.values() if not kind.idempotent} == NOT_IDEMPOTENT


def test_every_request_has_a_name_for_messages() -> None:
    assert all(kind.name and kind.__doc__ for kind in wire.REQUESTS.values())


# --- both directions


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: str(kind.__name__))
@repeatable
@given(data=st.data(), xid=int32, behind=st.binary(max_size=5))
def test_request(kind: type[Request[Any]], data: st.DataObject, xid: int, behind: bytes) -> None:
    request = data.draw(REQUESTS[kind])
    frame = request.encode(xid)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    decoded = decode_request(frame[4:] + behind)
    assert decoded == (xid, request)
    assert type(decoded[1]) is kind
    assert decode_request(memoryview(frame)[4:]) == decoded
    assert decoded[1].encode(xid) == frame


@pytest.mark.parametrize("kind", EXCHANGES, ids=lambda kind: str(kind.__name__))
@repeatable
@given(data=st.data(), behind=st.binary(max_size=5))
def test_reply(kind: type[Request[Any]], data: st.DataObject, behind: bytes) -> None:
    request, reply = data.draw(EXCHANGES[kind])
    frame = HEADER.pack(1, 2, 0) + request.encode_reply(reply)
    for variant in frame, frame + behind, memoryview(frame):
        decoded = request.decode(variant, HEADER.size)
        assert decoded == reply
        assert type(decoded) is type(reply)


def test_header_of_a_request() -> None:
    assert Exists("/").encode(-2**31) == bytes.fromhex("0000000e 80000000 00000003 00000001 2f 00")  # fmt: skip
    assert wire.Ping().encode(wire.XID_PING) == bytes.fromhex("00000008 fffffffe 0000000b")


@pytest.mark.parametrize("length", range(8))
def test_no_room_for_a_header(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match="not a request"):
        decode_request(bytes(length))


@pytest.mark.parametrize("opcode", [0, -1, 10, 20, 99, -10, 2**31 - 1, -(2**31)])
def test_unknown_opcode(opcode: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"unknown opcode {opcode}"):
        decode_request(bytes(4) + opcode.to_bytes(4, "big", signed=True))


def test_a_reply_that_needs_a_stat() -> None:
    for request in Create2("/a"), CreateContainer("/a"), CreateTTL("/a"):
        with pytest.raises(InvalidRequestError, match="needs a Stat"):
            request.encode_reply(Created("/a", None))
    assert Create("/a").encode_reply(Created("/a", STAT)) == b"\0\0\0\2/a"  # op 1 has none to give


def test_permissions_are_kept_as_they_are() -> None:
    request = SetACL("/a", [ACL(-1, ANYONE), ACL(2**31 - 1, ANYONE)])
    frame = request.encode(1)
    assert decode_request(frame[4:])[1].encode(1) == frame


# --- null and empty data


@pytest.mark.parametrize("data, encoded", [(None, b"\xff\xff\xff\xff"), (b"", bytes(4)), (b"x", b"\0\0\0\1x")])
def test_null_and_empty_data(data: bytes | None, encoded: bytes) -> None:
    assert Create("/a", data).body()[6:].startswith(encoded + b"\0\0\0\1")
    assert SetData("/a", data).body() == b"\0\0\0\2/a" + encoded + b"\xff\xff\xff\xff"
    assert Sasl(data).body() == encoded
    assert Auth(0, "x", data).body() == b"\0\0\0\0\0\0\0\1x" + encoded
    node = Znode(data, STAT)
    assert GetData("/a").encode_reply(node).startswith(encoded)
    decoded = GetData("/a").decode(GetData("/a").encode_reply(node), 0)
    assert decoded == node
    assert type(decoded.data) is type(data)


@pytest.mark.parametrize("length", [-2, -(2**31)])
def test_a_negative_length_of_data(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"a buffer of {length} bytes"):
        GetData("/a").decode(length.to_bytes(4, "big", signed=True) + bytes(80), 0)


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab")])
def test_data_of_other_types_is_copied(data: Any) -> None:
    assert SetData("/a", data).body() == SetData("/a", b"ab").body()
    assert Create("/a", data).body() == Create("/a", b"ab").body()


# --- paths

WITH_PATH = [
    lambda path: Create(path),
    lambda path: Create2(path),
    lambda path: CreateContainer(path, mode=CreateMode.CONTAINER),
    lambda path: CreateTTL(path, mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=1),
    lambda path: Delete(path),
    lambda path: Exists(path),
    lambda path: GetData(path),
    lambda path: SetData(path, b""),
    lambda path: GetACL(path),
    lambda path: SetACL(path, OPEN),
    lambda path: GetChildren(path),
    lambda path: GetChildren2(path),
    lambda path: Sync(path),
    lambda path: Check(path, 1),
    lambda path: GetAllChildrenNumber(path),
    lambda path: AddWatch(path, AddWatchMode.PERSISTENT),
    lambda path: CheckWatches(path, WatcherType.ANY),
    lambda path: RemoveWatches(path, WatcherType.ANY),
]


@pytest.mark.parametrize("make", WITH_PATH, ids=lambda make: type(make("/")).__name__)
def test_every_path_is_checked(make: Any) -> None:
    for path in "", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/\0", "/\x7f", "/\ud800", "/\ue000", "/\ufff0":
        with pytest.raises(InvalidPathError) as caught:
            make(path).encode(1)
        assert caught.value.path == path
    with pytest.raises(InvalidPathError, match=r"U\+1F600"):
        make("/\U0001f600").encode(1)
    for wrong in b"/a", None, 5, PurePosixPath("/a"):
        with pytest.raises(TypeError, match="a path is a str, not"):
            make(wrong).encode(1)
    for path in "/", "/a", "/a b/é/...", "/\uffef", "/\xa0":
        assert decode_request(make(path).encode(1)[4:])[1].target == path


SEQUENTIAL = [
    Create("/a/", mode=CreateMode.PERSISTENT_SEQUENTIAL),
    Create("/a/", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
    Create2("/", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
    CreateTTL("/a/", mode=CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, ttl_ms=1),
    Create("/a/.", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
    Create("/a/..", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
]


@pytest.mark.parametrize("request_", SEQUENTIAL, ids=repr)
def test_a_number_completes_the_path(request_: Request[Any]) -> None:
    assert decode_request(request_.encode(1)[4:])[1].target == request_.target


def test_no_number_completes_the_path() -> None:
    for mode in CreateMode.PERSISTENT, CreateMode.EPHEMERAL:
        with pytest.raises(InvalidPathError, match="must not end with"):
            Create("/a/", mode=mode).encode(1)
    with pytest.raises(InvalidPathError, match="must not end with"):
        CreateTTL("/a/", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=1).encode(1)


def test_requests_without_a_path() -> None:
    assert GetEphemerals("/a").target is None  # a prefix is not a path
    assert wire.Ping().target is None
    assert wire.Multi([Delete("/a")]).target is None
    assert GetEphemerals("relative").body() == b"\0\0\0\x08relative"
    assert GetEphemerals().body() == b"\xff\xff\xff\xff"


# --- modes and times to live

ORDINARY = {0, 1, 2, 3}
MODES: dict[type[Any], set[int]] = {Create: ORDINARY, Create2: ORDINARY, CreateContainer: {4}, CreateTTL: {5, 6}}


@pytest.mark.parametrize("mode", [*range(-1, 9), 2**31, None, "PERSISTENT", 1.5], ids=repr)
@pytest.mark.parametrize("kind", MODES)
def test_modes_of_a_request(kind: type[Any], mode: Any) -> None:
    request = kind("/a", mode=mode)
    if kind is CreateTTL:
        request.ttl_ms = 1
    if mode in MODES[kind]:
        assert decode_request(request.encode(1)[4:])[1].mode == mode  # type: ignore[attr-defined]
    else:
        with pytest.raises(InvalidRequestError, match=f"{request.name} does not take mode"):
            request.encode(1)


def test_a_mode_that_is_equal_to_one() -> None:
    assert Create("/a", mode=1.0).body() == Create("/a", mode=CreateMode.EPHEMERAL).body()  # type: ignore[arg-type]


@pytest.mark.parametrize("ttl", [1, 60_000, MAX_TTL_MS])
def test_ttl(ttl: int) -> None:
    frame = CreateTTL("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=ttl).encode(1)
    assert frame.endswith(b"\0\0\0\5" + ttl.to_bytes(8, "big"))


@pytest.mark.parametrize("ttl", [0, -1, MAX_TTL_MS + 1, -(2**63), 2**63])
def test_ttl_out_of_range(ttl: int) -> None:
    with pytest.raises(InvalidRequestError, match=r"a TTL is 1 to 1099511627775|does not fit into 64 bits"):
        CreateTTL("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=ttl).encode(1)


@pytest.mark.parametrize("ttl", [1.5, "60", None])
def test_ttl_of_another_type(ttl: Any) -> None:
    with pytest.raises(TypeError, match="expected an int"):
        CreateTTL("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=ttl).encode(1)


@pytest.mark.parametrize("mode", [-1, 2, 2**31, "PERSISTENT", None])
def test_modes_of_a_watch(mode: Any) -> None:
    with pytest.raises(InvalidRequestError, match="is not one of AddWatchMode"):
        AddWatch("/a", mode).encode(1)


@pytest.mark.parametrize("kind", [0, 6, -1, "ANY", None])
def test_types_of_watches(kind: Any) -> None:
    for request in CheckWatches("/a", kind), RemoveWatches("/a", kind):
        with pytest.raises(InvalidRequestError, match="is not one of WatcherType"):
            request.encode(1)


def test_watches_of_a_kind_that_no_server_knows() -> None:
    frame = bytearray(AddWatch("/a", AddWatchMode.PERSISTENT_RECURSIVE).encode(1)[4:])
    assert decode_request(bytes(frame))[1] == AddWatch("/a", AddWatchMode.PERSISTENT_RECURSIVE)
    frame[-1] = 2
    with pytest.raises(RemoteProtocolError, match="2 is not one of AddWatchMode"):
        decode_request(bytes(frame))


# --- access control lists


@pytest.mark.parametrize("acl", [(), [], None])
def test_an_acl_has_an_entry(acl: Any) -> None:
    for request in Create("/a", acl=acl), Create2("/a", b"", acl), SetACL("/a", acl):
        with pytest.raises(InvalidRequestError, match="an ACL needs at least one entry"):
            request.encode(1)


def test_the_open_acl_is_encoded_once_and_rightly() -> None:
    assert Create("/a").body() == Create("/a", acl=list(OPEN)).body()
    assert SetACL("/a", OPEN).body() == SetACL("/a", [ACL(Perms.ALL, ANYONE)]).body()
    assert SetACL("/a", CREATOR_ALL).body() != SetACL("/a", OPEN).body()


def test_one_entry_is_not_a_list() -> None:
    for request in Create("/a", acl=OPEN[0]), SetACL("/a", OPEN[0]):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"an ACL holds ACL\(perms, Id\(scheme, id\)\), not Perms"):
            request.encode(1)


# --- ranges and types


@pytest.mark.parametrize("version", [2**31, -(2**31) - 1])
@pytest.mark.parametrize("make", [Delete, Check, lambda path, v: SetData(path, b"", v)])
def test_version_out_of_range(make: Any, version: int) -> None:
    with pytest.raises(InvalidRequestError, match="does not fit into 32 bits"):
        make("/a", version).encode(1)


def test_other_numbers_out_of_range() -> None:
    requests: list[Request[Any]] = [
        SetACL("/a", OPEN, 2**31),
        Reconfig(None, None, None, 2**63),
        SetWatches(2**63),
        Auth(2**31, "digest", b""),
    ]
    for request in requests:
        with pytest.raises(InvalidRequestError, match="does not fit into"):
            request.encode(1)


def test_wrong_types() -> None:
    wrong: list[tuple[Any, str]] = [
        (Delete("/a", "1"), "expected an int, not str"),  # type: ignore[arg-type]
        (Delete("/a", None), "expected an int, not NoneType"),  # type: ignore[arg-type]
        (SetData("/a", "text"), "data is bytes or None, not str"),  # type: ignore[arg-type]
        (Create("/a", 5), "data is bytes or None, not int"),  # type: ignore[arg-type]
        (Auth(0, "digest", "bob:secret"), "data is bytes or None, not str"),  # type: ignore[arg-type]
        (Auth(0, None, b""), "expected a str, not None"),  # type: ignore[arg-type]
        (Auth(0, b"digest", b""), "expected a str, not bytes"),  # type: ignore[arg-type]
        (Sasl("token"), "data is bytes or None, not str"),  # type: ignore[arg-type]
        (GetEphemerals(b"/"), "expected a str, not bytes"),  # type: ignore[arg-type]
        (Reconfig(["server.1"], None, None), "expected a str, not list"),  # type: ignore[arg-type]
        (SetWatches(0, "/a"), "expected a sequence, not str"),
        (SetWatches(0, [b"/a"]), "expected a str, not bytes"),  # type: ignore[list-item]
    ]
    for request, text in wrong:
        with pytest.raises(TypeError, match=text):
            request.encode(1)


def test_a_mistake_is_a_local_error_and_a_value_error() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        CreateTTL("/a").encode(1)
    assert isinstance(caught.value, LocalProtocolError)
    assert isinstance(caught.value, ValueError)


# --- secrets

SECRET = b"hunter2"
WITH_SECRETS: list[object] = [
    Auth(0, "digest", b"bob:" + SECRET),
    Sasl(SECRET),
    SetData("/a", SECRET),
    Create("/a", SECRET),
    Create2("/a", SECRET),
    CreateContainer("/a", SECRET, mode=CreateMode.CONTAINER),
    CreateTTL("/a", SECRET, mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=1),
    wire.Multi([SetData("/a", SECRET), Create("/b", SECRET)]),
    ConnectRequest(last_zxid=0, timeout_ms=1, session_id=5, password=SECRET, read_only=False),
    ConnectResponse(timeout_ms=1, session_id=5, password=SECRET, read_only=False),
]


@pytest.mark.parametrize("record", WITH_SECRETS, ids=lambda record: type(record).__name__)
def test_secrets_stay_out_of_a_repr(record: object) -> None:
    assert "hunter2" not in f"{record!r} {record}"
    assert type(record).__name__ in repr(record)


def test_a_repr_tells_the_rest() -> None:
    assert repr(Delete("/a", 3)) == "Delete(path='/a', version=3)"
    assert repr(SetData("/a", b"x", 3)) == "SetData(path='/a', version=3)"
    assert repr(WhoAmI()) == "WhoAmI()"
    assert "path='/a'" in repr(Create("/a"))
    assert repr(Auth(0, "digest", b"x")) == "Auth(auth_type=0, scheme='digest')"
