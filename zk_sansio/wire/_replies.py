"""Replies that are made of several records, and numbers that must be one of a few."""

from __future__ import annotations

from enum import IntEnum

from ..errors import InvalidRequestError, RemoteProtocolError
from ._codes import WatcherType
from ._jute import (
    BUFFER,
    INT,
    STRING,
    Codec,
    Frame,
    Vector,
)
from ._records import (
    ACLS,
    NAMES,
    STAT,
    Children,
    Created,
    Znode,
    ZnodeAcl,
)

__all__ = ["CHILDREN", "CREATED", "CREATED_PATH", "STRINGS", "WATCHER_TYPE", "ZNODE", "ZNODE_ACL", "Member"]


class Member(Codec[int]):
    """A number that has to be one of an enumeration.

    Args:
        kind: the enumeration.
    """

    __slots__ = ("_kind",)
    min_size = 4

    def __init__(self, kind: type[IntEnum]) -> None:
        self._kind = kind

    def put(self, value: int) -> bytes:
        try:
            member = self._kind(value)
        except ValueError:
            raise InvalidRequestError(f"{value!r} is not one of {self._kind.__name__}") from None
        return INT.put(member)

    def get(self, frame: Frame, at: int) -> tuple[int, int]:
        value, at = INT.get(frame, at)
        try:
            return self._kind(value), at
        except ValueError:
            raise RemoteProtocolError(f"{value} is not one of {self._kind.__name__}") from None


class _ZnodeCodec(Codec[Znode]):
    __slots__ = ()

    def put(self, value: Znode) -> bytes:
        return BUFFER.put(value.data) + STAT.put(value.stat)

    def get(self, frame: Frame, at: int) -> tuple[Znode, int]:
        data, at = BUFFER.get(frame, at)
        stat, at = STAT.get(frame, at)
        return Znode(data, stat), at


class _CreatedCodec(Codec[Created]):
    __slots__ = ()

    def put(self, value: Created) -> bytes:
        if value.stat is None:
            raise InvalidRequestError("this reply needs a Stat")
        return STRING.put(value.path) + STAT.put(value.stat)

    def get(self, frame: Frame, at: int) -> tuple[Created, int]:
        path, at = STRING.get(frame, at)
        stat, at = STAT.get(frame, at)
        return Created(path, stat), at


class _CreatedPathCodec(Codec[Created]):
    __slots__ = ()

    def put(self, value: Created) -> bytes:
        return STRING.put(value.path)

    def get(self, frame: Frame, at: int) -> tuple[Created, int]:
        path, at = STRING.get(frame, at)
        return Created(path, None), at


class _ChildrenCodec(Codec[Children]):
    __slots__ = ()

    def put(self, value: Children) -> bytes:
        return NAMES.put(value.names) + STAT.put(value.stat)

    def get(self, frame: Frame, at: int) -> tuple[Children, int]:
        names, at = NAMES.get(frame, at)
        stat, at = STAT.get(frame, at)
        return Children(names, stat), at


class _ZnodeAclCodec(Codec[ZnodeAcl]):
    __slots__ = ()

    def put(self, value: ZnodeAcl) -> bytes:
        return ACLS.put(value.acl) + STAT.put(value.stat)

    def get(self, frame: Frame, at: int) -> tuple[ZnodeAcl, int]:
        acl, at = ACLS.get(frame, at)
        stat, at = STAT.get(frame, at)
        return ZnodeAcl(tuple(acl), stat), at


ZNODE = _ZnodeCodec()
CREATED = _CreatedCodec()
CREATED_PATH = _CreatedPathCodec()
STRINGS = Vector(STRING)
WATCHER_TYPE = Member(WatcherType)
CHILDREN = _ChildrenCodec()
ZNODE_ACL = _ZnodeAclCodec()
