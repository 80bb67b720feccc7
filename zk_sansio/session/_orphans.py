"""Ephemeral znodes that nobody owns: made by a call whose caller had gone.

A cancelled call keeps its place in the queue, and what it asked for may happen. For an ephemeral znode that
is a danger, since a lock's queue would wait for it until the session ends. So it is removed again: at once
when the reply arrives, and after a lost reply by looking for it on the next connection of the same session.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..errors import InvalidPathError, ThrottledError
from ..paths import basename, check_path, join, parent
from ..wire import Create, Create2, Created, CreateMode, Delete, Exists, GetChildren, Multi, Request, Sync
from ._book import Then
from ._calls import Call

__all__ = ["Orphans", "Suspect", "created_ephemerals", "requested_paths", "suspects"]

_TAG = re.compile(r"_c_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-")
"""Curator's protection: a unique prefix by which a znode is found though the reply with its name was lost."""


class Suspect(NamedTuple):
    """An ephemeral znode that may exist though its maker has gone.

    Attributes:
        path: the path asked for.
        tag: the unique prefix of its name; None if it has none, then *path* is its whole path.
        after: a zxid; a znode as old as that is another one.
        rivals: calls of others here that ask for the same path; should one succeed, the znode is theirs.
    """

    path: str
    tag: str | None
    after: int
    rivals: tuple[Call[Any], ...] = ()

    @property
    def taken(self) -> bool:
        """Whether a rival has it."""
        return any(call.done and not call.error and self.path in _made(call) for call in self.rivals)


def _ephemeral_creates(request: Request[Any]) -> list[Create | Create2]:
    ops = request.ops if isinstance(request, Multi) else (request,)
    return [op for op in ops if isinstance(op, (Create, Create2)) and CreateMode(op.mode).ephemeral]


def created_ephemerals(request: Request[Any], result: Any) -> list[str]:
    """The paths of ephemeral znodes that a successful *request* has made."""
    if not _ephemeral_creates(request):
        return []
    if not isinstance(request, Multi):
        return [result.path]
    ephemeral = _ephemeral_creates(request)
    return [
        made.path
        for op, made in zip(request.ops, result, strict=False)
        if any(op is create for create in ephemeral) and isinstance(made, Created)
    ]


def _made(call: Call[Any]) -> list[str]:
    return created_ephemerals(call.request, call.result)


def suspects(request: Request[Any], after: int) -> list[Suspect]:
    """The ephemeral znodes that *request* may have made, if they can be found again.

    A sequential one without a tag cannot: nobody knows its number.
    """
    found = []
    for op in _ephemeral_creates(request):
        tag = _TAG.match(basename(op.path))
        if tag:
            found.append(Suspect(op.path, tag.group(), after))
        elif not CreateMode(op.mode).sequential:
            found.append(Suspect(op.path, None, after))
    return found


def requested_paths(request: Request[Any]) -> set[str]:
    """The paths of the ephemeral znodes that *request* asks for."""
    return {op.path for op in _ephemeral_creates(request)}


class Orphans:
    """Finds and removes them.

    Args:
        send: sends a request of the session's own in its turn, or drops it if there is no connection.
        behind: gives the calls that were submitted after one that is being processed, answered or not.

    Attributes:
        postponed: whether the server could not answer, so that it is time to `look` again when time has passed.
    """

    __slots__ = ("_behind", "_send", "_session_id", "_stale", "_suspects", "postponed")

    def __init__(
        self, send: Callable[[Request[Any], Then], None], behind: Callable[[Call[Any]], Iterable[Call[Any]]]
    ) -> None:
        self._send = send
        self._behind = behind
        self._session_id = 0
        self.postponed = False
        self._stale = False
        self._suspects: list[Suspect] = []

    def lost(self, calls: Sequence[tuple[Call[Any], bool]], last_zxid: int) -> None:
        """A connection was lost with *calls* unanswered: remember what abandoned ones may have made.

        Args:
            calls: each call, and whether it was sent.
            last_zxid: the newest zxid seen; whatever they made is newer.
        """
        wanted: Counter[str] = Counter()
        for call, _ in calls:
            if not call.abandoned:
                wanted.update(requested_paths(call.request))
        for call, sent in calls:
            if call.abandoned and sent:
                self._suspects += suspects(call.request, last_zxid)
        # What somebody else here asked for too may be theirs; better an orphan than a theft.
        self._suspects = [suspect for suspect in self._suspects if suspect.path not in wanted]

    def disown(self, request: Request[Any], after: int) -> None:
        """Suspect what *request* may have made."""
        self._suspects += suspects(request, after)

    def remove_later(self, path: str) -> None:
        """Suspect the znode at *path*, whenever it was made."""
        self._suspects.append(Suspect(path, None, 0))

    def look(self, session_id: int, waiting: Iterable[Call[Any]]) -> None:
        """A connection serves the session again: look for suspects before any of the *waiting* calls goes out."""
        self._session_id = session_id
        self.postponed = False
        wanted = {path for call in waiting for path in requested_paths(call.request)}
        self._suspects = [s for s in self._suspects if s.tag is not None or not (s.taken or s.path in wanted)]
        if self._suspects:
            # This server may be behind, and not know yet what another one has carried out.
            self._send(Sync("/"), self._synced)
        else:
            self._stale = False  # no sync will say so
        for suspect in list(self._suspects):
            request = Exists(suspect.path) if suspect.tag is None else GetChildren(parent(suspect.path))
            self._send(request, partial(self._looked, suspect))

    def _synced(self, call: Call[Any], now: float) -> None:
        """The answers that follow are those of a server that has caught up, unless this failed."""
        self._stale = call.error is not None
        self.postponed |= self._stale

    def _looked(self, suspect: Suspect, call: Call[Any], now: float) -> None:
        if self._stale or self._postponed(call) or not self._forget(suspect) or suspect.taken or call.error is not None:
            return
        if suspect.tag is not None:
            for name in call.result:
                if name.startswith(suspect.tag):
                    self._remove(join(parent(suspect.path), name), 0, call)
        elif call.result.ephemeral_owner == self._session_id and call.result.czxid > suspect.after:
            self._remove(suspect.path, suspect.after, call)

    def answered(self, call: Call[Any], after: int) -> None:
        """An abandoned *call* has succeeded: remove what it made.

        Args:
            call: the call.
            after: a zxid from before it.
        """
        for path in _made(call):
            self._remove(path, after, call)

    def _remove(self, path: str, after: int, known_by: Call[Any]) -> None:
        try:
            check_path(path)
        except InvalidPathError:
            return  # no server makes such a znode, whatever this one says
        behind = [call for call in self._behind(known_by) if not call.abandoned]
        suspect = Suspect(path, None, after, tuple(c for c in behind if path in requested_paths(c.request)))
        if suspect.taken:
            return
        # It stays a suspect until the server has answered.
        self._suspects.append(suspect)
        if all(rival.done for rival in suspect.rivals):
            self._send(Delete(path), partial(self._removed, suspect))
        else:
            # Should the znode have been deleted meanwhile, a rival may get it; all are answered before this is.
            self._send(Exists(path), partial(self._looked, suspect))

    def _removed(self, suspect: Suspect, call: Call[None], now: float) -> None:
        if not self._postponed(call):
            self._forget(suspect)

    def _postponed(self, call: Call[Any]) -> bool:
        """Whether the server was too busy to act on *call*: its suspect is looked for again, a little later."""
        if isinstance(call.error, ThrottledError):
            self.postponed = True
            return True
        return False

    def _forget(self, suspect: Suspect) -> bool:
        """Drop *suspect*; return whether it was there, for it may have been looked for twice."""
        if suspect not in self._suspects:
            return False
        self._suspects.remove(suspect)
        return True
