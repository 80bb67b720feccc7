"""Multi: all or nothing, later operations on top of earlier ones, and two ways to fail."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.server.harness import NULL, Client, World, buffer, content, create_record, ustring
from zk_sansio.acl import ACL, ANYONE
from zk_sansio.server._prepare import Asker, prepare
from zk_sansio.server._refused import RefusedError
from zk_sansio.wire import (
    Check,
    Create,
    Create2,
    CreateContainer,
    Created,
    CreateMode,
    CreateTTL,
    Delete,
    Exists,
    Failed,
    Multi,
    OpCode,
    Request,
    SetData,
    Stat,
)

END = struct.pack(">ibi", -1, True, -1)


def element(opcode: int, record: bytes) -> bytes:
    return struct.pack(">ibi", opcode, False, -1) + record


def failures(client: Client, ops: list[Request[Any]]) -> list[int]:
    """Run a multi that fails; return the codes of its elements."""
    before = content(client.world.tree)
    results = client.do(Multi(ops))
    assert content(client.world.tree) == before, "nothing has happened"
    codes = []
    for result in results:
        assert isinstance(result, Failed)
        codes.append(result.code)
    return codes


def test_all_kinds_of_operations() -> None:
    world = World()
    client = world.client()
    client.do(Create("/a"))
    client.do(Create("/gone"))
    results = client.do(
        Multi(
            [
                Check("/a", 0),
                Create("/b"),
                Create2("/c", b"x"),
                SetData("/a", b"new"),
                Delete("/gone"),
                CreateContainer("/d", mode=CreateMode.CONTAINER),
                CreateTTL("/t", mode=CreateMode.PERSISTENT_WITH_TTL, ttl_ms=5),
                Create("/e", mode=CreateMode.EPHEMERAL),
            ]
        )
    )
    zxid = world.zxid
    assert results[:2] == [None, Created("/b", None)]
    paths, stats = [], []
    for result in results[2:]:
        if isinstance(result, Created):
            assert result.stat is not None or result.path == "/e"
            paths.append(result.path)
        stats += [stat for stat in (result, getattr(result, "stat", None)) if isinstance(stat, Stat)]
    assert paths == ["/c", "/d", "/t", "/e"]
    assert [stat.mzxid for stat in stats] == [zxid] * 4
    assert results[4] is None
    assert world.node("/d").lifetime == "container"
    assert world.node("/t").lifetime == 5
    assert world.node("/e").owner == client.session_id
    assert {world.node(path).czxid for path in ("/b", "/c", "/d", "/t", "/e")} == {zxid}
    assert world.node("/").pzxid == zxid
    world.check()


@pytest.mark.parametrize("profile, kinds", [("3.8", [1, 15, 15, 15]), ("3.9", [15, 15, 15, 15])])
def test_types_of_results(profile: str, kinds: list[int]) -> None:
    client = World(profile=profile).client()
    body = client.raw(
        OpCode.MULTI,
        element(OpCode.CREATE2, create_record("/a"))
        + element(OpCode.CREATE_CONTAINER, create_record("/b", 4))
        + element(OpCode.CREATE, create_record("/c", 4))
        + element(OpCode.CREATE_TTL, create_record("/d", 5) + (7).to_bytes(8, "big"))
        + END,
    ).body
    found = []
    while not body[4]:
        kind, _, code = struct.unpack_from(">ibi", body)
        assert code == 0
        found.append(kind)
        body = body[9 + 4 + 2 + (68 if kind == 15 else 0) :]
    assert body == END
    assert found == kinds


def test_container_flag_of_an_ordinary_create_makes_a_container_here() -> None:
    world = World()
    world.client().raw(OpCode.MULTI, element(OpCode.CREATE, create_record("/c", 4)) + END)
    assert world.node("/c").lifetime == "container"


def test_empty_multi_takes_a_zxid() -> None:
    world = World()
    client = world.client()
    reply = client.raw(OpCode.MULTI, END)
    assert (reply.zxid, reply.code, reply.body) == (2, 0, END)
    assert world.zxid == 2


def test_operations_see_those_before() -> None:
    world = World()
    client = world.client()
    client.do(
        Multi(
            [
                Create("/a"),
                Create("/a/b"),
                SetData("/a/b", b"1", 0),
                SetData("/a/b", b"2", 1),
                Check("/a/b", 2),
                Delete("/a/b", 2),
                Delete("/a"),
                Create("/a"),
                Check("/a", 0),
                Create("/a/c", mode=CreateMode.EPHEMERAL),
            ]
        )
    )
    assert world.node("/a").stat.cversion == 1
    assert world.node("/a/c").stat.version == 0
    world.check()


def test_sequential_names_in_a_multi() -> None:
    world = World()
    client = world.client()
    client.do(Create("/q"))
    mode = CreateMode.PERSISTENT_SEQUENTIAL
    results = client.do(Multi([Create("/q/n-", mode=mode), Create("/q/x"), Delete("/q/x"), Create("/q/n-", mode=mode)]))
    assert results[0] == Created("/q/n-0000000000", None)
    assert results[3] == Created("/q/n-0000000002", None)
    results = client.do(Multi([Create("/p"), Create("/p/n-", mode=mode)]))
    assert results[1] == Created("/p/n-0000000000", None)
    world.check()


def test_numbers_go_below_zero_within_a_multi() -> None:
    world = World()
    client = world.client()
    client.do(Create("/q"))
    world.node("/q").creations = 2**31 - 1
    mode = CreateMode.PERSISTENT_SEQUENTIAL
    results = client.do(Multi([Create("/q/n", mode=mode), Create("/q/n", mode=mode)]))
    assert results == [Created("/q/n2147483647", None), Created("/q/n-2147483648", None)]


@pytest.mark.parametrize(
    "op, code",
    [
        (Create("/a"), -110),
        (Create("/no/x"), -101),
        (Create("/e/x"), -108),
        (Create("/ro/x"), -102),
        (Delete("/no"), -101),
        (Delete("/a"), -111),
        (Delete("/e", 3), -103),
        (Delete("/"), -8),
        (SetData("/no", b""), -101),
        (SetData("/ro", b""), -102),
        (SetData("/a", b"", 7), -103),
        (Check("/no", -1), -101),
        (Check("/a", 1), -103),
        (Check("/wo", -1), -102),
    ],
)
def test_operation_that_fails(op: Request[Any], code: int) -> None:
    world = World()
    client = world.client()
    client.do(Create("/a"))
    client.do(Create("/a/b"))
    client.do(Create("/e", mode=CreateMode.EPHEMERAL))
    client.do(Create("/ro", acl=[ACL(1, ANYONE)]))
    client.do(Create("/wo", acl=[ACL(2, ANYONE)]))
    zxid = world.zxid
    assert failures(client, [op]) == [code]
    assert failures(client, [Create("/x"), op, Delete("/a"), Create("/y")]) == [0, code, -2, -2]
    assert world.zxid == zxid + 2
    assert not client.closed
    world.check()


def test_bytes_of_a_failure() -> None:
    client = World().client()
    body = client.raw(OpCode.MULTI, Multi([Create("/x"), Delete("/no"), Delete("/x")]).body()).body
    assert (
        body.hex()
        == ("ffffffff0000000000" + "00000000" + "ffffffff00ffffff9b" + "ffffff9b" + "ffffffff00fffffffe" + "fffffffe")
        + END.hex()
    )


def test_counters_of_a_failed_multi_are_not_used_up() -> None:
    client = World().client()
    client.do(Create("/q"))
    mode = CreateMode.PERSISTENT_SEQUENTIAL
    assert failures(client, [Create("/q/n", mode=mode), Delete("/no")]) == [0, -101]
    assert client.do(Create("/q/n", mode=mode)).path == "/q/n0000000000"


@pytest.mark.parametrize(
    "record",
    [
        b"",
        bytes(5),
        element(OpCode.CREATE, create_record("/x")),
        element(OpCode.GET_DATA, ustring("/") + b"\0") + END,
        element(OpCode.CREATE, create_record("/x")) + element(OpCode.GET_DATA, ustring("/") + b"\0") + END,
        element(OpCode.SET_ACL, ustring("/") + NULL + NULL) + END,
        element(OpCode.MULTI, END) + END,
        element(99, b"") + END,
        element(OpCode.CREATE, ustring("/x")) + END,
        element(OpCode.DELETE, b"\0\0\1\0/") + END,
    ],
)
@pytest.mark.parametrize("profile", ["3.8", "3.9"])
def test_multi_that_cannot_be_read(record: bytes, profile: str) -> None:
    world = World(profile=profile)
    client = world.client()
    reply = client.raw(OpCode.MULTI, record)
    assert (reply.code, reply.body) == (-5, b"")
    assert reply.zxid == world.zxid == 2, "it takes a zxid nevertheless"
    assert client.code(Exists("/x")) == -101
    assert not client.closed


@pytest.mark.parametrize("profile, lifetime", [("3.8", None), ("3.9", "container")])
def test_requests_whose_mode_is_another_one(profile: str, lifetime: str | None) -> None:
    """Where a mode and its request contradict each other, a multi listens to the mode, with one exception."""
    ttl = (7).to_bytes(8, "big")
    world = World(profile=profile)
    client = world.client()
    for opcode in (OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER):
        assert client.raw(OpCode.MULTI, element(opcode, create_record("/x", 5)) + END)[2:] == (-5, b"")
    record = (
        element(OpCode.CREATE_CONTAINER, create_record("/a", 0))
        + element(OpCode.CREATE_TTL, create_record("/b", 0) + ttl)
        + element(OpCode.CREATE_TTL, create_record("/c", 4) + ttl)
        + element(OpCode.CREATE_TTL, create_record("/d", 1) + ttl)
        + END
    )
    assert client.raw(OpCode.MULTI, record).code == 0
    assert [world.node(path).lifetime for path in ("/a", "/b", "/c", "/d")] == [lifetime, None, "container", None]
    assert world.node("/d").owner == client.session_id
    world.check()


@pytest.mark.parametrize("flags", [7, 99, -1])
def test_mode_that_does_not_exist(flags: int) -> None:
    record = element(OpCode.CREATE, create_record("/x")) + element(OpCode.CREATE, create_record("/y", flags)) + END
    client = World(profile="3.9").client()
    assert client.raw(OpCode.MULTI, record)[2:] == (-5, b"")
    client = World(profile="3.8").client()
    reply = client.raw(OpCode.MULTI, record)
    assert reply.code == 0
    assert reply.body == struct.pack(">ibii", -1, 0, 0, 0) + struct.pack(">ibii", -1, 0, -8, -8) + END


def test_multi_of_many() -> None:
    world = World()
    client = world.client()
    ops: list[Request[Any]] = [Create(f"/{number}") for number in range(300)]
    assert len(client.do(Multi(ops))) == 300
    assert client.do(Multi([Delete(f"/{number}") for number in range(300)])) == [None] * 300
    assert world.node("/").creations == 300
    world.check()


def test_multi_needs_permissions_as_they_are_within_it() -> None:
    world = World()
    client = world.client()
    closed = [ACL(1, ANYONE)]
    assert failures(client, [Create("/a", acl=closed), Create("/a/b")]) == [0, -102]
    assert failures(client, [Create("/a", acl=closed), SetData("/a", b"")]) == [0, -102]
    assert failures(client, [Create("/a", acl=closed), Delete("/a"), Delete("/a")]) == [0, 0, -101]


def test_reads_are_not_prepared() -> None:
    world = World()
    with pytest.raises(RefusedError) as caught:
        prepare(Exists("/"), Asker(0, []), world.tree, world.options)
    assert caught.value.code == -5


def test_data_of_a_multi() -> None:
    client = World().client()
    record = element(OpCode.SET_DATA, ustring("/") + buffer(None) + NULL) + END
    body = client.raw(OpCode.MULTI, record).body
    assert struct.unpack_from(">ibi", body) == (OpCode.SET_DATA, 0, 0)
    assert len(body) == 9 + 68 + 9
