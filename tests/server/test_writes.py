"""Writes: what they do, what they answer, and what they are refused for."""

from __future__ import annotations

import pytest

from tests.server.harness import (
    CHANGED,
    CREATED,
    DELETED,
    NULL,
    START,
    World,
    acls,
    buffer,
    create_record,
    ustring,
)
from zk_sansio.acl import ACL, ANYONE
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Create,
    Create2,
    CreateContainer,
    CreateMode,
    CreateTTL,
    Delete,
    Exists,
    GetACL,
    GetChildren,
    GetData,
    GetEphemerals,
    OpCode,
    SetACL,
    SetData,
    Stat,
)

CONTAINER, TTL, TTL_SEQUENTIAL = CreateMode(4), CreateMode(5), CreateMode(6)
OPEN = [ACL(31, ANYONE)]


# --- create


def test_create_answers_the_path_and_create2_the_stat() -> None:
    world = World(clock_offset=5000.0)
    client = world.client()
    reply = client.raw(OpCode.CREATE, create_record("/a", data=b"hello"))
    assert reply == (1, 2, 0, ustring("/a"))
    created = client.do(Create2("/b", b"x"))
    ms = round((START + 5000.0) * 1000)
    assert created.stat == Stat(3, 3, ms, ms, 0, 0, 0, 0, 1, 0, 3)
    assert client.do(GetData("/a")).data == b"hello"


def test_null_and_empty_data_differ() -> None:
    client = World().client()
    client.do(Create("/null", None))
    client.do(Create("/empty", b""))
    assert client.do(GetData("/null")) == (None, client.do(Exists("/null")))
    assert client.do(GetData("/empty")).data == b""
    assert client.do(Exists("/null")).data_length == client.do(Exists("/empty")).data_length == 0
    client.do(SetData("/empty", None))
    assert client.do(GetData("/empty")).data is None


def test_ephemeral() -> None:
    world = World()
    client = world.client()
    stat = client.do(Create2("/e", mode=CreateMode.EPHEMERAL)).stat
    assert stat is not None
    assert stat.ephemeral_owner == client.session_id
    assert client.code(Create("/e/x")) == -108
    assert client.do(GetEphemerals()) == ["/e"]
    client.do(Delete("/e"))
    assert client.do(GetEphemerals()) == []
    world.check()


@pytest.mark.parametrize("kind", [Create, Create2])
def test_numbers_count_all_children_and_have_gaps(kind: type[Create] | type[Create2]) -> None:
    world = World()
    client = world.client()
    client.do(Create("/q"))
    sequential, ephemeral = CreateMode.PERSISTENT_SEQUENTIAL, CreateMode.EPHEMERAL_SEQUENTIAL
    assert client.do(kind("/q/n-", mode=sequential)).path == "/q/n-0000000000"
    client.do(Create("/q/x"))
    client.do(Delete("/q/x"))
    assert client.code(Create("/q/n-0000000000")) == -110, "a create that fails is not counted"
    assert client.do(kind("/q/m-", mode=ephemeral)).path == "/q/m-0000000002"
    assert client.do(kind("/q/", mode=sequential)).path == "/q/0000000003"
    for child in client.do(GetChildren("/q")):
        client.do(Delete(f"/q/{child}"))
    assert client.do(kind("/q/n-", mode=sequential)).path == "/q/n-0000000004"
    client.do(Delete("/q/n-0000000004"))
    client.do(Delete("/q"))
    client.do(Create("/q"))
    assert client.do(kind("/q/n-", mode=sequential)).path == "/q/n-0000000000"
    world.check()


def test_numbers_are_used_up_at_last() -> None:
    world = World()
    client = world.client()
    client.do(Create("/q"))
    world.node("/q").creations = 2**31 - 2
    mode = CreateMode.PERSISTENT_SEQUENTIAL
    assert client.do(Create("/q/n-", mode=mode)).path == "/q/n-2147483646"
    assert client.do(Create("/q/n-", mode=mode)).path == "/q/n-2147483647"
    assert client.code(Create("/q/n-", mode=mode)) == -110
    assert client.do(Create("/q/m-", mode=mode)).path == "/q/m-2147483647"
    client.do(Create("/q/plain"))


def test_sequential_name_at_the_root() -> None:
    world = World()
    client = world.client()
    assert client.do(Create("/", mode=CreateMode.PERSISTENT_SEQUENTIAL)).path == "/0000000000"
    assert world.node("/").creations == 1


def test_container_and_ttl_show_no_owner() -> None:
    world = World()
    client = world.client()
    for request in (
        CreateContainer("/c", mode=CONTAINER),
        CreateTTL("/t", mode=TTL, ttl_ms=1),
        CreateTTL("/s-", mode=TTL_SEQUENTIAL, ttl_ms=2**40 - 1),
    ):
        created = client.do(request)
        assert created.stat is not None
        assert created.stat.ephemeral_owner == 0
    assert world.node("/c").lifetime == "container"
    assert world.node("/t").lifetime == 1
    assert world.node("/s-0000000002").lifetime == 2**40 - 1
    world.check()


def test_container_flag_of_an_ordinary_create_makes_an_ordinary_znode() -> None:
    world = World()
    client = world.client()
    assert client.raw(OpCode.CREATE, create_record("/c", 4)).code == 0
    assert client.raw(OpCode.CREATE2, create_record("/d", 4)).code == 0
    assert world.node("/c").lifetime is None is world.node("/d").lifetime


@pytest.mark.parametrize("opcode", [OpCode.CREATE, OpCode.CREATE2])
@pytest.mark.parametrize("flags", [5, 6, 7, 99, -1, 2**31 - 1, -(2**31)])
def test_flags_that_do_not_fit(opcode: int, flags: int) -> None:
    client = World().client()
    assert client.raw(opcode, create_record("/x", flags)).code == -8
    assert not client.closed


@pytest.mark.parametrize("ttl", [0, -1, 2**40, 2**63 - 1, -(2**63)])
def test_ttl_out_of_range(ttl: int) -> None:
    client = World().client()
    assert client.raw(OpCode.CREATE_TTL, create_record("/x", 5) + ttl.to_bytes(8, "big", signed=True)).code == -8


@pytest.mark.parametrize("flags", [0, 1, 4])
def test_ttl_of_a_znode_that_takes_none(flags: int) -> None:
    client = World().client()
    assert client.raw(OpCode.CREATE_TTL, create_record("/x", flags) + (5).to_bytes(8, "big")).code == -8


def test_ttl_that_is_disabled() -> None:
    client = World(ttl=False).client()
    assert client.code(CreateTTL("/t", mode=TTL, ttl_ms=5)) == -6
    assert not client.closed


@pytest.mark.parametrize(
    "path, code",
    [
        ("/", -110),
        ("/a", -110),
        ("/zookeeper", -110),
        ("/no/x", -101),
        ("/no/x/..", -101),
        ("/a//x", -101),
        ("/a/./x", -101),
        ("/a/b/", -101),
        ("/a/.", -8),
        ("/a/..", -8),
        ("/a/", -8),
        ("//x", -8),
        ("//", -8),
        ("relative", -8),
        ("relative/x", -101),
        ("", -8),
        ("/a/\0", -8),
        ("/a/\x01", -8),
        ("/a/\x1f", -8),
        ("/a/\x7f", -8),
        ("/a/\x9f", -8),
        ("/a/\ue000", -8),
        ("/a/\uf8ff", -8),
        ("/a/\ufff0", -8),
        ("/a/\uffff", -8),
        ("/a/\U0001f600", -8),
        ("/a/ ", 0),
        ("/a/...", 0),
        ("/a/.x", 0),
        ("/a/\xa0\xe9\u65e5\ud7ff\uf900\uffef", 0),
        ("/zookeeper/x", 0),
        ("/zookeeper/quota/x", 0),
    ],
)
def test_paths_of_creates(path: str, code: int) -> None:
    client = World().client()
    client.do(Create("/a"))
    assert client.raw(OpCode.CREATE, create_record(path)).code == code
    assert not client.closed


def test_null_path_cannot_be_read() -> None:
    client = World().client()
    assert client.raw(OpCode.CREATE, create_record(None)).code == -5
    assert client.raw(OpCode.DELETE, NULL + bytes(4)).code == -5


def test_order_of_checks_of_a_create() -> None:
    client = World().client()
    client.do(Create("/e", mode=CreateMode.EPHEMERAL))
    client.do(Create("/closed", acl=[ACL(1, ANYONE)]))
    client.do(Create("/e2", mode=CreateMode.EPHEMERAL))
    bad = [(31, "nosuch", "x")]
    assert client.raw(OpCode.CREATE, create_record("/no/x", 77, acl=bad)).code == -8
    assert client.raw(OpCode.CREATE, create_record("/no/x", acl=bad)).code == -114
    assert client.raw(OpCode.CREATE, create_record("/no/..")).code == -101
    assert client.raw(OpCode.CREATE, create_record("/closed/..")).code == -102
    assert client.raw(OpCode.CREATE, create_record("/e/..")).code == -8
    assert client.raw(OpCode.CREATE, create_record("/e/x")).code == -108


def test_writes_that_fail_take_zxids_and_reads_do_not() -> None:
    world = World()
    client = world.client()
    zxids = [client.ask(Delete("/no")).zxid for _ in range(3)]
    assert zxids == [2, 3, 4]
    assert client.ask(Exists("/no")).zxid == 4
    assert client.ask(Create("/a")).zxid == 5
    assert world.node("/a").czxid == 5


# --- delete


@pytest.mark.parametrize(
    "path, code",
    [
        ("/", -8),
        ("/zookeeper", -8),
        ("/zookeeper/quota", -8),
        ("/zookeeper/config", -8),
        ("/no", -101),
        ("/no/x", -101),
        ("/a/b/", -101),
        ("relative", -8),
        ("", -8),
        ("/a\0", -8),
        ("/a", -111),
        ("/a/b", 0),
    ],
)
def test_paths_of_deletes(path: str, code: int) -> None:
    world = World()
    client = world.client()
    client.do(Create("/a"))
    client.do(Create("/a/b"))
    assert client.raw(OpCode.DELETE, ustring(path) + NULL).code == code
    assert ("/a/b" in world.tree.nodes) is (code != 0)
    world.check()


def test_delete_compares_versions_before_it_looks_for_children() -> None:
    client = World().client()
    client.do(Create("/a"))
    client.do(Create("/a/b"))
    assert client.code(Delete("/a", 5)) == -103
    assert client.code(Delete("/a", -2)) == -103
    assert client.code(Delete("/a", 0)) == -111
    client.do(Delete("/a/b", 0))
    client.do(SetData("/a", b""))
    assert client.code(Delete("/a", 0)) == -103
    client.do(Delete("/a", 1))


# --- set


def test_set() -> None:
    world = World(clock_offset=0.5)
    client = world.client()
    client.do(Create("/a"))
    world.advance(1.0)
    stat = client.do(SetData("/a", b"12", 0))
    assert stat == Stat(2, 3, 1_000_500, 1_001_500, 1, 0, 0, 0, 2, 0, 2)
    assert client.do(SetData("/a", b"12")).version == 2, "the same bytes are a change as well"
    assert client.code(SetData("/a", b"", 0)) == -103
    assert client.code(SetData("/a", b"", -2)) == -103
    assert client.code(SetData("/no", b"")) == -101
    assert client.do(GetData("/a")).data == b"12"


def test_set_of_reserved_znodes() -> None:
    client = World().client()
    assert client.do(SetData("/", b"root")).version == 1
    assert client.do(SetData("/zookeeper", b"x")).version == 1
    assert client.code(SetData("/zookeeper/config", b"x")) == -102


@pytest.mark.parametrize("path", ["", "relative", "/a/", "/a//b", "/a\0", "/."])
def test_set_checks_its_path_first(path: str) -> None:
    client = World().client()
    assert client.raw(OpCode.SET_DATA, ustring(path) + buffer(b"") + NULL).code == -8
    assert client.raw(OpCode.SET_ACL, ustring(path) + acls([(31, "world", "anyone")]) + NULL).code == -8


@pytest.mark.parametrize("version", [2**31 - 1, -(2**31)])
def test_versions_wrap(version: int) -> None:
    world = World()
    client = world.client()
    client.do(Create("/a"))
    world.node("/a").version = world.node("/a").aversion = version
    following = version + 1 if version < 0 else -(2**31)
    assert client.do(SetData("/a", b"", version)).version == following
    assert client.do(SetACL("/a", OPEN, version)).aversion == following


# --- set ACL


def test_set_acl() -> None:
    client = World().client()
    client.do(Create("/a"))
    before = client.do(Exists("/a"))
    stat = client.do(SetACL("/a", [ACL(1, ANYONE), ACL(16, ANYONE)], 0))
    assert stat == before._replace(aversion=1)
    found = client.do(GetACL("/a"))
    assert found == ((ACL(1, ANYONE), ACL(16, ANYONE)), stat)
    assert client.code(SetACL("/a", OPEN, 0)) == -103
    assert client.do(SetACL("/a", OPEN, -1)).aversion == 2
    assert client.code(SetACL("/no", OPEN)) == -101


def test_order_of_checks_of_set_acl() -> None:
    client = World().client()
    client.do(Create("/a", acl=[ACL(1, ANYONE)]))
    bad = acls([(31, "nosuch", "x")])
    assert client.raw(OpCode.SET_ACL, ustring("/no") + bad + NULL).code == -114
    assert client.raw(OpCode.SET_ACL, ustring("/a") + acls([(31, "world", "anyone")]) + bytes(3) + b"\7").code == -102


# --- what goes by itself


def test_containers_go_after_their_last_child() -> None:
    world = World(now=30.0)
    client = world.client(timeout_ms=40_000)
    watcher = world.client(timeout_ms=40_000)
    client.do(CreateContainer("/c", mode=CONTAINER))
    client.do(CreateContainer("/unused", mode=CONTAINER))
    client.do(Create("/c/x"))
    client.do(Delete("/c/x"))
    watcher.do(Exists("/c", watch=True))
    client.do(AddWatch("/", AddWatchMode.PERSISTENT))
    world.advance(29.0)
    assert client.code(Exists("/c")) == 0
    assert watcher.code(Exists("/")) == 0
    world.advance(1.0)
    zxid = world.zxid
    assert watcher.fired() == [(DELETED, "/c", zxid)]
    assert client.fired() == [(4, "/", zxid)]
    assert client.code(Exists("/c")) == -101
    assert client.code(Create("/c/y")) == -101
    world.advance(39.0)
    assert "/unused" in world.tree.nodes
    world.check()


def test_container_with_a_child_stays() -> None:
    world = World(cleanup_interval=1.0)
    client = world.client(timeout_ms=40_000)
    client.do(CreateContainer("/c", mode=CONTAINER))
    client.do(Create("/c/x"))
    world.advance(10.0)
    assert "/c" in world.tree.nodes
    client.do(Delete("/c/x"))
    world.advance(1.0)
    assert "/c" not in world.tree.nodes


def test_containers_in_containers_go_one_after_the_other() -> None:
    world = World(cleanup_interval=1.0)
    client = world.client(timeout_ms=40_000)
    client.do(CreateContainer("/c", mode=CONTAINER))
    client.do(CreateContainer("/c/d", mode=CONTAINER))
    client.do(Create("/c/d/x"))
    client.do(Delete("/c/d/x"))
    world.advance(1.0)
    assert "/c/d" not in world.tree.nodes
    assert "/c" in world.tree.nodes
    world.advance(1.0)
    assert "/c" not in world.tree.nodes


def test_ttl() -> None:
    world = World(cleanup_interval=1.0)
    client = world.client(timeout_ms=40_000)
    client.do(CreateTTL("/t", mode=TTL, ttl_ms=2500))
    client.do(CreateTTL("/parent", mode=TTL, ttl_ms=10))
    client.do(Create("/parent/x"))
    world.advance(2.0)
    client.do(SetData("/t", b""))
    client.do(Exists("/t"))
    world.advance(2.0)
    assert "/t" in world.tree.nodes
    world.advance(0.9)
    assert "/t" in world.tree.nodes
    world.advance(0.1)
    assert "/t" not in world.tree.nodes
    assert "/parent" in world.tree.nodes
    client.do(Delete("/parent/x"))
    world.advance(1.0)
    assert "/parent" not in world.tree.nodes


def test_first_container_is_not_looked_at_at_once() -> None:
    world = World(cleanup_interval=10.0, now=0.0)
    client = world.client(timeout_ms=40_000)
    world.now = 25.0
    client.do(CreateContainer("/c", mode=CONTAINER))
    client.do(Create("/c/x"))
    client.do(Delete("/c/x"))
    assert world.ensemble.next_timeout() == 30.0
    world.now = 29.0
    world.ensemble.handle_timeout(29.0)
    assert "/c" in world.tree.nodes
    world.now = 30.0
    world.settle()
    assert "/c" not in world.tree.nodes


def test_own_events_come_before_replies() -> None:
    world = World()
    client = world.client()
    client.do(AddWatch("/a", AddWatchMode.PERSISTENT_RECURSIVE))
    for request in (Create("/a"), SetData("/a", b""), Delete("/a")):
        client.send(request)
    types = [each[0] for each in client.messages()]
    assert types == [CREATED, 2, CHANGED, 3, DELETED, 4]
