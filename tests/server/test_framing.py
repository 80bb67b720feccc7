"""Bytes: in every split, too many, too few, and hostile ones."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.harness import (
    NULL,
    Client,
    Reply,
    World,
    content,
    create_record,
    framed,
    handshake,
    packed,
    repeatable,
    ustring,
)
from tests.wire.vectors import VECTORS
from zk_sansio.server._connection import KNOWN
from zk_sansio.wire import AddWatch, AddWatchMode, Create, CreateMode, Exists, GetData, OpCode, Ping, Request, SetData

LIMIT = 1_048_575


# --- splits


def conversation() -> bytes:
    """Requests of many kinds, the handshake first."""
    requests: list[Request[Any]] = [
        Create("/a", b"x" * 300),
        GetData("/a", True),
        SetData("/a", b"y"),
        AddWatch("/", AddWatchMode.PERSISTENT_RECURSIVE),
        Create("/e", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
        Exists("/no"),
        Ping(),
    ]
    return b"".join(
        [
            handshake(),
            *[request.encode(xid) for xid, request in enumerate(requests, 1)],
            packed(50, OpCode.SET_DATA),
            packed(51, OpCode.CLOSE_SESSION),
            b"lost",
        ]
    )


def answers(pieces: list[bytes]) -> bytes:
    world = World()
    client = world.dial()
    out = b""
    for piece in pieces:
        client.feed(piece)
        out += client.connection.data_to_send()
    assert client.closed
    return out


WHOLE = answers([conversation()])


def test_byte_by_byte() -> None:
    data = conversation()
    assert answers([data[at : at + 1] for at in range(len(data))]) == WHOLE


@repeatable
@given(st.lists(st.integers(1, 700), max_size=12))
def test_any_split(cuts: list[int]) -> None:
    data, pieces = conversation(), []
    for size in cuts:
        pieces.append(data[:size])
        data = data[size:]
    assert answers([piece for piece in [*pieces, data] if piece]) == WHOLE


def test_buffers_that_are_not_bytes() -> None:
    world = World()
    client = world.dial()
    for piece in (handshake()[:2], handshake()[2:], Exists("/").encode(1)):
        client.connection.receive_data(memoryview(bytearray(piece)).tobytes(), world.now)
    (reply,) = client.receive()
    assert reply.code == 0


# --- limits


def test_largest_request() -> None:
    client = World().client()
    client.do(Create("/a"))
    data = bytes(LIMIT - 20 - len("/a"))
    assert client.do(SetData("/a", data)).data_length == len(data)
    client.send(SetData("/a", data + b"x"))
    assert client.receive() == []
    assert client.closed


@pytest.mark.parametrize("length", [LIMIT + 1, 2**31 - 1, -1, -(2**31)])
def test_length_alone_is_enough(length: int) -> None:
    world = World()
    client = world.client()
    client.feed(Create("/before").encode(1) + struct.pack(">i", length))
    assert [reply.code for reply in client.receive()] == [0], "what comes before it counts"
    assert client.closed
    assert not world.resumed(client).closed


def test_limit_is_an_option() -> None:
    client = World(max_request=200).client()
    client.feed(packed(1, OpCode.PING, bytes(192)))
    assert len(client.receive()) == 1
    client.feed(struct.pack(">i", 201))
    assert client.closed


@pytest.mark.parametrize("length", range(8))
def test_no_room_for_a_header(length: int) -> None:
    client = World().client()
    client.feed(framed(bytes(length)))
    assert client.receive() == []
    assert client.closed


def test_four_letters_are_a_length_later_on() -> None:
    client = World().client()
    client.feed(b"srvr")
    assert client.receive() == []
    assert client.closed


def test_handshake_of_no_bytes() -> None:
    client = World().dial()
    client.feed(framed(b""))
    assert client.connection.data_to_send() == b""
    assert client.closed


# --- records that are cut short


@pytest.mark.parametrize(
    "opcode, record",
    [
        (OpCode.EXISTS, ustring("/")),
        (OpCode.EXISTS, b""),
        (OpCode.GET_DATA, b"\0\0\0\x09/"),
        (OpCode.GET_DATA, struct.pack(">i", -2) + b"/"),
        (OpCode.GET_DATA, struct.pack(">i", 2**31 - 1) + b"/"),
        (OpCode.GET_CHILDREN, b"\0\0"),
        (OpCode.GET_ACL, b""),
        (OpCode.CREATE, create_record("/x")[:-1]),
        (OpCode.CREATE, ustring("/x") + struct.pack(">i", -5)),
        (OpCode.CREATE, ustring("/x") + NULL + struct.pack(">i", 2**31 - 1)),
        (OpCode.CREATE, ustring("/x") + NULL + struct.pack(">i", -2)),
        (OpCode.CREATE_TTL, create_record("/x", 5)),
        (OpCode.DELETE, ustring("/x")),
        (OpCode.SET_DATA, ustring("/x") + NULL),
        (OpCode.SET_ACL, ustring("/x") + NULL),
        (OpCode.ADD_WATCH, ustring("/x")),
        (OpCode.REMOVE_WATCHES, ustring("/x")),
        (OpCode.SET_WATCHES, bytes(10)),
        (OpCode.SET_WATCHES2, bytes(20)),
        (OpCode.SET_WATCHES, bytes(8) + struct.pack(">i", 2**31 - 1) + bytes(8)),
        (OpCode.GET_EPHEMERALS, b"\0"),
        (OpCode.GET_ALL_CHILDREN_NUMBER, b"\0"),
    ],
)
def test_records_that_cannot_be_read(opcode: int, record: bytes) -> None:
    world = World()
    client = world.client()
    before = content(world.tree)
    assert client.raw(opcode, record)[2:] == (-5, b"")
    assert client.code(Exists("/")) == 0, "the connection stays"
    assert content(world.tree) == before


def test_bytes_that_are_no_utf_8() -> None:
    world = World()
    client = world.client()
    for raw in (b"/\xff", b"/\xed\xa0\x80", b"/\xc0\x80", b"/\xf0\x9f"):
        record = struct.pack(">i", len(raw)) + raw
        assert client.raw(OpCode.EXISTS, record + b"\0").code in (-101, -5)
        assert client.raw(OpCode.SYNC, record).code in (0, -5)
        assert client.raw(OpCode.CREATE, record + create_record("")[4:]).code in (-8, -5)
    assert not client.closed
    world.check()


# --- hostile bytes


class Crowd:
    """A world whose other clients must not notice anything."""

    def __init__(self, size: int = 1, **options: Any) -> None:
        self.world = World(size, max_request=5_000, **options)
        self.friend = self.world.client(timeout_ms=40_000)
        self.friend.do(Create("/safe", b"data"))
        self.friend.do(Create("/e", mode=CreateMode.EPHEMERAL))
        self.stranger = self.world.client(self.world.ensemble.servers[-1])

    def check(self) -> None:
        self.world.check()
        self.world.advance(1.0)
        assert self.friend.ask(Ping()).code == 0
        # A stranger may have locked the root, or made just this znode.
        assert self.friend.code(Create("/fresh")) in (0, -102, -110)
        assert not self.friend.closed
        self.world.advance(60.0)
        self.world.check()
        assert dict(self.world.ensemble.sessions) == {}


@repeatable
@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans(), st.sampled_from(["3.8", "3.9", "keeper"]))
def test_noise(pieces: list[bytes], greeted: bool, profile: str) -> None:
    crowd = Crowd(profile=profile)
    client = crowd.stranger if greeted else crowd.world.dial()
    for piece in pieces:
        client.feed(piece)
    client.connection.data_to_send()
    crowd.check()


SEEDS = [each.request[4:] for each in VECTORS if len(each.request) >= 12]
PATHS = ["/", "", "/safe", "/safe/x", "/e/x", "/zookeeper/config", "no path", "/a//b", "/\0", "/\U0001f600", "/\xe9"]
numbers = st.one_of(st.integers(-3, 12), st.sampled_from([2**31 - 1, -(2**31), 2**31 - 9]))
fields = st.one_of(
    st.sampled_from(PATHS).map(ustring),
    st.just(NULL),
    numbers.map(lambda number: struct.pack(">i", number)),
    st.binary(max_size=12),
    st.booleans().map(lambda value: bytes([value])),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: struct.pack(">q", number)),
    st.sampled_from([1, 2, 4, 5, 8, 13, 14, 15, 19, 21, 3]).map(lambda op: struct.pack(">ibi", op, 0, -1)),
    st.just(struct.pack(">ibi", -1, 1, -1)),
    st.sampled_from(["world", "digest", "ip", "auth", "sasl"]).map(lambda scheme: bytes(3) + b"\x1f" + ustring(scheme)),
)
requests = st.builds(
    packed,
    st.integers(-9, 9),
    st.one_of(st.sampled_from(sorted(KNOWN)), st.sampled_from([OpCode.AUTH, OpCode.SASL]), st.integers(-12, 110)),
    st.lists(fields, max_size=8).map(b"".join),
)


@repeatable
@given(
    st.lists(requests, min_size=1, max_size=12),
    st.sampled_from(["3.5", "3.8", "3.9", "keeper"]),
    st.sampled_from([1, 3]),
    st.booleans(),
)
def test_requests_of_nonsense(data: list[bytes], profile: str, size: int, sasl: bool) -> None:
    crowd = Crowd(size, profile=profile, sasl_users={"bob": "x"} if sasl else {})
    for request in data:
        client = crowd.stranger
        client.feed(request)
        if client.closed:
            crowd.stranger = crowd.world.client(crowd.world.ensemble.servers[-1])
        client.connection.data_to_send()
    crowd.check()


@repeatable
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4), st.data())
def test_real_requests_that_are_spoilt(seed: bytes, flips: list[tuple[int, int]], data: st.DataObject) -> None:
    crowd = Crowd()
    spoilt = bytearray(seed)
    for at, value in flips:
        spoilt[at % len(spoilt)] = value
    end = data.draw(st.integers(0, len(spoilt)))
    client = crowd.stranger
    client.feed(framed(bytes(spoilt)))
    if not client.closed:
        client.feed(framed(bytes(spoilt[:end])))
    client.connection.data_to_send()
    crowd.check()


def test_digits_without_end() -> None:
    """Python reads no number of more than 4300 digits."""
    digits = "1" * 5000
    client = World(3).client()
    for name in (f"{digits}.1.1.1", f"1.1.1.1/{digits}", f"1.1.1.{digits}"):
        assert client.raw(OpCode.CREATE, create_record("/x", acl=[(31, "ip", name)])).code == -114
    for fields_ in (
        (f"server.{digits}=h:1:2;3", None, None),
        (None, digits, None),
        (None, None, f"server.{digits}=h:1:2;3"),
    ):
        record = b"".join(map(ustring, fields_)) + struct.pack(">q", -1)
        assert client.raw(OpCode.RECONFIG, record).code in (-5, -8)
    assert not client.closed


def test_frames_and_ends_after_the_end() -> None:
    """What lies between a client and the server may let go of a frame too late."""
    world = World()
    client = world.client()
    client.connection.end()
    client.connection.end()
    client.connection.receive_frame(Create("/late").encode(1)[4:], world.now)
    assert client.closed
    assert "/late" not in world.tree.nodes


def check_alive(client: Client) -> None:
    assert client.ask(Ping()) == Reply(-2, client.world.zxid, 0)


def test_connections_do_not_disturb_each_other() -> None:
    world = World()
    clients = [world.client() for _ in range(3)]
    data = Create("/a").encode(1)
    clients[0].feed(data[:5])
    clients[1].feed(struct.pack(">i", -1))
    clients[2].feed(data)
    clients[0].feed(data[5:])
    assert clients[1].closed
    assert [reply.code for reply in clients[2].receive()] == [0]
    assert [reply.code for reply in clients[0].receive()] == [-110]
    check_alive(clients[0])
