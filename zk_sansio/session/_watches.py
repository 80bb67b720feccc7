"""Which watches the server holds for us, and who waits for them.

The server keeps one watch per path and kind for the whole connection; any number of `Watcher` share it.
Servers before 3.9 are worse than that: they keep one *mode* per path, so that a one-shot watch set on a path
replaces a persistent one there, and a persistent one a recursive one (ZOOKEEPER-4466). No version is in the
handshake, so the table never asks for such a mixture: what a lasting watch at the same path reports already
is not set again but derived from its events, which arrive in the same order.

+ a one-shot watch at a path with a lasting one is local;
+ a persistent watch at a path with a recursive one is local, its child events made of the recursive ones;
+ a lasting watch is never exchanged for a smaller one while anybody uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from ..errors import ErrorCode
from ..paths import parent
from ..wire import (
    DEFAULT_MAX_REQUEST,
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

__all__ = ["WatchKind", "WatchTable", "Watcher"]

BATCH_BYTES = 128 * 1024
"""Paths in one setWatches; a frame over the server's limit would close the connection, for ever (ZOOKEEPER-706)."""


_SET_WATCHES_OVERHEAD = 36
"""Bytes of a setWatches2 without any path."""


class WatchKind(Enum):
    """What a watcher waits for."""

    DATA = "data"
    """The next change of a znode's data, or its end; one-shot."""
    EXIST = "exist"
    """The creation of a znode that is missing; one-shot."""
    CHILD = "child"
    """The next change of a znode's children, or its end; one-shot."""
    PERSISTENT = "persistent"
    """Every change of a znode, and of its set of children."""
    RECURSIVE = "recursive"
    """Every change of a znode and of all its descendants."""

    @property
    def one_shot(self) -> bool:
        """Whether it is over when it fires."""
        return self not in LASTING


LASTING = (WatchKind.PERSISTENT, WatchKind.RECURSIVE)


class Watcher:
    """One party that waits for a watch; whoever delivers events adds what it needs.

    Attributes:
        path: the path on the server.
        kind: what it waits for; for a watch of ``exists`` settled by the reply.
        armed: whether it is in the table.
    """

    __slots__ = ("armed", "kind", "path")

    def __init__(self, path: str, kind: WatchKind) -> None:
        self.path: str = path
        self.kind: WatchKind = kind
        self.armed: bool = False


class WatchTable:
    """The watches of one session."""

    __slots__ = ("_arming", "_held", "_tables")

    def __init__(self) -> None:
        self._tables: dict[WatchKind, dict[str, tuple[Watcher, ...]]] = {kind: {} for kind in WatchKind}
        # Lasting watches that the server holds; it may hold one that only one-shot watchers are left to use.
        self._held: dict[str, set[AddWatchMode]] = {}
        # Requests under way that set a watch: while there is one, nothing at its path may be removed.
        self._arming: Counter[tuple[str, AddWatchMode | None]] = Counter()

    def __len__(self) -> int:
        return sum(len(watchers) for table in self._tables.values() for watchers in table.values())

    # --- setting

    def prepare(self, request: Request[Any], watcher: Watcher) -> Request[Any]:
        """Note that *request* is about to set the watch of *watcher*; return the request to send instead.

        Follow up with `settle` for the outcome, whatever it is.
        """
        path = watcher.path
        if watcher.kind.one_shot:
            assert isinstance(request, (Exists, GetData, GetChildren, GetChildren2))
            request = type(request)(path, path not in self._held and not self._arming_lasting(path))
        else:
            recursive = AddWatchMode.PERSISTENT_RECURSIVE
            if (
                watcher.kind is WatchKind.RECURSIVE
                or recursive in self._held.get(path, ())
                or self._arming[path, recursive]
            ):
                request = AddWatch(path, recursive)
            else:
                request = AddWatch(path, AddWatchMode.PERSISTENT)
        self._arming[path, _mode(request)] += 1
        return request

    def settle(self, request: Request[Any], watcher: Watcher, code: int, *, wanted: bool) -> bool:
        """Take the outcome of a prepared request: register the watcher if the server has set the watch.

        Args:
            request: as it was sent.
            watcher: whose watch it set.
            code: 0, or the error code.
            wanted: whether the caller is still there.

        Returns:
            Whether the watcher has nothing to wait for although its request succeeded: the lasting watch that
            it was to be derived from was refused. Tell it at once that something may have changed.
        """
        path = watcher.path
        key = (path, _mode(request))
        self._arming[key] -= 1
        if not self._arming[key]:
            del self._arming[key]
        # Of all reads only exists sets a watch where there is no znode.
        exists = isinstance(request, Exists)
        if code != 0 and not (exists and code == ErrorCode.NO_NODE):
            return False
        if isinstance(request, AddWatch):
            self._held.setdefault(path, set()).add(request.mode)
        elif not getattr(request, "watch", False) and path not in self._held:
            return wanted
        if wanted:
            if exists:
                watcher.kind = WatchKind.DATA if code == 0 else WatchKind.EXIST
            self._add(watcher)
        return False

    def _add(self, watcher: Watcher) -> None:
        table = self._tables[watcher.kind]
        table[watcher.path] = (*table.get(watcher.path, ()), watcher)
        watcher.armed = True

    def _arming_lasting(self, path: str) -> bool:
        return any(self._arming[path, mode] for mode in AddWatchMode)

    # --- removing

    def discard(self, watcher: Watcher) -> None:
        """Take *watcher* out of the table; nothing happens if it is not in it."""
        if watcher.armed:
            watcher.armed = False
            table = self._tables[watcher.kind]
            left = tuple(other for other in table.get(watcher.path, ()) if other is not watcher)
            if left:
                table[watcher.path] = left
            else:
                table.pop(watcher.path, None)

    def removals(self, path: str, kind: WatchKind) -> list[RemoveWatches]:
        """What to send after a watcher of *kind* at *path* has gone: nothing while the watch is of use."""
        if self._arming[path, None] or self._arming_lasting(path):
            return []
        if path in self._held:
            if any(path in table for table in self._tables.values()):
                return []
            # All kinds: from 3.9 on there may be a one-shot watch beside it, which had been set before; older servers
            # know no other way.
            del self._held[path]
            return [RemoveWatches(path, WatcherType.ANY)]
        if kind is WatchKind.CHILD:
            return [] if path in self._tables[kind] else [RemoveWatches(path, WatcherType.CHILDREN)]
        if path in self._tables[WatchKind.DATA] or path in self._tables[WatchKind.EXIST]:
            return []
        return [RemoveWatches(path, WatcherType.DATA)]

    def unused(self, path: str) -> bool:
        """Whether the server holds a lasting watch at *path* that nobody is left to use."""
        return path in self._held and not any(path in table for table in self._tables.values())

    def unused_paths(self) -> list[str]:
        """Every path of which that is true."""
        return [path for path in self._held if self.unused(path)]

    # --- firing

    def fire(self, kind: EventType | int, path: str) -> Iterator[tuple[EventType, str, list[Watcher]]]:
        """Say who is to hear of a notification; one-shot watchers are taken out.

        Yields:
            The event, which may be one derived from a recursive watch, and its watchers. A notification
            that nobody waits for is normal: the watch may have been removed while it was under way.
        """
        tables = self._tables
        if not path.startswith("/"):
            return
        if kind == EventType.CHILDREN_CHANGED:
            heard = self._pop(WatchKind.CHILD, path)
            # With a recursive watch there they hear of children through that, whatever else the server sends.
            if AddWatchMode.PERSISTENT_RECURSIVE not in self._held.get(path, ()):
                heard += tables[WatchKind.PERSISTENT].get(path, ())
            if heard:
                yield EventType.CHILDREN_CHANGED, path, heard
            return
        if kind not in (EventType.CREATED, EventType.DELETED, EventType.DATA_CHANGED):
            return
        event = EventType(kind)
        heard = self._pop(WatchKind.DATA, path) + self._pop(WatchKind.EXIST, path)
        if event is EventType.DELETED:
            heard += self._pop(WatchKind.CHILD, path)
        heard += tables[WatchKind.PERSISTENT].get(path, ())
        heard += self._recursive_above(path)
        if heard:
            yield event, path, heard
        if event is not EventType.DATA_CHANGED and path != "/":
            above = parent(path)
            if AddWatchMode.PERSISTENT_RECURSIVE in self._held.get(above, ()):
                derived = self._pop(WatchKind.CHILD, above)
                derived += tables[WatchKind.PERSISTENT].get(above, ())
                if derived:
                    yield EventType.CHILDREN_CHANGED, above, derived

    def _pop(self, kind: WatchKind, path: str) -> list[Watcher]:
        watchers = self._tables[kind].pop(path, ())
        for watcher in watchers:
            watcher.armed = False
        return list(watchers)

    def _recursive_above(self, path: str) -> list[Watcher]:
        recursive = self._tables[WatchKind.RECURSIVE]
        if not recursive:
            return []
        found = list(recursive.get(path, ()))
        while path != "/":
            path = parent(path)
            found += recursive.get(path, ())
        return found

    # --- a new connection, a new session

    def restoration(self, relative_zxid: int, max_request: int = DEFAULT_MAX_REQUEST) -> list[SetWatches]:
        """The requests that set every watch again on a new connection, each small enough for any server.

        Args:
            relative_zxid: the last zxid seen when the connection was lost; what changed since fires at once.
            max_request: bytes that a request may have; each has one watch at least.
        """
        plain, recursive = self._hold_lasting()
        # Lasting ones last: before 3.9 the latest mode of a path wins.
        batches: list[list[list[str]]] = []
        room = 0
        for number, paths in enumerate(
            (
                self._tables[WatchKind.DATA],
                self._tables[WatchKind.EXIST],
                self._tables[WatchKind.CHILD],
                plain,
                recursive,
            )
        ):
            for path in paths:
                size = 4 + 3 * len(path)
                if size > room:
                    batches.append([[], [], [], [], []])
                    room = min(BATCH_BYTES, max_request - _SET_WATCHES_OVERHEAD)
                batches[-1][number].append(path)
                room -= size
        return [
            SetWatches2(relative_zxid, *batch) if batch[3] or batch[4] else SetWatches(relative_zxid, *batch[:3])
            for batch in batches
        ]

    def watchers(self, *kinds: WatchKind) -> list[Watcher]:
        """Everybody who waits for one of *kinds*."""
        return [w for kind in kinds for watchers in self._tables[kind].values() for w in watchers]

    def take(self, *kinds: WatchKind) -> list[Watcher]:
        """Empty the tables of *kinds* and return who was in them."""
        taken: list[Watcher] = []
        for kind in kinds:
            for path in list(self._tables[kind]):
                taken += self._pop(kind, path)
        return taken

    def adopt(self, watchers: Sequence[Watcher]) -> None:
        """Take lasting watchers over from a session that is over; the next restoration sets them.

        They count as set from now on, since whatever is submitted before that is sent behind it.
        """
        for watcher in watchers:
            self._add(watcher)
        self._hold_lasting()

    def _hold_lasting(self) -> tuple[list[str], list[str]]:
        """Note which lasting watches the server holds as soon as there is a connection: persistent, recursive."""
        recursive = list(self._tables[WatchKind.RECURSIVE])
        plain = [path for path in self._tables[WatchKind.PERSISTENT] if path not in self._tables[WatchKind.RECURSIVE]]
        self._held = {path: {AddWatchMode.PERSISTENT} for path in plain}
        self._held |= {path: {AddWatchMode.PERSISTENT_RECURSIVE} for path in recursive}
        return plain, recursive


def _mode(request: Request[Any]) -> AddWatchMode | None:
    return request.mode if isinstance(request, AddWatch) else None
