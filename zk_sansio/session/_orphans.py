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

from ..paths import basename, join, parent
from ..wire import Create, Create2, Created, CreateMode, Delete, Exists, GetChildren, Multi, Request
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
    """

    path: str
    tag: str | None
    after: int


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
    """

    __slots__ = ("_send", "_session_id", "_suspects")

    def __init__(self, send: Callable[[Request[Any], Then], None]) -> None:
        self._send = send
        self._session_id = 0
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
                # What somebody else here asked for too may be theirs; better an orphan than a theft.
                self._suspects += [s for s in suspects(call.request, last_zxid) if s.path not in wanted]
            elif wanted:
                call.rival = any(wanted[path] > 1 for path in requested_paths(call.request))

    def disown(self, request: Request[Any], after: int) -> None:
        """Suspect what *request* may have made."""
        self._suspects += suspects(request, after)

    def look(self, session_id: int, waiting: Iterable[Call[Any]]) -> None:
        """A connection serves the session again: look for suspects before any of the *waiting* calls goes out."""
        self._session_id = session_id
        wanted = {path for call in waiting for path in requested_paths(call.request)}
        self._suspects = [s for s in self._suspects if s.tag is not None or s.path not in wanted]
        for suspect in list(self._suspects):
            request = Exists(suspect.path) if suspect.tag is None else GetChildren(parent(suspect.path))
            self._send(request, partial(self._looked, suspect))

    def _looked(self, suspect: Suspect, call: Call[Any], now: float) -> None:
        if not self._forget(suspect) or call.error is not None:
            return
        if suspect.tag is not None:
            for name in call.result:
                if name.startswith(suspect.tag):
                    self.remove(join(parent(suspect.path), name), 0)
        elif call.result.ephemeral_owner == self._session_id and call.result.czxid > suspect.after:
            self.remove(suspect.path, suspect.after)

    def remove(self, path: str, after: int) -> None:
        """Remove an orphan.

        Args:
            path: where it is.
            after: a zxid; should the reply be lost, a znode as old as that is another one.
        """
        suspect = Suspect(path, None, after)
        # It stays a suspect until the server has answered.
        self._suspects.append(suspect)
        self._send(Delete(path), partial(self._removed, suspect))

    def _removed(self, suspect: Suspect, call: Call[None], now: float) -> None:
        self._forget(suspect)

    def _forget(self, suspect: Suspect) -> bool:
        """Drop *suspect*; return whether it was there, for it may have been looked for twice."""
        if suspect not in self._suspects:
            return False
        self._suspects.remove(suspect)
        return True
