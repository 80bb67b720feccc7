"""The codec against bytes that real servers got and sent, in both directions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.wire.vectors import VECTORS, Vector, vector
from zk_sansio import acl, wire
from zk_sansio.acl import ACL, OPEN, Id, Perms
from zk_sansio.errors import (
    AuthFailedError,
    InvalidPathError,
    InvalidRequestError,
    RemoteProtocolError,
    ReplyTooLargeError,
    error_from_code,
)
from zk_sansio.wire import (
    HEADER,
    XID_NOTIFICATION,
    ConnectRequest,
    ConnectResponse,
    Created,
    CreateMode,
    EventType,
    Failed,
    KeeperState,
    OpCode,
    Request,
    Stat,
    WatcherEvent,
    WatcherType,
    Znode,
    decode_request,
)

CONNECT = {
    "connect_new",
    "connect_timeout_raised",
    "connect_timeout_lowered",
    "connect_without_readonly_byte",
    "connect_readonly_allowed_on_rw_server",
    "connect_reattach",
    "connect_expired_session",
    "connect_zxid_ahead",
    "connect_wrong_password",
    "readonly_connect",
    "readonly_connect_refused",
    "ensemble_connect_negative_session_id",
    "ensemble_local_session_moved",
}
"""The first frame of a connection, which has no header."""

REFUSED_BY_DECODER = {
    "multi_with_read_op": "opcode 4 inside a multi",
    "multi_read_with_write_op": "opcode 2 inside a multi read",
    "multi_missing_end_header": "unpack_from requires",
    "truncated_request": "a boolean is missing",
    "unknown_opcode": "unknown opcode 999",
}
"""Deliberately malformed: a server cannot read them, and says so. Name and what `decode_request` says."""

FRAME_REFUSED = "frame_too_long"
"""Only a length, one above the limit: no request."""

REFUSED_BY_ENCODER: dict[str, tuple[type[InvalidRequestError], str]] = {
    "create_ttl_zero": (InvalidRequestError, "a TTL is 1 to"),
    "create_empty_acl": (InvalidRequestError, "an ACL needs at least one entry"),
    "create_relative_component": (InvalidPathError, "relative components"),
    "sync_supplementary_char": (InvalidPathError, r"character U\+1F600 at position 2"),
    "multi_bad_create_flags": (InvalidRequestError, "create does not take mode 9"),
}
"""Well-formed, but the server refuses them (sync does not look), so this client does not send them."""

TRAILING = "request_with_trailing_bytes"
"""Read as if the bytes behind the record were not there, so it is written without them."""

NO_READONLY_BYTE = "connect_without_readonly_byte"
"""From before 3.4; it is read as false, and always written."""

BODY_WITH_ERROR = {"multi_read_with_write_op", "sasl_digest_md5_wrong_password"}
"""Replies that carry a record although their code is not 0; nobody may look at it."""

CESU_8, UTF_8 = b"\0\0\0\x08/x\xed\xa0\xbd\xed\xb8\x80", b"\0\0\0\x06/x\xf0\x9f\x98\x80"


def selected(names: set[str]) -> list[Vector]:
    return [each for each in VECTORS if each.name in names]


ODD = {*CONNECT, *REFUSED_BY_DECODER, FRAME_REFUSED, *REFUSED_BY_ENCODER, TRAILING}
PLAIN = [each for each in VECTORS if each.name not in ODD]
READABLE = [each for each in VECTORS if each.name not in {*CONNECT, *REFUSED_BY_DECODER, FRAME_REFUSED}]


def test_no_vector_is_left_out() -> None:
    assert len(VECTORS) == 207
    assert len({(each.name, each.server) for each in VECTORS}) == 207
    groups = Counter(
        {
            "connect": len(selected(CONNECT)),
            "refused by the decoder": len(selected(set(REFUSED_BY_DECODER))),
            "refused by the encoder": len(selected(set(REFUSED_BY_ENCODER))),
            "a length only": len(selected({FRAME_REFUSED})),
            "trailing bytes": len(selected({TRAILING})),
            "plain": len(PLAIN),
        }
    )
    assert groups.total() == 207
    assert {each.name for each in VECTORS} >= ODD


# --- requests


@pytest.mark.parametrize("capture", PLAIN, ids=str)
def test_request(capture: Vector) -> None:
    xid, request = decode_request(capture.request[4:])
    assert request.encode(xid) == capture.request


@pytest.mark.parametrize("capture", PLAIN, ids=str)
def test_request_in_a_view(capture: Vector) -> None:
    assert decode_request(memoryview(capture.request)[4:]) == decode_request(capture.request[4:])


@pytest.mark.parametrize("capture", selected({TRAILING}), ids=str)
def test_bytes_behind_a_request_are_ignored(capture: Vector) -> None:
    xid, request = decode_request(capture.request[4:])
    written = request.encode(xid)
    assert written[4:] + b"junk" == capture.request[4:]
    assert int.from_bytes(written[:4], "big") + 4 == int.from_bytes(capture.request[:4], "big")


@pytest.mark.parametrize("capture", selected(set(REFUSED_BY_DECODER)), ids=str)
def test_malformed_request(capture: Vector) -> None:
    with pytest.raises(RemoteProtocolError, match=REFUSED_BY_DECODER[capture.name]):
        decode_request(capture.request[4:])
    ((_, _, code),) = (HEADER.unpack_from(frame) for frame in capture.frames)
    assert code in (-5, -6)  # the real server did not understand it either


@pytest.mark.parametrize("capture", selected(set(REFUSED_BY_ENCODER)), ids=str)
def test_request_that_is_not_sent(capture: Vector) -> None:
    xid, request = decode_request(capture.request[4:])
    error, text = REFUSED_BY_ENCODER[capture.name]
    with pytest.raises(error, match=text) as caught:
        request.encode(xid)
    assert type(caught.value) is error


@pytest.mark.parametrize("capture", selected({FRAME_REFUSED}), ids=str)
def test_frame_over_the_limit(capture: Vector) -> None:
    frames = wire.FrameDecoder(wire.DEFAULT_MAX_REQUEST)
    assert frames.receive_data(capture.request) == []
    assert isinstance(frames.error, ReplyTooLargeError)
    assert frames.error.size == wire.DEFAULT_MAX_REQUEST + 1
    assert capture.reply == b""


# --- replies


@pytest.mark.parametrize("capture", VECTORS, ids=str)
def test_frames_of_the_reply(capture: Vector) -> None:
    frames = wire.FrameDecoder(wire.DEFAULT_MAX_REPLY)
    assert frames.receive_data(capture.reply) == capture.frames
    assert frames.error is None
    assert not frames.partial


def split(capture: Vector) -> tuple[list[bytes], list[bytes]]:
    """The notifications and the replies among the frames."""
    kinds: tuple[list[bytes], list[bytes]] = ([], [])
    for frame in capture.frames:
        kinds[HEADER.unpack_from(frame)[0] != XID_NOTIFICATION].append(frame)
    return kinds


ANSWERED = [each for each in VECTORS if each.name not in CONNECT and each.reply]
SUCCESSES = [each for each in READABLE if any(not HEADER.unpack_from(frame)[2] for frame in split(each)[1])]
FAILURES = [each for each in ANSWERED if any(HEADER.unpack_from(frame)[2] for frame in split(each)[1])]
NOTIFIED = [each for each in ANSWERED if split(each)[0]]


def test_no_reply_is_left_out() -> None:
    assert all(len(split(each)[1]) == 1 for each in ANSWERED)  # one reply to each, between the notifications
    assert len(SUCCESSES) + len(FAILURES) == len(ANSWERED)
    silent = {each.name for each in VECTORS if not each.reply}
    assert silent == {"connect_zxid_ahead", "frame_too_long", "readonly_connect_refused"}


@pytest.mark.parametrize("capture", SUCCESSES, ids=str)
def test_reply(capture: Vector) -> None:
    _, request = decode_request(capture.request[4:])
    (frame,) = split(capture)[1]
    reply = request.decode(frame, HEADER.size)
    assert request.decode(memoryview(frame), HEADER.size) == reply
    assert request.decode(frame + b"later fields", HEADER.size) == reply
    written = frame[: HEADER.size] + request.encode_reply(reply)
    if capture.name == "sync_supplementary_char":
        assert reply == "/x\U0001f600"
        assert CESU_8 in frame
        assert written == frame.replace(CESU_8, UTF_8)  # Java writes surrogates, we write UTF-8
    else:
        assert written == frame


@pytest.mark.parametrize("capture", FAILURES, ids=str)
def test_failure(capture: Vector) -> None:
    (frame,) = split(capture)[1]
    xid, _, code = HEADER.unpack_from(frame)
    assert (len(frame) > HEADER.size) == (capture.name in BODY_WITH_ERROR)
    assert f"{code}" in str(error_from_code(code)) or isinstance(error_from_code(code), AuthFailedError)
    assert xid == int.from_bytes(capture.request[4:8], "big", signed=True)


@pytest.mark.parametrize("capture", NOTIFIED, ids=str)
def test_notification(capture: Vector) -> None:
    for frame in split(capture)[0]:
        xid, zxid, code = HEADER.unpack_from(frame)
        assert (xid, code) == (-1, 0)
        assert zxid == -1 or (zxid > 0 and capture.server == "3.9.5")
        event = WatcherEvent.decode(frame, HEADER.size)
        assert isinstance(event.type, EventType)
        assert event.state is KeeperState.SYNC_CONNECTED
        assert frame[: HEADER.size] + event.encode() == frame


# --- the handshake


@pytest.mark.parametrize("capture", selected(CONNECT), ids=str)
def test_connect(capture: Vector) -> None:
    request = ConnectRequest.decode(capture.request[4:])
    replies = [ConnectResponse.decode(frame) for frame in capture.frames]
    written = b"".join(reply.encode() for reply in replies)
    if capture.name == NO_READONLY_BYTE:
        assert not request.read_only
        assert request.encode() == b"\0\0\0\x2d" + capture.request[4:] + b"\0"
        assert [reply.read_only for reply in replies] == [False]
        assert written == b"\0\0\0\x25" + capture.reply[4:] + b"\0"
    else:
        assert request.encode() == capture.request
        assert written == capture.reply


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_connect_as_described(version: str) -> None:
    def exchange(name: str) -> tuple[ConnectRequest, ConnectResponse]:
        capture = vector(name, version)
        (frame,) = capture.frames
        return ConnectRequest.decode(capture.request[4:]), ConnectResponse.decode(frame)

    asked, got = exchange("connect_new")
    assert asked == ConnectRequest(last_zxid=0, timeout_ms=10000, session_id=0, password=bytes(16), read_only=False)
    assert (got.timeout_ms, len(got.password), got.read_only) == (10000, 16, False)
    assert got.session_id != 0
    asked, got = exchange("connect_timeout_raised")
    assert (asked.timeout_ms, got.timeout_ms) == (1000, 4000)
    asked, got = exchange("connect_timeout_lowered")
    assert (asked.timeout_ms, got.timeout_ms) == (600000, 40000)
    asked, got = exchange("connect_readonly_allowed_on_rw_server")
    assert (asked.read_only, got.read_only) == (True, False)
    asked, got = exchange("connect_reattach")
    assert (asked.session_id, asked.password) == (got.session_id, got.password)
    asked, got = exchange("connect_expired_session")
    assert asked.session_id != 0
    assert (got.timeout_ms, got.session_id, got.password) == (0, 0, bytes(16))
    assert exchange("connect_wrong_password")[1] == got
    assert ConnectRequest.decode(vector("connect_zxid_ahead", version).request[4:]).last_zxid == 0x7FFF << 32


def test_connect_to_an_ensemble() -> None:
    def response(name: str) -> ConnectResponse:
        (frame,) = vector(name).frames
        return ConnectResponse.decode(frame)

    assert response("readonly_connect").read_only
    assert response("ensemble_connect_negative_session_id").session_id >> 56 == 0xC8 - 0x100
    assert response("ensemble_local_session_moved").timeout_ms == 0


# --- requests made from Python arguments

BUILT: dict[str, Request[Any]] = {
    "create_persistent": wire.Create("/vec/a", b"hello"),
    "create2_persistent": wire.Create2("/vec/b", b"x"),
    "create_null_data": wire.Create("/vec/null", None),
    "create_empty_data": wire.Create("/vec/empty"),
    "create_ephemeral": wire.Create2("/vec/e", mode=CreateMode.EPHEMERAL),
    "create_persistent_sequential": wire.Create("/vec/s-", mode=CreateMode.PERSISTENT_SEQUENTIAL),
    "create_ephemeral_sequential": wire.Create2("/vec/es-", b"", [ACL(Perms.ALL, acl.ANYONE)], CreateMode(3)),
    "create_container": wire.CreateContainer("/vec/c", mode=CreateMode.CONTAINER),
    "create_ttl": wire.CreateTTL("/vec/t", b"", OPEN, CreateMode.PERSISTENT_WITH_TTL, 60_000),
    "create_ttl_sequential": wire.CreateTTL("/vec/ts-", mode=CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, ttl_ms=60_000),
    "create_auth_acl_unauthenticated": wire.Create("/vec/acl1", acl=acl.CREATOR_ALL),
    "create_root": wire.Create("/"),
    "exists_nonode": wire.Exists("/vec/zz"),
    "watch_exists_nonode_then_created": wire.Exists("/vec/w1", watch=True),
    "get_data": wire.GetData("/vec/a"),
    "watch_data_then_changed": wire.GetData("/vec/w1", True),
    "set_data": wire.SetData("/vec/a", b"world", 0),
    "watch_own_write_order": wire.SetData("/vec/w1", b"own"),
    "get_children": wire.GetChildren("/vec"),
    "get_children2": wire.GetChildren2("/vec"),
    "get_all_children_number": wire.GetAllChildrenNumber("/vec"),
    "get_ephemerals": wire.GetEphemerals("/vec"),
    "who_am_i": wire.WhoAmI(),
    "sync": wire.Sync("/vec"),
    "get_acl": wire.GetACL("/vec/a"),
    "set_acl": wire.SetACL(
        "/vec/b", (ACL(Perms.ALL & ~Perms.ADMIN, acl.ANYONE), ACL(Perms.ADMIN, Id("world", "anyone"))), 0
    ),
    "set_acl_badversion": wire.SetACL("/vec/b", OPEN, 9),
    "get_config": wire.GetData("/zookeeper/config"),
    "reconfig_standalone": wire.Reconfig("server.9=127.0.0.1:1:2;3", None, None),
    "delete_ok": wire.Delete("/vec/empty"),
    "delete_badversion": wire.Delete("/vec/b", 5),
    "multi_success": wire.Multi(
        [
            wire.Check("/vec/a", 1),
            wire.Create("/vec/m1", b"1"),
            wire.Create2("/vec/m2", b"2"),
            wire.SetData("/vec/m1", b"3"),
            wire.Delete("/vec/m2"),
            wire.CreateContainer("/vec/mc", mode=CreateMode.CONTAINER),
        ]
    ),
    "multi_empty": wire.Multi(),
    "multi_read_mixed": wire.MultiRead(
        [wire.GetData("/vec/a"), wire.GetData("/vec/zz"), wire.GetChildren("/vec/a")],
    ),
    "check_outside_multi": wire.Check("/v2", -1),
    "auth_digest": wire.Auth(0, "digest", b"bob:secret"),
    "sasl_digest_md5_step1": wire.Sasl(b""),
    "add_watch_persistent": wire.AddWatch("/vec/p", wire.AddWatchMode.PERSISTENT),
    "add_watch_persistent_recursive": wire.AddWatch("/vec/r", wire.AddWatchMode.PERSISTENT_RECURSIVE),
    "check_watches_ok": wire.CheckWatches("/vec/r", WatcherType.ANY),
    "remove_watches_recursive_type5": wire.RemoveWatches("/vec/r", WatcherType.PERSISTENT_RECURSIVE),
    "set_watches_missed_events": wire.SetWatches(
        70, ["/vec/d", "/vec/d2", "/vec/del"], ["/vec/ne", "/vec/ne2"], ["/vec/c", "/vec/cdel"]
    ),
    "set_watches2_missed_events": wire.SetWatches2(70, ["/vec/d"], (), ["/vec/c"], ["/vec/pw"], ["/vec/rw"]),
    "ping": wire.Ping(),
    "close_session": wire.CloseSession(),
}


def test_every_operation_is_built() -> None:
    assert {request.opcode for request in BUILT.values()} == set(OpCode) - {OpCode.ERROR}


@pytest.mark.parametrize("name", BUILT)
def test_built_request(name: str) -> None:
    capture = vector(name)
    assert BUILT[name].encode(int.from_bytes(capture.request[4:8], "big", signed=True)) == capture.request


# --- what the values say


def reply_of(name: str, version: str = "3.9.5") -> Any:
    capture = vector(name, version)
    (frame,) = split(capture)[1]
    assert HEADER.unpack_from(frame)[2] == 0
    return decode_request(capture.request[4:])[1].decode(frame, HEADER.size)


def code_of(name: str, version: str = "3.9.5") -> int:
    (frame,) = split(vector(name, version))[1]
    code: int = HEADER.unpack_from(frame)[2]
    return code


def events_of(name: str, version: str = "3.9.5") -> list[tuple[int, str]]:
    events = [WatcherEvent.decode(frame, HEADER.size) for frame in split(vector(name, version))[0]]
    return [(int(event.type), event.path) for event in events]


def test_stat() -> None:
    stat = reply_of("exists_ok")
    assert stat == Stat(14, 14, 1795219606561, 1795219606561, 0, 0, 0, 0, 5, 0, 14)
    assert not stat.ephemeral
    assert reply_of("ensemble_local_session_upgrade").stat.ephemeral_owner < 0
    assert reply_of("ensemble_local_session_upgrade").stat.ephemeral


def test_values_of_reads() -> None:
    assert reply_of("get_data").data == b"hello"
    for name, data in ("get_data_null", None), ("get_data_empty", b""), ("get_config", b""):
        node = reply_of(name)
        assert isinstance(node, Znode)
        assert (node.data, node.stat.data_length) == (data, 0)
    children = reply_of("get_children")
    assert set(children) == {"a", "b", "c", "e", "empty", "null", "t"} | {
        "es-0000000006",
        "s-0000000005",
        "ts-0000000009",
    }
    assert reply_of("get_children2").names == children
    assert reply_of("get_children2").stat.num_children == len(children) == 10
    assert reply_of("get_children_empty") == []
    assert reply_of("get_all_children_number") == 10
    assert set(reply_of("get_ephemerals")) == {"/vec/e", "/vec/es-0000000006"}
    assert reply_of("who_am_i") == [Id("ip", "127.0.0.1")]
    assert reply_of("who_am_i_sasl") == [Id("sasl", "bob"), Id("ip", "127.0.0.1")]
    assert reply_of("sync") == "/vec"
    assert reply_of("ensemble_get_config").data.endswith(b"version=100000008")
    assert reply_of("ensemble_get_config").stat.version == -1


def test_values_of_acls() -> None:
    assert reply_of("get_acl").acl == OPEN
    readable = ACL(Perms.READ, acl.ANYONE)
    assert reply_of("get_acl_masked").acl == (ACL(Perms.ALL, Id("digest", "bob:x")), readable)
    assert reply_of("get_acl_full").acl == (acl.digest_acl("bob", "secret"), readable)
    assert reply_of("set_acl").aversion == 1


def test_values_of_writes() -> None:
    assert reply_of("create_persistent") == Created("/vec/a", None)
    assert reply_of("create_persistent_sequential").path == "/vec/s-0000000005"
    made = reply_of("create_ephemeral")
    connected = ConnectResponse.decode(vector("connect_new").frames[0])
    assert made.stat.ephemeral_owner == connected.session_id
    for name in "create_container", "create_ttl":
        assert reply_of(name).stat.ephemeral_owner == 0
    assert reply_of("set_data").version == 1
    assert reply_of("delete_ok") is None
    assert reply_of("ensemble_reconfig_ok").data.endswith(b"version=200000005")


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_values_of_multis(version: str) -> None:
    nothing, first, second, changed, gone, container = reply_of("multi_success", version)
    assert nothing is None
    assert first == Created("/vec/m1", None)
    assert second.path == "/vec/m2"
    assert (second.stat is None) == (version == "3.8.0")  # ZOOKEEPER-4026
    assert isinstance(changed, Stat)
    assert gone is None
    assert container.stat.czxid == changed.mzxid  # one zxid for all
    assert reply_of("multi_failure", version) == [Failed(0), Failed(-110), Failed(-2)]
    assert reply_of("multi_check_failure", version) == [Failed(-103), Failed(-2)]
    assert reply_of("multi_empty", version) == []
    node, missing, children = reply_of("multi_read_mixed", version)
    assert (node.data, missing, children) == (b"world", Failed(-101), [])
    assert [made.path[-3:] for made in reply_of("multi_sequential_twice", version)] == ["001", "002"]


def test_refused_flags_in_a_multi() -> None:
    assert reply_of("multi_bad_create_flags", "3.8.0") == [Failed(-8)]
    assert code_of("multi_bad_create_flags", "3.9.5") == -5


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_events(version: str) -> None:
    assert events_of("watch_exists_nonode_then_created", version) == [(1, "/vec/w1")]
    assert events_of("watch_data_then_changed", version) == [(3, "/vec/w1")]
    assert events_of("watch_children_then_changed", version) == [(4, "/vec/w1")]
    assert events_of("watch_all_kinds_then_deleted", version) == [(2, "/vec/w1/k")]
    assert [kind for kind, _ in events_of("add_watch_persistent", version)] == [1, 3, 4, 4, 2]
    assert events_of("add_watch_persistent_recursive", version) == [
        (1, "/vec/r"),
        (1, "/vec/r/k"),
        (1, "/vec/r/k/l"),
        (3, "/vec/r/k/l"),
        (2, "/vec/r/k/l"),
    ]
    assert [kind for kind, _ in events_of("multi_own_events", version)] == [1, 3, 2]
    missed = [(3, "/vec/d"), (2, "/vec/del"), (1, "/vec/ne"), (4, "/vec/c"), (2, "/vec/cdel")]
    assert events_of("set_watches_missed_events", version) == missed
    assert events_of("set_watches2_missed_events", version) == [(3, "/vec/d"), (4, "/vec/c")]


def test_an_own_event_comes_before_the_reply() -> None:
    event, reply = vector("watch_own_write_order").frames
    assert HEADER.unpack_from(event)[0] == XID_NOTIFICATION
    assert HEADER.unpack_from(reply)[0] == 60


def test_sasl() -> None:
    assert reply_of("sasl_not_configured") is None  # success without authentication
    assert b'realm="zk-sasl-md5"' in reply_of("sasl_digest_md5_step1")
    assert reply_of("sasl_digest_md5_step2").startswith(b"rspauth=")
    assert code_of("sasl_digest_md5_wrong_password") == -115


CODES = {
    "auth_unknown_scheme": -115,
    "check_outside_multi": -6,
    "create_auth_acl_unauthenticated": -114,
    "create_child_of_ephemeral": -108,
    "create_empty_acl": -114,
    "create_no_parent": -101,
    "create_node_exists": -110,
    "create_relative_component": -8,
    "create_root": -110,
    "create_ttl_zero": -8,
    "delete_badversion": -103,
    "delete_not_empty": -111,
    "delete_root": -8,
    "enforce_sasl_get_data": -124,
    "enforce_sasl_ping": -124,
    "ensemble_reconfig_badarguments": -8,
    "ensemble_reconfig_badversion": -103,
    "ensemble_reconfig_noauth": -102,
    "ensemble_reconfig_noquorum": -13,
    "exists_noauth": -102,
    "get_data_noauth": -102,
    "multi_missing_end_header": -5,
    "readonly_create": -119,
    "readonly_sync": -119,
    "reconfig_standalone": -6,
    "remove_watches_none": -121,
    "set_data_badversion": -103,
    "truncated_request": -5,
    "unknown_opcode": -6,
}


@pytest.mark.parametrize("name", CODES)
def test_code(name: str) -> None:
    assert code_of(name) == CODES[name]


def test_answers_that_keep_to_themselves() -> None:
    assert [HEADER.unpack_from(vector("ping_other_xid").frames[0])[0]] == [wire.XID_PING]
    assert HEADER.unpack_from(vector("auth_other_xid").frames[0]) == (78, 0, 0)
    assert HEADER.unpack_from(vector("unknown_opcode").frames[0]) == (1, -1, -6)
    assert code_of("exists_noauth", "3.9.5") == -102
    assert isinstance(reply_of("exists_noauth", "3.8.0"), Stat)  # leaked before 3.8.4
    assert code_of("remove_watches_recursive_type5", "3.8.0") == -5
    assert reply_of("remove_watches_recursive_type5", "3.9.5") is None
