"""Ephemeral znodes that nobody owns: made by a call whose caller had gone.

A cancelled call keeps its place in the queue, and what it asked for may happen. For an ephemeral znode that
is a danger, since a lock's queue would wait for it until the session ends. So it is removed again: at once
when the reply arrives, and after a lost reply by looking for it on the next connection of the same session.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ..paths import basename, parent
from ..wire import Create, Create2, Created, CreateMode, Multi, Request

__all__ = ["Suspect", "created_ephemerals", "requested_paths", "suspects", "tagged"]

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


def tagged(suspect: Suspect, names: list[str]) -> list[str]:
    """The paths of the children among *names* that carry the suspect's tag."""
    above = parent(suspect.path)
    prefix = "" if above == "/" else above
    return [f"{prefix}/{name}" for name in names if suspect.tag and name.startswith(suspect.tag)]
