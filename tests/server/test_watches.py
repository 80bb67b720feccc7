"""Watches: what sets them, what they tell and when, and how versions differ."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.harness import (
    CHANGED,
    CHILDREN,
    CREATED,
    DELETED,
    NULL,
    Client,
    Event,
    World,
    repeatable,
    ustring,
    vector,
)
from zk_sansio.acl import ACL, ANYONE, digest_acl
from zk_sansio.server._watches import Watches
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    CheckWatches,
    Create,
    Delete,
    EventType,
    Exists,
    GetChildren,
    GetChildren2,
    GetData,
    Multi,
    OpCode,
    RemoveWatches,
    Request,
    SetACL,
    SetData,
    SetWatches,
    SetWatches2,
    WatcherType,
)

PERSISTENT, RECURSIVE = AddWatchMode.PERSISTENT, AddWatchMode.PERSISTENT_RECURSIVE
OPEN = [ACL(31, ANYONE)]


def pair(profile: str = "3.9") -> tuple[World, Client, Client]:
    """A world with two clients: one that watches, and one that writes."""
    world = World(profile=profile)
    return world, world.client(), world.client()


def heard(client: Client) -> list[tuple[int, str]]:
    return [event[:2] for event in client.fired()]


# --- one-shot watches


@pytest.mark.parametrize("kind", [Exists, GetData])
def test_data_watches_fire_once(kind: type[Exists] | type[GetData]) -> None:
    world, client, other = pair()
    other.do(Create("/a"))
    request: Request[Any] = kind("/a", True)
    client.do(request)
    other.do(SetData("/a", b""))
    assert client.fired() == [Event(CHANGED, "/a", world.zxid)]
    other.do(SetData("/a", b""))
    assert heard(client) == []
    client.do(request)
    other.do(Create("/a/b"))
    assert heard(client) == []
    other.do(Delete("/a/b"))
    other.do(Delete("/a"))
    assert heard(client) == [(DELETED, "/a")]
    other.do(Create("/a"))
    assert heard(client) == []


def test_exists_watches_what_is_missing() -> None:
    _, client, other = pair()
    assert client.code(Exists("/a", True)) == -101
    other.do(Create("/a"))
    assert heard(client) == [(CREATED, "/a")]
    other.do(SetData("/a", b""))
    assert heard(client) == []


@pytest.mark.parametrize("kind", [GetData, GetChildren, GetChildren2])
def test_others_do_not(kind: type[GetData] | type[GetChildren] | type[GetChildren2]) -> None:
    _, client, other = pair()
    request: Request[Any] = kind("/a", True)
    assert client.code(request) == -101
    other.do(Create("/a"))
    other.do(SetData("/a", b""))
    other.do(Create("/a/b"))
    assert heard(client) == []


@pytest.mark.parametrize("kind", [Exists, GetData, GetChildren, GetChildren2])
def test_no_watch_without_permission(
    kind: type[Exists] | type[GetData] | type[GetChildren] | type[GetChildren2],
) -> None:
    world, client, other = pair()
    other.do(Create("/a", acl=[ACL(30, ANYONE)]))
    request: Request[Any] = kind("/a", True)
    assert client.code(request) == -102
    world.ensemble.execute(SetACL("/a", OPEN), world.now)
    other.do(SetData("/a", b""))
    other.do(Create("/a/b"))
    assert heard(client) == []


@pytest.mark.parametrize("kind", [GetChildren, GetChildren2])
def test_child_watches(kind: type[GetChildren] | type[GetChildren2]) -> None:
    _, client, other = pair()
    request: Request[Any] = kind("/a", True)
    other.do(Create("/a"))
    client.do(request)
    other.do(SetData("/a", b""))
    assert heard(client) == []
    other.do(Create("/a/b"))
    assert heard(client) == [(CHILDREN, "/a")]
    client.do(request)
    other.do(SetData("/a/b", b""))
    other.do(Create("/a/b/c"))
    other.do(Delete("/a/b/c"))
    assert heard(client) == []
    other.do(Delete("/a/b"))
    assert heard(client) == [(CHILDREN, "/a")]
    client.do(request)
    other.do(Delete("/a"))
    assert heard(client) == [(DELETED, "/a")]


def test_one_frame_for_all_kinds() -> None:
    _, client, other = pair()
    other.do(Create("/a"))
    client.do(Exists("/a", True))
    client.do(GetData("/a", True))
    client.do(GetChildren("/a", True))
    other.do(Delete("/a"))
    assert heard(client) == [(DELETED, "/a")]
    other.do(Create("/a"))
    other.do(Create("/a/b"))
    assert heard(client) == []


@pytest.mark.parametrize("profile", ["3.8", "3.9"])
def test_acl_changes_are_not_told(profile: str) -> None:
    _, client, other = pair(profile)
    other.do(Create("/a"))
    requests: list[Request[Any]] = [GetData("/a", True), GetChildren("/a", True), AddWatch("/", RECURSIVE)]
    for request in requests:
        client.do(request)
    other.do(SetACL("/a", OPEN))
    assert heard(client) == []


def test_watches_go_with_the_connection() -> None:
    world, client, other = pair()
    other.do(Create("/a"))
    client.do(GetData("/a", True))
    client.do(AddWatch("/a", PERSISTENT))
    new = world.resumed(client)
    other.do(SetData("/a", b""))
    assert heard(new) == []
    assert client.connection.data_to_send() == b""
    (server,) = world.ensemble.servers
    assert list(server.watches.by_path()) == []


# --- lasting watches


def changes(client: Client, path: str) -> None:
    """Make a znode with a child and a grandchild, change each, and remove all."""
    for each in (path, f"{path}/k", f"{path}/k/l"):
        client.do(Create(each))
        client.do(SetData(each, b""))
    for each in (f"{path}/k/l", f"{path}/k", path):
        client.do(Delete(each))


PERSISTENT_EVENTS = [(CREATED, "/p"), (CHANGED, "/p"), (CHILDREN, "/p"), (CHILDREN, "/p"), (DELETED, "/p")]
RECURSIVE_EVENTS = [
    *[(kind, path) for path in ("/p", "/p/k", "/p/k/l") for kind in (CREATED, CHANGED)],
    *[(DELETED, path) for path in ("/p/k/l", "/p/k", "/p")],
]


@pytest.mark.parametrize("profile", ["3.8", "3.9"])
@pytest.mark.parametrize("mode, events", [(PERSISTENT, PERSISTENT_EVENTS), (RECURSIVE, RECURSIVE_EVENTS)])
def test_lasting_watches(profile: str, mode: AddWatchMode, events: list[tuple[int, str]]) -> None:
    _, client, other = pair(profile)
    reply = client.ask(AddWatch("/p", mode))
    assert (reply.code, reply.body) == (0, bytes(4))
    for _ in range(2):  # they outlive the znode
        changes(other, "/p")
        assert heard(client) == events


def test_recursive_watch_of_the_root() -> None:
    _, client, other = pair()
    client.do(AddWatch("/", RECURSIVE))
    changes(other, "/p")
    assert heard(client) == RECURSIVE_EVENTS


def test_recursive_watch_does_not_reach_beside_its_path() -> None:
    _, client, other = pair()
    client.do(AddWatch("/p", RECURSIVE))
    changes(other, "/pp")
    changes(other, "/q")
    assert heard(client) == []


def test_child_watch_below_a_recursive_one() -> None:
    _, client, other = pair()
    other.do(Create("/p"))
    client.do(AddWatch("/", RECURSIVE))
    client.do(GetChildren("/p", True))
    other.do(Create("/p/k"))
    assert heard(client) == [(CREATED, "/p/k"), (CHILDREN, "/p")]


def test_one_frame_for_lasting_and_one_shot_watches() -> None:
    _, client, other = pair()
    other.do(Create("/p"))
    for request in (AddWatch("/p", PERSISTENT), AddWatch("/p", RECURSIVE), AddWatch("/", RECURSIVE)):
        client.do(request)
    client.do(GetData("/p", True))
    client.do(GetChildren("/p", True))
    other.do(SetData("/p", b""))
    other.do(Create("/p/k"))
    other.do(Delete("/p/k"))
    other.do(Delete("/p"))
    assert heard(client) == [
        *[(CHANGED, "/p"), (CREATED, "/p/k"), (CHILDREN, "/p"), (DELETED, "/p/k"), (CHILDREN, "/p"), (DELETED, "/p")]
    ]


@pytest.mark.parametrize("mode", [2, -1, 2**31 - 1])
def test_mode_that_does_not_exist(mode: int) -> None:
    client = World().client()
    assert client.raw(OpCode.ADD_WATCH, ustring("/") + struct.pack(">i", mode)).code == -5
    assert not client.closed


def test_lasting_watch_needs_no_permission_and_no_path() -> None:
    world, client, other = pair()
    other.do(Create("/a", acl=[ACL(0, ANYONE)]))
    assert client.raw(OpCode.ADD_WATCH, ustring("/a") + bytes(4)).code == 0
    assert client.raw(OpCode.ADD_WATCH, ustring("no path") + bytes(4)).code == 0
    other.do(Delete("/a"))
    assert heard(client) == []
    world.check()


# --- who may hear


def test_events_need_read() -> None:
    world, client, other = pair()
    secret = [digest_acl("bob", "secret")]
    other.do(Create("/a"))
    client.do(AddWatch("/", RECURSIVE))
    client.do(GetData("/a", True))
    client.do(GetChildren("/a", True))
    other.do(SetACL("/a", secret))
    world.ensemble.execute(SetData("/a", b""), world.now)
    world.ensemble.execute(Create("/a/b"), world.now)
    assert heard(client) == [(CREATED, "/a/b")]
    world.ensemble.execute(SetACL("/a", OPEN), world.now)
    other.do(SetData("/a", b""))
    assert heard(client) == [(CHANGED, "/a")], "the recursive watch is still there"
    client.do(AddWatch("/s", PERSISTENT))
    other.do(Create("/s", acl=secret))
    assert heard(client) == []


def test_events_of_old_versions_need_nothing() -> None:
    world, client, other = pair("3.5")
    other.do(Create("/a"))
    client.do(GetData("/a", True))
    other.do(SetACL("/a", [ACL(0, ANYONE)]))
    world.ensemble.execute(SetData("/a", b""), world.now)
    assert heard(client) == [(CHANGED, "/a")]


# --- in a multi


@pytest.mark.parametrize("profile", ["3.8", "3.9"])
def test_events_of_a_multi(profile: str) -> None:
    world, client, _ = pair(profile)
    client.do(AddWatch("/a", RECURSIVE))
    client.do(GetChildren("/", True))
    client.send(Multi([Create("/a"), Create("/a/b"), SetData("/a", b""), Delete("/a/b"), Delete("/a")]))
    *events, reply = client.messages()
    zxid = world.zxid if profile == "3.9" else -1
    assert events == [
        Event(CREATED, "/a", zxid),
        Event(CHILDREN, "/", zxid),
        Event(CREATED, "/a/b", zxid),
        Event(CHANGED, "/a", zxid),
        Event(DELETED, "/a/b", zxid),
        Event(DELETED, "/a", zxid),
    ]
    assert reply[:3] == (3, world.zxid, 0)


def test_failed_multi_tells_nothing() -> None:
    _, client, _ = pair()
    client.do(AddWatch("/", RECURSIVE))
    client.send(Multi([Create("/a"), Delete("/no")]))
    assert heard(client) == []


# --- several kinds at one path


def test_3_8_keeps_one_kind_per_path() -> None:
    _, client, other = pair("3.8")
    other.do(Create("/a"))
    client.do(AddWatch("/a", PERSISTENT))
    client.do(GetData("/a", True))
    other.do(SetData("/a", b""))
    other.do(SetData("/a", b""))
    assert heard(client) == [(CHANGED, "/a")], "the one-shot watch took the place of the other (ZOOKEEPER-4466)"
    other.do(Create("/a/b"))
    assert heard(client) == [(CHILDREN, "/a")], "which is still there for the children"
    client.do(AddWatch("/a", RECURSIVE))
    client.do(AddWatch("/a", PERSISTENT))
    other.do(SetData("/a/b", b""))
    other.do(SetData("/a", b""))
    assert heard(client) == [(CHANGED, "/a")]


def test_3_9_keeps_all() -> None:
    _, client, other = pair("3.9")
    other.do(Create("/a"))
    client.do(AddWatch("/a", PERSISTENT))
    client.do(AddWatch("/a", RECURSIVE))
    client.do(GetData("/a", True))
    for _ in range(2):
        other.do(SetData("/a", b""))
    other.do(Create("/a/b"))
    assert heard(client) == [(CHANGED, "/a"), (CHANGED, "/a"), (CREATED, "/a/b"), (CHILDREN, "/a")]


def test_one_kind_of_one_connection_is_not_that_of_another() -> None:
    world, client, other = pair("3.8")
    third = world.client()
    other.do(Create("/a"))
    client.do(AddWatch("/a", PERSISTENT))
    third.do(GetData("/a", True))
    for _ in range(2):
        other.do(SetData("/a", b""))
    assert heard(client) == [(CHANGED, "/a")] * 2
    assert heard(third) == [(CHANGED, "/a")]


# --- asking and removing

KINDS: dict[WatcherType, Request[Any]] = {
    WatcherType.DATA: GetData("/a", True),
    WatcherType.CHILDREN: GetChildren("/a", True),
    WatcherType.PERSISTENT: AddWatch("/a", PERSISTENT),
    WatcherType.PERSISTENT_RECURSIVE: AddWatch("/a", RECURSIVE),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", WatcherType)
def test_check_and_remove(kind: WatcherType, asked: WatcherType) -> None:
    world, client, other = pair()
    other.do(Create("/a"))
    client.do(KINDS[kind])
    expected = 0 if asked in (kind, WatcherType.ANY) else -121
    assert other.code(CheckWatches("/a", asked)) == -121
    assert client.code(CheckWatches("/a", asked)) == expected
    assert client.code(CheckWatches("/b", asked)) == -121
    assert client.code(RemoveWatches("/a", asked)) == expected
    assert client.code(RemoveWatches("/a", asked)) == -121
    assert client.fired() == [], "the client makes its own events of it"
    other.do(SetData("/a", b""))
    other.do(Create("/a/b"))
    assert (heard(client) == []) is (expected == 0)
    world.check()


def test_removal_leaves_the_other_kinds() -> None:
    _, client, other = pair()
    other.do(Create("/a"))
    for request in KINDS.values():
        client.do(request)
    client.do(RemoveWatches("/a", WatcherType.PERSISTENT_RECURSIVE))
    client.do(RemoveWatches("/a", WatcherType.DATA))
    for _ in range(2):
        other.do(SetData("/a", b""))
    assert heard(client) == [(CHANGED, "/a")] * 2
    client.do(RemoveWatches("/a", WatcherType.PERSISTENT))
    other.do(Create("/a/b"))
    other.do(Create("/a/c"))
    assert heard(client) == [(CHILDREN, "/a")]
    assert client.code(RemoveWatches("/a", WatcherType.ANY)) == -121


@pytest.mark.parametrize("opcode", [OpCode.CHECK_WATCHES, OpCode.REMOVE_WATCHES])
@pytest.mark.parametrize("profile, unknown", [("3.9", [0, 6, -1]), ("3.8", [0, 4, 5, 6])])
def test_types_that_do_not_exist(opcode: int, profile: str, unknown: list[int]) -> None:
    client = World(profile=profile).client()
    client.do(AddWatch("/a", PERSISTENT))
    for number in unknown:
        assert client.raw(opcode, ustring("/a") + struct.pack(">i", number)).code == -5
    assert not client.closed


def test_3_8_takes_half_of_a_persistent_watch_away() -> None:
    _, client, other = pair("3.8")
    other.do(Create("/a"))
    client.do(AddWatch("/a", PERSISTENT))
    assert client.code(RemoveWatches("/a", WatcherType.CHILDREN)) == 0, "ZOOKEEPER-4471"
    other.do(Create("/a/b"))
    assert heard(client) == []
    other.do(SetData("/a", b""))
    assert heard(client) == [(CHANGED, "/a")]
    assert client.code(RemoveWatches("/a", WatcherType.ANY)) == 0
    other.do(SetData("/a", b""))
    assert heard(client) == []


def test_3_8_tells_of_the_watches_of_others() -> None:
    _, client, other = pair("3.8")
    client.do(AddWatch("/a", PERSISTENT))
    assert other.code(CheckWatches("/a", WatcherType.ANY)) == 0
    assert other.code(RemoveWatches("/a", WatcherType.ANY)) == -121


# --- after a reconnect


def missed() -> tuple[World, Client, int]:
    """Changes that somebody has missed, and since when."""
    world = World()
    client = world.client()
    for path in ("/d", "/d2", "/del", "/c", "/cdel", "/same", "/p", "/last"):
        client.do(Create(path))
    since = world.zxid
    client.do(SetData("/d", b""))
    client.do(Delete("/del"))
    client.do(Create("/ne"))
    client.do(Create("/c/x"))
    client.do(Delete("/cdel"))
    client.do(SetData("/p", b""))
    return world, client, since


def test_set_watches() -> None:
    world, client, since = missed()
    client.send(SetWatches(since, ["/d", "/last", "/d2", "/del"], ["/ne", "/ne2"], ["/c", "/last", "/cdel", "/same"]))
    messages = client.messages()
    assert messages[:-1] == [
        Event(CHANGED, "/d", -1),
        Event(DELETED, "/del", -1),
        Event(CREATED, "/ne", -1),
        Event(CHILDREN, "/c", -1),
        Event(DELETED, "/cdel", -1),
    ]
    assert messages[-1][1:] == (world.zxid, 0, b"")
    for path in ("/d", "/d2"):
        client.do(SetData(path, b""))
    for path in ("/ne2", "/same/x", "/c/y"):
        client.do(Create(path))
    assert heard(client) == [(CHANGED, "/d2"), (CREATED, "/ne2"), (CHILDREN, "/same")]


def test_set_watches2_does_not_replay_lasting_ones() -> None:
    _, client, since = missed()
    client.send(SetWatches2(since, ["/d"], [], ["/c"], ["/p"], ["/same"]))
    assert heard(client) == [(CHANGED, "/d"), (CHILDREN, "/c")]
    client.receive()
    client.do(SetData("/p", b""))
    client.do(Create("/same/x"))
    client.do(SetData("/same/x", b""))
    client.do(SetData("/p", b""))
    assert heard(client) == [(CHANGED, "/p"), (CREATED, "/same/x"), (CHANGED, "/same/x"), (CHANGED, "/p")]


def test_one_path_in_all_lists() -> None:
    _, client, _ = missed()
    client.send(SetWatches(0, ["/c"], ["/c"], ["/c"]))
    assert heard(client) == [(CHANGED, "/c"), (CREATED, "/c"), (CHILDREN, "/c")]


def test_relative_zxid_that_is_too_large() -> None:
    _, client, _ = missed()
    client.send(SetWatches(2**62, ["/d"], [], ["/c"]))
    assert heard(client) == []


def test_znode_that_was_made_anew() -> None:
    _, client, _ = missed()
    since = client.ask(Exists("/")).zxid
    client.do(Delete("/d"))
    client.do(Create("/d"))
    client.do(Create("/brief"))
    client.do(Delete("/brief"))
    client.send(SetWatches(since, ["/d"], ["/brief"], ["/d"]))
    assert heard(client) == [(CHANGED, "/d"), (CHILDREN, "/d")]


def test_set_watches_asks_for_no_permission() -> None:
    world, client, since = missed()
    world.ensemble.execute(SetACL("/d", [ACL(0, ANYONE)]), world.now)
    client.send(SetWatches(since, ["/d"], [], []))
    assert heard(client) == [(CHANGED, "/d")]


def test_null_lists_and_null_paths() -> None:
    _, client, since = missed()
    head = struct.pack(">q", since)
    data = vector([ustring("/d")])
    assert client.raw(OpCode.SET_WATCHES, head + data + NULL + NULL).code == -5
    assert heard(client) == [(CHANGED, "/d")], "what stands before it is done"
    assert client.raw(OpCode.SET_WATCHES, head + vector([ustring("/d"), NULL, ustring("/del")]) + bytes(8)).code == -5
    assert heard(client) == [(CHANGED, "/d")]
    assert client.raw(OpCode.SET_WATCHES, head + data).code == -5
    assert heard(client) == []
    assert client.raw(OpCode.SET_WATCHES2, head + bytes(12) + NULL + bytes(4)).code == -5
    assert client.raw(OpCode.SET_WATCHES2, head + bytes(20)).code == 0
    assert not client.closed


def test_3_8_ends_with_the_last_of_several_kinds() -> None:
    _, client, other = pair("3.8")
    other.do(Create("/a"))
    client.do(SetWatches2(2**60, ["/a"], [], [], ["/a"], ["/a"]))
    for _ in range(2):
        other.do(SetData("/a", b""))
    other.do(Create("/a/b"))
    other.do(SetData("/a/b", b""))
    assert heard(client) == [(CHANGED, "/a"), (CHANGED, "/a"), (CREATED, "/a/b"), (CHANGED, "/a/b")]


# --- the tables alone

PATHS = ["/", "/a", "/a/b", "/a/b/c", "/ab"]
CAUSES = [EventType.CREATED, EventType.DELETED, EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED]


def below(path: str, top: str) -> bool:
    return path == top or path.startswith("/" if top == "/" else top + "/")


class Model:
    """Watches of 3.9, as a list."""

    def __init__(self) -> None:
        self.entries: set[tuple[str, str, str]] = set()

    def fire(self, kind: EventType, path: str) -> set[str]:
        one_shot = {EventType.CHILDREN_CHANGED: {"child"}, EventType.DELETED: {"data", "child"}}.get(kind, {"data"})
        found = set()
        for entry in list(self.entries):
            who, what, where = entry
            if where == path and what in one_shot:
                self.entries.remove(entry)
                found.add(who)
            elif (where == path and what == "persistent") or (
                what == "recursive" and below(path, where) and kind is not EventType.CHILDREN_CHANGED
            ):
                found.add(who)
        return found


@repeatable
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["data", "child", "persistent", "recursive"]),
                st.sampled_from(PATHS),
                st.sampled_from("xy"),
            ),
            st.tuples(st.just("fire"), st.sampled_from(PATHS), st.sampled_from(CAUSES)),
            st.tuples(st.just("remove"), st.sampled_from(PATHS), st.sampled_from(WatcherType)),
            st.tuples(st.just("forget"), st.just("/"), st.sampled_from("xy")),
        ),
        max_size=30,
    )
)
def test_tables_against_a_list(steps: list[tuple[str, str, object]]) -> None:
    watches: Watches[str] = Watches(keeps_modes=True)
    model = Model()
    names = {1: ["child"], 2: ["data"], 3: ["data", "child", "persistent", "recursive"], 4: ["persistent"]}
    for what, path, subject in steps:
        if isinstance(subject, EventType):
            found = watches.fire(subject, path)
            assert len(found) == len(set(found))
            assert set(found) == model.fire(subject, path)
        elif isinstance(subject, WatcherType):
            gone = {entry for entry in model.entries if entry[0] == "x" and entry[2] == path}
            gone = {entry for entry in gone if entry[1] in names.get(subject, ["recursive"])}
            assert watches.contains(path, "x", subject) is bool(gone)
            assert watches.remove(path, "x", subject) is bool(gone)
            model.entries -= gone
        elif what == "forget":
            watches.forget(str(subject))
            model.entries = {entry for entry in model.entries if entry[0] != subject}
        else:
            who = str(subject)
            model.entries.add((who, what, path))
            if what == "data":
                watches.watch_data(path, who)
            elif what == "child":
                watches.watch_children(path, who)
            else:
                watches.watch(path, who, PERSISTENT if what == "persistent" else RECURSIVE)
        for who in "xy":
            own = {entry[2] for entry in model.entries if entry[0] == who and entry[1] != "child"}
            assert set(watches.paths(who)) == own
    assert {path: set(who) for path, who in watches.by_path()} == {
        path: {entry[0] for entry in model.entries if entry[2] == path and entry[1] != "child"}
        for path in {entry[2] for entry in model.entries if entry[1] != "child"}
    }
