"""The truth: what the servers' log says happened, and how every znode looked at every zxid."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from zk_sansio.paths import basename, parent
from zk_sansio.server import AclSet, Change, DataSet, Entry, Made, Node, Removed, SessionClosed, SessionOpened, Several
from zk_sansio.wire import EventType, Stat

__all__ = ["Happened", "History", "State"]


class State(NamedTuple):
    """A znode at some zxid: its data, what its Stat has of numbers, and its children."""

    data: bytes | None
    czxid: int
    mzxid: int
    pzxid: int
    version: int
    cversion: int
    aversion: int
    owner: int
    children: frozenset[str]

    def fits(self, stat: Stat) -> bool:
        """Whether a reply describes this state; the times are not compared."""
        return (
            stat.mzxid == self.mzxid
            and stat.czxid == self.czxid
            and stat.pzxid == self.pzxid
            and stat.version == self.version
            and stat.cversion == self.cversion
            and stat.aversion == self.aversion
            and stat.ephemeral_owner == self.owner
            and stat.num_children == len(self.children)
            and stat.data_length == len(self.data or b"")
        )


class Happened(NamedTuple):
    """Something that a watch may tell of."""

    zxid: int
    type: EventType
    path: str


class _Znode:
    __slots__ = ("aversion", "children", "creations", "czxid", "data", "mzxid", "owner", "pzxid", "version")

    def __init__(self, data: bytes | None, zxid: int, owner: int) -> None:
        self.data = data
        self.czxid = self.mzxid = self.pzxid = zxid
        self.version = self.aversion = self.creations = 0
        self.owner = owner
        self.children: dict[str, None] = {}

    @property
    def state(self) -> State:
        cversion = 2 * self.creations - len(self.children)
        return State(
            self.data,
            self.czxid,
            self.mzxid,
            self.pzxid,
            self.version,
            cversion,
            self.aversion,
            self.owner,
            frozenset(self.children),
        )


class History:
    """What has happened.

    Args:
        nodes: the tree before everything.

    Attributes:
        zxid: of the last change.
        events: what watches may tell of, oldest first.
        sessions: every one that there ever was.
        wrote: hears of each data that was written: zxid, session, path, data.
        removed: hears of each lasting znode that was deleted by request: zxid, session, path.
        ended: hears of each session that ended: zxid, session.
    """

    def __init__(self, nodes: Iterable[tuple[str, Node]] = ()) -> None:
        self.zxid = 0
        self.events: list[Happened] = []
        self.sessions: set[int] = set()
        self.wrote: Callable[[int, int, str, bytes | None], object] = _nobody
        self.removed: Callable[[int, int, str], object] = _nobody
        self.ended: Callable[[int, int], object] = _nobody
        self._zxids: list[int] = []  # of the events, for finding one
        self._now: dict[str, _Znode] = {}
        self._past: dict[str, tuple[list[int], list[State | None]]] = {}
        self._owned: dict[int, dict[str, None]] = {}
        for path, node in nodes:
            znode = self._now[path] = _Znode(node.data, 0, 0)
            znode.aversion = node.aversion
            znode.children = dict(node.children)
            znode.creations = node.creations
            self._past[path] = ([0], [znode.state])

    # --- what happens

    def commit(self, entry: Entry) -> None:
        """Take the next entry of the log."""
        assert entry.zxid > self.zxid, "the log goes back"
        self.zxid = entry.zxid
        touched: dict[str, None] = {}
        self._apply(entry.change, entry.zxid, entry.session_id, touched)
        for path in touched:
            znode = self._now.get(path)
            zxids, states = self._past.setdefault(path, ([], []))
            zxids.append(entry.zxid)
            states.append(None if znode is None else znode.state)

    def _apply(self, change: Change, zxid: int, session: int, touched: dict[str, None]) -> None:
        match change:
            case Made(path=path, data=data, owner=owner):
                over = self._now[parent(path)]
                over.children[basename(path)] = None
                over.creations += 1
                over.pzxid = zxid
                self._now[path] = _Znode(data, zxid, owner)
                if owner:
                    self._owned.setdefault(owner, {})[path] = None
                touched |= {path: None, parent(path): None}
                self._tell(zxid, EventType.CREATED, path)
                self.wrote(zxid, session, path, data)
            case Removed(path):
                znode = self._remove(path, zxid, touched)
                if not znode.owner:
                    self.removed(zxid, session, path)
            case DataSet(path, data, _):
                znode = self._now[path]
                znode.data, znode.mzxid = data, zxid
                znode.version += 1
                touched[path] = None
                self._tell(zxid, EventType.DATA_CHANGED, path)
                self.wrote(zxid, session, path, data)
            case AclSet(path):
                self._now[path].aversion += 1
                touched[path] = None
            case Several(changes):
                for each in changes:
                    self._apply(each, zxid, session, touched)
            case SessionOpened():
                self.sessions.add(session)
            case SessionClosed():
                for path in list(self._owned.get(session, ())):
                    self._remove(path, zxid, touched)
                self.ended(zxid, session)
            case _:
                pass

    def _remove(self, path: str, zxid: int, touched: dict[str, None]) -> _Znode:
        znode = self._now.pop(path)
        if znode.owner:
            del self._owned[znode.owner][path]
        over = self._now[parent(path)]
        del over.children[basename(path)]
        over.pzxid = zxid
        touched |= {path: None, parent(path): None}
        self._tell(zxid, EventType.DELETED, path)
        return znode

    def _tell(self, zxid: int, event: EventType, path: str) -> None:
        self.events.append(Happened(zxid, event, path))
        self._zxids.append(zxid)

    # --- what is known

    def at(self, path: str, zxid: int) -> State | None:
        """How a znode looked; None if there was none."""
        past = self._past.get(path)
        if past is None:
            return None
        place = bisect_right(past[0], zxid)
        return past[1][place - 1] if place else None

    def between(self, path: str, first: int, last: int) -> Iterator[State | None]:
        """How a znode looked from one zxid to another."""
        yield self.at(path, first)
        past = self._past.get(path)
        if past is not None:
            for place in range(bisect_right(past[0], first), bisect_right(past[0], last)):
                yield past[1][place]

    def after(self, zxid: int) -> int:
        """The place of the first event behind a zxid."""
        return bisect_right(self._zxids, zxid)

    def below(self, path: str) -> list[str]:
        """The znode and its descendants that exist now."""
        prefix = path + "/"
        return [each for each in self._now if each == path or each.startswith(prefix)]

    def now(self, path: str) -> State | None:
        """How a znode looks now."""
        znode = self._now.get(path)
        return None if znode is None else znode.state

    @property
    def owned(self) -> dict[int, dict[str, None]]:
        """The ephemerals of each session."""
        return {session: paths for session, paths in self._owned.items() if paths}

    @property
    def paths(self) -> Iterable[str]:
        """Every znode that exists now."""
        return self._now

    def forget(self) -> None:
        """All servers and clients have seen everything: only the present counts."""
        self.events.clear()
        self._zxids.clear()
        self._past = {path: ([0], [znode.state]) for path, znode in self._now.items()}
        self._owned = self.owned


def _nobody(*_: object) -> None:
    """Nobody listens."""
