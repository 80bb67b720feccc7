"""What somebody believes who listens."""

from __future__ import annotations

from zk_sansio.client import Change, Gap
from zk_sansio.session import WatchEvent
from zk_sansio.wire import EventType

__all__ = ["Image"]


class Image:
    """What somebody believes who listens to a stream with a snapshot.

    Attributes:
        told: for each znode that there is, how far the log was when its data was told of last.
    """

    def __init__(self, path: str, *, recursive: bool) -> None:
        self.path = path
        self.recursive = recursive
        self.told: dict[str, int] = {}
        self.children = 0

    def take(self, change: Change, zxid: int, seen: int) -> str | None:
        """Take a change; return what is wrong with it.

        Args:
            change: the change.
            zxid: how far the log is.
            seen: what the session has seen by its replies: that may have been read before it is told.
        """
        if isinstance(change, Gap):
            return f"a stream of {self.path} with a snapshot has a gap"
        assert isinstance(change, WatchEvent)
        at = zxid if change.zxid is None else change.zxid
        match change.type:
            case EventType.CREATED:
                if change.path in self.told:
                    return f"{change.path} was created twice"
                self.told[change.path] = max(at, seen)
                self.children = max(self.children, at, seen)
            case EventType.DELETED:
                if self.told.pop(change.path, None) is None:
                    return f"{change.path} was deleted, but was not there"
            case EventType.DATA_CHANGED:
                if change.path not in self.told:
                    return f"{change.path} has changed, but was not there"
                self.told[change.path] = max(self.told[change.path], at)
            case EventType.CHILDREN_CHANGED:
                self.children = max(self.children, at)
            case _:
                return f"a stream tells {change}"
        return None
