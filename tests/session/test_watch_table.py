from __future__ import annotations

from typing import Any

import pytest

from tests.session.harness import only, watching
from zk_sansio.session._watches import BATCH_BYTES, LASTING, Watcher, WatchKind, WatchTable
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    EventType,
    Exists,
    GetChildren,
    GetChildren2,
    GetData,
    RemoveWatches,
    Request,
    SetWatches,
    SetWatches2,
    WatcherType,
)

DATA, EXIST, CHILD, PERSISTENT, RECURSIVE = WatchKind
CREATED, DELETED, CHANGED, CHILDREN = (
    EventType.CREATED,
    EventType.DELETED,
    EventType.DATA_CHANGED,
    EventType.CHILDREN_CHANGED,
)
ADD_PERSISTENT = AddWatchMode.PERSISTENT
ADD_RECURSIVE = AddWatchMode.PERSISTENT_RECURSIVE


def prepare(table: WatchTable, path: str, kind: WatchKind) -> tuple[Request[Any], Watcher]:
    watcher = Watcher(path, kind)
    return table.prepare(watching(path, kind), watcher), watcher


def settle(table: WatchTable, prepared: tuple[Request[Any], Watcher], code: int = 0, *, wanted: bool = True) -> bool:
    return table.settle(*prepared, code, wanted=wanted)


def arm(table: WatchTable, path: str, kind: WatchKind) -> Watcher:
    """Set a watch; the server agrees."""
    prepared = prepare(table, path, kind)
    assert not settle(table, prepared, -101 if kind is EXIST else 0)
    assert prepared[1].armed
    return prepared[1]


def fire(table: WatchTable, kind: int, path: str) -> list[tuple[EventType, str, list[Watcher]]]:
    return list(table.fire(kind, path))


# --- what registers what


@pytest.mark.parametrize(
    "request_, given, code, settled",
    [
        (Exists("/a", True), EXIST, 0, DATA),
        (Exists("/a", True), DATA, 0, DATA),
        (Exists("/a", True), DATA, -101, EXIST),
        (Exists("/a", True), EXIST, -102, None),
        (GetData("/a", True), DATA, 0, DATA),
        (GetData("/a", True), DATA, -101, None),
        (GetChildren("/a", True), CHILD, 0, CHILD),
        (GetChildren("/a", True), CHILD, -101, None),
        (GetChildren2("/a", True), CHILD, 0, CHILD),
        (GetChildren2("/a", True), CHILD, -102, None),
        (AddWatch("/a", ADD_PERSISTENT), PERSISTENT, 0, PERSISTENT),
        (AddWatch("/a", ADD_PERSISTENT), PERSISTENT, -6, None),
        (AddWatch("/a", ADD_RECURSIVE), RECURSIVE, 0, RECURSIVE),
        (AddWatch("/a", ADD_RECURSIVE), RECURSIVE, -4, None),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_what_registers_what(
    request_: Request[Any], given: WatchKind, code: int, settled: WatchKind | None, wanted: bool
) -> None:
    table = WatchTable()
    watcher = Watcher("/a", given)
    assert table.prepare(request_, watcher) == request_
    assert not table.settle(request_, watcher, code, wanted=wanted)
    if settled is None or not wanted:
        assert not watcher.armed
        assert len(table) == 0
    else:
        assert watcher.armed
        assert watcher.kind is settled
        assert table.watchers(settled) == [watcher]
        assert len(table) == 1


def test_a_request_without_the_flag_gets_it() -> None:
    watcher = Watcher("/a", DATA)
    assert WatchTable().prepare(GetData("/a"), watcher) == GetData("/a", True)


def test_which_kinds_are_over_when_they_fire() -> None:
    assert [kind.one_shot for kind in WatchKind] == [True, True, True, False, False]
    assert LASTING == (PERSISTENT, RECURSIVE)


# --- what fires what

EVENTS = [
    (kind, path) for kind in (CREATED, DELETED, CHANGED, CHILDREN) for path in ("/a", "/a/b", "/a/b/c", "/a/b/c/d")
]
HEARD = {
    DATA: {(CREATED, "/a/b"), (DELETED, "/a/b"), (CHANGED, "/a/b")},
    EXIST: {(CREATED, "/a/b"), (DELETED, "/a/b"), (CHANGED, "/a/b")},
    CHILD: {(DELETED, "/a/b"), (CHILDREN, "/a/b")},
    PERSISTENT: {(kind, "/a/b") for kind in (CREATED, DELETED, CHANGED, CHILDREN)},
    RECURSIVE: {
        (kind, path) for kind in (CREATED, DELETED, CHANGED) for path in ("/a/b", "/a/b/c", "/a/b/c/d")
    },  # never a change of children (ZOOKEEPER-4475)
}


@pytest.mark.parametrize("kind, path", EVENTS)
@pytest.mark.parametrize("watched", WatchKind)
def test_what_fires_what(watched: WatchKind, kind: EventType, path: str) -> None:
    table = WatchTable()
    watcher = arm(table, "/a/b", watched)
    if (kind, path) not in HEARD[watched]:
        assert fire(table, kind, path) == []
        assert watcher.armed
        return
    for _ in range(2):
        assert fire(table, kind, path) == [(kind, path, [watcher])]
        assert watcher.armed != watched.one_shot
        if watched.one_shot:
            assert fire(table, kind, path) == []
            assert len(table) == 0
            break


@pytest.mark.parametrize("kind", [EventType.NONE, *list(EventType)[5:], 0, 99])
def test_other_events_are_ignored(kind: int) -> None:
    table = WatchTable()
    for watched in WatchKind:
        arm(table, f"/{watched.value}", watched)
        assert fire(table, kind, f"/{watched.value}") == []
    assert len(table) == 5


def test_paths_that_no_server_knows_are_ignored() -> None:
    table = WatchTable()
    arm(table, "/", RECURSIVE)
    for path in ("", "a", "a/b"):
        for kind in (CREATED, DELETED, CHANGED, CHILDREN):
            assert fire(table, kind, path) == []


def test_one_frame_for_all_kinds() -> None:
    table = WatchTable()
    first, second = arm(table, "/a", DATA), arm(table, "/a", DATA)
    exist, child = arm(table, "/a", EXIST), arm(table, "/a", CHILD)
    above = arm(table, "/", RECURSIVE)
    assert fire(table, DELETED, "/a") == [(DELETED, "/a", [first, second, exist, child, above])]
    assert len(table) == 1


def test_the_root_is_above_everything_and_itself() -> None:
    table = WatchTable()
    watcher = arm(table, "/", RECURSIVE)
    child = arm(table, "/", CHILD)
    assert fire(table, CHANGED, "/") == [(CHANGED, "/", [watcher])]
    assert fire(table, CREATED, "/a") == [(CREATED, "/a", [watcher]), (CHILDREN, "/", [child])]
    assert fire(table, CREATED, "/a/b") == [(CREATED, "/a/b", [watcher])]


def test_nothing_is_above_the_root() -> None:
    table = WatchTable()
    recursive, persistent = arm(table, "/", RECURSIVE), arm(table, "/", PERSISTENT)
    assert fire(table, DELETED, "/") == [(DELETED, "/", [persistent, recursive])]


def test_every_ancestor_hears_once() -> None:
    table = WatchTable()
    watchers = [arm(table, path, RECURSIVE) for path in ("/a/b", "/a", "/")]
    arm(table, "/b", RECURSIVE)
    arm(table, "/a/bc", RECURSIVE)
    assert fire(table, CHANGED, "/a/b/c") == [(CHANGED, "/a/b/c", watchers)]


# --- one mode per path: what servers before 3.9 cannot do is made up for


@pytest.mark.parametrize("lasting", LASTING)
@pytest.mark.parametrize(
    "kind, local", [(DATA, GetData("/a", False)), (CHILD, GetChildren("/a", False)), (EXIST, Exists("/a", False))]
)
def test_a_one_shot_where_a_lasting_watch_is_held_is_local(
    lasting: WatchKind, kind: WatchKind, local: Request[Any]
) -> None:
    table = WatchTable()
    keeper = arm(table, "/a", lasting)
    request, watcher = prepare(table, "/a", kind)
    assert request == local
    assert not settle(table, (request, watcher), -101 if kind is EXIST else 0)
    assert table.watchers(kind) == [watcher]
    heard = fire(table, DELETED, "/a")
    assert only(heard)[2] == [watcher, keeper]
    assert table.watchers(kind) == []
    assert keeper.armed


@pytest.mark.parametrize("lasting", LASTING)
def test_a_one_shot_behind_a_lasting_watch_under_way_is_local(lasting: WatchKind) -> None:
    table = WatchTable()
    first = prepare(table, "/a", lasting)
    second = prepare(table, "/a", DATA)
    assert second[0] == GetData("/a", False)
    assert not settle(table, first)
    assert not settle(table, second)
    assert second[1].armed


def test_a_one_shot_whose_lasting_watch_was_refused_has_nothing_to_wait_for() -> None:
    table = WatchTable()
    first, second, third = prepare(table, "/a", RECURSIVE), prepare(table, "/a", DATA), prepare(table, "/a", DATA)
    assert not settle(table, first, -6)
    assert settle(table, second)
    assert not second[1].armed
    assert not settle(table, third, wanted=False)
    assert len(table) == 0
    # From here on it is as if nobody had asked for a lasting one.
    assert prepare(table, "/a", DATA)[0] == GetData("/a", True)


@pytest.mark.parametrize("kind", [CREATED, DELETED])
def test_changes_of_children_are_made_of_a_recursive_watch(kind: EventType) -> None:
    table = WatchTable()
    recursive, child, persistent = (arm(table, "/a", watched) for watched in (RECURSIVE, CHILD, PERSISTENT))
    assert fire(table, kind, "/a/b") == [(kind, "/a/b", [recursive]), (CHILDREN, "/a", [child, persistent])]
    assert not child.armed
    assert fire(table, kind, "/a/b") == [(kind, "/a/b", [recursive]), (CHILDREN, "/a", [persistent])]
    assert fire(table, kind, "/a/b/c") == [(kind, "/a/b/c", [recursive])]
    assert fire(table, CHANGED, "/a/b") == [(CHANGED, "/a/b", [recursive])]


def test_a_child_watch_below_a_recursive_one_is_the_server_s() -> None:
    table = WatchTable()
    recursive = arm(table, "/a", RECURSIVE)
    request, child = prepare(table, "/a/b", CHILD)
    assert request == GetChildren("/a/b", True)
    assert not settle(table, (request, child))
    assert fire(table, CREATED, "/a/b/c") == [(CREATED, "/a/b/c", [recursive])]
    assert fire(table, CHILDREN, "/a/b") == [(CHILDREN, "/a/b", [child])]


def test_a_persistent_watch_where_a_recursive_one_is_held_or_under_way_is_local() -> None:
    table = WatchTable()
    first, second = prepare(table, "/a", RECURSIVE), prepare(table, "/a", PERSISTENT)
    assert second[0] == AddWatch("/a", ADD_RECURSIVE)
    settle(table, first)
    settle(table, second)
    third = prepare(table, "/a", PERSISTENT)
    assert third[0] == AddWatch("/a", ADD_RECURSIVE)
    settle(table, third)
    assert fire(table, CHANGED, "/a") == [(CHANGED, "/a", [second[1], third[1], first[1]])]
    assert fire(table, CREATED, "/a/b")[1] == (CHILDREN, "/a", [second[1], third[1]])


def test_a_recursive_watch_beside_a_persistent_one_that_was_first() -> None:
    # Depending on its version the server goes on with child events of the persistent watch, or not: they do not count.
    table = WatchTable()
    persistent, recursive = arm(table, "/a", PERSISTENT), arm(table, "/a", RECURSIVE)
    child = arm(table, "/a", CHILD)
    assert fire(table, CREATED, "/a/b") == [(CREATED, "/a/b", [recursive]), (CHILDREN, "/a", [child, persistent])]
    assert fire(table, CHILDREN, "/a") == []


def test_a_one_shot_that_was_first_is_heard_whatever_mode_the_server_has() -> None:
    table = WatchTable()
    data = arm(table, "/a", DATA)
    recursive = arm(table, "/a", RECURSIVE)
    assert fire(table, CHANGED, "/a") == [(CHANGED, "/a", [data, recursive])]


# --- removal


@pytest.mark.parametrize(
    "kind, watcher_type",
    [
        (DATA, WatcherType.DATA),
        (EXIST, WatcherType.DATA),
        (CHILD, WatcherType.CHILDREN),
        (PERSISTENT, WatcherType.ANY),
        (RECURSIVE, WatcherType.ANY),
    ],
)
def test_the_last_watcher_takes_the_watch_with_it(kind: WatchKind, watcher_type: WatcherType) -> None:
    table = WatchTable()
    first, second = arm(table, "/a", kind), arm(table, "/a", kind)
    table.discard(first)
    assert not first.armed
    assert table.removals("/a", kind) == []
    table.discard(second)
    assert table.removals("/a", kind) == [RemoveWatches("/a", watcher_type)]
    assert len(table) == 0


def test_discarding_twice_or_elsewhere() -> None:
    table, other = WatchTable(), WatchTable()
    first, second = arm(table, "/a", DATA), arm(table, "/a", DATA)
    other.discard(second)
    assert not second.armed
    table.discard(first)
    table.discard(first)
    assert table.watchers(DATA) == [second]


def test_nothing_is_removed_while_something_is_being_set() -> None:
    for kind in WatchKind:
        table = WatchTable()
        watcher = arm(table, "/a", kind)
        prepared = prepare(table, "/a", DATA if kind.one_shot else kind)
        table.discard(watcher)
        assert table.removals("/a", kind) == []
        settle(table, prepared, -102)
        assert len(table.removals("/a", kind)) == 1


def test_the_data_watch_serves_two_kinds() -> None:
    table = WatchTable()
    data, exist, child = arm(table, "/a", DATA), arm(table, "/a", EXIST), arm(table, "/a", CHILD)
    table.discard(data)
    assert table.removals("/a", DATA) == []
    table.discard(child)
    assert table.removals("/a", CHILD) == [RemoveWatches("/a", WatcherType.CHILDREN)]
    table.discard(exist)
    assert table.removals("/a", EXIST) == [RemoveWatches("/a", WatcherType.DATA)]


def test_a_lasting_watch_stays_while_anybody_uses_it() -> None:
    table = WatchTable()
    recursive, data, persistent = (arm(table, "/a", kind) for kind in (RECURSIVE, DATA, PERSISTENT))
    for watcher in (recursive, data):
        table.discard(watcher)
        assert table.removals("/a", watcher.kind) == []
        assert not table.unused("/a")
    table.discard(persistent)
    assert table.unused("/a")
    assert table.unused_paths() == ["/a"]
    assert table.removals("/a", PERSISTENT) == [RemoveWatches("/a", WatcherType.ANY)]
    assert not table.unused("/a")
    assert table.unused_paths() == []


def test_both_lasting_watches_are_removed() -> None:
    table = WatchTable()
    watchers = [arm(table, "/a", PERSISTENT), arm(table, "/a", RECURSIVE)]
    for watcher in watchers:
        table.discard(watcher)
    assert table.removals("/a", RECURSIVE) == [RemoveWatches("/a", WatcherType.ANY)]


# --- a new connection


def test_nothing_to_restore() -> None:
    assert WatchTable().restoration(7) == []


def test_one_shots_are_restored_by_what_all_servers_know() -> None:
    table = WatchTable()
    arm(table, "/d", DATA)
    arm(table, "/d", DATA)
    arm(table, "/e", EXIST)
    arm(table, "/c", CHILD)
    assert table.restoration(7) == [SetWatches(7, ["/d"], ["/e"], ["/c"])]
    assert type(table.restoration(7)[0]) is SetWatches


def test_lasting_ones_come_last() -> None:
    table = WatchTable()
    for kind in reversed(WatchKind):
        arm(table, f"/{kind.value}", kind)
    assert table.restoration(7) == [
        SetWatches2(7, ["/data"], ["/exist"], ["/child"], ["/persistent"], ["/recursive"]),
    ]


def test_a_persistent_watch_is_restored_as_part_of_a_recursive_one() -> None:
    table = WatchTable()
    persistent, recursive = arm(table, "/a", PERSISTENT), arm(table, "/a", RECURSIVE)
    assert table.restoration(7) == [SetWatches2(7, [], [], [], [], ["/a"])]
    # From here on the server holds the recursive one alone.
    assert fire(table, CREATED, "/a/b") == [(CREATED, "/a/b", [recursive]), (CHILDREN, "/a", [persistent])]
    table.discard(persistent)
    table.discard(recursive)
    assert table.removals("/a", RECURSIVE) == [RemoveWatches("/a", WatcherType.ANY)]


def test_a_lasting_watch_that_nobody_uses_is_not_restored() -> None:
    table = WatchTable()
    recursive, data = arm(table, "/a", RECURSIVE), arm(table, "/a", DATA)
    table.discard(recursive)
    assert table.restoration(7) == [SetWatches(7, ["/a"], [], [])]
    table.discard(data)
    assert table.removals("/a", DATA) == [RemoveWatches("/a", WatcherType.DATA)]


def test_batches() -> None:
    table = WatchTable()
    paths = {kind: [f"/app/{kind.value}/{number:07}" for number in range(20_000)] for kind in WatchKind}
    for kind, those in paths.items():
        for path in those:
            table._add(Watcher(path, kind))
    batches = table.restoration(7)
    restored: dict[WatchKind, list[str]] = {kind: [] for kind in WatchKind}
    for batch in batches:
        assert batch.relative_zxid == 7
        assert sum(len(path) for paths in parts(batch) for path in paths) <= BATCH_BYTES
        assert len(batch.encode(1)) <= BATCH_BYTES + 48
        for kind, those in zip(WatchKind, parts(batch), strict=False):
            restored[kind] += those
    assert restored == paths
    kinds = [type(batch) for batch in batches]
    assert kinds == sorted(kinds, key=lambda kind: kind is SetWatches2)
    assert {SetWatches, SetWatches2} == set(kinds)


def parts(batch: SetWatches) -> list[list[str]]:
    lists = [batch.data, batch.exist, batch.child]
    if isinstance(batch, SetWatches2):
        lists += [batch.persistent, batch.recursive]
    return [list(paths) for paths in lists]


@pytest.mark.parametrize("limit", [1000, 60, 1])
def test_batches_keep_to_the_frame_limit(limit: int) -> None:
    table = WatchTable()
    paths = [f"/\u00e4/{number}" for number in range(100)]
    for path in paths:
        table._add(Watcher(path, DATA))
    batches = table.restoration(7, limit)
    assert [path for batch in batches for path in batch.data] == paths
    for batch in batches:
        assert len(batch.encode(1)) - 4 <= limit or len(batch.data) == 1


def test_a_path_over_all_limits_has_a_batch_of_its_own() -> None:
    table = WatchTable()
    paths = ["/a", "/" + "b" * BATCH_BYTES, "/c", "/d"]
    for path in paths:
        table._add(Watcher(path, DATA))
    assert [batch.data for batch in table.restoration(7)] == [[paths[0]], [paths[1]], paths[2:]]


# --- a new session


def test_taken_and_adopted() -> None:
    old, new = WatchTable(), WatchTable()
    watchers = {kind: arm(old, "/a", kind) for kind in WatchKind}
    taken = old.take(*LASTING)
    assert taken == [watchers[PERSISTENT], watchers[RECURSIVE]]
    assert not any(watcher.armed for watcher in taken)
    assert len(old) == 3
    new.adopt(taken)
    assert all(watcher.armed for watcher in taken)
    assert new.watchers(*LASTING) == taken
    assert new.restoration(0) == [SetWatches2(0, [], [], [], [], ["/a"])]
    assert old.take(*WatchKind) == [watchers[DATA], watchers[EXIST], watchers[CHILD]]
    assert len(old) == 0


@pytest.mark.parametrize("kind", [PERSISTENT, RECURSIVE])
def test_one_shots_are_derived_from_adopted_watches_before_there_is_a_connection(kind: WatchKind) -> None:
    # What is submitted before the first connection goes out behind setWatches2; before 3.9 a one-shot watch of its own
    # would take the place of the lasting one.
    old, new = WatchTable(), WatchTable()
    arm(old, "/a", kind)
    new.adopt(old.take(kind))
    once = Watcher("/a", DATA)
    assert new.prepare(Exists("/a", True), once) == Exists("/a", False)
    assert not new.settle(Exists("/a", False), once, 0, wanted=True)
    assert once.armed
