"""Requests about znodes: making, reading, changing and removing them, and the ensemble's configuration."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from ..acl import ACL, OPEN
from ..errors import InvalidRequestError, RemoteProtocolError
from ._codes import MAX_TTL_MS, CreateMode, OpCode
from ._jute import (
    BOOL,
    BUFFER,
    INT,
    INT_STRUCT,
    LONG,
    OPTIONAL_STRING,
    PATH,
    Frame,
    encode_path,
)
from ._records import (
    ACLS,
    NAMES,
    STAT,
    STAT_STRUCT,
    Children,
    Created,
    Stat,
    Znode,
    ZnodeAcl,
    make_stat,
    make_znode,
)
from ._replies import CHILDREN, CREATED, CREATED_PATH, STRINGS, ZNODE, ZNODE_ACL
from ._request import Layout, Request

__all__ = [
    "Check",
    "Create",
    "Create2",
    "CreateContainer",
    "CreateTTL",
    "Delete",
    "Exists",
    "GetACL",
    "GetAllChildrenNumber",
    "GetChildren",
    "GetChildren2",
    "GetData",
    "GetEphemerals",
    "Reconfig",
    "SetACL",
    "SetData",
    "Sync",
]

R = TypeVar("R")


_OPEN_ENCODED = ACLS.put(OPEN)


def _put_acl(acl: Sequence[ACL]) -> bytes:
    """Encode an ACL; the open one, which nearly every create carries, is encoded already."""
    return _OPEN_ENCODED if acl is OPEN else ACLS.put(acl)


@dataclass(slots=True)
class _CreateRequest(Request[Created]):
    """What the four create requests have in common."""

    path: str
    data: bytes | None = field(default=b"", repr=False)
    acl: Sequence[ACL] = OPEN
    mode: CreateMode = CreateMode.PERSISTENT

    _modes: ClassVar[frozenset[CreateMode]] = frozenset(CreateMode(number) for number in range(4))
    _layout: ClassVar[Layout] = (("path", PATH), ("data", BUFFER), ("acl", ACLS), ("mode", INT))

    def body(self) -> bytes:
        if self.mode not in self._modes:
            raise InvalidRequestError(f"{self.name} does not take mode {self.mode!r}")
        if not self.acl:
            raise InvalidRequestError("an ACL needs at least one entry")
        mode = CreateMode(self.mode)
        path = encode_path(self.path, mode.sequential)
        return b"".join((path, BUFFER.put(self.data), _put_acl(self.acl), INT_STRUCT.pack(mode)))


class Create(_CreateRequest):
    """Make a znode; the reply is its path. Every server knows this one."""

    __slots__ = ()
    opcode = OpCode.CREATE
    name = "create"
    _reply = CREATED_PATH


class Create2(_CreateRequest):
    """Make a znode; the reply has its Stat too (3.5)."""

    __slots__ = ()
    opcode = OpCode.CREATE2
    name = "create"
    _reply = CREATED


class CreateContainer(_CreateRequest):
    """Make a container, which the server removes some time after its last child (3.5.1)."""

    __slots__ = ()
    opcode = OpCode.CREATE_CONTAINER
    name = "create container"
    _modes = frozenset({CreateMode.CONTAINER})
    _reply = CREATED


@dataclass(slots=True)
class CreateTTL(_CreateRequest):
    """Make a znode that the server removes when it is childless and unmodified for a while (3.5.3).

    Attributes:
        ttl_ms: that while, 1 to 2**40 - 1 milliseconds.
    """

    ttl_ms: int = 0

    opcode = OpCode.CREATE_TTL
    name = "create with TTL"
    _modes = frozenset({CreateMode.PERSISTENT_WITH_TTL, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL})
    _layout = (*_CreateRequest._layout, ("ttl_ms", LONG))
    _reply = CREATED

    def body(self) -> bytes:
        ttl = LONG.put(self.ttl_ms)
        if not 1 <= self.ttl_ms <= MAX_TTL_MS:
            raise InvalidRequestError(f"a TTL is 1 to {MAX_TTL_MS} milliseconds, not {self.ttl_ms}")
        return _CreateRequest.body(self) + ttl


@dataclass(slots=True)
class Delete(Request[None]):
    """Remove a znode that has no children; version -1 matches any."""

    path: str
    version: int = -1

    opcode = OpCode.DELETE
    name = "delete"
    _layout = (("path", PATH), ("version", INT))


@dataclass(slots=True)
class _WatchedRead(Request[R]):
    """A read that can leave a one-shot watch."""

    path: str
    watch: bool = False

    idempotent = True
    _layout = (("path", PATH), ("watch", BOOL))

    def body(self) -> bytes:
        return encode_path(self.path) + (b"\1" if self.watch else b"\0")


class Exists(_WatchedRead[Stat]):
    """The Stat of a znode; a watch is set on a missing one too."""

    __slots__ = ()
    opcode = OpCode.EXISTS
    name = "exists"
    _reply = STAT


class GetData(_WatchedRead[Znode]):
    """The data and the Stat of a znode."""

    __slots__ = ()
    opcode = OpCode.GET_DATA
    name = "get"
    _reply = ZNODE

    def decode(self, frame: Frame, at: int) -> Znode:
        # The hottest reply: written out, so that it costs three calls and not nine.
        try:
            (length,) = INT_STRUCT.unpack_from(frame, at)
            at += 4
            if length <= 0:
                if length < -1:
                    raise RemoteProtocolError(f"a buffer of {length} bytes")
                data = b"" if length == 0 else None
            else:
                # A length past the end cuts the data short, and then leaves nothing for the Stat.
                data = bytes(frame[at : at + length])
                at += length
            return make_znode((data, make_stat(STAT_STRUCT.unpack_from(frame, at))))
        except struct.error as error:
            raise RemoteProtocolError(f"a reply that is cut short: {error}") from None


@dataclass(slots=True)
class SetData(Request[Stat]):
    """Replace the data of a znode; version -1 matches any."""

    path: str
    data: bytes | None = field(repr=False)
    version: int = -1

    opcode = OpCode.SET_DATA
    name = "set"
    _layout = (("path", PATH), ("data", BUFFER), ("version", INT))
    _reply = STAT

    def body(self) -> bytes:
        return encode_path(self.path) + BUFFER.put(self.data) + INT.put(self.version)


@dataclass(slots=True)
class GetACL(Request[ZnodeAcl]):
    """The access control list of a znode."""

    path: str

    opcode = OpCode.GET_ACL
    idempotent = True
    name = "get ACL"
    _layout = (("path", PATH),)
    _reply = ZNODE_ACL


@dataclass(slots=True)
class SetACL(Request[Stat]):
    """Replace the access control list; the version is the list's own (``aversion``), -1 matches any."""

    path: str
    acl: Sequence[ACL]
    version: int = -1

    opcode = OpCode.SET_ACL
    name = "set ACL"
    _layout = (("path", PATH), ("acl", ACLS), ("version", INT))
    _reply = STAT

    def body(self) -> bytes:
        if not self.acl:
            raise InvalidRequestError("an ACL needs at least one entry")
        return encode_path(self.path) + _put_acl(self.acl) + INT.put(self.version)


class GetChildren(_WatchedRead[list[str]]):
    """The names of the children, in no order."""

    __slots__ = ()
    opcode = OpCode.GET_CHILDREN
    name = "get children"
    _reply = NAMES


class GetChildren2(_WatchedRead[Children]):
    """The names of the children and the Stat of the parent (3.3)."""

    __slots__ = ()
    opcode = OpCode.GET_CHILDREN2
    name = "get children"
    _reply = CHILDREN


@dataclass(slots=True)
class Sync(Request[str | None]):
    """Wait until this server has caught up with the leader; the reply echoes the path."""

    path: str

    opcode = OpCode.SYNC
    idempotent = True
    name = "sync"
    _layout = (("path", PATH),)
    _reply = OPTIONAL_STRING


@dataclass(slots=True)
class Check(Request[None]):
    """Compare a znode's version; only inside a multi, alone some servers never answer it."""

    path: str
    version: int

    opcode = OpCode.CHECK
    name = "check"
    _layout = (("path", PATH), ("version", INT))


@dataclass(slots=True)
class GetEphemerals(Request[Sequence[str]]):
    """The session's own ephemeral znodes whose path starts with the given text (3.6)."""

    prefix: str | None = None

    opcode = OpCode.GET_EPHEMERALS
    idempotent = True
    name = "get ephemerals"
    _layout = (("prefix", OPTIONAL_STRING),)
    _reply = STRINGS


@dataclass(slots=True)
class GetAllChildrenNumber(Request[int]):
    """How many descendants a znode has (3.6)."""

    path: str

    opcode = OpCode.GET_ALL_CHILDREN_NUMBER
    idempotent = True
    name = "count descendants"
    _layout = (("path", PATH),)
    _reply = INT


@dataclass(slots=True)
class Reconfig(Request[Znode]):
    """Change the ensemble's members (3.5); the reply is the new /zookeeper/config.

    Attributes:
        joining: members to add, ``server.N=...``, comma-separated; None for none.
        leaving: ids of members to remove, comma-separated; None for none.
        new_members: the whole new membership instead of the two above; None if not used.
        config_version: the version that the current configuration must have; -1 matches any.
    """

    joining: str | None
    leaving: str | None
    new_members: str | None
    config_version: int = -1

    opcode = OpCode.RECONFIG
    name = "reconfig"
    _layout = (
        ("joining", OPTIONAL_STRING),
        ("leaving", OPTIONAL_STRING),
        ("new_members", OPTIONAL_STRING),
        ("config_version", LONG),
    )
    _reply = ZNODE
