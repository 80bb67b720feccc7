"""A stream's memory of what it has told, so that it can find out what it missed.

A znode is the same as before if its czxid is, its data if the mzxid is, its set of children if the pzxid is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from ..session import WatchEvent
from ..wire import EventType, Stat

__all__ = ["Snapshot"]


class _Known(NamedTuple):
    """What was told of a znode; a number is None where the event that told it did not carry it."""

    czxid: int | None
    mzxid: int | None
    pzxid: int | None


class Snapshot:
    """What a stream has told so far.

    Args:
        path: the watched path, as the client names it.
        recursive: whether descendants belong to it; if not, the set of children does.
        read: reads the path, and for a recursive snapshot all its descendants, parents first.
    """

    def __init__(self, path: str, *, recursive: bool, read: Callable[[], AsyncIterator[tuple[str, Stat]]]) -> None:
        self._path = path
        self._recursive = recursive
        self._read = read
        self._known: dict[str, _Known] = {}
        self._pending: deque[WatchEvent] = deque()
        self.stale: bool = True

    def outdated(self) -> None:
        """Events may be missing: everything is to be read again."""
        self.stale = True

    @property
    def news(self) -> bool:
        """Whether there is a change to tell."""
        return bool(self._pending)

    def pending(self) -> WatchEvent | None:
        """Take the next change to tell, if there is one."""
        return self._pending.popleft() if self._pending else None

    async def read(self) -> None:
        """Read everything and work out the differences. When it is cancelled or fails, nothing has changed."""
        found = {path: stat async for path, stat in self._read()}
        self.stale = False
        for path in sorted([each for each in self._known if each not in found], key=len, reverse=True):
            self._tell(EventType.DELETED, path, None)
        for path, stat in found.items():
            self._compare(path, stat)

    def _compare(self, path: str, stat: Stat) -> None:
        known = self._known.get(path)
        if known is None:
            self._tell(EventType.CREATED, path, stat.czxid)
        elif known.czxid is not None and known.czxid != stat.czxid:
            self._tell(EventType.DELETED, path, None)
            self._tell(EventType.CREATED, path, stat.czxid)
        else:
            if known.mzxid != stat.mzxid:
                self._tell(EventType.DATA_CHANGED, path, stat.mzxid)
            if not self._recursive and known.pzxid != stat.pzxid:
                self._tell(EventType.CHILDREN_CHANGED, path, stat.pzxid)
        self._known[path] = _Known(stat.czxid, stat.mzxid, stat.pzxid)

    def _tell(self, event: EventType, path: str, zxid: int | None) -> None:
        self._pending.append(WatchEvent(event, path, zxid))
        if event is EventType.DELETED:
            del self._known[path]

    def apply(self, event: WatchEvent) -> None:
        """Take an event of the watch; one that tells nothing new is dropped."""
        kind, path, zxid = event
        known = self._known.get(path)
        match kind:
            case EventType.CREATED if known is None:
                self._known[path] = _Known(zxid, zxid, zxid)
            # A transaction may make a znode and delete it again: such an end is as old as the creation, and no older.
            case EventType.DELETED if known is not None and not _older(zxid, known.czxid):
                del self._known[path]
            case EventType.DATA_CHANGED if known is not None and _newer(zxid, known.mzxid):
                self._known[path] = known._replace(mzxid=zxid)
            case EventType.CHILDREN_CHANGED if known is not None and _newer(zxid, known.pzxid):
                self._known[path] = known._replace(pzxid=zxid)
            case _:
                return
        self._pending.append(event)


def _older(zxid: int | None, known: int | None) -> bool:
    return zxid is not None and known is not None and zxid < known


def _newer(zxid: int | None, known: int | None) -> bool:
    return zxid is None or known is None or zxid > known
