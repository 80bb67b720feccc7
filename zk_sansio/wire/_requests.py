"""Every request of the protocol. A request knows its record, its opcode and the type of its reply.

`REQUESTS` finds the class for an opcode; `decode_request` reads a whole request, as a server does.
Arguments are checked while encoding, which is before anything is sent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from ..acl import ACL, OPEN, Id
from ..errors import InvalidRequestError, RemoteProtocolError
from ._codes import MAX_TTL_MS, AddWatchMode, CreateMode, OpCode, WatcherType
from ._jute import (
    BOOL,
    BUFFER,
    DECODE_ERRORS,
    INT,
    INT_STRUCT,
    LONG,
    NOTHING,
    OPTIONAL_STRING,
    PATH,
    STRING,
    Codec,
    Frame,
    Vector,
    encode_path,
    get_all,
)
from ._records import (
    ACLS,
    IDS,
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

__all__ = [
    "REQUESTS",
    "AddWatch",
    "Auth",
    "Check",
    "CheckWatches",
    "CloseSession",
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
    "Ping",
    "Reconfig",
    "RemoveWatches",
    "Request",
    "Sasl",
    "SetACL",
    "SetData",
    "SetWatches",
    "SetWatches2",
    "Sync",
    "WhoAmI",
    "decode_request",
]

R = TypeVar("R")
Layout: TypeAlias = tuple[tuple[str, Codec[Any]], ...]
"""The fields of a record, in their order on the wire."""

_FRAME = struct.Struct(">iii")
_REQUEST_HEADER = struct.Struct(">ii")


class Request(Generic[R]):
    """One request; the type parameter is what its reply is decoded to.

    Attributes:
        opcode: the request's type on the wire.
        idempotent: whether sending it twice is the same as sending it once.
        name: the operation, for messages.
    """

    __slots__ = ()

    opcode: ClassVar[OpCode]
    idempotent: ClassVar[bool] = False
    name: ClassVar[str]
    _layout: ClassVar[Layout]
    _reply: ClassVar[Codec[Any]] = NOTHING

    def body(self) -> bytes:
        """The record, without a header.

        Raises:
            InvalidRequestError: an argument that no server accepts.
        """
        return b"".join([codec.put(getattr(self, name)) for name, codec in self._layout])

    def encode(self, xid: int) -> bytes:
        """The whole frame: length, header, record."""
        body = self.body()
        return _FRAME.pack(len(body) + 8, xid, self.opcode) + body

    @classmethod
    def parse(cls, frame: Frame, at: int) -> tuple[Request[Any], int]:
        """Decode the record at offset *at*; return it and the offset behind it."""
        values, at = get_all([codec for _, codec in cls._layout], frame, at)
        return cls(*values), at

    def decode(self, frame: Frame, at: int) -> R:
        """Decode the reply's record at offset *at* of its frame; more bytes may follow.

        Raises:
            RemoteProtocolError: the bytes are not this reply.
        """
        try:
            reply: R = self._reply.get(frame, at)[0]
        except struct.error as error:
            raise RemoteProtocolError(f"a reply that is cut short: {error}") from None
        return reply

    def encode_reply(self, reply: R) -> bytes:
        """The reply's record, without a header, as a server sends it."""
        return self._reply.put(reply)

    @property
    def target(self) -> str | None:
        """The path that the request is about, for messages; None if it has none."""
        return getattr(self, "path", None)


# --- codecs that are not plain records


class _Member(Codec[int]):
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


_ZNODE = _ZnodeCodec()
_CREATED = _CreatedCodec()
_CREATED_PATH = _CreatedPathCodec()
_STRINGS = Vector(STRING)
_WATCHER_TYPE = _Member(WatcherType)


# --- znodes


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
    _reply = _CREATED_PATH


class Create2(_CreateRequest):
    """Make a znode; the reply has its Stat too (3.5)."""

    __slots__ = ()
    opcode = OpCode.CREATE2
    name = "create"
    _reply = _CREATED


class CreateContainer(_CreateRequest):
    """Make a container, which the server removes some time after its last child (3.5.1)."""

    __slots__ = ()
    opcode = OpCode.CREATE_CONTAINER
    name = "create container"
    _modes = frozenset({CreateMode.CONTAINER})
    _reply = _CREATED


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
    _reply = _CREATED

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
    _reply = _ZNODE

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
    _reply = _ZnodeAclCodec()


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
    _reply = _ChildrenCodec()


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
    _reply = _STRINGS


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
    _reply = _ZNODE


# --- watches


@dataclass(slots=True)
class AddWatch(Request[int]):
    """Set a persistent watch, on a missing znode too (3.6)."""

    path: str
    mode: AddWatchMode

    opcode = OpCode.ADD_WATCH
    idempotent = True
    name = "add watch"
    _layout = (("path", PATH), ("mode", _Member(AddWatchMode)))
    _reply = INT


@dataclass(slots=True)
class CheckWatches(Request[None]):
    """Ask whether this connection holds such a watch (3.5)."""

    path: str
    watcher_type: WatcherType

    opcode = OpCode.CHECK_WATCHES
    idempotent = True
    name = "check watches"
    _layout = (("path", PATH), ("watcher_type", _WATCHER_TYPE))


@dataclass(slots=True)
class RemoveWatches(Request[None]):
    """Remove this connection's watches of a type (3.5)."""

    path: str
    watcher_type: WatcherType

    opcode = OpCode.REMOVE_WATCHES
    idempotent = True
    name = "remove watches"
    _layout = (("path", PATH), ("watcher_type", _WATCHER_TYPE))


@dataclass(slots=True)
class SetWatches(Request[None]):
    """Set one-shot watches anew after a reconnect; what changed since *relative_zxid* fires at once."""

    relative_zxid: int
    data: Sequence[str] = ()
    exist: Sequence[str] = ()
    child: Sequence[str] = ()

    opcode = OpCode.SET_WATCHES
    idempotent = True
    name = "set watches"
    _layout: ClassVar[Layout] = (("relative_zxid", LONG), ("data", _STRINGS), ("exist", _STRINGS), ("child", _STRINGS))


@dataclass(slots=True)
class SetWatches2(SetWatches):
    """The same with persistent watches, which get no replay (3.6)."""

    persistent: Sequence[str] = ()
    recursive: Sequence[str] = ()

    opcode = OpCode.SET_WATCHES2
    _layout = (*SetWatches._layout, ("persistent", _STRINGS), ("recursive", _STRINGS))


# --- the session


@dataclass(slots=True)
class Ping(Request[None]):
    """Keep the session alive; header only, on an xid of its own."""

    opcode = OpCode.PING
    idempotent = True
    name = "ping"
    _layout = ()


@dataclass(slots=True)
class CloseSession(Request[None]):
    """End the session; header only. The server closes the connection behind its reply."""

    opcode = OpCode.CLOSE_SESSION
    idempotent = True
    name = "close session"
    _layout = ()


@dataclass(slots=True)
class Auth(Request[None]):
    """Add an identity to the connection."""

    auth_type: int
    scheme: str
    credential: bytes | None = field(repr=False)

    opcode = OpCode.AUTH
    idempotent = True
    name = "add auth"
    _layout = (("auth_type", INT), ("scheme", STRING), ("credential", BUFFER))


@dataclass(slots=True)
class Sasl(Request[bytes | None]):
    """One step of a SASL exchange; tokens go both ways."""

    token: bytes | None = field(repr=False)

    opcode = OpCode.SASL
    name = "SASL"
    _layout = (("token", BUFFER),)
    _reply = BUFFER


@dataclass(slots=True)
class WhoAmI(Request[Sequence[Id]]):
    """The identities of this connection, without their secrets (3.7); header only."""

    opcode = OpCode.WHO_AM_I
    idempotent = True
    name = "who am I"
    _layout = ()
    _reply = IDS


_OPEN_ENCODED = ACLS.put(OPEN)


def _put_acl(acl: Sequence[ACL]) -> bytes:
    """Encode an ACL; the open one, which nearly every create carries, is encoded already."""
    return _OPEN_ENCODED if acl is OPEN else ACLS.put(acl)


REQUESTS: dict[int, type[Request[Any]]] = {
    request.opcode: request
    for request in (
        Create,
        Create2,
        CreateContainer,
        CreateTTL,
        Delete,
        Exists,
        GetData,
        SetData,
        GetACL,
        SetACL,
        GetChildren,
        GetChildren2,
        Sync,
        Check,
        GetEphemerals,
        GetAllChildrenNumber,
        Reconfig,
        AddWatch,
        CheckWatches,
        RemoveWatches,
        SetWatches,
        SetWatches2,
        Ping,
        CloseSession,
        Auth,
        Sasl,
        WhoAmI,
    )
}
"""The class of each opcode; multi and multiRead register themselves."""


def decode_request(frame: Frame) -> tuple[int, Request[Any]]:
    """Read a whole request as a server does; bytes behind the record are ignored.

    Returns:
        The xid and the request.

    Raises:
        RemoteProtocolError: an unknown opcode, or a record that is cut short or malformed.
    """
    try:
        xid, opcode = _REQUEST_HEADER.unpack_from(frame)
        kind = REQUESTS.get(opcode)
        if kind is None:
            raise RemoteProtocolError(f"unknown opcode {opcode}")
        request, _ = kind.parse(frame, _REQUEST_HEADER.size)
    except DECODE_ERRORS as error:
        raise RemoteProtocolError(f"not a request: {error}") from error
    return xid, request
