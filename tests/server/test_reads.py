"""Reads: what they answer, and that they change nothing."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.server.harness import NULL, World, content, packed, ustring, vector
from zk_sansio.wire import (
    Children,
    Create,
    CreateMode,
    Delete,
    Exists,
    Failed,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetChildren2,
    GetData,
    GetEphemerals,
    MultiRead,
    OpCode,
    Ping,
    Request,
    Sync,
    WhoAmI,
    Znode,
)

READS: list[Request[Any]] = [
    Exists("/no"),
    GetData("/no"),
    GetChildren("/no"),
    GetChildren2("/no"),
    GetACL("/no"),
    GetAllChildrenNumber("/no"),
]


@pytest.mark.parametrize("request_", READS, ids=lambda request: request.name)
@pytest.mark.parametrize("path", ["/no", "/a/", "relative", "a", "/a//b", "//"])
def test_missing_znodes(request_: Request[Any], path: str) -> None:
    """Paths are not checked: what is no path is no znode either."""
    client = World().client()
    client.do(Create("/a"))
    reply = client.raw(request_.opcode, ustring(path) + b"\0")
    assert (reply.code, reply.body) == (-101, b"")
    assert not client.closed


@pytest.mark.parametrize("request_", READS, ids=lambda request: request.name)
def test_null_path(request_: Request[Any]) -> None:
    client = World().client()
    assert client.raw(request_.opcode, NULL + b"\0").code == -5
    assert not client.closed


@pytest.mark.parametrize("request_", READS, ids=lambda request: request.name)
def test_empty_path_is_the_root(request_: Request[Any]) -> None:
    client = World().client()
    assert client.raw(request_.opcode, ustring("") + b"\0").code == 0


def test_reads_change_nothing() -> None:
    world = World()
    client = world.client()
    client.do(Create("/a", b"x"))
    before, zxid = content(world.tree), world.zxid
    requests: list[Request[Any]] = [*READS, Exists("/a"), GetData("/a"), GetEphemerals(), WhoAmI(), Sync("/a"), Ping()]
    for request in requests:
        assert client.ask(request).zxid == zxid
    assert content(world.tree) == before
    assert world.zxid == zxid


def test_children() -> None:
    world = World()
    client = world.client()
    client.do(Create("/a"))
    names = {f"{number}\xe9" for number in range(20)}
    for name in sorted(names):
        client.do(Create(f"/a/{name}"))
    children = client.do(GetChildren("/a"))
    assert set(children) == names
    found = client.do(GetChildren2("/a"))
    assert isinstance(found, Children)
    assert set(found.names) == names
    assert (found.stat.num_children, found.stat.cversion) == (20, 20)
    assert client.do(GetChildren("/a/0\xe9")) == []
    client.do(Delete("/a/0\xe9"))
    assert client.do(GetChildren2("/a")).stat.cversion == 21
    children = client.do(GetChildren("/"))
    assert set(children) == {"a", "zookeeper"}


def test_count_of_descendants() -> None:
    client = World().client()
    assert client.do(GetAllChildrenNumber("/")) == 3
    for path in ("/a", "/a/b", "/a/b/c", "/ab"):
        client.do(Create(path))
    assert client.do(GetAllChildrenNumber("/a")) == 2
    assert client.do(GetAllChildrenNumber("/a/b/c")) == 0
    assert client.do(GetAllChildrenNumber("/")) == 7


def test_ephemerals_by_prefix() -> None:
    world = World()
    client, other = world.client(), world.client()
    client.do(Create("/sw"))
    for path in ("/sw/e1", "/sw/e2", "/sw/f"):
        client.do(Create(path, mode=CreateMode.EPHEMERAL))
    other.do(Create("/sw/e3", mode=CreateMode.EPHEMERAL))
    every = ["/sw/e1", "/sw/e2", "/sw/f"]
    for prefix in (None, "", "/"):
        assert client.do(GetEphemerals(prefix)) == every
    assert client.do(GetEphemerals("/sw/e")) == every[:2]
    assert client.do(GetEphemerals("/sw/e1/x")) == []
    assert other.do(GetEphemerals()) == ["/sw/e3"]
    assert world.client().do(GetEphemerals()) == []


@pytest.mark.parametrize(
    "record, echo",
    [
        (ustring("/a"), ustring("/a")),
        (ustring("/no/such"), ustring("/no/such")),
        (ustring("relative/"), ustring("relative/")),
        (ustring(""), ustring("")),
        (NULL, NULL),
        (ustring("/x\U0001f600"), b"\0\0\0\x08/x\xed\xa0\xbd\xed\xb8\x80"),
        (ustring("/\xe9\u65e5"), ustring("/\xe9\u65e5")),
    ],
)
def test_sync_takes_any_path(record: bytes, echo: bytes) -> None:
    reply = World().client().raw(OpCode.SYNC, record)
    assert (reply.code, reply.body) == (0, echo)


def test_sync_that_cannot_be_read() -> None:
    client = World().client()
    assert client.raw(OpCode.SYNC, b"\0\0\0\x09/").code == -5
    assert client.code(Exists("/")) == 0


def test_bytes_behind_a_request_are_ignored() -> None:
    client = World().client()
    assert client.raw(OpCode.EXISTS, ustring("/") + b"\0" + b"junk").code == 0
    assert client.raw(OpCode.PING, b"junk").xid == -2


def test_pings_are_answered_with_their_own_xid() -> None:
    world = World()
    client = world.client()
    for xid in (77, -2, 0):
        assert client.raw(OpCode.PING, xid=xid) == (-2, world.zxid, 0, b"")


@pytest.mark.parametrize("xid", [0, -1, -2, -4, -8, 2**31 - 1, -(2**31), 5])
def test_xids_are_echoed(xid: int) -> None:
    client = World().client()
    for _ in range(2):
        client.feed(packed(xid, OpCode.GET_CHILDREN, ustring("/") + b"\0"))
        data = client.connection.data_to_send()
        assert struct.unpack_from(">i", data, 4) == (xid,)


def test_replies_may_be_larger_than_requests() -> None:
    client = World(max_request=1000).client()
    client.do(Create("/a", b"x" * 900))
    ops = [GetData("/a")] * 30
    data = client.raw(OpCode.MULTI_READ, MultiRead(ops).body()).body
    assert len(data) > 27_000


def test_config_of_a_standalone_server() -> None:
    found = World().client().do(GetData("/zookeeper/config"))
    assert found.data == b""
    assert (found.stat.version, found.stat.aversion) == (0, -1)


# --- several reads


def test_multi_read() -> None:
    world = World()
    client = world.client()
    client.do(Create("/a", b"data"))
    zxid = world.zxid
    results = client.do(MultiRead([GetData("/a"), GetData("/no"), GetChildren("/a"), GetChildren("/no"), GetData("/")]))
    znode, missing, children, nothing, root = results
    assert isinstance(znode, Znode)
    assert znode.data == b"data"
    assert missing == nothing == Failed(-101)
    assert children == []
    assert isinstance(root, Znode)
    assert world.zxid == zxid
    assert client.do(MultiRead([])) == []


def test_multi_read_sets_no_watches() -> None:
    world = World()
    client = world.client()
    client.do(Create("/a"))
    client.do(MultiRead([GetData("/a", True), GetChildren("/a", True), GetData("/b", True)]))
    client.do(Create("/b"))
    client.do(Delete("/a"))
    assert client.fired() == []


def test_multi_read_with_a_write_is_refused_with_a_body() -> None:
    client = World().client()
    client.do(Create("/a"))
    end = struct.pack(">ibi", -1, True, -1)
    record = struct.pack(">ibi", OpCode.DELETE, False, -1) + ustring("/a") + NULL + end
    reply = client.raw(OpCode.MULTI_READ, record)
    assert (reply.code, reply.body) == (-5, end)
    assert client.code(Exists("/a")) == 0


def test_multi_read_that_cannot_be_read() -> None:
    client = World().client()
    for record in (
        b"",
        struct.pack(">ibi", OpCode.GET_DATA, False, -1),
        struct.pack(">ibi", 99, False, -1),
        struct.pack(">ibi", OpCode.EXISTS, False, -1) + ustring("/") + b"\0",
    ):
        assert client.raw(OpCode.MULTI_READ, record).code == -5
    assert not client.closed


def test_nul_in_a_path() -> None:
    client = World().client()
    assert client.raw(OpCode.EXISTS, ustring("/a\0") + b"\1").code == -8
    assert client.raw(OpCode.GET_DATA, ustring("/a\0") + b"\1").code == -101


# --- identities


def test_who_am_i() -> None:
    client = World().client(address="10.1.2.3")
    entry = ustring("ip") + ustring("10.1.2.3")
    assert client.raw(OpCode.WHO_AM_I).body == vector([entry])


def test_a_multi_read_that_asks_for_too_much_is_refused() -> None:
    client = World().client()
    client.do(Create("/large", bytes(1_000_000)))
    assert client.code(MultiRead([GetData("/large")] * 70)) == -5
    assert client.do(Exists("/large")).data_length == 1_000_000


def test_what_a_large_request_lacks() -> None:
    client = World().client()
    assert client.connection.missing == 0
    frame = Create("/large", bytes(500_000)).encode(1)
    client.feed(frame[:100_000])
    assert client.connection.missing == len(frame) - 100_000
    client.feed(frame[100_000:])
    assert client.connection.missing == 0
    assert client.receive()[0].code == 0
