"""The tree of znodes, and the changes that it goes through.

A change has been checked by the leader before, so applying it cannot fail; every server applies the same changes
in the same order and so has the same tree.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Literal, NamedTuple, TypeAlias

from ..acl import ACL, ANYONE
from ..paths import parent
from ..wire import Created, EventType, Failed, OpCode, Stat
from ._java import wrapped

__all__ = [
    "CONFIG",
    "SPECIAL",
    "AclSet",
    "Change",
    "Checked",
    "DataSet",
    "Entry",
    "Made",
    "Node",
    "Refusal",
    "Removed",
    "Result",
    "SessionClosed",
    "SessionOpened",
    "Several",
    "Tree",
    "Watched",
    "weight",
]

CONFIG = "/zookeeper/config"
SPECIAL = frozenset({"/", "/zookeeper", "/zookeeper/quota", CONFIG})
"""What cannot be removed."""
_OPEN = (ACL(31, ANYONE),)


Lifetime: TypeAlias = Literal["container"] | int | None


class Made(NamedTuple):
    """A znode was made."""

    path: str
    data: bytes | None
    acl: tuple[ACL, ...]
    owner: int
    lifetime: Lifetime
    """``container``, or milliseconds to live, or None."""
    creations: int
    """How many children the parent has ever had, this one included."""


class Removed(NamedTuple):
    """A znode was removed."""

    path: str


class DataSet(NamedTuple):
    """The data of a znode was replaced."""

    path: str
    data: bytes | None
    version: int


class AclSet(NamedTuple):
    """The access control list of a znode was replaced."""

    path: str
    acl: tuple[ACL, ...]
    version: int


class Checked(NamedTuple):
    """A version was compared."""

    path: str


class SessionOpened(NamedTuple):
    """A session began."""

    timeout_ms: int


class SessionClosed(NamedTuple):
    """A session ended, in order or by its timeout."""


class Refusal(NamedTuple):
    """A write failed, which takes a zxid nevertheless."""

    code: int


class Several(NamedTuple):
    """A multi: all of it, or for each operation why nothing happened."""

    changes: tuple[Made | Removed | DataSet | Checked | Refusal, ...]
    kinds: tuple[int, ...]
    """The type that each result has in the reply."""


Change: TypeAlias = Made | Removed | DataSet | AclSet | Checked | SessionOpened | SessionClosed | Refusal | Several
Result: TypeAlias = "Created | Stat | Failed | list[Created | Stat | Failed | None] | None"


class Entry(NamedTuple):
    """One line of the log: a change, and who asked for it when.

    Attributes:
        zxid: its number.
        time_ms: milliseconds since 1970, by the leader's clock.
        session_id: who asked; 0 for nobody's session.
        change: what happened.
    """

    zxid: int
    time_ms: int
    session_id: int
    change: Change


class Watched(NamedTuple):
    """Something that watches may be about.

    Attributes:
        type: what happened.
        path: where.
        acl: who may hear of it.
        zxid: of which change.
    """

    type: EventType
    path: str
    acl: tuple[ACL, ...]
    zxid: int


class Node:
    """One znode.

    Attributes:
        creations: how many children it has ever had; the number of the next sequential one.
        owner: the session that an ephemeral belongs to; 0 for others.
        lifetime: ``container``, or milliseconds to live, or None.
        children: their names, in the order in which they were made.
    """

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "creations",
        "ctime",
        "czxid",
        "data",
        "lifetime",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "version",
    )

    def __init__(
        self,
        data: bytes | None,
        acl: tuple[ACL, ...],
        *,
        zxid: int = 0,
        time_ms: int = 0,
        owner: int = 0,
        lifetime: Lifetime = None,
    ) -> None:
        self.data: bytes | None = data
        self.acl: tuple[ACL, ...] = acl
        self.czxid: int = zxid
        self.mzxid: int = zxid
        self.pzxid: int = zxid
        self.ctime: int = time_ms
        self.mtime: int = time_ms
        self.version: int = 0
        self.aversion: int = 0
        self.creations: int = 0
        self.owner: int = owner
        self.lifetime: Lifetime = lifetime
        self.children: dict[str, None] = {}

    @property
    def stat(self) -> Stat:
        """What clients are told. Its ``cversion`` counts creations and removals (DataNode.copyStat)."""
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            wrapped(self.creations * 2 - len(self.children)),
            self.aversion,
            self.owner,
            0 if self.data is None else len(self.data),
            len(self.children),
            self.pzxid,
        )


class Tree:
    """All znodes, as one server has them.

    Args:
        listener: is told of everything that watches may be about, as it happens.

    Attributes:
        nodes: the znodes by path.
        last_zxid: of the last change that was applied.
        ephemerals: the paths of each session, in the order in which they were made.
        mortals: paths of containers and of znodes with a time to live.
    """

    def __init__(self, listener: Callable[[Watched], None]) -> None:
        self._tell = listener
        root, zookeeper = Node(b"", _OPEN), Node(b"", _OPEN)
        config = Node(b"", (ACL(1, ANYONE),))
        config.aversion = -1
        self.nodes: dict[str, Node] = {
            "/": root,
            "/zookeeper": zookeeper,
            "/zookeeper/quota": Node(b"", _OPEN),
            CONFIG: config,
        }
        root.children["zookeeper"] = None
        zookeeper.children |= {"config": None, "quota": None}
        self.last_zxid: int = 0
        self.ephemerals: dict[int, dict[str, None]] = {}
        self.mortals: dict[str, None] = {}

    def copy_from(self, other: Tree) -> None:
        """Become what another tree is; nobody is told."""
        self.nodes = {path: copy(node) for path, node in other.nodes.items()}
        for node in self.nodes.values():
            node.children = dict(node.children)
        self.last_zxid = other.last_zxid
        self.ephemerals = {owner: dict(paths) for owner, paths in other.ephemerals.items()}
        self.mortals = dict(other.mortals)

    def get(self, path: str) -> Node | None:
        """The znode at *path*; the empty path is the root, as on real servers."""
        return self.nodes.get(path or "/")

    def apply(self, entry: Entry) -> Result:
        """Let a change happen; return what the one who asked for it is told."""
        result = self._apply(entry.change, entry)
        self.last_zxid = entry.zxid
        return result

    def _apply(self, change: Change, entry: Entry) -> Result:
        match change:
            case Made():
                return self._make(change, entry)
            case Removed(path):
                self._remove(path, entry.zxid)
            case DataSet(path, data, version):
                node = self.nodes[path]
                node.data, node.version = data, version
                node.mzxid, node.mtime = entry.zxid, entry.time_ms
                self._tell(Watched(EventType.DATA_CHANGED, path, node.acl, entry.zxid))
                return node.stat
            case AclSet(path, acl, version):
                node = self.nodes[path]
                node.acl, node.aversion = acl, version
                return node.stat
            case SessionClosed():
                for path in self.ephemerals.pop(entry.session_id, ()):
                    self._remove(path, entry.zxid)
            case Refusal(code):
                return Failed(code)
            case Several(changes, kinds):
                return [self._element(each, kind, entry) for each, kind in zip(changes, kinds, strict=True)]
        return None

    def _element(self, change: Change, kind: int, entry: Entry) -> Created | Stat | Failed | None:
        result = self._apply(change, entry)
        assert not isinstance(result, list)
        if isinstance(result, Created) and kind == OpCode.CREATE:
            return Created(result.path, None)
        return result

    def _make(self, made: Made, entry: Entry) -> Created:
        above = parent(made.path)
        over = self.nodes[above]
        guard = over.acl
        if made.creations > over.creations:  # it is not when the counter is used up
            over.creations = made.creations
            over.pzxid = entry.zxid
        over.children[made.path[made.path.rindex("/") + 1 :]] = None
        node = self.nodes[made.path] = Node(
            made.data, made.acl, zxid=entry.zxid, time_ms=entry.time_ms, owner=made.owner, lifetime=made.lifetime
        )
        if made.owner:
            self.ephemerals.setdefault(made.owner, {})[made.path] = None
        elif made.lifetime is not None:
            self.mortals[made.path] = None
        created = Created(made.path, node.stat)
        self._tell(Watched(EventType.CREATED, made.path, made.acl, entry.zxid))
        self._tell(Watched(EventType.CHILDREN_CHANGED, above, guard, entry.zxid))
        return created

    def _remove(self, path: str, zxid: int) -> None:
        node = self.nodes.pop(path)
        above = parent(path)
        over = self.nodes[above]
        del over.children[path[path.rindex("/") + 1 :]]
        over.pzxid = max(over.pzxid, zxid)
        if node.owner in self.ephemerals:
            self.ephemerals[node.owner].pop(path, None)
            if not self.ephemerals[node.owner]:
                del self.ephemerals[node.owner]
        self.mortals.pop(path, None)
        self._tell(Watched(EventType.DELETED, path, node.acl, zxid))
        self._tell(Watched(EventType.CHILDREN_CHANGED, above, over.acl, zxid))

    def perishable(self, now_ms: int) -> list[str]:
        """The paths of containers and of znodes whose time to live is over that the server is to remove.

        A container that never had a child stays; a znode with a time to live waits for its children to go
        (ContainerManager).
        """
        found = []
        for path in self.mortals:
            node = self.nodes[path]
            if not node.children and (
                node.creations > 0 if node.lifetime == "container" else now_ms - node.mtime > (node.lifetime or 0)
            ):
                found.append(path)
        return found


def weight(change: Change) -> int:
    """About how many bytes a change keeps in memory."""
    if isinstance(change, Several):
        return sum(map(weight, change.changes))
    return len(change.data or b"") + 100 if isinstance(change, (Made, DataSet)) else 100
