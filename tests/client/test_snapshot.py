"""What a repaired stream tells always comes to the same as the tree, whatever was missed, late or in between."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from zk_sansio.client._snapshot import Snapshot
from zk_sansio.paths import parent
from zk_sansio.session import WatchEvent
from zk_sansio.wire import EventType, Stat

CREATED, DELETED = EventType.CREATED, EventType.DELETED
CHANGED, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED


def finish(body: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for."""
    with pytest.raises(StopIteration):
        body.send(None)


def stat(czxid: int, mzxid: int | None = None, pzxid: int | None = None) -> Stat:
    return Stat(czxid, mzxid or czxid, 0, 0, 0, 0, 0, 0, 0, 0, pzxid or czxid)


@dataclass
class Node:
    czxid: int
    mzxid: int
    pzxid: int


class Tree:
    """A tree, and the events that a watch of its top hears."""

    def __init__(self, top: str, *, recursive: bool, zxids: bool) -> None:
        self.nodes = {"/": Node(0, 0, 0)}
        self.top = top
        self.recursive = recursive
        self.zxids = zxids
        self.zxid = 0
        self.heard: deque[WatchEvent | None] = deque()  # None is a gap

    def transaction(self, changes: list[tuple[str, str]]) -> None:
        """Make those of *changes* that can be made."""
        self.zxid += 1
        for kind, path in changes:
            above = self.nodes.get(parent(path))
            if kind == "create" and path not in self.nodes and above:
                self.nodes[path] = Node(self.zxid, self.zxid, self.zxid)
                above.pzxid = self.zxid
                self.event(CREATED, path)
                self.event(CHILDREN, parent(path))
            elif kind == "delete" and path in self.nodes and not any(parent(other) == path for other in self.nodes):
                assert above
                del self.nodes[path]
                above.pzxid = self.zxid
                self.event(DELETED, path)
                self.event(CHILDREN, parent(path))
            elif kind == "set" and path in self.nodes:
                self.nodes[path].mzxid = self.zxid
                self.event(CHANGED, path)

    def event(self, kind: EventType, path: str) -> None:
        if self.recursive:
            watched = kind is not CHILDREN and (path == self.top or path.startswith(self.top + "/"))
        else:
            watched = path == self.top
        if watched:
            self.heard.append(WatchEvent(kind, path, self.zxid if self.zxids else None))

    def watched(self) -> list[str]:
        return [p for p in self.nodes if p == self.top or (self.recursive and p.startswith(self.top + "/"))]


PATHS = st.sampled_from(["/t", "/t/a", "/t/a/b"])
KINDS = st.sampled_from(["create", "delete", "set"])
TRANSACTION = st.lists(st.tuples(KINDS, PATHS), min_size=1, max_size=3) | st.builds(
    lambda path, *kinds: [(kind, path) for kind in kinds], PATHS, KINDS, KINDS, KINDS
)


class SnapshotMachine(RuleBasedStateMachine):
    """A consumer that reads what it is told about must end up with what there is."""

    @initialize(recursive=st.booleans(), zxids=st.booleans(), before=st.lists(TRANSACTION, max_size=6).map(tuple))
    def enter(self, recursive: bool, zxids: bool, before: tuple[list[tuple[str, str]], ...]) -> None:
        self.tree = Tree("/t", recursive=recursive, zxids=zxids)
        for changes in before:
            self.tree.transaction(changes)
        self.tree.heard.clear()
        self.meanwhile: deque[list[tuple[str, str]]] = deque()
        self.snapshot = Snapshot("/t", recursive=recursive, read=self.read)
        # What the consumer knows of each znode: how new its data and its children were when it looked.
        self.data: dict[str, int] = {}
        self.children: dict[str, int] = {}

    async def read(self) -> AsyncIterator[tuple[str, Stat]]:
        """A walk: parents first, one znode after the other, while the tree goes on changing."""
        level = ["/t"]
        while level:
            below = []
            for path in level:
                if self.meanwhile:
                    self.tree.transaction(self.meanwhile.popleft())
                if node := self.tree.nodes.get(path):
                    yield path, Stat(node.czxid, node.mzxid, 0, 0, 0, 0, 0, 0, 0, 0, node.pzxid)
                    below += [other for other in self.tree.nodes if other != "/" and parent(other) == path]
            level = below if self.tree.recursive else []

    @rule(changes=TRANSACTION)
    def change(self, changes: list[tuple[str, str]]) -> None:
        self.tree.transaction(changes)

    @rule(changes=TRANSACTION)
    def change_during_the_next_read(self, changes: list[tuple[str, str]]) -> None:
        self.meanwhile.append(changes)

    @rule(lost=st.integers(0, 5), changes=TRANSACTION)
    def miss_some(self, lost: int, changes: list[tuple[str, str]]) -> None:
        """The connection is away: what was heard last may be lost, as is all that happens until it is back."""
        for _ in range(min(lost, len(self.tree.heard))):
            self.tree.heard.pop()
        heard = len(self.tree.heard)
        self.tree.transaction(changes)
        while len(self.tree.heard) > heard:
            self.tree.heard.pop()
        self.tree.heard.append(None)

    @rule(times=st.integers(1, 6))
    def consume(self, times: int) -> None:
        for _ in range(times):
            self.step()

    def step(self) -> bool:
        """What a stream does; return whether there was anything to do."""
        if (event := self.snapshot.pending()) is not None:
            self.told(event)
        elif self.snapshot.stale:
            finish(self.snapshot.read())
        elif self.tree.heard:
            heard = self.tree.heard.popleft()
            if heard is None:
                self.snapshot.outdated()
            else:
                self.snapshot.apply(heard)
        else:
            return False
        return True

    def told(self, event: WatchEvent) -> None:
        node = self.tree.nodes.get(event.path)
        if event.type is CREATED:
            assert event.path not in self.data, "created twice"
            self.data[event.path] = self.children[event.path] = 0
        elif event.type is DELETED:
            assert event.path in self.data, "deleted, but never created"
            del self.data[event.path], self.children[event.path]
            return
        else:
            assert event.path in self.data, "a change of a znode that there is not"
        if node is not None:
            if event.type is not CHILDREN:
                self.data[event.path] = node.mzxid
            if event.type is not CHANGED:
                self.children[event.path] = node.pzxid

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        self.meanwhile.clear()
        while self.step():
            pass
        assert set(self.data) == set(self.tree.watched())
        for path, mzxid in self.data.items():
            assert mzxid == self.tree.nodes[path].mzxid, f"the data of {path} are old"
            if not self.tree.recursive:
                assert self.children[path] == self.tree.nodes[path].pzxid, f"the children of {path} are old"


SnapshotMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWhatItTellsConvergesToTheTree = SnapshotMachine.TestCase


class Fixed:
    """A snapshot of stats that a test sets."""

    def __init__(self, *, recursive: bool = True, **found: Stat) -> None:
        self.found = {f"/{name}": known for name, known in found.items()}
        self.snapshot = Snapshot("/t", recursive=recursive, read=self.read)

    async def read(self) -> AsyncIterator[tuple[str, Stat]]:
        for path, found in self.found.items():
            yield path, found

    def reread(self) -> list[tuple[EventType, str, int | None]]:
        self.snapshot.outdated()
        finish(self.snapshot.read())
        return self.told()

    def apply(self, kind: EventType, path: str, zxid: int | None) -> bool:
        """Apply an event; return whether it is told."""
        event = WatchEvent(kind, path, zxid)
        self.snapshot.apply(event)
        return self.told() == [event]

    def told(self) -> list[tuple[EventType, str, int | None]]:
        events = []
        while (event := self.snapshot.pending()) is not None:
            events.append(tuple(event))
        return events  # type: ignore[return-value]


def test_it_begins_with_what_there_is() -> None:
    fixed = Fixed(t=stat(1), a=stat(2, 5))
    assert fixed.snapshot.stale
    assert fixed.reread() == [(CREATED, "/t", 1), (CREATED, "/a", 2)]
    assert not fixed.snapshot.stale
    assert fixed.reread() == []


def test_differences_after_a_gap() -> None:
    fixed = Fixed(t=stat(1), same=stat(2), data=stat(3), new=stat(4), gone=stat(5))
    fixed.reread()
    fixed.found = {"/t": stat(1), "/same": stat(2), "/data": stat(3, 9), "/new": stat(8), "/more": stat(7)}
    assert fixed.reread() == [
        (DELETED, "/gone", None),
        (CHANGED, "/data", 9),
        (DELETED, "/new", None),
        (CREATED, "/new", 8),
        (CREATED, "/more", 7),
    ]


def test_children_are_deleted_before_their_parents() -> None:
    fixed = Fixed()
    fixed.found = {"/t": stat(1), "/t/a": stat(2), "/t/a/b": stat(3)}
    fixed.reread()
    fixed.found = {}
    assert [path for _, path, _ in fixed.reread()] == ["/t/a/b", "/t/a", "/t"]


def test_sets_of_children_are_told_of_without_the_descendants_only() -> None:
    for recursive, told in (True, []), (False, [(CHILDREN, "/t", 6)]):
        fixed = Fixed(recursive=recursive, t=stat(1, 1, 1))
        fixed.reread()
        fixed.found = {"/t": stat(1, 1, 6)}
        assert fixed.reread() == told


def test_late_events_are_dropped_where_zxids_tell_so() -> None:
    fixed = Fixed(recursive=False, t=stat(5, 6, 7))
    fixed.reread()
    assert not fixed.apply(CREATED, "/t", 5)
    assert not fixed.apply(CHANGED, "/t", 6)
    assert not fixed.apply(CHILDREN, "/t", 7)
    assert not fixed.apply(DELETED, "/t", 4)
    assert fixed.apply(CHANGED, "/t", 8)
    assert fixed.apply(CHILDREN, "/t", 8)
    assert fixed.apply(DELETED, "/t", 9)
    assert not fixed.apply(DELETED, "/t", 9)
    assert not fixed.apply(CHANGED, "/t", 9)
    assert not fixed.apply(CHILDREN, "/t", 9)
    assert fixed.apply(CREATED, "/t", 10)


def test_without_zxids_every_event_that_makes_sense_is_told() -> None:
    fixed = Fixed(recursive=False, t=stat(5))
    fixed.reread()
    assert not fixed.apply(CREATED, "/t", None)
    assert fixed.apply(CHANGED, "/t", None)
    assert fixed.apply(CHILDREN, "/t", None)
    assert fixed.apply(DELETED, "/t", None)
    assert not fixed.apply(CHANGED, "/t", None)
    assert fixed.apply(CREATED, "/t", None)
    # Nobody knows how old what was told is, so it may have changed.
    assert fixed.reread() == [(CHANGED, "/t", 5), (CHILDREN, "/t", 5)]


def test_made_and_deleted_in_one_transaction() -> None:
    fixed = Fixed()
    fixed.reread()
    assert fixed.apply(CREATED, "/t", 7)
    assert fixed.apply(DELETED, "/t", 7)
    assert fixed.apply(CREATED, "/t", 7)
    assert fixed.reread() == [(DELETED, "/t", None)]


def test_a_read_that_fails_changes_nothing() -> None:
    fixed = Fixed(t=stat(1))
    fixed.reread()

    async def fail() -> AsyncIterator[tuple[str, Stat]]:
        yield "/x", stat(9)
        raise KeyboardInterrupt

    fixed.snapshot._read = fail
    fixed.snapshot.outdated()
    with pytest.raises(KeyboardInterrupt):
        fixed.snapshot.read().send(None)
    assert fixed.snapshot.stale
    assert fixed.told() == []
    fixed.snapshot._read = fixed.read
    assert fixed.reread() == []
