"""What real servers answered, byte for byte: the captured session is played once more.

Times are masked, and the id of the session; zxids are not.
"""

from __future__ import annotations

import itertools
import re
import struct

import pytest

from tests.server.harness import START, Client, World, create_record, cut, packed, ustring
from tests.wire.vectors import VECTORS, Vector, vector
from zk_sansio.acl import digest_id
from zk_sansio.wire import Create, Delete, OpCode, SetData

VERSIONS = {"3.8.0": "3.8", "3.9.5": "3.9"}
CAPTURED = 0x1A1_FB6D_4B41
"""When 3.8.0 made /vec/a, in milliseconds since 1970."""
_TIME = re.compile(rb"\x00\x00\x01\xa1\xfb[\x6d-\x70]..", re.DOTALL)

BOB = [(31, *digest_id("bob", "secret"))]

HIDDEN: dict[str, list[bytes]] = {
    # What the captured session did apart from the captures, by the capture that it comes before.
    "get_data_noauth": [
        packed(90, OpCode.CREATE, create_record("/vec/priv", 0, b"xyz", BOB)),
        packed(91, OpCode.CREATE, create_record("/vec/mask", 0, b"x", [*BOB, (1, "world", "anyone")])),
    ],
    "watch_own_write_order": [packed(60, OpCode.GET_DATA, ustring("/vec/w1") + b"\1")],
    "remove_watches_recursive_type5": [packed(67, OpCode.ADD_WATCH, ustring("/vec/r") + b"\0\0\0\1")],
}
OTHERS: dict[str, list[Create | SetData | Delete]] = {
    # What another session did behind each capture.
    "watch_exists_nonode_then_created": [Create("/vec/w1")],
    "watch_data_then_changed": [SetData("/vec/w1", b"")],
    "watch_children_then_changed": [Create("/vec/w1/k")],
    "watch_all_kinds_then_deleted": [Delete("/vec/w1/k")],
    "add_watch_persistent": [
        Create("/vec/p"),
        SetData("/vec/p", b""),
        Create("/vec/p/k"),
        Delete("/vec/p/k"),
        Delete("/vec/p"),
    ],
    "add_watch_persistent_recursive": [
        Create("/vec/r"),
        Create("/vec/r/k"),
        Create("/vec/r/k/l"),
        SetData("/vec/r/k/l", b""),
        Delete("/vec/r/k/l"),
    ],
}
FIRST, LAST = "create_persistent", "remove_watches_recursive_type5"
SORTED = ("get_children", "get_children2", "get_ephemerals")
"""Their names are in the order of a hash table, and come sorted here."""


def captures(version: str) -> list[Vector]:
    """The captures of the long session, in their order."""
    own = [each for each in VECTORS if each.server == version]
    names = [each.name for each in own]
    return own[names.index(FIRST) : names.index(LAST) + 1]


def masked(data: bytes, session_id: int) -> bytes:
    return _TIME.sub(bytes(8), data).replace(struct.pack(">q", session_id), bytes(8))


def session_of(version: str) -> int:
    """The session of the captures: the owner of the ephemeral that it made."""
    (frame,) = vector("create_ephemeral", version).frames
    (owner,) = struct.unpack_from(">q", frame, len(frame) - 24)
    assert isinstance(owner, int)
    return owner


@pytest.mark.parametrize("version", VERSIONS)
def test_long_session_is_answered_as_by_real_servers(version: str) -> None:
    profile = VERSIONS[version]
    world = World(profile=profile, clock_offset=CAPTURED / 1000 - START)
    client, other = world.client(), world.client()
    wanted = captures(version)
    (above,) = struct.unpack_from(">q", vector("get_children2", version).frames[0][-68:])
    (first,) = struct.unpack_from(">q", wanted[0].frames[0], 4)
    while world.zxid < first - 1:
        other.ask(Create("/vec", b"four") if world.zxid == above - 1 else Delete("/nothing"))
    for each in wanted:
        world.now += 0.001
        if each.name == "auth_unknown_scheme":  # somebody else's
            stranger = world.client()
            stranger.feed(each.request)
            compare(each, stranger.connection.data_to_send(), stranger, version)
            assert stranger.closed
            continue
        for request in HIDDEN.get(each.name, ()):
            client.feed(request)
            client.frames()
        client.feed(each.request)
        if each.name.startswith("watch_all_kinds"):  # its other two watches are not in the capture
            reply = client.connection.data_to_send()
            client.feed(packed(58, OpCode.GET_DATA, ustring("/vec/w1/k") + b"\1"))
            client.feed(packed(59, OpCode.GET_CHILDREN, ustring("/vec/w1/k") + b"\1"))
            client.connection.data_to_send()
        else:
            reply = b""
        for change in OTHERS.get(each.name, ()):
            assert other.code(change) == 0
        reply += client.connection.data_to_send()
        compare(each, reply, client, version)


def compare(each: Vector, reply: bytes, client: Client, version: str) -> None:
    ours, real = masked(reply, client.session_id), masked(each.reply, session_of(version))
    if each.name in SORTED:
        assert sorted(cut(ours)[0]) == sorted(cut(real)[0]), each
    else:
        assert [frame.hex() for frame in cut(ours)] == [frame.hex() for frame in cut(real)], each


@pytest.mark.parametrize("version", VERSIONS)
def test_short_session_is_answered_as_by_real_servers(version: str) -> None:
    world = World(profile=VERSIONS[version], clock_offset=CAPTURED / 1000 - START)
    client = world.client()
    own = [each for each in VECTORS if each.server == version]
    names = [each.name for each in own]
    captured = own[names.index("multi_with_read_op") : names.index("auth_other_xid") + 1]
    stat = vector("request_with_trailing_bytes", version).frames[0][16:]
    (czxid,) = struct.unpack_from(">q", stat)
    (pzxid,) = struct.unpack_from(">q", stat, 60)
    (first,) = struct.unpack_from(">q", captured[0].frames[0], 4)
    changes = {czxid: Create("/v2"), czxid + 1: Create("/v2/a")}
    while world.zxid < first - 1:
        client.ask(changes.get(world.zxid + 1, Delete("/nothing")))
    assert pzxid > first
    for each in captured:
        client.feed(each.request)
        compare(each, client.connection.data_to_send(), client, version)
    assert not client.closed


@pytest.mark.parametrize(
    "name, version",
    [
        ("check_outside_multi", "3.9.5"),  # 3.8.0 does not answer
        *itertools.product(["sasl_not_configured", "unknown_opcode", "frame_too_long"], VERSIONS),
    ],
)
def test_single_request_is_answered_as_by_real_servers(name: str, version: str) -> None:
    client = World(profile=VERSIONS[version]).client()
    each = vector(name, version)
    client.feed(each.request)
    compare(each, client.connection.data_to_send(), client, version)
    assert client.closed is (name != "sasl_not_configured")


@pytest.mark.parametrize("name", ["enforce_sasl_get_data", "enforce_sasl_ping"])
def test_enforced_sasl(name: str) -> None:
    client = World(sasl_users={"bob": "bobsecret"}, require_sasl=True).client()
    each = vector(name)
    client.feed(each.request)
    compare(each, client.connection.data_to_send(), client, "3.9.5")
    assert client.closed
