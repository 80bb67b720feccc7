"""The tree itself: numbers of changes, counters, stats, what is told to watchers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.harness import check_tree, content, repeatable
from zk_sansio.acl import ACL, ANYONE
from zk_sansio.server import (
    AclSet,
    Change,
    Checked,
    DataSet,
    Entry,
    Made,
    Node,
    Refusal,
    Removed,
    SessionClosed,
    SessionOpened,
    Several,
    Tree,
)
from zk_sansio.server._tree import Watched
from zk_sansio.wire import Created, Failed, OpCode

OPEN = (ACL(31, ANYONE),)
CLOSED = (ACL(0, ANYONE),)


class Log:
    """A tree, its changes, and what its listener was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, int]] = []
        self.acls: list[tuple[ACL, ...]] = []
        self.tree = Tree(self._listen)
        self.entries: list[Entry] = []

    def _listen(self, event: Watched) -> None:
        self.told.append((int(event.type), event.path, event.zxid))
        self.acls.append(event.acl)

    def apply(self, change: Change, *, session_id: int = 0) -> object:
        zxid = len(self.entries) + 1
        entry = Entry(zxid, 1000 + zxid, session_id, change)
        self.entries.append(entry)
        result = self.tree.apply(entry)
        assert self.tree.last_zxid == zxid
        check_tree(self.tree)
        return result

    def make(self, path: str, *, owner: int = 0, creations: int | None = None, lifetime: object = None) -> object:
        above = self.tree.nodes[path[: path.rindex("/")] or "/"]
        number = above.creations + 1 if creations is None else creations
        return self.apply(Made(path, b"", OPEN, owner, lifetime, number))  # type: ignore[arg-type]


def test_empty_tree() -> None:
    tree = Log().tree
    assert set(tree.nodes) == {"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"}
    check_tree(tree)
    root = tree.nodes["/"].stat
    assert root == (0, 0, 0, 0, 0, -1, 0, 0, 0, 1, 0)
    assert tree.nodes["/zookeeper/config"].stat.aversion == -1
    assert tree.get("") is tree.nodes["/"]
    assert tree.get("/nothing") is None


def test_make_and_remove() -> None:
    log = Log()
    created = log.make("/a")
    assert isinstance(created, Created)
    assert created.stat == (1, 1, 1001, 1001, 0, 0, 0, 0, 0, 0, 1)
    log.make("/a/b")
    log.make("/a/c")
    log.apply(Removed("/a/b"))
    stat = log.tree.nodes["/a"].stat
    assert (stat.cversion, stat.num_children, stat.pzxid, stat.mzxid) == (3, 1, 4, 1)
    assert log.told == [
        (1, "/a", 1),
        (4, "/", 1),
        (1, "/a/b", 2),
        (4, "/a", 2),
        (1, "/a/c", 3),
        (4, "/a", 3),
        (2, "/a/b", 4),
        (4, "/a", 4),
    ]


def test_data_and_acl() -> None:
    log = Log()
    log.make("/a")
    told = len(log.told)
    stat = log.apply(DataSet("/a", b"four", 1))
    assert stat == (1, 2, 1001, 1002, 1, 0, 0, 0, 4, 0, 1)
    assert log.told[told:] == [(3, "/a", 2)]
    assert log.apply(DataSet("/a", None, 2)) == (1, 3, 1001, 1003, 2, 0, 0, 0, 0, 0, 1)
    told = len(log.told)
    assert log.apply(AclSet("/a", CLOSED, 1)) == (1, 3, 1001, 1003, 2, 0, 1, 0, 0, 0, 1)
    assert log.told[told:] == []
    assert log.tree.nodes["/a"].acl == CLOSED


def test_who_may_hear_of_it_is_asked_before_the_change() -> None:
    log = Log()
    log.make("/a")
    log.apply(AclSet("/a", CLOSED, 1))
    del log.acls[:]
    log.make("/a/b")
    assert log.acls == [OPEN, CLOSED]
    del log.acls[:]
    log.apply(Removed("/a/b"))
    log.apply(DataSet("/a", b"", 1))
    log.apply(Removed("/a"))
    assert log.acls == [OPEN, CLOSED, CLOSED, CLOSED, OPEN]


def test_what_changes_nothing() -> None:
    log = Log()
    before = content(log.tree)
    assert log.apply(SessionOpened(1000)) is None
    assert log.apply(Checked("/")) is None
    assert log.apply(Refusal(-101)) == Failed(-101)
    assert log.apply(SessionClosed(), session_id=5) is None
    assert log.apply(Several((), ())) == []
    assert content(log.tree) == before
    assert log.told == []


def test_several_share_a_zxid() -> None:
    log = Log()
    results = log.apply(
        Several(
            (
                Made("/a", b"", OPEN, 0, None, 1),
                Made("/a/b", b"", OPEN, 0, None, 1),
                DataSet("/a", b"x", 1),
                Checked("/a"),
                Removed("/a/b"),
            ),
            (OpCode.CREATE, OpCode.CREATE2, OpCode.SET_DATA, OpCode.CHECK, OpCode.DELETE),
        )
    )
    assert isinstance(results, list)
    assert results[0] == Created("/a", None)
    assert isinstance(results[1], Created)
    assert results[1].stat is not None
    assert results[3:] == [None, None]
    assert {zxid for _, _, zxid in log.told} == {1}
    assert [event[:2] for event in log.told] == [
        *[(1, "/a"), (4, "/"), (1, "/a/b"), (4, "/a"), (3, "/a"), (2, "/a/b"), (4, "/a")]
    ]


def test_end_of_a_session_takes_its_ephemerals_in_their_order() -> None:
    log = Log()
    log.make("/a")
    log.make("/a/2", owner=7)
    log.make("/1", owner=7)
    log.make("/other", owner=8)
    log.make("/gone", owner=7)
    log.apply(Removed("/gone"))
    assert {owner: list(paths) for owner, paths in log.tree.ephemerals.items()} == {7: ["/a/2", "/1"], 8: ["/other"]}
    told = len(log.told)
    log.apply(SessionClosed(), session_id=7)
    assert log.told[told:] == [(2, "/a/2", 7), (4, "/a", 7), (2, "/1", 7), (4, "/", 7)]
    assert set(log.tree.ephemerals) == {8}
    assert log.tree.nodes["/other"].stat.ephemeral_owner == 8
    log.apply(Removed("/other"))
    assert log.tree.ephemerals == {}


def test_negative_owner() -> None:
    log = Log()
    log.make("/e", owner=-(2**62))
    assert log.tree.nodes["/e"].stat.ephemeral_owner == -(2**62)
    log.apply(SessionClosed(), session_id=-(2**62))
    assert "/e" not in log.tree.nodes


# --- counters


def test_counter_counts_every_child_ever_made_and_restarts_with_the_parent() -> None:
    log = Log()
    log.make("/a")
    for number in range(3):
        log.make(f"/a/{number}")
    for number in range(3):
        log.apply(Removed(f"/a/{number}"))
    assert log.tree.nodes["/a"].creations == 3
    assert log.tree.nodes["/a"].stat.cversion == 6
    log.apply(Removed("/a"))
    log.make("/a")
    assert log.tree.nodes["/a"].creations == 0
    assert log.tree.nodes["/a"].stat.cversion == 0


def test_counter_that_is_used_up_stays() -> None:
    log = Log()
    log.make("/a")
    node = log.tree.nodes["/a"]
    node.creations = 2**31 - 1
    pzxid = node.pzxid
    log.make("/a/x", creations=-(2**31))
    assert node.creations == 2**31 - 1
    assert node.pzxid == pzxid, "as in DataTree.createNode"
    assert node.stat.cversion == -3, "it wraps around"
    log.apply(Removed("/a/x"))
    assert node.pzxid == 3


# --- what goes by itself


def test_perishable() -> None:
    log = Log()
    log.make("/fresh", lifetime="container")
    log.make("/used", lifetime="container")
    log.make("/used/x")
    log.make("/busy", lifetime="container")
    log.make("/busy/x")
    log.apply(Removed("/used/x"))
    assert log.tree.perishable(10**9) == ["/used"]
    log.make("/short", lifetime=10)
    made = log.tree.nodes["/short"].mtime
    log.make("/parent", lifetime=10)
    log.make("/parent/x")
    assert log.tree.perishable(made + 10) == ["/used"]
    assert log.tree.perishable(made + 11) == ["/used", "/short"]
    log.apply(DataSet("/short", b"", 1))
    assert log.tree.perishable(made + 11) == ["/used"], "a change restarts the clock"
    log.apply(Removed("/parent/x"))
    assert log.tree.perishable(10**9) == ["/used", "/short", "/parent"]
    for path in ("/used", "/short", "/parent", "/fresh"):
        log.apply(Removed(path))
    assert set(log.tree.mortals) == {"/busy"}
    assert log.tree.nodes["/busy"].stat.ephemeral_owner == 0


# --- copies


def test_copy() -> None:
    log = Log()
    log.make("/a")
    log.make("/a/e", owner=7)
    log.make("/c", lifetime="container")
    other = Tree(lambda event: None)
    other.copy_from(log.tree)
    check_tree(other)
    assert content(other) == content(log.tree)
    assert other.last_zxid == log.tree.last_zxid
    before = content(other)
    log.make("/a/b")
    log.apply(DataSet("/a", b"new", 1))
    log.apply(SessionClosed(), session_id=7)
    log.apply(Removed("/c"))
    assert content(other) == before
    check_tree(other)


@repeatable
@given(
    st.lists(
        st.tuples(st.sampled_from(["make", "own", "mortal", "remove", "end"]), st.integers(0, 2), st.integers(0, 2)),
        max_size=40,
    )
)
def test_same_changes_make_the_same_tree(steps: list[tuple[str, int, int]]) -> None:
    log = Log()
    for kind, a, b in steps:
        nodes = log.tree.nodes
        above, path = f"/{a}", f"/{a}/{b}"
        target = path if above in nodes and not nodes[above].owner else above
        if kind == "end":
            log.apply(SessionClosed(), session_id=a + 1)
        elif kind == "remove":
            if target in nodes and not nodes[target].children:
                log.apply(Removed(target))
        elif target not in nodes:
            owner = a + 1 if kind == "own" else 0
            log.make(target, owner=owner, lifetime=10 if kind == "mortal" else None)
    other = Tree(lambda event: None)
    for entry in log.entries:
        other.apply(entry)
    assert content(other) == content(log.tree)
    assert other.ephemerals == log.tree.ephemerals
    assert other.mortals == log.tree.mortals


def test_node_that_is_made_by_hand() -> None:
    assert Node(None, OPEN).stat.data_length == 0
    with pytest.raises(AttributeError):
        Node(None, OPEN).colour = "red"  # type: ignore[attr-defined]
