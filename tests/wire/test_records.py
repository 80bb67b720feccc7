"""The records that requests and replies are made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import acls, data, ids, int32, int64, repeatable, stats, text, thorough
from zk_sansio.acl import ACL, ANYONE, OPEN, Id, Perms
from zk_sansio.errors import InvalidRequestError, RemoteProtocolError
from zk_sansio.wire import (
    DECODE_ERRORS,
    ConnectRequest,
    ConnectResponse,
    EventType,
    KeeperState,
    Stat,
    WatcherEvent,
)
from zk_sansio.wire._jute import STRING, Codec, Vector
from zk_sansio.wire._records import ACLS, IDS, NAMES, STAT

STAT_EXAMPLE = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)


def result(codec: Codec[Any], frame: bytes | memoryview, at: int = 0) -> object:
    """The value and where it ended, or that it was refused."""
    try:
        return codec.get(frame, at)
    except DECODE_ERRORS:
        return "refused"


# --- Stat


@repeatable
@given(stat=stats)
def test_stat(stat: Stat) -> None:
    encoded = STAT.put(stat)
    assert len(encoded) == 68
    decoded, end = STAT.get(b"x" + encoded, 1)
    assert type(decoded) is Stat
    assert (decoded, end) == (stat, 69)


@pytest.mark.parametrize("wrong", [STAT_EXAMPLE._replace(version=2**31), STAT_EXAMPLE[:-1]])
def test_not_a_stat(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="not a Stat"):
        STAT.put(wrong)


@pytest.mark.parametrize("owner, ephemeral", [(0, False), (1, True), (-(2**62), True)])
def test_an_owner_may_be_negative(owner: int, ephemeral: bool) -> None:
    assert STAT_EXAMPLE._replace(ephemeral_owner=owner).ephemeral is ephemeral


# --- identities and access control lists


@repeatable
@given(acl=acls)
def test_acls(acl: list[ACL]) -> None:
    encoded = ACLS.put(acl)
    decoded, end = ACLS.get(encoded, 0)
    assert (decoded, end) == (acl, len(encoded))
    assert all(type(entry) is ACL and type(entry.id) is Id for entry in decoded)


@repeatable
@given(identities=st.lists(ids, max_size=4))
def test_identities(identities: list[Id]) -> None:
    encoded = IDS.put(identities)
    decoded, end = IDS.get(encoded, 0)
    assert (decoded, end) == (identities, len(encoded))
    assert all(type(identity) is Id for identity in decoded)


def test_known_permissions_are_perms() -> None:
    for bits in range(32):
        ((entry,), _) = ACLS.get(ACLS.put([ACL(bits, ANYONE)]), 0)
        assert isinstance(entry.perms, Perms)
        assert entry.perms == bits


@pytest.mark.parametrize("bits", [32, 2**31 - 1, -1, -(2**31)])
def test_unknown_permissions_are_numbers(bits: int) -> None:
    known = len(Perms._value2member_map_)
    ((entry,), _) = ACLS.get(ACLS.put([ACL(bits, ANYONE)]), 0)
    assert type(entry.perms) is int
    assert entry.perms == bits
    assert len(Perms._value2member_map_) == known  # an enumeration never forgets what it was asked for


def test_null_in_an_identity_is_empty() -> None:
    null = b"\xff\xff\xff\xff"
    assert IDS.get(b"\0\0\0\1" + null + null, 0) == ([Id("", "")], 12)
    assert ACLS.get(b"\0\0\0\1\0\0\0\1" + null + null, 0) == ([ACL(Perms.READ, Id("", ""))], 16)


@pytest.mark.parametrize("entry", [OPEN[0], (31, ("world", "anyone")), [Perms.ALL, ["world", "anyone"]]])
def test_what_looks_like_an_acl_is_one(entry: Any) -> None:
    assert ACLS.put([entry]) == ACLS.put(OPEN)


@pytest.mark.parametrize("acl", [OPEN[0], ["world:anyone:r"], [None], [Perms.ALL], [(31, "world", "anyone")], [()]])
def test_not_an_acl(acl: Any) -> None:
    with pytest.raises(TypeError, match=r"an ACL holds ACL\(perms, Id\(scheme, id\)\), not "):
        ACLS.put(acl)


def test_an_acl_of_wrong_parts() -> None:
    with pytest.raises(TypeError, match="expected an int, not str"):
        ACLS.put([ACL("r", ANYONE)])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a str, not bytes"):
        ACLS.put([ACL(Perms.READ, Id("digest", b"x"))])  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="32 bits"):
        ACLS.put([ACL(2**31, ANYONE)])


# --- names of children: split where that is right, and always the same as a walk

PLAIN = Vector(STRING)
raw_names = st.one_of(
    st.text(max_size=12).map(str.encode),
    st.binary(max_size=6),
    st.sampled_from([b"", b"\0", b"\0\0\0", b"a\0", b"\0\0\0\1a", b"lock-0000000001", b"\xed\xa0\xbd\xed\xb8\x80"]),
    st.sampled_from([b"n" * 255, b"n" * 256, b"n" * 300, "é".encode() * 128, b"\0" * 256, b"n" * 65536]),
)


def vector_of(names: list[bytes]) -> bytes:
    return len(names).to_bytes(4, "big") + b"".join(len(name).to_bytes(4, "big") + name for name in names)


@thorough
@given(
    names=st.lists(raw_names, max_size=14) | st.lists(raw_names, min_size=8, max_size=14),
    before=st.binary(max_size=3),
    behind=st.binary(max_size=8) | st.just(bytes(68)),
)
def test_names_as_a_walk_finds_them(names: list[bytes], before: bytes, behind: bytes) -> None:
    frame = before + vector_of(names) + behind
    expected = result(PLAIN, frame, len(before))
    assert result(NAMES, frame, len(before)) == expected
    assert result(NAMES, memoryview(frame), len(before)) == expected


@thorough
@given(frame=st.data())
def test_illegal_names_as_a_walk_finds_them(frame: st.DataObject) -> None:
    names = frame.draw(st.lists(st.binary(max_size=4), min_size=8, max_size=12), label="names")
    raw = bytearray(vector_of(names) + frame.draw(st.binary(max_size=6), label="behind"))
    for _ in range(frame.draw(st.integers(0, 3), label="changes")):
        at = frame.draw(st.integers(0, len(raw) - 1), label="at")
        raw[at] = frame.draw(st.sampled_from([0, 1, 2, 8, 97, 127, 128, 255]), label="byte")
    cut = raw[: frame.draw(st.integers(4, len(raw)), label="end")]
    assert result(NAMES, bytes(cut)) == result(PLAIN, bytes(cut))


@thorough
@given(body=st.lists(st.sampled_from([b"\0", b"\0\0\0", b"\0\0\0\1", b"\0\0\1\0", b"a", b"\1a", b"\2", b"\x80"])))
def test_nul_bytes_in_any_order(body: list[bytes]) -> None:
    for count in 8, 9, 12:
        frame = count.to_bytes(4, "big") + b"".join(body)
        assert result(NAMES, frame) == result(PLAIN, frame)


@pytest.mark.parametrize("skew", [-1, 1, 255, 256, 2**16, 2**31 - 100])
@pytest.mark.parametrize("which", [0, 4, 8])
def test_a_length_that_lies(which: int, skew: int) -> None:
    names = [b"name-%d" % number for number in range(9)]
    encoded = [len(name).to_bytes(4, "big") + name for name in names]
    encoded[which] = (len(names[which]) + skew).to_bytes(4, "big") + names[which]
    frame = b"\0\0\0\x09" + b"".join(encoded)
    for behind in b"", bytes(68), bytes(400):
        assert result(NAMES, frame + behind) == result(PLAIN, frame + behind)


@pytest.mark.parametrize(
    "special",
    ["", "\0", "a\0b", "\0\0\0\3abc", "n" * 255, "n" * 256, "n" * 70_000, "é", "\U0001f600", "lock--2147483648"],
)
@pytest.mark.parametrize("place", [0, 4, 9])
def test_one_special_name_among_ordinary_ones(special: str, place: int) -> None:
    names = [f"n{number:010}" for number in range(9)]
    names.insert(place, special)
    encoded = NAMES.put(names)
    assert NAMES.get(encoded, 0) == (names, len(encoded))
    assert NAMES.get(encoded + bytes(68), 0) == (names, len(encoded))


def test_a_name_with_a_nul_does_not_stand_for_a_missing_one() -> None:
    frame = vector_of([b"a\0b", *[b"name"] * 7])
    for behind in b"", b"\0\0", b"\0\1\1\1a":
        claim = b"\0\0\0\x09" + frame[4:] + behind
        assert result(NAMES, claim) == result(PLAIN, claim) == "refused"


def test_names_from_java() -> None:
    frame = vector_of([b"\xed\xa0\xbd\xed\xb8\x80"] * 8)
    assert NAMES.get(frame, 0) == (["\U0001f600"] * 8, len(frame))


def test_names_are_strings_of_their_own() -> None:
    assert NAMES.get(vector_of([]), 0) == ([], 4)
    assert NAMES.get(b"\xff\xff\xff\xff", 0) == ([], 4)
    thousand = [str(number) for number in range(1000)]
    assert NAMES.get(NAMES.put(thousand), 0)[0] == thousand


# --- the handshake

connect_requests = st.builds(
    ConnectRequest,
    protocol_version=int32,
    last_zxid=int64,
    timeout_ms=int32,
    session_id=int64,
    password=st.binary(max_size=20),
    read_only=st.booleans(),
)
connect_responses = st.builds(
    ConnectResponse,
    protocol_version=int32,
    timeout_ms=int32,
    session_id=int64,
    password=st.binary(max_size=20),
    read_only=st.booleans(),
)


@repeatable
@given(record=connect_requests | connect_responses, behind=data)
def test_handshake(record: ConnectRequest | ConnectResponse, behind: bytes | None) -> None:
    encoded = record.encode()
    assert int.from_bytes(encoded[:4], "big") == len(encoded) - 4
    assert record.decode(encoded[4:] + (behind or b"")) == record
    assert record.decode(memoryview(encoded)[4:]) == record


REQUEST = ConnectRequest(last_zxid=7, timeout_ms=10_000, session_id=-2, password=b"hunter2hunter2!!", read_only=True)
RESPONSE = ConnectResponse(timeout_ms=10_000, session_id=-2, password=b"hunter2hunter2!!", read_only=True)


@pytest.mark.parametrize("record, text", [(REQUEST, "not a connect request"), (RESPONSE, "not a connect response")])
def test_a_handshake_cut_short(record: ConnectRequest | ConnectResponse, text: str) -> None:
    frame = record.encode()[4:]
    older = record.decode(frame[:-1])
    assert not older.read_only  # the byte came with 3.4
    for end in range(len(frame) - 1):
        with pytest.raises(RemoteProtocolError, match=text):
            record.decode(frame[:end])


def test_a_null_password_is_empty() -> None:
    assert ConnectRequest.decode(bytes(24) + b"\xff\xff\xff\xff\0").password == b""
    assert ConnectResponse.decode(bytes(16) + b"\xff\xff\xff\xff\0").password == b""


@pytest.mark.parametrize("record", [REQUEST, RESPONSE])
def test_a_handshake_keeps_the_password_to_itself(record: ConnectRequest | ConnectResponse) -> None:
    assert "hunter2" not in repr(record) + str(record)
    assert "session_id=0xfffffffffffffffe" in repr(record)  # as servers print it, though it is negative
    assert "timeout_ms=10000" in repr(record)


def test_wrong_types_in_a_handshake() -> None:
    with pytest.raises(TypeError, match="data is bytes or None, not str"):
        ConnectRequest(last_zxid=0, timeout_ms=1, session_id=0, password="x", read_only=False).encode()  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="64 bits"):
        ConnectRequest(last_zxid=2**63, timeout_ms=1, session_id=0, password=b"", read_only=False).encode()


# --- notifications


@repeatable
@given(kind=int32, state=int32, path=text, before=st.binary(max_size=16))
def test_watcher_event(kind: int, state: int, path: str, before: bytes) -> None:
    event = WatcherEvent(kind, state, path)
    assert WatcherEvent.decode(before + event.encode() + b"later", len(before)) == event


def test_known_numbers_of_an_event_are_members() -> None:
    for kind in EventType:
        assert WatcherEvent.decode(WatcherEvent(int(kind), 3, "/").encode(), 0).type is kind
    for state in KeeperState:
        assert WatcherEvent.decode(WatcherEvent(1, int(state), "/").encode(), 0).state is state


def test_unknown_numbers_of_an_event_are_kept() -> None:
    event = WatcherEvent.decode(WatcherEvent(99, -77, "/").encode(), 0)
    assert (type(event.type), type(event.state)) == (int, int)
    assert event == (99, -77, "/")


@pytest.mark.parametrize("end", range(14))
def test_an_event_cut_short(end: int) -> None:
    frame = WatcherEvent(1, 3, "/a").encode()
    assert len(frame) == 14
    with pytest.raises(RemoteProtocolError, match="not a watcher event"):
        WatcherEvent.decode(frame[:end], 0)


def test_an_event_without_a_path() -> None:
    with pytest.raises(RemoteProtocolError, match="null string"):
        WatcherEvent.decode(bytes(8) + b"\xff\xff\xff\xff", 0)
