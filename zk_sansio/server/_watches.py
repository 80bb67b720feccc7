"""Which connection waits for what, and whom a change concerns (DataTree, WatchManager)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar, assert_never

from ..paths import parent
from ..wire import AddWatchMode, EventType, WatcherType

__all__ = ["Watches"]

W = TypeVar("W")


_ONCE, _PERSISTENT, _RECURSIVE = 1, 2, 4
"""The kinds of watches that one connection may have at one path; plain numbers, since each write asks for them."""

_MODES = {AddWatchMode.PERSISTENT: _PERSISTENT, AddWatchMode.PERSISTENT_RECURSIVE: _RECURSIVE}


class Watches(Generic[W]):
    """The watches of all connections of one server.

    Args:
        keeps_modes: whether one connection can have watches of several kinds at one path.
    """

    def __init__(self, *, keeps_modes: bool) -> None:
        self._keeps_modes = keeps_modes
        self._data: _Table[W] = _Table(keeps_modes)
        self._child: _Table[W] = _Table(keeps_modes)

    def watch_data(self, path: str, watcher: W) -> None:
        """Add a one-shot watch of exists or getData."""
        self._data.add(path, watcher, _ONCE)

    def watch_children(self, path: str, watcher: W) -> None:
        """Add a one-shot watch of getChildren."""
        self._child.add(path, watcher, _ONCE)

    def watch(self, path: str, watcher: W, mode: AddWatchMode) -> None:
        """Add a lasting watch."""
        self._data.add(path, watcher, _MODES[mode])
        # Before 3.9 a recursive watch replaced a child watch at its path.
        if mode is AddWatchMode.PERSISTENT or not self._keeps_modes:
            self._child.add(path, watcher, _MODES[mode])

    def contains(self, path: str, watcher: W, kind: WatcherType) -> bool:
        """Tell whether there is such a watch."""
        if not self._keeps_modes:
            # WatchManager of 3.8 asks for anybody's watch.
            return any(table.watched(path) for table, _ in self._of(kind))
        return any(table.contains(path, watcher, mode) for table, mode in self._of(kind))

    def remove(self, path: str, watcher: W, kind: WatcherType) -> bool:
        """Remove such watches; tell whether there was one."""
        removed = [table.remove(path, watcher, mode) for table, mode in self._of(kind)]  # from all of them
        return any(removed)

    def _of(self, kind: WatcherType) -> list[tuple[_Table[W], int | None]]:
        once = _ONCE if self._keeps_modes else None
        match kind:
            case WatcherType.CHILDREN:
                return [(self._child, once)]
            case WatcherType.DATA:
                return [(self._data, once)]
            case WatcherType.PERSISTENT:
                return [(self._child, _PERSISTENT), (self._data, _PERSISTENT)]
            case WatcherType.PERSISTENT_RECURSIVE:
                return [(self._data, _RECURSIVE)]
            case WatcherType.ANY:
                return [(self._child, None), (self._data, None)]
            case _:
                assert_never(kind)

    def fire(self, kind: EventType, path: str) -> list[W]:
        """Find whom an event concerns, each once, and take one-shot watches away."""
        match kind:
            case EventType.CHILDREN_CHANGED:
                return list(self._child.fire(path, recursive=False))
            case EventType.DELETED:
                return list(self._data.fire(path) | self._child.fire(path))
            case _:
                return list(self._data.fire(path))

    def forget(self, watcher: W) -> None:
        """Remove all watches of a connection."""
        self._data.forget(watcher)
        self._child.forget(watcher)

    def paths(self, watcher: W) -> list[str]:
        """The paths that a connection watches; those watched for children alone are not among them."""
        return self._data.paths(watcher)

    @property
    def count(self) -> int:
        """How many there are: paths of connections, of data and of children."""
        return len(self._data) + len(self._child)

    def by_path(self) -> Iterator[tuple[str, list[W]]]:
        """Who watches each path, likewise."""
        return self._data.by_path()


class _Table(Generic[W]):
    """Watches of the data, or of the children."""

    def __init__(self, keeps_modes: bool) -> None:
        self._keeps_modes = keeps_modes
        self._at: dict[str, dict[W, int]] = {}
        self._of: dict[W, dict[str, None]] = {}
        self._recursive = 0

    def add(self, path: str, watcher: W, mode: int) -> None:
        here = self._at.setdefault(path, {})
        old = here.get(watcher, 0)
        self._set(path, watcher, old, old | mode if self._keeps_modes else mode)

    def _set(self, path: str, watcher: W, old: int, new: int) -> None:
        self._recursive += bool(new & _RECURSIVE) - bool(old & _RECURSIVE)
        if new:
            self._at[path][watcher] = new
            self._of.setdefault(watcher, {})[path] = None
            return
        here, paths = self._at[path], self._of[watcher]
        del here[watcher], paths[path]
        if not here:
            del self._at[path]
        if not paths:
            del self._of[watcher]

    def __len__(self) -> int:
        return sum(map(len, self._at.values()))

    def watched(self, path: str) -> bool:
        return path in self._at

    def contains(self, path: str, watcher: W, mode: int | None) -> bool:
        found = self._at.get(path, {}).get(watcher, 0)
        return bool(found if mode is None else found & mode)

    def remove(self, path: str, watcher: W, mode: int | None) -> bool:
        old = self._at.get(path, {}).get(watcher, 0)
        new = 0 if mode is None else old & ~mode
        if new == old:
            return False
        self._set(path, watcher, old, new)
        return True

    def fire(self, path: str, *, recursive: bool = True) -> dict[W, None]:
        if not self._at:
            return {}
        found: dict[W, None] = {}
        for watcher, mode in list(self._at.get(path, {}).items()):
            if recursive or mode & ~_RECURSIVE:
                found[watcher] = None
                if mode & _ONCE:
                    self._set(path, watcher, mode, mode & ~_ONCE)
        if self._recursive and recursive:
            while path != "/":
                path = parent(path)
                found |= {watcher: None for watcher, mode in self._at.get(path, {}).items() if mode & _RECURSIVE}
        return found

    def forget(self, watcher: W) -> None:
        for path in list(self._of.get(watcher, ())):
            self._set(path, watcher, self._at[path][watcher], 0)

    def paths(self, watcher: W) -> list[str]:
        return list(self._of.get(watcher, ()))

    def by_path(self) -> Iterator[tuple[str, list[W]]]:
        for path, here in self._at.items():
            yield path, list(here)
