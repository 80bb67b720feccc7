"""Whatever arrives, a decoder gives a value or says that it is wrong, and takes little memory for it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import EXCHANGES, REPLIES, thorough
from tests.wire.vectors import VECTORS
from zk_sansio import wire
from zk_sansio.acl import ACL, ANYONE, OPEN, Id, Perms
from zk_sansio.errors import RemoteProtocolError
from zk_sansio.wire import (
    DECODE_ERRORS,
    REQUESTS,
    ConnectRequest,
    ConnectResponse,
    Created,
    CreateMode,
    Failed,
    GetData,
    Multi,
    MultiRead,
    OpCode,
    Request,
    Stat,
    WatcherEvent,
    Znode,
    decode_request,
)
from zk_sansio.wire._jute import Codec
from zk_sansio.wire._records import ACLS, IDS, NAMES

STAT = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
CHILDREN = ["a", "", "é", "n" * 256, "lock-0000000001", "\U0001f600", "b", "c", "d"]

MULTI = Multi([wire.Create("/a"), wire.Create2("/a"), wire.SetData("/a", b"x"), wire.Delete("/a"), wire.Check("/a", 1)])
MULTI_READ = MultiRead([wire.GetData("/a"), wire.GetChildren("/a"), wire.GetData("/b")])
SAMPLES: list[tuple[Request[Any], Any]] = [
    (wire.Create("/a", b"data"), Created("/a", None)),
    (wire.Create2("/a", None, [ACL(Perms.READ, Id("digest", "bob:x")), *OPEN]), Created("/a", STAT)),
    (wire.CreateContainer("/a", mode=CreateMode.CONTAINER), Created("/a", STAT)),
    (wire.CreateTTL("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=5), Created("/a", STAT)),
    (wire.Delete("/a", 1), None),
    (wire.Exists("/a", True), STAT),
    (wire.GetData("/a"), Znode(b"data", STAT)),
    (wire.SetData("/a", b"data"), STAT),
    (wire.GetACL("/a"), wire.ZnodeAcl((ACL(Perms.READ, Id("ip", "::1")), ACL(Perms.ALL, ANYONE)), STAT)),
    (wire.SetACL("/a", OPEN), STAT),
    (wire.GetChildren("/a"), CHILDREN),
    (wire.GetChildren2("/a"), wire.Children(CHILDREN, STAT)),
    (wire.Sync("/a"), "/a"),
    (wire.Check("/a", 1), None),
    (wire.GetEphemerals("/a"), CHILDREN),
    (wire.GetAllChildrenNumber("/a"), 7),
    (wire.Reconfig("server.1=a", None, ""), Znode(b"config", STAT)),
    (wire.AddWatch("/a", wire.AddWatchMode.PERSISTENT), 0),
    (wire.CheckWatches("/a", wire.WatcherType.ANY), None),
    (wire.RemoveWatches("/a", wire.WatcherType.ANY), None),
    (wire.SetWatches(5, ["/a"], [], ["/b", "/c"]), None),
    (wire.SetWatches2(5, ["/a"], (), ["/b", "/c"], ["/d"], ["/e"]), None),
    (wire.Ping(), None),
    (wire.CloseSession(), None),
    (wire.Auth(0, "digest", b"bob:secret"), None),
    (wire.Sasl(b"token"), b"token"),
    (wire.WhoAmI(), [Id("ip", "127.0.0.1"), Id("super", "")]),
    (MULTI, [Created("/a", None), Created("/a", STAT), STAT, None, None]),
    (MULTI, [Failed(0), Failed(-110), Failed(-2), Failed(-2), Failed(-2)]),
    (MULTI_READ, [Znode(None, STAT), CHILDREN, Failed(-101)]),
]
"""A request and a reply of every kind."""

Decoder = Callable[[bytes], object]
"""Reads one frame; raises nothing but `DECODE_ERRORS`."""


def reply_decoder(request: Request[Any]) -> Decoder:
    return lambda frame: request.decode(frame, 0)


def event_decoder(frame: bytes) -> WatcherEvent:
    return WatcherEvent.decode(frame, 0)


CONNECT = ConnectRequest(last_zxid=1, timeout_ms=2, session_id=-3, password=bytes(16), read_only=True)
CONNECTED = ConnectResponse(timeout_ms=2, session_id=-3, password=bytes(16), read_only=True)

REPLY_TARGETS: list[tuple[str, Decoder, bytes]] = [
    (f"reply of {type(request).__name__}", reply_decoder(request), request.encode_reply(reply))
    for request, reply in SAMPLES
]
STRICT_TARGETS: list[tuple[str, Decoder, bytes]] = [
    *((f"request {type(request).__name__}", decode_request, request.encode(1)[4:]) for request, _ in SAMPLES),
    ("connect request", ConnectRequest.decode, CONNECT.encode()[4:]),
    ("connect response", ConnectResponse.decode, CONNECTED.encode()[4:]),
    ("event", event_decoder, WatcherEvent(1, 3, "/a").encode()),
]
"""These say in their docstring that RemoteProtocolError is all that they raise."""


def test_nothing_is_left_out() -> None:
    assert {type(request) for request, _ in SAMPLES} == set(REQUESTS.values())


def attempt(decoder: Decoder, frame: bytes, errors: tuple[type[Exception], ...]) -> bool:
    """Whether the frame was accepted; an exception that is not among the allowed ones ends the test."""
    try:
        decoder(frame)
    except errors:
        return False
    return True


NUMBERS = [
    number.to_bytes(4, "big", signed=True)
    for number in (0, 1, -1, -2, 127, 255, 256, 2**16, 2**24, 2**28, 2**31 - 5, 2**31 - 1, -(2**31))
]
INSERTED = [b"\0", b"\0\0\0", b"\0\0\0\1", b"\xff", b"\xff\xff\xff\xff", b"\x80a", b"\xed\xa0\xbd", bytes(68)]
BYTES = [b"\0", b"\1", b"\x7f", b"\x80", b"\xc3", b"\xff"]


def mutations(frame: bytes) -> Iterator[bytes]:
    """Every frame that one change makes of a valid one."""
    for at in range(len(frame) + 1):
        head, tail = frame[:at], frame[at:]
        yield head
        yield tail
        for piece in INSERTED:
            yield head + piece + tail
        for number in NUMBERS:
            yield head + number + tail[4:]
        for byte in BYTES:
            yield head + byte + tail[1:]
        if tail:
            for bit in range(8):
                yield head + bytes([tail[0] ^ 1 << bit]) + tail[1:]


@pytest.mark.parametrize("decoder, valid", [pytest.param(*target[1:], id=target[0]) for target in REPLY_TARGETS])
def test_one_change_to_a_reply(decoder: Decoder, valid: bytes) -> None:
    assert attempt(decoder, valid, ())
    for frame in mutations(valid):
        attempt(decoder, frame, DECODE_ERRORS)


@pytest.mark.parametrize("decoder, valid", [pytest.param(*target[1:], id=target[0]) for target in STRICT_TARGETS])
def test_one_change_to_what_raises_one_error(decoder: Decoder, valid: bytes) -> None:
    assert attempt(decoder, valid, ())
    for frame in mutations(valid):
        attempt(decoder, frame, (RemoteProtocolError,))


@pytest.mark.parametrize("capture", [each for each in VECTORS if each.server == "3.9.5"], ids=str)
def test_one_change_to_a_capture(capture: Any) -> None:
    for number in NUMBERS:
        for at in range(len(capture.request) - 4):
            changed = capture.request[4 : 4 + at] + number + capture.request[8 + at :]
            attempt(decode_request, changed, (RemoteProtocolError,))
            attempt(ConnectRequest.decode, changed, (RemoteProtocolError,))


targets = st.sampled_from([*REPLY_TARGETS, *STRICT_TARGETS])
pieces = st.one_of(st.binary(max_size=12), st.sampled_from([*NUMBERS, *INSERTED]))


@thorough
@given(target=targets, noise=st.lists(pieces, max_size=8))
def test_noise(target: tuple[str, Decoder, bytes], noise: list[bytes]) -> None:
    attempt(target[1], b"".join(noise), DECODE_ERRORS)


@thorough
@given(target=targets, data=st.data())
def test_many_changes(target: tuple[str, Decoder, bytes], data: st.DataObject) -> None:
    _, decoder, frame = target
    for _ in range(data.draw(st.integers(1, 6), label="changes")):
        at = data.draw(st.integers(0, len(frame)), label="at")
        end = at + data.draw(st.integers(0, 8), label="bytes replaced")
        frame = frame[:at] + data.draw(pieces, label="by") + frame[end:]
    attempt(decoder, frame, DECODE_ERRORS)


@thorough
@given(opcode=st.sampled_from(sorted(REQUESTS)), noise=st.lists(pieces, max_size=8))
def test_noise_behind_an_opcode(opcode: int, noise: list[bytes]) -> None:
    frame = bytes(4) + opcode.to_bytes(4, "big", signed=True) + b"".join(noise)
    attempt(decode_request, frame, (RemoteProtocolError,))


@thorough
@given(kind=st.sampled_from(list(REPLIES)), data=st.data())
def test_what_is_accepted_is_a_value_of_its_kind(kind: type[Request[Any]], data: st.DataObject) -> None:
    request, reply = data.draw(EXCHANGES[kind])
    frame = request.encode_reply(reply)
    at = data.draw(st.integers(0, len(frame)))
    changed = frame[:at] + data.draw(pieces) + frame[at + 4 :]
    try:
        decoded = request.decode(changed, 0)
    except DECODE_ERRORS:
        return
    assert request.decode(request.encode_reply(decoded), 0) == decoded


# --- claims

COUNT = b"\x7f\xff\xff\xff"
TAIL = bytes(36)
HEADER = bytes(4)
ELEMENT = b"\0" + bytes(4)


def asked(kind: type[Request[Any]], record: bytes) -> Callable[[], object]:
    return partial(decode_request, HEADER + kind.opcode.to_bytes(4, "big") + record)


def answered(request: Request[Any], record: bytes) -> Callable[[], object]:
    return partial(request.decode, record, 0)


CLAIMS: dict[str, Callable[[], object]] = {
    "children": answered(wire.GetChildren("/a"), COUNT + TAIL),
    "children with Stat": answered(wire.GetChildren2("/a"), COUNT + TAIL),
    "ACL": answered(wire.GetACL("/a"), COUNT + TAIL),
    "ephemerals": answered(wire.GetEphemerals(), COUNT + TAIL),
    "identities": answered(wire.WhoAmI(), COUNT + TAIL),
    "children in a multi": answered(MULTI_READ, OpCode.GET_CHILDREN.to_bytes(4, "big") + ELEMENT + COUNT + TAIL),
    "data": answered(wire.GetData("/a"), COUNT + TAIL),
    "data in a multi": answered(MULTI_READ, OpCode.GET_DATA.to_bytes(4, "big") + ELEMENT + COUNT + TAIL),
    "configuration": answered(wire.Reconfig(None, None, None), COUNT + TAIL),
    "token": answered(wire.Sasl(None), COUNT + TAIL),
    "path": answered(wire.Create("/a"), COUNT + TAIL),
    "path of a sync": answered(wire.Sync("/a"), COUNT + TAIL),
    "ACL to create with": asked(wire.Create, bytes(8) + COUNT + TAIL),
    "ACL to set": asked(wire.SetACL, bytes(4) + COUNT + TAIL),
    "data to set": asked(wire.SetData, bytes(4) + COUNT + TAIL),
    "watches to set": asked(wire.SetWatches, bytes(8) + COUNT + TAIL),
    "lasting watches to set": asked(wire.SetWatches2, bytes(8 + 16) + COUNT + TAIL),
    "credential": asked(wire.Auth, bytes(8) + COUNT + TAIL),
    "password of a request": partial(ConnectRequest.decode, bytes(24) + COUNT + TAIL),
    "password of a response": partial(ConnectResponse.decode, bytes(16) + COUNT + TAIL),
    "path of an event": partial(WatcherEvent.decode, bytes(8) + COUNT + TAIL, 0),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_costs_nothing(claim: str) -> None:
    decode = CLAIMS[claim]
    with pytest.raises(DECODE_ERRORS):
        decode()  # once before, for what Python makes on a first call
    tracemalloc.start()
    try:
        with pytest.raises(DECODE_ERRORS, match=r"2147483647|unpack_from requires") as caught:
            decode()
        assert tracemalloc.get_traced_memory()[1] < 16_384
    finally:
        tracemalloc.stop()
    if claim != "data":  # its error is that the Stat behind it is missing
        assert caught.type is RemoteProtocolError


@pytest.mark.parametrize("codec, size", [(NAMES, 4), (IDS, 8), (ACLS, 12)])
def test_a_vector_that_nearly_fits(codec: Codec[Any], size: int) -> None:
    # Refused at the count, before any element is made; one that just fits is read.
    body = bytes(10 * size)
    decoded, end = codec.get((10).to_bytes(4, "big") + body, 0)
    assert (len(decoded), end) == (10, 4 + 10 * size)
    with pytest.raises(RemoteProtocolError, match=f"a vector of 10 elements, the frame has {10 * size - 1} bytes left"):
        codec.get((10).to_bytes(4, "big") + body[1:], 0)


# --- GetData reads its reply by hand; it is the same as the codec that Reconfig uses

BY_HAND = GetData("/a")
BY_CODEC = wire.Reconfig(None, None, None)


def outcome(request: Request[Any], frame: bytes | memoryview, at: int) -> object:
    try:
        return request.decode(frame, at)
    except DECODE_ERRORS:
        return "refused"


lengths = st.one_of(st.integers(-3, 90), st.sampled_from([-(2**31), 2**31 - 1, 2**31 - 69, 2**24]))
node_frames = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda length, body, behind: length.to_bytes(4, "big", signed=True) + body + behind,
        lengths,
        st.binary(max_size=90),
        st.binary(min_size=60, max_size=76),
    ),
)


@thorough
@given(frame=node_frames, before=st.binary(max_size=16))
def test_get_data_is_the_codec(frame: bytes, before: bytes) -> None:
    whole = before + frame
    expected = outcome(BY_CODEC, whole, len(before))
    for variant in whole, memoryview(whole):
        got = outcome(BY_HAND, variant, len(before))
        assert got == expected
        if isinstance(got, Znode):
            assert type(got.stat) is Stat
            assert got.data is None or type(got.data) is bytes


@pytest.mark.parametrize("claimed", range(-3, 20))
@pytest.mark.parametrize("room", range(20))
def test_data_never_reaches_past_the_frame(claimed: int, room: int) -> None:
    """A length is obeyed exactly: what has no room, with the Stat behind it, is an error and not a shorter value."""
    body = bytes(range(1, room + 1))
    for spare in b"", bytes(67), bytes(68):
        frame = claimed.to_bytes(4, "big", signed=True) + body + spare
        got = outcome(BY_HAND, frame, 0)
        assert got == outcome(BY_CODEC, frame, 0)
        if claimed < -1 or max(claimed, 0) + 68 > room + len(spare):
            assert got == "refused"
        else:
            assert isinstance(got, Znode)
            assert got.data == (None if claimed == -1 else frame[4 : 4 + claimed])
