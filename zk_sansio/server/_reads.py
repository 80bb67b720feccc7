"""Requests that change nothing (FinalRequestProcessor)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ..acl import Id
from ..errors import ErrorCode, RemoteProtocolError
from ..wire import (
    DECODE_ERRORS,
    DEFAULT_MAX_REPLY,
    AddWatch,
    AddWatchMode,
    CheckWatches,
    Children,
    EventType,
    Exists,
    Failed,
    Frame,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetChildren2,
    GetData,
    GetEphemerals,
    Multi,
    MultiRead,
    OpCode,
    RemoveWatches,
    WatcherType,
    Znode,
)
from ..wire._jute import INT, LONG, get_string
from ..wire._records import STAT
from ._access import allowed, masked, public
from ._java import java_string
from ._options import ServerOptions
from ._refused import RefusedError
from ._tree import Node, Tree
from ._watches import Watches

__all__ = ["READS", "Reader"]

_READ, _ADMIN = 1, 16


class Reader(Protocol):
    """A connection, as far as reads need to know it."""

    @property
    def session_id(self) -> int:
        """Its session."""

    @property
    def identities(self) -> Sequence[Id]:
        """What it is authenticated as."""

    @property
    def tree(self) -> Tree:
        """Its server's tree."""

    @property
    def watches(self) -> Watches[Any]:
        """Its server's watches."""

    @property
    def options(self) -> ServerOptions:
        """Its server's options."""

    def notify(self, kind: EventType, path: str, zxid: int) -> None:
        """Tell it of an event."""


def _node(reader: Reader, path: str, perms: int = _READ) -> Node:
    node = reader.tree.get(path)
    if node is None:
        raise RefusedError(ErrorCode.NO_NODE)
    if not allowed(node.acl, perms, reader.identities):
        raise RefusedError(ErrorCode.NO_AUTH)
    return node


def _get_data(reader: Reader, frame: Frame) -> bytes:
    request, _ = GetData.parse(frame, 8)
    node = _node(reader, request.path)
    if request.watch:
        reader.watches.watch_data(request.path, reader)
    return request.encode_reply(Znode(node.data, node.stat))


def _exists(reader: Reader, frame: Frame) -> bytes:
    request, _ = Exists.parse(frame, 8)
    if "\0" in request.path:
        raise RefusedError(ErrorCode.BAD_ARGUMENTS)
    node = reader.tree.get(request.path)
    guarded = reader.options.profile.guards_exists
    if node is not None and guarded and not allowed(node.acl, _READ, reader.identities):
        raise RefusedError(ErrorCode.NO_AUTH)
    if request.watch:
        reader.watches.watch_data(request.path, reader)
    if node is None:
        raise RefusedError(ErrorCode.NO_NODE)
    return request.encode_reply(node.stat)


def _get_children(reader: Reader, frame: Frame) -> bytes:
    request, _ = GetChildren.parse(frame, 8)
    node = _node(reader, request.path)
    if request.watch:
        reader.watches.watch_children(request.path, reader)
    return request.encode_reply(list(node.children))


def _get_children2(reader: Reader, frame: Frame) -> bytes:
    request, _ = GetChildren2.parse(frame, 8)
    node = _node(reader, request.path)
    if request.watch:
        reader.watches.watch_children(request.path, reader)
    return request.encode_reply(Children(list(node.children), node.stat))


def _get_acl(reader: Reader, frame: Frame) -> bytes:
    request, _ = GetACL.parse(frame, 8)
    node = _node(reader, request.path, _READ | _ADMIN)
    acl = node.acl
    if not allowed(acl, _ADMIN, reader.identities):
        acl = tuple(map(masked, acl))
    entries = [INT.put(entry.perms) + _put_id(entry.id) for entry in acl]
    return b"".join([INT.put(len(entries)), *entries, STAT.put(node.stat)])


def _put_id(identity: Id) -> bytes:
    return java_string(identity.scheme) + java_string(identity.id)


def _count(reader: Reader, frame: Frame) -> bytes:
    request, _ = GetAllChildrenNumber.parse(frame, 8)
    _node(reader, request.path)
    nodes = reader.tree.nodes
    below = request.path + "/"
    count = len(nodes) - 1 if request.path == "/" else sum(path.startswith(below) for path in nodes)
    return request.encode_reply(count)


def _ephemerals(reader: Reader, frame: Frame) -> bytes:
    request, _ = GetEphemerals.parse(frame, 8)
    prefix = request.prefix or ""
    if prefix.strip() in ("", "/"):
        prefix = ""
    own = reader.tree.ephemerals.get(reader.session_id, ())
    return request.encode_reply([path for path in own if path.startswith(prefix)])


def _who_am_i(reader: Reader, frame: Frame) -> bytes:
    identities = [_put_id(public(each)) for each in reader.identities]
    return b"".join([INT.put(len(identities)), *identities])


def _multi_read(reader: Reader, frame: Frame) -> bytes:
    try:
        request, _ = MultiRead.parse(frame, 8)
    except DECODE_ERRORS:
        # Writes alone can be read, and are refused behind the head of a reply.
        Multi.parse(frame, 8)
        raise RefusedError(ErrorCode.MARSHALLING_ERROR, Multi().encode_reply([])) from None
    results: list[Any] = []
    size = 0
    for op in request.ops:
        try:
            node = _node(reader, op.target or "")
        except RefusedError as refused:
            results.append(Failed(refused.code))
        else:
            names = node.children if isinstance(op, GetChildren) else ()
            size += sum(map(len, names)) + 4 * len(names) if names else len(node.data or b"")
            if size > DEFAULT_MAX_REPLY:  # a real server would try; no client takes it
                raise RemoteProtocolError("one request asks for too much")
            results.append(list(node.children) if isinstance(op, GetChildren) else Znode(node.data, node.stat))
    return request.encode_reply(results)


# --- watches


def _add_watch(reader: Reader, frame: Frame) -> bytes:
    request, _ = AddWatch.parse(frame, 8)
    reader.watches.watch(request.path, reader, request.mode)
    return request.encode_reply(0)


def _check_watches(reader: Reader, frame: Frame) -> bytes:
    request, _ = CheckWatches.parse(frame, 8)
    if not reader.watches.contains(request.path, reader, _known(reader, request.watcher_type)):
        raise RefusedError(ErrorCode.NO_WATCHER)
    return b""


def _remove_watches(reader: Reader, frame: Frame) -> bytes:
    request, _ = RemoveWatches.parse(frame, 8)
    if not reader.watches.remove(request.path, reader, _known(reader, request.watcher_type)):
        raise RefusedError(ErrorCode.NO_WATCHER)
    return b""


def _known(reader: Reader, kind: WatcherType) -> WatcherType:
    lasting = kind in (WatcherType.PERSISTENT, WatcherType.PERSISTENT_RECURSIVE)
    if lasting and not reader.options.profile.removes_by_kind:
        raise RemoteProtocolError("a type of watches that this version does not know")
    return kind


def _set_watches(reader: Reader, frame: Frame) -> bytes:
    _rearm(reader, frame, 3)
    return b""


def _set_watches2(reader: Reader, frame: Frame) -> bytes:
    persistent, recursive = _rearm(reader, frame, 5)
    for path in _present(persistent):
        reader.watches.watch(path, reader, AddWatchMode.PERSISTENT)
    for path in _present(recursive):
        reader.watches.watch(path, reader, AddWatchMode.PERSISTENT_RECURSIVE)
    return b""


_Paths: TypeAlias = "list[str | None] | None"


def _rearm(reader: Reader, frame: Frame, count: int) -> list[_Paths]:
    """Set one-shot watches, or tell at once what they have missed; nobody asks for permissions here.

    What comes before a null is done before the request fails.
    """
    since, at = LONG.get(frame, 8)
    lists: list[_Paths] = []
    for _ in range(count):
        paths, at = _get_paths(frame, at)
        lists.append(paths)
    nodes, watches = reader.tree, reader.watches
    for path in _present(lists[0]):
        node = nodes.get(path)
        if node is None:
            reader.notify(EventType.DELETED, path, -1)
        elif node.mzxid > since:
            reader.notify(EventType.DATA_CHANGED, path, -1)
        else:
            watches.watch_data(path, reader)
    for path in _present(lists[1]):
        if nodes.get(path) is not None:
            reader.notify(EventType.CREATED, path, -1)
        else:
            watches.watch_data(path, reader)
    for path in _present(lists[2]):
        node = nodes.get(path)
        if node is None:
            reader.notify(EventType.DELETED, path, -1)
        elif node.pzxid > since:
            reader.notify(EventType.CHILDREN_CHANGED, path, -1)
        else:
            watches.watch_children(path, reader)
    return lists[3:]


def _get_paths(frame: Frame, at: int) -> tuple[_Paths, int]:
    count, at = INT.get(frame, at)
    paths: list[str | None] = []
    for _ in range(count):
        path, at = get_string(frame, at)
        paths.append(path)
    return None if count < 0 else paths, at


def _present(paths: _Paths) -> Iterator[str]:
    """The paths of a list, until one is null, which no server stands."""
    if paths is None:
        raise RemoteProtocolError("a null list of paths")
    for path in paths:
        if path is None:
            raise RemoteProtocolError("a null path")
        yield path


READS: Mapping[int, Callable[[Reader, Frame], bytes]] = {
    OpCode.GET_DATA: _get_data,
    OpCode.EXISTS: _exists,
    OpCode.GET_CHILDREN: _get_children,
    OpCode.GET_CHILDREN2: _get_children2,
    OpCode.GET_ACL: _get_acl,
    OpCode.GET_ALL_CHILDREN_NUMBER: _count,
    OpCode.GET_EPHEMERALS: _ephemerals,
    OpCode.WHO_AM_I: _who_am_i,
    OpCode.MULTI_READ: _multi_read,
    OpCode.ADD_WATCH: _add_watch,
    OpCode.CHECK_WATCHES: _check_watches,
    OpCode.REMOVE_WATCHES: _remove_watches,
    OpCode.SET_WATCHES: _set_watches,
    OpCode.SET_WATCHES2: _set_watches2,
}
"""From an opcode to what makes the reply's record; it raises `RefusedError`, or one of `DECODE_ERRORS`."""
